"""The server's client against a small server of our own that misbehaves on demand."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jaxteach.errors import UserError
from jaxteach.llm.client import Question
from jaxteach.llm.openai_client import ServerClient


class Behaviour:
    """What the server does with its requests, and what it has seen of them."""

    def __init__(self, statuses=(), delay=0.0):
        self.statuses, self.delay = list(statuses), delay
        self.lock, self.bodies, self.keys = threading.Lock(), [], []
        self.in_flight = self.most_in_flight = 0

    def answer(self, body, key):
        """The status and the answer to one request."""
        with self.lock:
            self.bodies.append(body)
            self.keys.append(key)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            status = self.statuses.pop(0) if self.statuses else 200
        time.sleep(self.delay)
        with self.lock:
            self.in_flight -= 1
        message = {"role": "assistant", "content": f"answer to {body['messages'][0]['content']}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return status, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


@contextmanager
def serving(behaviour):
    """The address of a server that behaves so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = behaviour.answer(body, self.headers.get("Authorization"))
            payload = json.dumps(answer if status == 200 else {"error": {"message": "no"}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client(url, parallel=4, timeout=10.0, retries=3, grammar=None):
    return ServerClient(url, "m", 0.5, 16, 7, grammar, parallel, timeout, retries)


QUESTIONS = [Question(f"prompt {i}", sample) for i in range(4) for sample in range(3)]


def test_requests_run_side_by_side_within_the_bound():
    behaviour = Behaviour(delay=0.05)
    with serving(behaviour) as url:
        answers = dict(client(url).ask(QUESTIONS))
    assert answers == {question: f"answer to {question.prompt}" for question in QUESTIONS}
    assert 2 <= behaviour.most_in_flight <= 4
    assert len({body["seed"] for body in behaviour.bodies}) == len(QUESTIONS), "every sample is another draw"


def test_the_request_says_how_to_sample(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    behaviour = Behaviour()
    with serving(behaviour) as url:
        list(client(url, grammar="root ::= x").ask(QUESTIONS[:1]))
        list(client(url).ask(QUESTIONS[:1]))
    constrained, free = behaviour.bodies
    assert constrained["grammar"] == "root ::= x"
    assert "grammar" not in free
    assert (free["temperature"], free["max_tokens"], free["model"]) == (0.5, 16, "m")
    assert free["seed"] == constrained["seed"]
    assert behaviour.keys == ["Bearer k"] * 2


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_stumbles_is_asked_again(status):
    behaviour = Behaviour(statuses=[status, status])
    with serving(behaviour) as url:
        assert len(dict(client(url, parallel=2).ask(QUESTIONS[:2]))) == 2
    assert len(behaviour.bodies) == 4


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refuses the key in OPENAI_API_KEY"),
        (404, "has no model 'm'"),
        (400, "failed: "),
        (500, "failed: "),
    ],
)
def test_a_server_that_refuses_ends_the_run_with_one_sentence(status, words):
    behaviour = Behaviour(statuses=[status] * 99)
    with serving(behaviour) as url, pytest.raises(UserError) as refusal:
        list(client(url, retries=1).ask(QUESTIONS[:1]))
    assert words in str(refusal.value)
    assert "the answers so far are kept" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(behaviour.bodies) == (2 if status == 500 else 1)


def test_a_server_that_is_too_slow_is_told():
    with serving(Behaviour(delay=1.0)) as url, pytest.raises(UserError, match="did not answer in time"):
        list(client(url, timeout=0.2, retries=0).ask(QUESTIONS[:1]))


def test_answers_before_a_failure_are_given():
    behaviour = Behaviour(statuses=[200, 200, 401])
    given = []
    with serving(behaviour) as url, pytest.raises(UserError):
        given.extend(client(url, parallel=1).ask(QUESTIONS))
    assert len(given) == 2
