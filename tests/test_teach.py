"""`python -m jaxteach.teach` as a user types it, with a real model in this process and behind a real server."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from jaxteach.api.registry import register_task
from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.llm.client import Question
from jaxteach.llm.openai_client import Sampling, ServerClient
from jaxteach.llm.query import score_captions
from jaxteach.llm.server_requests import Requests
from jaxteach.llm.show import plan_table
from jaxteach.teacher import make_teacher
from jaxteach.teacher.plans import CaptionPlans, Plan, PlanFile, load_plans, save_plans
from jaxteach.teacher.tasks.doorkey_captions import Captions
from jaxteach.teacher.tasks.plain import PlainDomain, Words
from tests.command_line import teach
from tests.language_model import MODEL
from tests.real_servers import free_port, llama_cpp_server
from tests.test_own_worlds import Counter

LOCAL = ["--task", "simpledoorkey", "--model", str(MODEL), "--samples", "2", "--max_tokens", "48", "--threads", "1"]
ANSWERS = 6 * 2
SERVED = ["--task", "SimpleDoorKey", "--out", "OUT", "--backend", "openai", "--model", "m"]


def refuse(monkeypatch, capsys, *arguments):
    """The one sentence with which the command refuses."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        teach(monkeypatch, *arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def kept(out):
    path = out.with_name(out.name + ".answers.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def questions_of(lines):
    return [(line["prompt"], line["sample"]) for line in lines]


def remote(port, out):
    where = ["--backend", "openai", "--base_url", f"http://127.0.0.1:{port}/v1", "--model", "smollm2"]
    return [*LOCAL[:2], *LOCAL[4:-2], *where, "--structured", "--parallel", 2, "--out", out]


def test_a_local_model_writes_a_plan_file_that_teaches(monkeypatch, tmp_path, capsys):
    out = tmp_path / "plans.json"
    teach(monkeypatch, *LOCAL, "--structured", "--out", out)
    plans = load_plans(out, "SimpleDoorKey")
    said = capsys.readouterr().out
    assert f"see how the teacher itself does: python -m jaxteach.teach --show {out}\n" in said
    assert len(plans.captions) == 6
    facts = plans.provenance
    assert facts["model"] == MODEL.name
    assert facts["samples_per_caption"] == 2
    assert facts["structured"] == "grammar"
    assert facts["rejected"] == 0
    assert {len(facts["model_sha256"]), len(facts["prompt_sha256"])} == {64}
    assert len(kept(out)) == ANSWERS
    assert "Agent sees <key>, holds" in said
    assert make_teacher("SimpleDoorKey", plans=str(out)).table.probabilities.sum(1).min() == pytest.approx(1)

    teach(monkeypatch, "--show", out, "--episodes", 20)
    shown = capsys.readouterr().out
    assert f"model: {MODEL.name}" in shown
    assert "the teacher itself succeeds in" in shown

    assert "exists; choose another --out" in refuse(monkeypatch, capsys, *LOCAL, "--out", out)


def test_without_the_grammar_rejects_are_counted_and_kept(monkeypatch, tmp_path, capsys):
    """The small model says no plans by itself; with --structured the same file of answers serves again."""
    out = tmp_path / "plans.json"
    line = refuse(monkeypatch, capsys, *LOCAL, "--max_tokens", 8, "--out", out)
    assert re.search(rf"none of the {ANSWERS} answers is a plan: \d+ x cut off", line)
    assert "; one to 'Agent sees <nothing>" in line
    assert all(advice in line for advice in ("--structured", "a larger model", "--max_tokens"))
    assert not out.exists()
    assert len(kept(out)) == ANSWERS
    answers = kept(out)
    answers[0] |= {"answer": "Action: {explore}", "finish": "stop"}
    out.with_name(out.name + ".answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    teach(monkeypatch, *LOCAL, "--max_tokens", 8, "--out", out)
    plans = load_plans(out, "SimpleDoorKey")
    assert plans.provenance["rejected"] == ANSWERS - 1
    kept_rejects = [
        answer for reasons in plans.provenance["rejects"].values() for rows in reasons.values() for answer in rows
    ]
    assert sorted(kept_rejects) == sorted(answer["answer"] for answer in answers[1:])
    assert "rejected:" in capsys.readouterr().out


@pytest.mark.slow
def test_scores_are_probabilities_of_whole_plans(monkeypatch, tmp_path):
    """Of two captions, the 64 likeliest of 100 plans."""

    def two(scorer, prompt, vocabulary, captions):
        assert list(captions) == list(range(6))
        return score_captions(scorer, prompt, vocabulary, captions[:2])

    monkeypatch.setattr("jaxteach.llm.command.score_captions", two)
    out = tmp_path / "plans.json"
    teach(monkeypatch, "--task", "SimpleDoorKey", "--model", MODEL, "--score", "--out", out)
    plans = load_plans(out, "SimpleDoorKey")
    assert len(plans.captions) == 2
    assert all(len(entry.plans) == 64 for entry in plans.captions)
    assert "exact probabilities" in plans.provenance["mode"]


def test_plans_that_hardly_occur_are_counted_not_listed():
    """Catches a screen full of plans of 0.000, as --score gives them."""
    moves = [("explore", None), ("wait", None), ("goto", "key"), ("pickup", "key")]
    plans = [Plan(p, (move,)) for p, move in zip((0.9985, 0.001, 0.0004, 0.0001), moves)]
    entry = CaptionPlans(("key",), None, tuple(plans))
    table = plan_table(PlanFile(("SimpleDoorKey",), (entry,)), Captions(num_keys=1, num_doors=1, colored=False))
    probabilities, texts = ([str(cell) for cell in column.cells] for column in table.columns[1:])
    assert probabilities == ["0.999", "0.001", ""]
    assert texts[-1] == "2 more, each less likely than 0.001"


def test_showing_plans_reports_episodes_that_never_end(tmp_path, monkeypatch, capsys):
    words, actions = Words([["key"]], ["key"]), {("goto", "key"): 1}
    domain = PlainDomain(words, 3, caption=lambda obs: 0, actions=lambda obs: actions)
    register_task(partial(Counter, end=99), TrainConfig("Endless", total_steps=1, network="mlp"), domain)
    plans = PlanFile(("Endless",), (CaptionPlans(("key",), None, (Plan(1.0, (("goto", "key"),)),)),))
    save_plans(plans, tmp_path / "plans.json")
    teach(monkeypatch, "--show", tmp_path / "plans.json", "--episodes", 3)
    said = capsys.readouterr().out
    assert "3 of 3 episodes had not ended after max_steps 5 steps" in said
    assert "it never succeeds: students may learn more slowly than with --no_teacher" in said


def test_a_killed_run_goes_on_where_it_was(monkeypatch, tmp_path):
    out = tmp_path / "plans.json"
    command = [sys.executable, "-m", "jaxteach.teach", *LOCAL, "--structured", "--parallel", "3", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while len(kept(out)) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = kept(out)
    assert 3 <= len(before) < ANSWERS
    teach(monkeypatch, *command[3:])
    after = kept(out)
    assert after[: len(before)] == before
    assert len(after) == len(set(questions_of(after))) == ANSWERS
    assert len(load_plans(out, "SimpleDoorKey").captions) == 6


@pytest.mark.slow
def test_a_server_that_dies_loses_nothing(monkeypatch, tmp_path, capsys):
    """Killed in mid-run, it is waited for in vain; restarted, it is asked for the rest alone."""
    out, port = tmp_path / "plans.json", free_port()
    with llama_cpp_server(port) as process:
        command = [sys.executable, "-m", "jaxteach.teach", *map(str, remote(port, out)), "--retries", "1"]
        teaching = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while len(kept(out)) < 3:
            assert teaching.poll() is None, teaching.communicate()[1]
            time.sleep(0.02)
        process.kill()
        _, complaint = teaching.communicate(timeout=60)
    assert teaching.returncode == 2
    assert complaint.startswith(f"error: can't reach a server at http://127.0.0.1:{port}/v1")
    assert "run the same command again" in complaint
    assert len(complaint.splitlines()) == 1
    before = kept(out)
    assert 3 <= len(before) < ANSWERS
    with llama_cpp_server(port):
        teach(monkeypatch, *remote(port, out))
    after = kept(out)
    assert after[: len(before)] == before
    assert len(after) == len(set(questions_of(after))) == ANSWERS
    plans = load_plans(out, "SimpleDoorKey")
    assert plans.provenance["rejected"] == 0, "the server follows the grammar"


def test_the_servers_key_comes_from_the_environment_and_stays_there(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-mine")
    client = ServerClient(Requests("http://127.0.0.1:9/v1", "m", 2, 1.0, 0), Sampling(0.0, 8, 0), None)
    assert "secret" not in json.dumps(client.identity)
    with pytest.raises(UserError, match="can't reach a server") as refusal:
        list(client.ask([Question("hello", 0)]))
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "nothing", "--out", "OUT", "--model", "m"], "unknown task 'nothing'"),
        (["--task", "SimpleDoorKey", "--out", "OUT"], "needs --model, a GGUF file"),
        (["--task", "SimpleDoorKey", "--out", "OUT", "--model", "none.gguf"], "can't read the model file none.gguf"),
        (["--out", "OUT", "--model", "m"], "give --task, the task to ask about"),
        (["--task", "SimpleDoorKey", "--model", "m"], "give one of --out"),
        (SERVED, "needs --base_url"),
        (["--task", "SimpleDoorKey", "--out", "OUT", "--backend", "random", "--score"], "--score needs a model"),
        ([*SERVED, "--score"], "needs --base_url"),
        ([*SERVED, "--score", "--import_batch", "a.jsonl"], "batches hold answers, and --score asks for none"),
        (["--task", "SimpleDoorKey", "--out", "OUT", "--model", "m", "--thoughts"], "--thoughts has no effect"),
        (["--task", "SimpleDoorKey", "--out", "OUT", "--samples", "0"], "--samples must be within 1..1048576, not 0"),
        (["--task", "SimpleDoorKey", "--out", "no/such/folder", "--model", "m"], "the folder no/such does not exist"),
        (["--show", "none.json"], "can't read the plan file none.json"),
        (["--show", "recorded"], "--show recorded needs --task"),
        (["--show", "recorded", "--task", "simple_spread"], "no recorded plans ship for simple_spread"),
        (["--show", ""], "--show is empty; give it a value"),
        (["--task", "SimpleDoorKey", "--out="], "--out is empty; give it a value"),
        (
            [*SERVED, "--base_url", "ftp://x"],
            "--base_url must be like",
        ),
        (
            [*SERVED, "--base_url", "http://me:key@x/v1"],
            "must not hold a key",
        ),
    ],
)
def test_mistakes_get_one_sentence(monkeypatch, tmp_path, capsys, arguments, words):
    given = [str(tmp_path / "plans.json") if argument == "OUT" else argument for argument in arguments]
    monkeypatch.chdir(tmp_path)
    assert words in refuse(monkeypatch, capsys, *given)
    assert os.listdir(tmp_path) == []


def test_minigrid_s_worlds_are_asked_about_with_their_own_words(monkeypatch, tmp_path):
    """Catches a teacher that takes the world with the student's map for one that it does not know."""
    out = tmp_path / "plans.json"
    task = "MiniGrid-PutNear-6x6-N2-v0"
    teach(monkeypatch, "--task", task, "--backend", "random", "--samples", "2", "--out", out)
    plans = load_plans(out, task)
    assert {(entry.sees, entry.holds) for entry in plans.captions} >= {(("destination",), "target")}
    make_teacher(task, str(out))
