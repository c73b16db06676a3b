"""The log-likelihood of given answers from servers: vLLM and SGLang, llama.cpp's llama-server, and llama_cpp.server.

The server itself puts the prompt into the model's chat template, as it does when it is asked, and the answer follows in
its usual tokens, as in `LocalClient.score`.
"""

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import openai

from jaxteach.errors import UserError
from jaxteach.llm.completions import Malformed, read_document
from jaxteach.llm.server_requests import Connection, Requests, Unanswered

MAX_PAIRS_PER_REQUEST: Final = 16
TEMPLATE: Final = "chat_template_kwargs"
NO_LOG_PROBS: Final = "answers without the log-probabilities of given tokens"


class Pair(NamedTuple):
    """A prompt and a candidate for its answer, by their numbers."""

    prompt: int
    candidate: int


class ScoringApi(Protocol):
    """How servers of one kind score pairs.

    `prompts` and `candidates` are what `encode_prompt` and `tokenize` made of them.
    """

    max_pairs: int
    """the most pairs in a request"""
    same_candidate: bool
    """whether they must have the same candidate"""

    async def encode_prompt(self, connection: Connection, text: str) -> Any:
        """The prompt as `body` wants it; None where the server is of another kind."""
        ...

    async def tokenize(self, connection: Connection, text: str) -> list[int]:
        """The candidate's tokens."""
        ...

    def body(self, prompts: Sequence[Any], candidates: Sequence[list[int]]) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request about pairs of prompts and candidates."""
        ...

    def log_probs(self, answer: Any, prompts: Sequence[Any], candidates: Sequence[list[int]]) -> list[list[float]]:
        """The log-probabilities of the candidates' tokens in a response; fails with any error if they aren't there."""
        ...


class ServerScorer:
    """Scores answers through a server; see `Scorer`.

    Args:
        requests: how it is reached.
        extra_body: more fields of each request.
    """

    def __init__(self, requests: Requests, extra_body: Mapping[str, Any]) -> None:
        self._requests, self._extra_body = requests, extra_body

    @property
    def identity(self) -> dict[str, Any]:
        """See `Scorer`."""
        more = {"extra_body": dict(self._extra_body)} if self._extra_body else {}
        where = {"backend": "openai", "base_url": self._requests.base_url, "model": self._requests.model}
        return {**where, **more, "grammar": None}

    def request_stats(self) -> dict[str, Any]:
        """See `Scorer`."""
        return dict(self._requests.sent)

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """See `Scorer`.

        Raises:
            UserError: the server gives no log-probabilities of given answers, or does not answer.
        """
        api = self._detect_api(prompts[0])
        prompt_codes = self._map(prompts, api.encode_prompt)
        candidate_tokens = self._map(candidates, api.tokenize)
        scores = np.full((len(prompts), len(candidates)), -np.inf)

        async def work(connection: Connection, pairs: list[Pair]) -> list[float]:
            asked = [prompt_codes[pair.prompt] for pair in pairs], [candidate_tokens[pair.candidate] for pair in pairs]
            path, body = api.body(*asked)
            body = {"model": self._requests.model, **self._extra_body, **body}
            return await self._requests.post(
                connection, path, body, lambda content: _log_likelihoods(api, content, *asked)
            )

        # One pair goes ahead, so that a server that can't do it is found out before it is asked about all.
        size = min(api.max_pairs, self._requests.parallel)
        first, *others = _batches(api, len(prompts), len(candidates), size)
        for jobs in ([first[:1]], [first[1:], *others]):
            waiting = deque(job for job in jobs if job)
            with closing(self._requests.run_concurrently(waiting, work, self._requests.parallel // size)) as results:
                for pairs, found in results:
                    if isinstance(found, Unanswered):
                        raise UserError(f"{found}; nothing is scored; run the same command again, or leave --score out")
                    for pair, score in zip(pairs, found):
                        scores[pair] = score
        return scores

    def _detect_api(self, prompt: str) -> ScoringApi:
        """How this server is asked.

        Raises:
            UserError: it is of no known kind.
        """
        for api in (LlamaServerApi(self._requests, self._extra_body), VllmApi(self._requests, self._extra_body)):
            if self._map([prompt], api.encode_prompt)[0] is not None:
                return api
        api = LlamaCppPythonApi(self._requests, self._extra_body)
        if self._map([prompt], api.tokenize)[0]:
            return api
        raise UserError(
            f"{self._requests.base_url} gives no probabilities of given answers, as vLLM, SGLang, llama-server and "
            "llama_cpp.server do; leave --score out, and answers are sampled"
        )

    def _map(self, texts: Sequence[str], work: Any) -> list[Any]:
        """What `work` makes of each text, in order.

        Raises:
            UserError: the server does not answer.
        """
        jobs = deque(enumerate(texts))
        found: dict[int, Any] = {}
        each = self._requests.run_concurrently(jobs, lambda connection, job: work(connection, job[1]))
        with closing(each) as results:
            for (i, _), result in results:
                if isinstance(result, Unanswered):
                    raise UserError(str(result))
                found[i] = result
        return [found[i] for i in range(len(texts))]


class VllmApi:
    """vLLM and SGLang: `tokenize` applies the chat template, `completions` echoes tokens with their probabilities."""

    max_pairs, same_candidate = MAX_PAIRS_PER_REQUEST, False

    def __init__(self, requests: Requests, extra_body: Mapping[str, Any]) -> None:
        self._requests, self._template = requests, _template_fields(extra_body)

    async def encode_prompt(self, connection: Connection, text: str) -> Any:
        body = {"model": self._requests.model, "messages": _messages(text), "add_generation_prompt": True}
        return _tokens(await _post_if_supported(self._requests, connection, "tokenize", body | self._template))

    async def tokenize(self, connection: Connection, text: str) -> list[int]:
        body = {"model": self._requests.model, "prompt": text, "add_special_tokens": False}
        return _tokens(await _post_if_supported(self._requests, connection, "tokenize", body)) or []

    def body(self, prompts: Sequence[Any], candidates: Sequence[list[int]]) -> tuple[str, dict[str, Any]]:
        tokens = [prompt + candidate for prompt, candidate in zip(prompts, candidates)]
        return "completions", {"prompt": tokens, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 1.0}

    def log_probs(self, answer: Any, prompts: Sequence[Any], candidates: Sequence[list[int]]) -> list[list[float]]:
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        given = [choice["logprobs"]["token_logprobs"] for choice in choices]
        # The first token has no probability; without it, all others would be taken for their neighbours.
        lengths = [len(row) - len(p) - len(c) for row, p, c in zip(given, prompts, candidates, strict=True)]
        # One more token is the one that is generated.
        if any(row[0] is not None for row in given) or not {*lengths} <= {0, 1}:
            raise ValueError("other tokens")
        return [row[len(p) : len(p) + len(c)] for row, p, c in zip(given, prompts, candidates, strict=True)]


class LlamaServerApi:
    """llama-server: a grammar of tokens makes it write the candidate, and it tells the model's own probabilities."""

    max_pairs, same_candidate = MAX_PAIRS_PER_REQUEST, True

    def __init__(self, requests: Requests, extra_body: Mapping[str, Any]) -> None:
        self._requests, self._template = requests, _template_fields(extra_body)

    async def encode_prompt(self, connection: Connection, text: str) -> Any:
        body = {"messages": _messages(text), **self._template}
        prompt = (await _post_if_supported(self._requests, connection, "apply-template", body)).get("prompt")
        return prompt if isinstance(prompt, str) else None

    async def tokenize(self, connection: Connection, text: str) -> list[int]:
        body = {"content": text, "add_special": False, "parse_special": False}
        return _tokens(await _post_if_supported(self._requests, connection, "tokenize", body)) or []

    def body(self, prompts: Sequence[Any], candidates: Sequence[list[int]]) -> tuple[str, dict[str, Any]]:
        fields = {"n_predict": len(candidates[0]), "n_probs": 1, "temperature": 1.0, "post_sampling_probs": False}
        path = self._requests.url_outside_api("completion")
        return path, {"prompt": list(prompts), "grammar": _forcing_grammar(candidates[0]), **fields}

    def log_probs(self, answer: Any, prompts: Sequence[Any], candidates: Sequence[list[int]]) -> list[list[float]]:
        rows = sorted(answer if isinstance(answer, list) else [answer], key=lambda row: row["index"])
        written = [row["completion_probabilities"] for row in rows]
        if [[token["id"] for token in row] for row in written] != list(candidates):
            raise ValueError("other tokens")
        return [[token["logprob"] for token in row] for row in written]


