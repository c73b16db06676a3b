"""A model behind an OpenAI-compatible server: vLLM, llama.cpp's server, Ollama, SGLang, or a hosted one."""

import asyncio
import os
import random
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final
from urllib.parse import urlsplit

import openai

from jaxteach.errors import UserError
from jaxteach.llm.client import Answer, Question
from jaxteach.llm.completions import Malformed, read_completion
from jaxteach.llm.constraints import FORMS, PROBE, PROBE_PROMPT, Constraint, obeys_probe

NO_KEY: Final = "none"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LONGEST_WAIT_S: Final = 600.0
"""A server that wants a longer pause is not waited for."""
KEPT: Final = "the answers so far are kept, run the same command again to go on"


@dataclass(frozen=True)
class Sampling:
    """How a server samples; what is None is left to the server.

    Attributes:
        temperature: 0 takes the likeliest token.
        max_tokens: the longest answer, thoughts included.
        seed: of all draws, for servers that honour seeds.
        top_p: nucleus sampling.
        reasoning_effort: how much a reasoning model thinks.
        extra_body: more fields of each request.
    """

    temperature: float
    max_tokens: int
    seed: int
    top_p: float | None = None
    reasoning_effort: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)


class Unanswered(Exception):
    """A question has no answer; the message says why.

    Attributes:
        ends: whether no other question can have one either.
    """

    def __init__(self, reason: str, ends: bool) -> None:
        super().__init__(reason)
        self.ends = ends


