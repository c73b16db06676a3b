"""Scores through servers of our own, which know the probabilities, in the forms of vLLM, SGLang and llama.cpp."""

import json
import re
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from jaxteach.errors import UserError
from jaxteach.llm.server_requests import Requests
from jaxteach.llm.server_scoring import MAX_PAIRS_PER_REQUEST, ServerScorer
from tests.test_llm_server import QuietHandler, listening

PROMPTS = ["one", "two, which is longer", "three"]
CANDIDATES = [f"answer {i}" * (1 + i % 3) for i in range(20)]
OPENED = "<user>{}<assistant>"


def log_prob(tokens, i):
    """The log-probability of a token after those before it, as all the servers here have it."""
    return -((7 * tokens[i] + 3 * tokens[i - 1] + i) % 11) / 10


def expected(prompt, candidate):
    tokens = [ord(letter) for letter in OPENED.format(prompt) + candidate]
    return sum(log_prob(tokens, i) for i in range(len(tokens) - len(candidate), len(tokens)))


def content_of(body):
    (message,) = body["messages"]
    return OPENED.format(message["content"])


def ids(text):
    return [ord(letter) for letter in text]


def forced(body):
    return [int(token) for token in re.findall(r"<\[(\d+)\]>", body["grammar"])]


class Vllm:
    """`tokenize` beside the API; `completions` take several lists of tokens, and answer in any order."""

    paths = ("/tokenize", "/v1/completions")

    def reply(self, path, body):
        if path == "/tokenize":
            if "messages" in body:
                assert body["add_generation_prompt"]
                return {"tokens": ids(content_of(body))}
            assert body["add_special_tokens"] is False
            return {"tokens": ids(body["prompt"])}
        assert (body["echo"], body["model"]) == (True, "m")
        rows = [[*tokens, 1] for tokens in body["prompt"]]
        given = [[None, *(log_prob(row, i) for i in range(1, len(row)))] for row in rows]
        choices = [{"index": i, "logprobs": {"token_logprobs": row}} for i, row in enumerate(given)]
        return {"choices": choices[::-1]}


class LlamaServer:
    """`completion` takes several prompts and one grammar."""

    paths = ("/apply-template", "/tokenize", "/completion")

    def reply(self, path, body):
        if path == "/apply-template":
            return {"prompt": content_of(body)}
        if path == "/tokenize":
            assert (body["add_special"], body["parse_special"]) == (False, False)
            return {"tokens": ids(body["content"])}
        answer = forced(body)
        assert (body["n_predict"], body["n_probs"]) == (len(answer), 1)
        rows = [ids(prompt) + answer for prompt in body["prompt"]]
        made = [
            {
                "index": number,
                "completion_probabilities": [
                    {"id": row[i], "logprob": log_prob(row, i)} for i in range(len(row) - len(answer), len(row))
                ],
            }
            for number, row in enumerate(rows)
        ]
        return made if len(made) > 1 else made[0]


class LlamaCppServer:
    """One prompt in a chat."""

    paths = ("/extras/tokenize", "/v1/chat/completions")

    def reply(self, path, body):
        if path == "/extras/tokenize":
            return {"tokens": ids(body["input"])}
        answer = forced(body)
        assert (body["logprobs"], body["max_tokens"]) == (True, len(answer))
        row = ids(content_of(body)) + answer
        content = [{"token": "?", "logprob": log_prob(row, i)} for i in range(len(row) - len(answer), len(row))]
        message = {"role": "assistant", "content": "".join(map(chr, answer))}
        return {"choices": [{"index": 0, "message": message, "logprobs": {"content": content}}]}


@contextmanager
def answering(server, statuses=(), delay=0.0):
    """Its address, its requests, how many about scores at once; the first of these fail as `statuses` say."""
    seen, statuses, lock = [], list(statuses), threading.Lock()
    flying = {"now": 0, "most": 0}

    class Handler(QuietHandler):
        def do_POST(self):
            body = self.body()
            with lock:
                seen.append((self.path, body))
                flying["now"] += self.path == server.paths[-1]
                flying["most"] = max(flying["most"], flying["now"])
                status = 200 if self.path in server.paths else 404
                if self.path == server.paths[-1] and statuses:
                    status = statuses.pop(0)
            time.sleep(delay)
            answer = server.reply(self.path, body) if status == 200 else {"error": {"message": "no"}}
            with lock:
                flying["now"] -= self.path == server.paths[-1]
            self.reply(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    with listening(Handler) as url:
        yield url, seen, flying


def scorer(url, parallel=4, retries=2, **extra_body):
    return ServerScorer(Requests(url, "m", parallel, 5.0, retries), extra_body)


def scored(server, seen):
    return [body for path, body in seen if path == server.paths[-1]]


@pytest.mark.parametrize("server", [Vllm(), LlamaServer(), LlamaCppServer()], ids=lambda server: type(server).__name__)
def test_scores_are_the_servers_log_likelihoods(server):
    """Catches an answer that is scored a token too early or late, answers of other pairs, and another template."""
    with answering(server, delay=0.002) as (url, _, flying):
        parallel = 4 if server.paths == LlamaCppServer.paths else 4 * MAX_PAIRS_PER_REQUEST
        scores = scorer(url, parallel).score(PROMPTS, CANDIDATES)
    truth = [[expected(prompt, candidate) for candidate in CANDIDATES] for prompt in PROMPTS]
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, truth, rtol=1e-9)
    assert 2 <= flying["most"] <= 4