class LlamaCppPythonApi:
    """llama_cpp.server: as `LlamaServerApi`, but in a chat with one prompt.

    Its `completions` with `echo` shift the probabilities by a token for models that have no token of the beginning.
    """

    max_pairs, same_candidate = 1, True

    def __init__(self, requests: Requests, extra_body: Mapping[str, Any]) -> None:
        self._requests = requests
        self._texts: dict[tuple[int, ...], str] = {}

    async def encode_prompt(self, connection: Connection, text: str) -> Any:
        return text

    async def tokenize(self, connection: Connection, text: str) -> list[int]:
        body = {"model": self._requests.model, "input": text}
        tokens = _tokens(await _post_if_supported(self._requests, connection, "extras/tokenize", body)) or []
        self._texts[tuple(tokens)] = text
        return tokens

    def body(self, prompts: Sequence[Any], candidates: Sequence[list[int]]) -> tuple[str, dict[str, Any]]:
        (prompt,), (tokens,) = prompts, candidates
        fields = {"max_tokens": len(tokens), "logprobs": True, "top_logprobs": 1, "temperature": 1.0}
        return "chat/completions", {"messages": _messages(prompt), "grammar": _forcing_grammar(tokens), **fields}

    def log_probs(self, answer: Any, prompts: Sequence[Any], candidates: Sequence[list[int]]) -> list[list[float]]:
        (choice,), (tokens,) = answer["choices"], candidates
        if choice["message"]["content"].strip() != self._texts[tuple(tokens)].strip():
            raise ValueError("other tokens")
        return [[token["logprob"] for token in choice["logprobs"]["content"]]]


