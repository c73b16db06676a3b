"""The server's client against a small server of our own that misbehaves on demand."""

import json
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jaxteach.errors import UserError
from jaxteach.llm.answer_cache import AnswerStore
from jaxteach.llm.client import Question
from jaxteach.llm.constraints import FORMS, plan_constraint
from jaxteach.llm.grammar import plan_grammar
from jaxteach.llm.openai_client import Sampling, ServerClient
from jaxteach.llm.server_requests import Requests
from jaxteach.teacher.tasks.doorkey_captions import Captions


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
        return status, completion(f"answer to {body['messages'][0]['content']}")


def completion(content="hello", finish="stop", **message):
    """A chat completion as servers write it."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


class QuietHandler(BaseHTTPRequestHandler):
    """A handler of JSON requests that prints nothing."""

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def reply(self, status, payload, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *arguments):
        pass


@contextmanager
def listening(handler):
    """The address of a server with this handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(behaviour):
    """The address of a server that behaves so."""

    class Handler(QuietHandler):
        def do_POST(self):
            body = self.body()
            status, answer = behaviour.answer(body, self.headers.get("Authorization"))
            payload = json.dumps(answer if status == 200 else {"error": {"message": "no"}}).encode()
            self.reply(status, payload, {"Content-Type": "application/json"})

    with listening(Handler) as url:
        yield url


def client(url, parallel=4, timeout=10.0, retries=3, constraint=None, **sampling):
    return ServerClient(Requests(url, "m", parallel, timeout, retries), Sampling(0.5, 16, 7, **sampling), constraint)


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
        list(client(url).ask(QUESTIONS[:1]))
    (free,) = behaviour.bodies
    assert (free["temperature"], free["max_tokens"], free["model"]) == (0.5, 16, "m")
    assert behaviour.keys == ["Bearer k"]


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
        (404, "has no model 'm', or no path chat/completions"),
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
    assert len(behaviour.bodies) == (2 if status in (400, 500) else 1), (
        "a refused request is tried once with fewer fields"
    )


def test_a_server_that_is_too_slow_is_told():
    with serving(Behaviour(delay=1.0)) as url, pytest.raises(UserError, match="a smaller --parallel"):
        list(client(url, timeout=0.2, retries=0).ask(QUESTIONS[:1]))


def test_answers_before_a_failure_are_given():
    behaviour = Behaviour(statuses=[200, 200, 401])
    given = []
    with serving(behaviour) as url, pytest.raises(UserError):
        given.extend(client(url, parallel=1).ask(QUESTIONS))
    assert len(given) == 2


class Script:
    """Answers the requests with given statuses, bodies and headers, one after the other, the last one for ever."""

    def __init__(self, *replies):
        self.replies, self.bodies, self.headers, self.lock = list(replies), [], [], threading.Lock()

    def reply(self, body, headers):
        with self.lock:
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def scripted(*replies):
    script = Script(*replies)

    class Handler(QuietHandler):
        def do_POST(self):
            body = self.body()
            status, payload, *more = script.reply(body, self.headers)
            payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            self.reply(status, payload, *more)

    with listening(Handler) as url:
        yield url, script


def ask_once(url, **options):
    return dict(client(url, **options).ask(QUESTIONS[:1]))[QUESTIONS[0]]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thoughts_and_tokens_are_kept_beside_the_answer(name):
    with scripted((200, completion("Action: {wait}", **{name: "Action: {explore}"}))) as (url, _):
        answer = ask_once(url)
    assert (answer, answer.thoughts, answer.finish) == ("Action: {wait}", "Action: {explore}", "stop")
    assert answer.usage == {"prompt_tokens": 5, "completion_tokens": 2}


@pytest.mark.parametrize("content", [None, "", "Action: {explore}"])
def test_an_answer_that_is_cut_off_says_so(content):
    with scripted((200, completion(content, "length", reasoning="so far"))) as (url, _):
        assert ask_once(url).finish == "length"


def test_content_in_parts_is_read():
    parts = [
        {"type": "text", "text": "Action: "},
        {"type": "reasoning", "text": "no"},
        {"type": "thinking", "text": "Action: {explore}"},
        {"type": "text", "text": "Action: {explore}", "thought": True},
        {"type": "text", "text": "{wait}"},
    ]
    with scripted((200, completion(parts))) as (url, _):
        assert ask_once(url) == "Action: {wait}"


