"""Requests and answers in files: written as OpenAI's Batch API and vLLM take them, read as they write them."""

import json
from contextlib import suppress

import pytest

import jaxteach.teach
from jaxteach.system.command import run_command
from jaxteach.teacher.plans import load_plans

ASKED = ["--task", "SimpleDoorKey", "--backend", "openai", "--model", "some-model", "--samples", "2"]


@pytest.fixture
def teach(monkeypatch, tmp_path, capsys):
    """Calls the command in an empty folder; its error if it ends with one."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["teach", *map(str, arguments)])
        with suppress(SystemExit):
            run_command(jaxteach.teach.main)
        said = capsys.readouterr()
        return said.err or said.out

    return call


def body(text, **more):
    message = {"role": "assistant", "content": text, **more}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return {"model": "some-model", "choices": [{"finish_reason": "stop", "message": message}], "usage": usage}


def answered(path, form):
    """The answers to the requests of a file, in another order."""
    lines = []
    for row in reversed([json.loads(line) for line in path.read_text().splitlines()]):
        given = body("Action: {explore}")
        response = {"status_code": 200, "request_id": "r", "body": given} if form == "openai" else given
        lines.append(json.dumps({"id": "b", "custom_id": row["custom_id"], "response": response, "error": None}))
    return "\n".join(lines) + "\n"


def test_a_batch_needs_no_key(teach, monkeypatch):
    """Catches a key that is refused although nothing is sent."""
    monkeypatch.setenv("OPENAI_API_KEY", "cl\u00e9")
    assert "12 requests written" in teach(*ASKED, "--export_batch", "requests.jsonl")


def test_requests_are_those_of_the_batch_api(teach, tmp_path):
    written = teach(*ASKED, "--temperature", 0.3, "--export_batch", "requests.jsonl")
    assert "12 requests written to requests.jsonl" in written
    rows = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert len({row["custom_id"] for row in rows}) == len(rows) == 12
    assert max(len(row["custom_id"]) for row in rows) <= 64
    assert {(row["method"], row["url"]) for row in rows} == {("POST", "/v1/chat/completions")}
    assert {(row["body"]["model"], row["body"]["temperature"]) for row in rows} == {("some-model", 0.3)}
    assert len({row["body"]["seed"] for row in rows}) == 12
    assert "exists" in teach(*ASKED, "--export_batch", "requests.jsonl")


@pytest.mark.parametrize("form", ["openai", "flat"])
def test_answers_become_plans_with_what_they_cost(teach, tmp_path, form):
    teach(*ASKED, "--export_batch", "requests.jsonl")
    (tmp_path / "answers.jsonl").write_text(answered(tmp_path / "requests.jsonl", form))
    more = ["--import_batch", "answers.jsonl", "--prices", 1, 2, "--out", "plans.json"]
    assert "12 answers taken from answers.jsonl\n" in teach(*ASKED, *more)
    again = teach(*ASKED, *more[:-1], "again.json")
    assert "12 answers taken from answers.jsonl\n" in again
    (tmp_path / "again.json").unlink()
    assert "0 answers taken from answers.jsonl, 12 were kept already\n" in teach(*ASKED, *more[:-1], "again.json")
    plans = load_plans("plans.json", "SimpleDoorKey")
    assert {plan.skills for entry in plans.captions for plan in entry.plans} == {(("explore", None),)}
    made = plans.provenance
    assert (made["prompt_tokens"], made["completion_tokens"]) == (1200, 120)
    assert made["cost"] == pytest.approx((1200 * 1 + 120 * 2) / 1e6)
    assert made["served"] == "some-model"


def test_missing_failed_and_foreign_answers_are_told(teach, tmp_path):
    teach(*ASKED, "--export_batch", "requests.jsonl")
    lines = answered(tmp_path / "requests.jsonl", "openai").splitlines()
    failed = json.loads(lines[0]) | {"response": None, "error": {"message": "expired"}}
    (tmp_path / "answers.jsonl").write_text("\n".join([json.dumps(failed), *lines[2:]]))
    out = ["--import_batch", "answers.jsonl", "--out", "plans.json"]
    assert "2 answers are missing; give --base_url" in teach(*ASKED, *out)
    (tmp_path / "answers.jsonl").write_text(lines[0].replace('"custom_id": "', '"custom_id": "x'))
    assert "line 1 of answers.jsonl answers another question" in teach(*ASKED, *out)
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    assert "was asked with other options for sampling" in teach(*ASKED, "--temperature", 0.1, *out)
    (tmp_path / "answers.jsonl").write_text("hello")
    assert "line 1 of answers.jsonl is not a batch's answer" in teach(*ASKED, *out)
    for option in (["--structured"], ["--debate_rounds", 2]):
        assert f"leave {option[0]} out" in teach(*ASKED, *option, "--export_batch", "r.jsonl")
    assert "batches need --backend openai" in teach("--task", "SimpleDoorKey", "--export_batch", "r.jsonl")
