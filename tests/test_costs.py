"""What a plan file says about how it was made: requests, tokens, rejects, thoughts; through a server of our own."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jaxteach.teacher.plans import load_plans
from tests.command_line import teach
from tests.real_servers import free_port
from tests.test_llm_samples import choice, choosing

ROOT = Path(__file__).resolve().parents[1]
CAPTIONS, SAMPLES = 6, 3
VLLM = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def reply(self, document):
        payload = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def do_GET(self):
        self.reply({{"path": self.path}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choice = {{"finish_reason": "stop", "message": {{"content": "Action: {{explore}}"}}}}
        self.reply({{"model": body["model"], "choices": [choice] * body.get("n", 1)}})

assert sys.argv[1] == "serve", sys.argv
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


def plans_and_rejects(body):
    """Of each caption's samples, one is a plan, one is cut off, and one is neither."""
    made = [choice("Action: {explore}", reasoning="hm, a door"), choice("Action: {go", "length"), choice("Hello!")]
    return made[: body.get("n", 1)]


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A plan file, and the command that made it, without what names the file."""
    out = tmp_path / "plans.json"
    with choosing(plans_and_rejects) as (url, bodies):
        asked = ["--task", "SimpleDoorKey", "--backend", "openai", "--base_url", url, "--model", "m"]
        command = [*asked, "--samples", SAMPLES, "--prices", 1, 10, "--out", out]
        teach(monkeypatch, *command)
        yield out, command, bodies


def test_the_provenance_tells_what_was_sent_and_what_came(made):
    facts = load_plans(made[0], "SimpleDoorKey").provenance
    assert (facts["requests"], facts["retries"], facts["answers_from_cache"]) == (CAPTIONS, 0, 0)
    assert facts["seconds_asking"] >= 0
    assert facts["rejected"] == 2 * CAPTIONS
    assert sum(facts["rejected_by_reason"].values()) == 2 * CAPTIONS
    assert facts["rejected_by_reason"]["cut off"] == CAPTIONS
    assert (facts["prompt_tokens"], facts["completion_tokens"]) == (5 * CAPTIONS, 2 * SAMPLES * CAPTIONS)
    assert facts["cost"] == pytest.approx((5 * CAPTIONS + 10 * 2 * SAMPLES * CAPTIONS) / 1e6, abs=1e-6)
    assert "fields_refused_by_server" not in facts


def test_a_resumed_run_counts_cached_answers(made, monkeypatch):
    """Catches answers that are paid twice on paper, or whose tokens are forgotten."""
    out, command, bodies = made
    before = load_plans(out, "SimpleDoorKey").provenance
    answers = out.with_name(out.name + ".answers.jsonl")
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:-SAMPLES]))
    out.unlink()
    teach(monkeypatch, *command)
    after = load_plans(out, "SimpleDoorKey").provenance
    assert len(bodies) == CAPTIONS + 1
    assert (after["requests"], after["answers_from_cache"]) == (1, SAMPLES * (CAPTIONS - 1))
    for name in ("prompt_tokens", "completion_tokens", "cost", "rejected_by_reason"):
        assert after[name] == before[name]


def test_a_plan_file_of_cached_answers_tells_what_the_server_refused(monkeypatch, tmp_path):
    out = tmp_path / "plans.json"
    refuses = lambda body: "unknown field min_p" if "min_p" in body else None  # noqa: E731
    with choosing(plans_and_rejects, refuses) as (url, _):
        asked = ["--task", "SimpleDoorKey", "--backend", "openai", "--base_url", url, "--model", "m", "--out", out]
        teach(monkeypatch, *asked)
        before = load_plans(out, "SimpleDoorKey").provenance
        out.unlink()
        teach(monkeypatch, *asked)
    after = load_plans(out, "SimpleDoorKey").provenance
    assert (after["requests"], "min_p" in after["fields_refused_by_server"]) == (0, True)
    assert after["fields_refused_by_server"] == before["fields_refused_by_server"]


def test_show_prints_it_and_thoughts_where_they_are_asked_for(made, monkeypatch, capsys):
    out, *_ = made
    capsys.readouterr()
    teach(monkeypatch, "--show", out, "--episodes", 2)
    shown = capsys.readouterr().out
    assert re.search(rf"requests: {CAPTIONS}\n", shown)
    assert re.search(rf"rejected_by_reason: cut off: {CAPTIONS}\n", shown)
    assert "hm, a door" not in shown
    teach(monkeypatch, "--show", out, "--episodes", 2, "--thoughts")
    thoughts = [line for line in capsys.readouterr().out.splitlines() if line.endswith("hm, a door")]
    assert len(set(thoughts)) == CAPTIONS
    out.with_name(out.name + ".answers.jsonl").unlink()
    teach(monkeypatch, "--show", out, "--episodes", 2, "--thoughts")
    assert "no thoughts are kept in" in capsys.readouterr().out


@pytest.mark.slow
def test_the_slurm_script_of_the_documentation_asks_a_server_that_it_starts(tmp_path):
    """Catches a script that doesn't wait for the server, doesn't find it, or leaves it running."""
    document = (ROOT / "docs" / "teaching.md").read_text("utf-8")
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n.*?vllm serve.*?)```", document, re.DOTALL)
    for name, text in {
        "vllm": VLLM.format(python=sys.executable),
        "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755 | stat.S_IXUSR)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment |= {"SLURM_GPUS_ON_NODE": "2"}
    command, plans = ["bash", "-c", script.replace("port=8000", f"port={free_port()}")], tmp_path / "plans.json"
    for reused in (0, 50 * CAPTIONS):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        facts = load_plans(plans, "SimpleDoorKey").provenance
        assert (facts["rejected"], facts["answers_from_cache"]) == (0, reused)
        plans.unlink()
