"""Samples of one prompt in one request, and fields that a server refuses, against servers of our own."""

import json
import threading
import time
from contextlib import contextmanager

import pytest

from jaxteach.errors import UserError
from jaxteach.llm.accepted_fields import NEUTRAL_SAMPLING
from jaxteach.llm.answer_cache import AnswerStore
from jaxteach.llm.client import Question
from jaxteach.llm.openai_client import Sampling, ServerClient
from jaxteach.llm.server_requests import Requests
from tests.test_llm_server import QUESTIONS, QuietHandler, listening

PROMPTS = 4
OPENAI = {"model", "messages", "temperature", "seed", "top_p", "max_tokens", "n", "reasoning_effort"}
"""The fields that a strict server knows."""


@contextmanager
def choosing(choices, refuses=lambda body: None, status=400):
    """A server that gives the choices that `choices` makes of a request, or refuses it for a reason."""
    bodies, lock = [], threading.Lock()

    class Handler(QuietHandler):
        def do_POST(self):
            body = self.body()
            with lock:
                bodies.append(body)
                reason = refuses(body)
                made = [] if reason else choices(body)
            answer = {"model": "m", "choices": made, "usage": {"prompt_tokens": 5, "completion_tokens": 2 * len(made)}}
            answer = {"error": {"message": reason}} if reason else answer
            self.reply(status if reason else 200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    with listening(Handler) as url:
        yield url, bodies


def choice(text, finish="stop", **message):
    return {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}


def several(body):
    """As many choices as are asked for, each with its seed as vLLM and llama-server choose it."""
    return [choice(f"{body['messages'][0]['content']}: {body['seed'] + i}") for i in range(body.get("n", 1))]


def ask(url, questions=QUESTIONS, parallel=1, temperature=0.5, retries=1, extra_body=None, timeout=5):
    sampling = Sampling(temperature, 16, 7, None, None, extra_body or {})
    client = ServerClient(Requests(url, "m", parallel, timeout, retries), sampling, None)
    return client, list(client.ask(questions))


def test_samples_of_a_prompt_share_a_request():
    with choosing(several) as (url, bodies):
        client, answers = ask(url)
    assert [body["n"] for body in bodies] == [3] * PROMPTS
    assert {question for question, _ in answers} == set(QUESTIONS)
    assert all(answer.startswith(question.prompt + ":") for question, answer in answers)
    assert len({str(answer) for _, answer in answers}) == len(QUESTIONS), "every sample is another draw"
    assert sum(answer.usage.get("prompt_tokens", 0) for _, answer in answers) == 5 * PROMPTS, "prompts are paid once"
    assert sum(answer.usage.get("completion_tokens", 0) for _, answer in answers) == 2 * len(QUESTIONS)
    assert client.request_stats() == {"requests": PROMPTS, "retries": 0}


def test_at_temperature_0_each_question_is_a_request():
    with choosing(several) as (url, bodies):
        ask(url, temperature=0)
    assert len(bodies) == len(QUESTIONS)
    assert not any("n" in body for body in bodies)


def test_a_server_that_ignores_n_is_asked_singly_from_then_on():
    with choosing(lambda body: several(body)[:1]) as (url, bodies):
        _, answers = ask(url)
    assert {question for question, _ in answers} == set(QUESTIONS)
    assert [body.get("n") for body in bodies] == [3] + [None] * (len(QUESTIONS) - 1), "no answer is paid twice"
    assert len({body["seed"] for body in bodies}) == len(QUESTIONS)


@pytest.mark.parametrize("reason", ["n must be 1", "bad request"])
@pytest.mark.parametrize("parallel", [1, 8])
def test_a_server_that_refuses_n_is_asked_singly_from_then_on(parallel, reason):
    with choosing(several, lambda body: reason if "n" in body else None) as (url, bodies):
        client, answers = ask(url, parallel=parallel)
    assert {question for question, _ in answers} == set(QUESTIONS)
    assert sum("n" in body for body in bodies) == min(parallel, PROMPTS)
    assert client.refused_fields == []


def test_a_server_that_gives_fewer_choices_is_asked_for_as_many_as_it_gives():
    with choosing(lambda body: several(body)[:2]) as (url, bodies):
        _, answers = ask(url)
    assert {question for question, _ in answers} == set(QUESTIONS)
    assert [body.get("n") for body in bodies] == [3, *[None, 2] * 3, None][: len(bodies)]
    assert len(answers) == len(QUESTIONS)


def test_surplus_choices_are_ignored():
    with choosing(lambda body: several(body | {"n": 5})) as (url, bodies):
        _, answers = ask(url)
    assert len(bodies) == PROMPTS
    assert sorted(question for question, _ in answers) == sorted(QUESTIONS)


def test_each_choice_is_an_answer_of_its_own(tmp_path):
    """Catches an empty choice that costs its neighbours, and one whose end is taken for another's."""
    made = [choice(""), choice("Action: {", "length"), choice("no", refusal="I can't"), choice("fine", reasoning="hm")]
    with choosing(lambda body: made if "n" in body else [choice("second try")]) as (url, bodies):
        store = AnswerStore(tmp_path / "answers.jsonl")
        questions = [Question("prompt", sample) for sample in range(4)]
        client = ServerClient(Requests(url, "m", 1, 5.0, 1), Sampling(0.5, 16, 7), None)
        answers = dict(store.complete(client, questions))
    assert [(str(answers[q]), answers[q].finish) for q in questions] == [
        ("second try", "stop"),
        ("Action: {", "length"),
        ("I can't", "refused"),
        ("fine", "stop"),
    ]
    assert answers[questions[3]].thoughts == "hm"
    assert [body.get("n") for body in bodies] == [4, None]
    kept = dict(AnswerStore(store.path).complete(client, questions[:2] + questions[3:]))
    assert len(bodies) == 2, "they are kept one by one"
    assert kept == {question: answers[question] for question in questions[:2] + questions[3:]}


def test_an_outage_of_all_choices_is_asked_again_together(monkeypatch):
    monkeypatch.setattr("jaxteach.llm.server_requests.INITIAL_BACKOFF_S", 0.001)
    outages = iter([True])
    with choosing(lambda body: [choice("")] * 3 if next(outages, False) else several(body)) as (url, bodies):
        client, answers = ask(url, QUESTIONS[:3])
    assert [body["n"] for body in bodies] == [3, 3]
    assert len(answers) == 3
    assert client.request_stats() == {"requests": 2, "retries": 1}


@pytest.mark.parametrize("status", [413, 500, 501])
def test_a_server_that_fails_at_many_samples_is_asked_singly(status, monkeypatch):
    """Catches a command that never comes to an end: llama-server had no n, and said so with the status 500."""
    monkeypatch.setattr("jaxteach.llm.server_requests.INITIAL_BACKOFF_S", 0.0)
    with choosing(several, lambda body: "Only one choice" if "n" in body else None, status) as (url, bodies):
        _, answers = ask(url)
    assert {question for question, _ in answers} == set(QUESTIONS)
    assert sum("n" in body for body in bodies) <= 2, "it is tried once more"


def test_a_server_that_is_too_slow_for_many_samples_is_asked_singly():
    def slowly(body):
        time.sleep(0.3 * body.get("n", 1))
        return several(body)

    with choosing(slowly) as (url, _):
        _, answers = ask(url, QUESTIONS[:3], timeout=0.6)
    assert {question for question, _ in answers} == set(QUESTIONS[:3])


def test_a_choice_that_is_none_costs_no_other():
    with choosing(lambda body: [None, *several(body)[1:]] if "n" in body else several(body)) as (url, _):
        _, answers = ask(url)
    assert {question for question, _ in answers} == set(QUESTIONS)


def test_an_interrupted_answer_is_asked_for_again():
    """Catches a plan in half a sentence that is taken for the model's last word."""
    made = iter([[choice("Action: {explore}, but a bett", "abort")], [choice("Action: {wait}")]])
    with choosing(lambda body: next(made)) as (url, _):
        _, ((_, answer),) = ask(url, QUESTIONS[:1], temperature=0)
    assert answer == "Action: {wait}"


def test_a_lost_sample_is_asked_for_alone(tmp_path):
    with choosing(several) as (url, bodies):
        client = ServerClient(Requests(url, "m", 1, 5.0, 1), Sampling(0.5, 16, 7), None)
        store = AnswerStore(tmp_path / "answers.jsonl")
        assert len(dict(store.complete(client, QUESTIONS[:2]))) == 2
        assert len(dict(AnswerStore(store.path).complete(client, QUESTIONS[:3]))) == 3
    assert [body.get("n") for body in bodies] == [2, None]


def test_the_choices_of_a_response_are_kept_together(tmp_path):
    """Catches a kill that loses choices which were paid with the first one."""
    store = AnswerStore(tmp_path / "answers.jsonl")
    with choosing(several) as (url, _):
        client = ServerClient(Requests(url, "m", 1, 5.0, 1), Sampling(0.5, 16, 7), None)
        next(store.complete(client, QUESTIONS[:3]))
    assert len(store.path.read_text().splitlines()) == 3


def test_requests_disable_the_servers_penalties():
    with choosing(several) as (url, bodies):
        _, _ = ask(url)
        ask(url, extra_body={"top_k": 20})
    assert {name: bodies[0][name] for name in NEUTRAL_SAMPLING} == NEUTRAL_SAMPLING
    assert bodies[-1]["top_k"] == 20, "what the user says counts"


@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("words", ["Unrecognized request arguments supplied: {}", "'{}' is not supported"])
def test_a_server_that_refuses_unknown_fields_is_asked_without_them(parallel, words):
    """As OpenAI does; what it leaves to its own defaults is told."""

    def refuses(body):
        unknown = sorted(body.keys() - OPENAI)
        return words.format(", ".join(unknown)) if unknown else None

    with choosing(several, refuses) as (url, bodies):
        client, answers = ask(url, parallel=parallel)
    assert {question for question, _ in answers} == set(QUESTIONS)
    assert len(bodies) == PROMPTS + min(parallel, PROMPTS)
    assert bodies[-1]["n"] == 3, "n is not to blame"
    assert client.refused_fields == sorted(NEUTRAL_SAMPLING)


def test_a_refused_prompt_changes_nothing_for_the_others():
    """Catches a single prompt that is too long, after which a server's own penalties apply."""
    refuses = lambda body: "too long" if body["messages"][0]["content"] == "prompt 0" else None  # noqa: E731
    given = []
    with choosing(several, refuses) as (url, bodies):
        client = ServerClient(Requests(url, "m", 1, 5.0, 1), Sampling(0.5, 16, 7), None)
        with pytest.raises(UserError, match=r"too long.*; 3 of 12"):
            given.extend(client.ask(QUESTIONS))
    assert len(given) == len(QUESTIONS) - 3
    assert NEUTRAL_SAMPLING.keys() <= bodies[-1].keys()
    assert bodies[-1]["n"] == 3
    assert client.refused_fields == []


@pytest.mark.parametrize("parallel", [1, 2])
def test_one_refusal_without_a_reason_does_not_switch_n_off(parallel):
    """Catches a single bad prompt, among many, after which each sample is a request and each prompt is paid again."""
    bad = lambda body: "bad request" if body["messages"][0]["content"] == "prompt 1" else None  # noqa: E731
    with choosing(several, bad) as (url, bodies):
        with pytest.raises(UserError, match="bad request"):
            ask(url, parallel=parallel)
        good = [body.get("n") for body in bodies if body["messages"][0]["content"] != "prompt 1"]
    assert good == [3] * (PROMPTS - 1)


def test_a_field_that_a_model_refuses_is_left_out_of_all_requests_in_flight():
    """Catches requests that were sent before the first refusal came, and are given up."""
    refuses = lambda body: "'temperature' is not supported" if "temperature" in body else None  # noqa: E731
    with choosing(several, refuses) as (url, _):
        client, answers = ask(url, parallel=8)
    assert {question for question, _ in answers} == set(QUESTIONS)
    assert client.refused_fields == ["temperature"]