class ServerClient:
    """Many requests side by side, so that the server can batch them.

    Args:
        base_url: up to and including the version, such as http://localhost:8000/v1; None for batches in files.
        model: the model's name on the server.
        sampling: how answers are sampled.
        constraint: what answers may be, None for free answers; the server is asked once how it takes it.
        parallel: requests in flight.
        timeout: seconds for one answer, from the request to its last byte.
        retries: how often a failed request is sent again, after growing pauses.
        api_key_env: the environment variable with the server's key, which is written nowhere.
        headers: more HTTP headers of each request.

    Raises:
        UserError: the URL is not one, or the server ignores constraints, or can't be reached to find that out.
    """

    def __init__(
        self,
        base_url: str | None,
        model: str,
        sampling: Sampling,
        constraint: Constraint | None,
        parallel: int,
        timeout: float,
        retries: int,
        api_key_env: str = "OPENAI_API_KEY",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = urlsplit(base_url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"--base_url must be like http://localhost:8000/v1, not {base_url}")
        if parts.username or parts.password or parts.query:
            raise UserError(f"--base_url must not hold a key; put it into the environment variable {api_key_env}")
        self.base_url, self.model, self.sampling, self._constraint = base_url, model, sampling, constraint
        self.parallel, self.timeout, self.retries, self.api_key_env = parallel, timeout, retries, api_key_env
        self._headers = dict(headers or {})
        self._left_out: set[str] = set()
        self._constrain: dict[str, Any] = {}
        self.form = None if constraint is None else self._find_form(constraint)

    @property
    def identity(self) -> dict[str, Any]:
        """See `Client`."""
        sampling = self.sampling
        given = {"top_p": sampling.top_p, "reasoning_effort": sampling.reasoning_effort}
        more = {name: value for name, value in given.items() if value is not None}
        return {
            "backend": "openai",
            "base_url": self.base_url,
            "model": self.model,
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "grammar": None if self._constraint is None else self._constraint.grammar,
            **({} if self.form in (None, "grammar") else {"form": self.form}),
            **more,
            **({"extra_body": dict(sampling.extra_body)} if sampling.extra_body else {}),
        }

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """See `Client`."""
        if self.base_url is None:
            raise UserError(f"{len(questions)} answers are missing; give --base_url, and the server is asked for them")
        with asyncio.Runner() as runner:
            answers = self._answers(questions)
            try:
                while (found := runner.run(_next(answers))) is not None:
                    yield found
            finally:
                runner.run(_close(answers))

    def _find_form(self, constraint: Constraint) -> str:
        """How the server takes a constraint: in the first form in which it obeys one that allows a single answer."""
        for name, form in FORMS.items():
            self._constrain = form(PROBE)
            with asyncio.Runner() as runner:
                if obeys_probe(runner.run(self._probe())):
                    self._constrain = form(constraint)
                    return name
        raise UserError(
            f"{self.base_url} ignores constraints: it takes none of {', '.join(FORMS)}; leave --structured out, and "
            "answers that are not plans are counted as rejects"
        )

    async def _probe(self) -> str:
        """The answer to a probe; nothing where the server refuses its form."""
        async with self._connect() as client:
            try:
                return await self._answer(client, Question(PROBE_PROMPT, 0))
            except Unanswered as error:
                if error.ends:
                    raise UserError(f"{error}; {KEPT}") from None
                return ""

    def _connect(self) -> openai.AsyncOpenAI:
        key = os.environ.get(self.api_key_env) or NO_KEY
        options: Any = {"default_headers": self._headers, "max_retries": 0, "timeout": None}
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=key, **options)

    async def _answers(self, questions: Sequence[Question]) -> AsyncIterator[tuple[Question, Answer]]:
        """The answers as they come; what has none is reported after all others."""
        failures: list[str] = []
        async with self._connect() as client:
            waiting, running = list(reversed(questions)), {}
            try:
                while waiting or running:
                    while waiting and len(running) < self.parallel:
                        question = waiting.pop()
                        running[asyncio.create_task(self._answer(client, question))] = question
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        question = running.pop(task)
                        try:
                            yield question, task.result()
                        except Unanswered as error:
                            failures.append(str(error))
                            if error.ends:
                                waiting.clear()
            finally:
                for task in running:
                    task.cancel()
        if failures:
            missing = f"{len(failures)} of {len(questions)} questions have no answer; " if len(failures) > 1 else ""
            raise UserError(f"{max(failures, key=failures.count)}; {missing}{KEPT}")

    async def _answer(self, client: openai.AsyncOpenAI, question: Question) -> Answer:
        """One answer, after as many attempts as it takes."""
        for attempt in range(self.retries + 1):
            try:
                return await self._attempt(client, question)
            except (openai.APIConnectionError, openai.APIStatusError, Malformed, TimeoutError) as error:
                if self._mends(error):
                    return await self._answer(client, question)
                if _is_refusal(error):
                    return Answer(_message(error), "refused")
                pause = _pause(error, attempt)
                if attempt == self.retries or pause is None:
                    raise Unanswered(self._explain(error), _ends_all(error)) from None
                await asyncio.sleep(pause)
        raise AssertionError

    async def _attempt(self, client: openai.AsyncOpenAI, question: Question) -> Answer:
        request = client.chat.completions.with_raw_response.create(**self._request(question))
        response = await asyncio.wait_for(request, self.timeout)
        return read_completion(response.http_response.content)

    def _request(self, question: Question) -> Any:
        """The fields of a request, without those that the server refuses."""
        sampling = self.sampling
        limit = "max_completion_tokens" if "max_tokens" in self._left_out else "max_tokens"
        fields: dict[str, Any] = {
            "temperature": sampling.temperature,
            "seed": zlib.crc32(f"{sampling.seed} {question.sample} {question.prompt}".encode()) >> 1,
            "top_p": sampling.top_p,
            "reasoning_effort": sampling.reasoning_effort,
            limit: sampling.max_tokens,
        }
        extra = dict(sampling.extra_body) | self._constrain
        kept = {name: value for name, value in fields.items() if value is not None and name not in self._left_out}
        messages = [{"role": "user", "content": question.prompt}]
        return {"model": self.model, "messages": messages, **kept, "extra_body": extra or None}

    def body(self, question: Question) -> dict[str, Any]:
        """A request's body, as in a batch."""
        request = self._request(question)
        return {name: value for name, value in request.items() if name != "extra_body"} | (request["extra_body"] or {})

    def _mends(self, error: Exception) -> bool:
        """Whether the server refuses a field that can be left out, as some models do; it is, from then on."""
        if not isinstance(error, openai.BadRequestError):
            return False
        text = str(error).lower()
        if "unsupported" not in text and "not support" not in text:
            return False
        found = [name for name in ("max_tokens", "temperature", "top_p", "seed") if f"'{name}'" in text]
        new = set(found[:1]) - self._left_out
        self._left_out |= new
        return bool(new)

    @property
    def left_out(self) -> list[str]:
        """The options that the server's model refuses, and that are left out."""
        return sorted(self._left_out - {"max_tokens"})

    def _explain(self, error: Exception) -> str:
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{self.base_url} refuses the key in {self.api_key_env}"
        if isinstance(error, openai.NotFoundError):
            return f"{self.base_url} has no model {self.model!r} or no chat completions"
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return f"{self.base_url} did not answer in time; give a larger --timeout"
        if isinstance(error, openai.APIConnectionError):
            return f"can't reach a server at {self.base_url}: {error.__cause__ or error}"
        if isinstance(error, Malformed):
            return f"{self.base_url} {error}"
        return f"{self.base_url} failed: {_message(error)}"


def _message(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _is_refusal(error: Exception) -> bool:
    """Whether a content filter refuses the prompt, which it always will."""
    code = str(getattr(error, "code", None) or "") + _message(error)
    return isinstance(error, openai.BadRequestError) and ("content_filter" in code or "content_policy" in code)


def _ends_all(error: Exception) -> bool:
    """Whether every other question would fail likewise."""
    ends = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError, openai.APIConnectionError)
    return isinstance(error, ends)


def _pause(error: Exception, attempt: int) -> float | None:
    """Seconds before a request is sent again: what the server asks for, or longer each time; None for never."""
    if isinstance(error, openai.APIStatusError):
        if error.status_code not in (408, 409, 429) and error.status_code < 500:
            return None
        wanted = _retry_after(error.response.headers.get("retry-after"))
        if wanted is not None:
            return wanted if wanted <= LONGEST_WAIT_S else None
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt) * random.uniform(0.75, 1)


def _retry_after(header: str | None) -> float | None:
    """The seconds that a Retry-After header names, as a number or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except ValueError:
        return None


async def _next(answers: AsyncIterator[Any]) -> Any:
    return await anext(answers, None)


async def _close(answers: Any) -> None:
    await answers.aclose()