OUTAGES = {
    "an error": ({"error": {"message": "overloaded"}}, "answers with an error: overloaded"),
    "no choices": ({"id": "1"}, "without any choice"),
    "empty choices": ({"choices": []}, "without any choice"),
    "null choices": ({"choices": None}, "without any choice"),
    "null content": (completion(None), "answers with no content"),
    "empty content": (completion(""), "answers with no content"),
    "thoughts alone": (completion(None, reasoning="hm"), "answers with thoughts alone"),
    "tool calls": (completion(None, tool_calls=[{"id": "1"}]), "answers with tool calls"),
    "no message": ({"choices": [{"index": 0, "finish_reason": "stop"}]}, "without a message"),
    "a login page": (b"<!DOCTYPE html><html>Log in</html>", "a web page .*does --base_url end in /v1"),
    "an event stream": (b'data: {"choices": []}\n\n', "an event stream"),
    "a text": (b'"hello"', "answers with str instead of an object"),
    "broken JSON": (b'{"choices": [', "no JSON"),
    "not UTF-8": (b"\xff\xfe{}", "no JSON"),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_that_looks_like_an_answer_is_asked_again_and_never_kept(outage, tmp_path, monkeypatch):
    body, message = OUTAGES[outage]
    monkeypatch.setattr("jaxteach.llm.server_requests.INITIAL_BACKOFF_S", 0.001)
    with scripted((200, body), (200, completion("fine"))) as (url, script):
        assert ask_once(url) == "fine"
        assert len(script.bodies) == 2
    store = AnswerStore(tmp_path / "answers.jsonl")
    with scripted((200, body)) as (url, _), pytest.raises(UserError, match=message) as refusal:
        list(store.complete(client(url, retries=1), QUESTIONS[:1]))
    assert "\n" not in str(refusal.value)
    assert not store.path.exists()


def test_one_failing_question_costs_no_other_answer(tmp_path):
    """Catches sixty paid questions of which one is refused at once, and none kept."""
    refused = (400, {"error": {"message": "bad"}})
    questions = [Question(f"prompt {i}", 0) for i in range(12)]
    store = AnswerStore(tmp_path / "answers.jsonl")
    with scripted(refused, refused, (200, completion("fine"))) as (url, script):
        with pytest.raises(UserError, match=r"failed: .*bad.*; the answers so far are kept"):
            list(store.complete(client(url, parallel=1), questions))
        asked = len(script.bodies)
        assert asked == len(questions) + 1, "the refused one is tried with fewer fields"
        assert len(dict(AnswerStore(store.path).complete(client(url), questions))) == len(questions)
        assert len(script.bodies) == asked + 1, "only the failed one is asked again"


def test_refused_prompts_are_counted_and_not_kept(tmp_path):
    filtered = {"error": {"message": "The response was filtered", "code": "content_filter"}}
    replies = [(400, filtered), (200, completion("no", refusal="I can't")), (200, completion("", "content_filter"))]
    store = AnswerStore(tmp_path / "answers.jsonl")
    with scripted(*replies) as (url, _):
        answers = dict(store.complete(client(url, parallel=1), QUESTIONS[:3]))
    assert [answer.finish for answer in answers.values()] == ["refused"] * 3
    assert not store.path.exists()


@pytest.mark.parametrize("header", ["1", None])
def test_a_server_that_names_a_pause_is_obeyed(header):
    date = header or format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    with scripted((429, {"error": {"message": "slow down"}}, {"Retry-After": date}), (200, completion())) as (
        url,
        script,
    ):
        began = time.monotonic()
        assert ask_once(url) == "hello"
        assert time.monotonic() - began > 0.9
    with scripted((503, {"error": {"message": "down"}}, {"Retry-After": "3600"})) as (url, script):
        with pytest.raises(UserError, match="failed"):
            ask_once(url)
        assert len(script.bodies) == 1, "an hour is too long"


def test_fields_that_a_model_refuses_are_left_out():
    def refused(name, more=""):
        return 400, {"error": {"message": f"Unsupported parameter: '{name}' is not supported with this model. {more}"}}

    limit = refused("max_tokens", "Use 'max_completion_tokens' instead.")
    with scripted(limit, refused("temperature"), (200, completion())) as (url, script):
        asked = client(url)
        assert dict(asked.ask(QUESTIONS[:1]))
    last = script.bodies[-1]
    assert last["max_completion_tokens"] == 16
    assert "max_tokens" not in last
    assert "temperature" not in last
    assert asked.refused_fields == ["temperature"]


def test_more_fields_and_headers_are_sent_and_part_of_the_identity(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    more = {"chat_template_kwargs": {"enable_thinking": False}}
    with scripted((200, completion())) as (url, script):
        sampling = Sampling(0.5, 16, 7, 0.9, "low", more)
        asked = ServerClient(Requests(url, "m", 2, 5.0, 0, "MY_KEY", {"X-Team": "lab"}), sampling, None)
        list(asked.ask(QUESTIONS[:1]))
    (body,), (headers,) = script.bodies, script.headers
    assert (body["top_p"], body["reasoning_effort"]) == (0.9, "low")
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert (headers["x-team"], headers["authorization"]) == ("lab", "Bearer secret")
    assert "secret" not in json.dumps(asked.identity)
    assert asked.identity["extra_body"] == more
    assert client(url).identity != asked.identity


@pytest.mark.parametrize(
    ("base_url", "key", "headers", "words"),
    [
        ("http://[::1/v1", "k", {}, "--base_url must be like"),
        ("http://localhost:99999/v1", "k", {}, "--base_url must be like"),
        ("http://localhost:abc/v1", "k", {}, "--base_url must be like"),
        ("http://é..x/v1", "k", {}, "--base_url must be like"),
        ("http://localhost/v1", "clé", {}, "the key in OPENAI_API_KEY has characters that no key has"),
        (
            "http://localhost/v1",
            "k",
            {"X-Name": "secret\n"},
            "the header 'X-Name' in --headers must be printable ASCII",
        ),
    ],
)
def test_what_can_t_be_sent_is_refused_and_not_shown(base_url, key, headers, words, monkeypatch):
    """Catches a traceback, and a key in a message."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match=words) as refusal:
        Requests(base_url, "m", 1, 1, 0, headers=headers)
    assert "secret" not in str(refusal.value)


def test_a_key_from_a_file_may_end_with_its_line(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key\n")
    assert Requests("http://localhost/v1", "m", 1, 1, 0).connect().api_key == "key"


def test_the_timeout_bounds_the_whole_answer():
    """Catches a server that sends a byte now and then, and never ends."""

    class Handler(QuietHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with suppress(OSError):
                for _ in range(50):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.1)

    with listening(Handler) as url:
        began = time.monotonic()
        with pytest.raises(UserError, match="did not answer in time"):
            ask_once(url, timeout=0.5, retries=0)
        assert time.monotonic() - began < 4


def constraint_of(body):
    """The grammar or schema that a request has, in the form of any server."""
    for name in ("grammar", "ebnf", "guided_grammar"):
        if name in body:
            return name, body[name]
    if "structured_outputs" in body:
        return "structured_outputs", body["structured_outputs"]["grammar"]
    return "response_format", json.dumps(body["response_format"]["json_schema"]["schema"])


@contextmanager
def obedient(*forms, refuses=False):
    """A server that obeys constraints in some forms; it ignores the others, or refuses them with 400."""
    bodies = []

    class Handler(QuietHandler):
        def do_POST(self):
            body = self.body()
            bodies.append(body)
            form, constraint = constraint_of(body)
            text = "Hello! How can I help?"
            if form in forms:
                text = "zebra 7193" if "zebra" in constraint else "Action: {explore}"
                text = json.dumps({"answer": text}) if form == "response_format" and "zebra" in text else text
            known = form in forms or not refuses
            payload = json.dumps(
                completion(text) if known else {"error": {"message": f"unknown field {form}"}}
            ).encode()
            self.reply(200 if known else 400, payload)

    with listening(Handler) as url:
        yield url, bodies


VOCABULARY = Captions(num_keys=1, num_doors=1, colored=False)
PLANS = plan_constraint(plan_grammar(VOCABULARY), VOCABULARY)


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_constraint_is_sent_in_the_form_that_the_server_obeys(form, refuses):
    """As llama.cpp's server, vLLM new and old, SGLang and OpenAI take it; many ignore what they don't know."""
    with obedient(form, refuses=refuses) as (url, bodies):
        asked = client(url, constraint=PLANS, retries=0)
        answers = dict(asked.ask(QUESTIONS[:1]))
    assert asked.form == form
    assert list(answers.values()) == ["Action: {explore}"]
    name, sent = constraint_of(bodies[-1])
    assert (name, "toggle <door>" in sent or "toggle" in sent) == (form, True)
    assert asked.identity.get("form", "grammar") == form


def test_a_server_that_ignores_constraints_is_told_before_anything_is_asked():
    with obedient() as (url, bodies), pytest.raises(UserError, match=r"ignores constraints.*leave --structured out"):
        client(url, constraint=PLANS, retries=0)
    assert {body["messages"][0]["content"] for body in bodies} == {"Say hello."}