def _batches(api: ScoringApi, num_prompts: int, num_candidates: int, size: int) -> list[list[Pair]]:
    """All pairs, at most `size` in a request."""
    if api.same_candidate:
        rows = [[Pair(i, j) for i in range(num_prompts)] for j in range(num_candidates)]
    else:
        rows = [[Pair(i, j) for i in range(num_prompts) for j in range(num_candidates)]]
    return [row[start : start + size] for row in rows for start in range(0, len(row), size)]


def _log_likelihoods(
    api: ScoringApi, content: bytes, prompts: Sequence[Any], candidates: Sequence[list[int]]
) -> list[float]:
    """The log-likelihood of each candidate in a response.

    Raises:
        Malformed: it isn't there.
    """
    try:
        rows = api.log_probs(json.loads(content), prompts, candidates)
        if [len(row) for row in rows] != [len(candidate) for candidate in candidates]:
            raise ValueError("other tokens")
        sums = [float(sum(row)) for row in rows]
        if not all(map(math.isfinite, sums)):
            raise ValueError("no probabilities")
        return sums
    except (ValueError, TypeError, LookupError, RecursionError):
        raise Malformed(NO_LOG_PROBS) from None


async def _post_if_supported(
    requests: Requests, connection: Connection, path: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """The answer of something that not every server has; empty where this one lacks it."""
    try:
        return await requests.post(connection, requests.url_outside_api(path), body, _read_leniently)
    except Unanswered as error:
        if isinstance(error.error, openai.APIStatusError) and error.error.status_code in (400, 404, 405, 422, 501):
            return {}
        raise


def _read_leniently(content: bytes) -> dict[str, Any]:
    try:
        return read_document(content)
    except Malformed:
        return {}


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _template_fields(extra_body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that chat templates read."""
    return {name: value for name, value in extra_body.items() if name == TEMPLATE}


def _tokens(answer: Mapping[str, Any]) -> list[int] | None:
    tokens = answer.get("tokens")
    return tokens if isinstance(tokens, list) and tokens and all(isinstance(token, int) for token in tokens) else None


def _forcing_grammar(tokens: Sequence[int]) -> str:
    """A grammar, in llama.cpp's form, that allows these tokens alone."""
    return "root ::= " + " ".join(f"<[{token}]>" for token in tokens)