def test_pairs_share_requests_where_servers_take_lists():
    pairs = len(PROMPTS) * len(CANDIDATES)
    with answering(Vllm()) as (url, seen, _):
        scorer(url, parallel=64).score(PROMPTS, CANDIDATES)
        sizes = [len(body["prompt"]) for body in scored(Vllm, seen)]
    # --parallel bounds the pairs in flight.
    with answering(Vllm(), delay=0.002) as (url, seen, flying):
        scorer(url, parallel=3).score(PROMPTS[:1], CANDIDATES)
        assert (max(len(body["prompt"]) for body in scored(Vllm, seen)), flying["most"]) == (3, 1)
    assert (sum(sizes), max(sizes), len(sizes)) == (
        pairs,
        MAX_PAIRS_PER_REQUEST,
        -(-pairs // MAX_PAIRS_PER_REQUEST) + 1,
    )
    with answering(LlamaServer()) as (url, seen, _):
        scorer(url, parallel=64).score(PROMPTS, CANDIDATES)
        assert len(scored(LlamaServer, seen)) == len(CANDIDATES) + 1


def test_a_server_that_stumbles_is_asked_again(monkeypatch):
    monkeypatch.setattr("jaxteach.llm.server_requests.INITIAL_BACKOFF_S", 0.001)
    with answering(Vllm(), statuses=[200, 503, 200, 429, 500]) as (url, _, _):
        asked = scorer(url, parallel=1)
        scores = asked.score(PROMPTS, CANDIDATES)
    assert np.isfinite(scores).all()
    assert asked.request_stats()["retries"] == 3


class Hosted(Vllm):
    """As most hosted servers: chats alone."""

    paths = ("/v1/chat/completions",)


class Silent(Vllm):
    """Has the addresses, and leaves probabilities of prompts out."""

    def reply(self, path, body):
        answer = super().reply(path, body)
        return answer if path == "/tokenize" else {"choices": [{"index": 0, "text": "hm", "logprobs": None}]}


class Limited(Silent):
    """Gives those of the written tokens alone."""

    def reply(self, path, body):
        answer = super().reply(path, body)
        return answer if path == "/tokenize" else {"choices": [{"index": 0, "logprobs": {"token_logprobs": [-1.0]}}]}


class Shifted(Vllm):
    """Leaves the token of the beginning out."""

    def reply(self, path, body):
        answer = super().reply(path, body)
        for choice in answer.get("choices", []):
            del choice["logprobs"]["token_logprobs"][0]
        return answer


class WithoutGrammar(LlamaCppServer):
    """Writes what it likes."""

    def reply(self, path, body):
        answer = super().reply(path, body)
        for choice in answer.get("choices", []):
            choice["message"]["content"] = "x"
        return answer


class Infinite(Vllm):
    """Gives probabilities that are none."""

    def reply(self, path, body):
        answer = super().reply(path, body)
        for choice in answer.get("choices", []):
            choice["logprobs"]["token_logprobs"][-2] = float("nan")
        return answer


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (WithoutGrammar(), "answers without the log-probabilities of given tokens"),
        (Infinite(), "answers without the log-probabilities of given tokens"),
        (Hosted(), "gives no probabilities of given answers"),
        (Silent(), "answers without the log-probabilities of given tokens"),
        (Limited(), "answers without the log-probabilities of given tokens"),
        (Shifted(), "answers without the log-probabilities of given tokens"),
    ],
)
def test_a_server_without_log_probs_is_refused_after_one_pair(server, words, monkeypatch):
    monkeypatch.setattr("jaxteach.llm.server_requests.INITIAL_BACKOFF_S", 0.001)
    with answering(server) as (url, seen, _), pytest.raises(UserError, match=words) as refusal:
        scorer(url, retries=0).score(PROMPTS, CANDIDATES)
    assert "leave --score out" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert all(len(body.get("prompt", [0])) == 1 for body in scored(server, seen))
    assert len(scored(server, seen)) <= 1


def test_a_server_without_logits_all_is_not_retried():
    class Handler(QuietHandler):
        def do_POST(self):
            body = self.body()
            if self.path == "/extras/tokenize":
                return self.reply(200, json.dumps({"tokens": ids(body["input"])}).encode())
            chat = self.path == "/v1/chat/completions"
            message = "logprobs is not supported for models created with logits_all=False"
            return self.reply(500 if chat else 404, json.dumps({"error": {"message": message}}).encode())

    with listening(Handler) as url, pytest.raises(UserError, match=r"start llama_cpp\.server with --logits_all"):
        scorer(url, retries=6).score(PROMPTS, CANDIDATES)


def test_the_chat_template_gets_its_arguments_and_requests_get_all_fields():
    more = {"chat_template_kwargs": {"enable_thinking": False}, "priority": 1}
    with answering(Vllm()) as (url, seen, _):
        asked = scorer(url, **more)
        asked.score(PROMPTS[:1], CANDIDATES[:1])
    templated = [body for path, body in seen if path == "/tokenize" and "messages" in body]
    assert templated
    assert all(body["chat_template_kwargs"] == more["chat_template_kwargs"] for body in templated)
    assert not any("priority" in body for body in templated)
    assert scored(Vllm, seen)[-1]["priority"] == 1
    assert asked.identity["extra_body"] == more
