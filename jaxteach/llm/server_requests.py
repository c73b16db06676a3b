"""Sends requests to an OpenAI-compatible server, several at once, with retries."""

import asyncio
import os
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit

import openai

from jaxteach.errors import UserError
from jaxteach.llm.completions import Malformed

NO_KEY: Final = "none"
INITIAL_BACKOFF_S, MAX_BACKOFF_S = 0.5, 30.0
MAX_RETRY_AFTER_S: Final = 600.0
"""No request is sent again to a server that asks for a longer pause."""
FATAL: Final = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.NotFoundError,
    openai.APIConnectionError,
)
SLOW: Final = (openai.APITimeoutError, TimeoutError)
"""How an answer that takes too long is raised, by the package and by `asyncio`."""

Connection: TypeAlias = openai.AsyncOpenAI

Job = TypeVar("Job")
Result = TypeVar("Result")
Body = TypeVar("Body")


class Unanswered(Exception):
    """A request has no answer; the message says why.

    Attributes:
        error: what the last attempt ended with.
        fatal: whether no other request can be answered either.
    """

    def __init__(self, reason: str, error: Exception) -> None:
        super().__init__(reason)
        self.error = error
        self.fatal = isinstance(error, FATAL)

    @property
    def refused(self) -> bool:
        """Whether the server refuses the request as it stands, so that another form may be taken."""
        return isinstance(self.error, openai.BadRequestError | openai.UnprocessableEntityError)

    @property
    def may_be_too_large(self) -> bool:
        """Whether a smaller request might be answered: the server was too slow, or failed by itself."""
        status = getattr(self.error, "status_code", 0)
        return isinstance(self.error, SLOW) or status == 413 or status >= 500


class Requests:
    """Sends requests to an OpenAI-compatible server, with retries, and counts them.

    Args:
        base_url: up to and including the version, such as http://localhost:8000/v1; None for a server that isn't asked.
        model: the model's name on the server.
        parallel: requests in flight.
        timeout: seconds for one answer, from the request to its last byte.
        retries: how often a failed request is sent again, with exponential backoff.
        api_key_env: the environment variable with the server's key, which is written nowhere.
        headers: more HTTP headers of each request.

    Attributes:
        sent: "requests" that were sent, and "retries", those among them that were sent again.

    Raises:
        UserError: the URL is not one.
    """

    def __init__(
        self,
        base_url: str | None,
        model: str,
        parallel: int,
        timeout: float,
        retries: int,
        api_key_env: str = "OPENAI_API_KEY",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = _split_url(base_url or "http://none")
        if parts is None:
            raise UserError(f"--base_url must be like http://localhost:8000/v1, not {base_url}")
        if parts.username or parts.password or parts.query:
            raise UserError(f"--base_url must not hold a key; put it into the environment variable {api_key_env}")
        self.base_url, self.model, self.parallel = base_url, model, parallel
        self.timeout, self.retries, self.api_key_env = timeout, retries, api_key_env
        self._headers = dict(headers or {})
        # Batches in files need no key.
        self._key = (os.environ.get(api_key_env, "").strip() if base_url else "") or NO_KEY
        if not _is_plain(self._key):
            raise UserError(f"the key in {api_key_env} has characters that no key has; set it again")
        wrong = next(
            (name for name, value in self._headers.items() if not (_is_plain(name) and _is_plain(value))), None
        )
        if wrong is not None:
            raise UserError(f"the header {wrong!r} in --headers must be printable ASCII, and so must its value")
        self.sent = Counter(requests=0, retries=0)

    def url_outside_api(self, path: str) -> str:
        """The URL of a path that is not part of OpenAI's API, such as `tokenize`."""
        return f"{str(self.base_url).rstrip('/').removesuffix('/v1')}/{path}"

    def connect(self) -> Connection:
        """A connection for many requests, a context manager."""
        options: Any = {"default_headers": self._headers, "max_retries": 0, "timeout": None}
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=self._key, **options)

    async def post(
        self,
        connection: Connection,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[bytes], Body],
        divisible: bool = False,
    ) -> Body:
        """What `read` finds in the answer to a request, after as many attempts as it takes.

        Args:
            connection: from `connect`.
            path: below `base_url`, or a whole address.
            body: the request.
            read: raises `Malformed` for an outage that looks like an answer.
            divisible: smaller requests may be sent instead, so that a slow answer is waited for twice at most.

        Raises:
            Unanswered: there is no answer.
        """
        attempt = 0
        while True:
            self.sent.update(requests=1, retries=min(attempt, 1))
            try:
                request = connection.post(path, cast_to=bytes, body=dict(body))
                return read(await asyncio.wait_for(request, self.timeout))
            except (openai.APIConnectionError, openai.APIStatusError, Malformed, TimeoutError) as error:
                pause = _backoff(error, attempt)
                most = min(self.retries, 1) if divisible and isinstance(error, SLOW) else self.retries
                if attempt >= most or pause is None:
                    raise Unanswered(self._explain(error, path), error) from None
                await asyncio.sleep(pause)
            attempt += 1

    def run_concurrently(
        self, jobs: deque[Job], work: Callable[[Connection, Job], Awaitable[Result]], at_once: int | None = None
    ) -> Generator[tuple[Job, Result | Unanswered]]:
        """Each job with its result, as they come, at most `at_once` or `parallel` of them at a time.

        `jobs` may grow meanwhile. Close the generator to end before all are done.
        """
        with asyncio.Runner() as runner:
            results = self._results(jobs, work, at_once or self.parallel)
            try:
                while (found := runner.run(_next(results))) is not None:
                    yield found
            finally:
                runner.run(_close(results))

    async def _results(
        self, jobs: deque[Job], work: Callable[[Connection, Job], Awaitable[Result]], at_once: int
    ) -> AsyncIterator[tuple[Job, Result | Unanswered]]:
        async with self.connect() as connection:
            running: dict[asyncio.Future[Result], Job] = {}
            try:
                while jobs or running:
                    while jobs and len(running) < at_once:
                        job = jobs.popleft()
                        running[asyncio.ensure_future(work(connection, job))] = job
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        try:
                            result = task.result()
                        except Unanswered as error:
                            result = error
                        yield running.pop(task), result
            finally:
                for task in running:
                    task.cancel()

    def _explain(self, error: Exception, path: str) -> str:
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{self.base_url} refuses the key in {self.api_key_env}"
        if isinstance(error, openai.NotFoundError):
            return f"{self.base_url} has no model {self.model!r}, or no path {path}"
        if isinstance(error, SLOW):
            return f"{self.base_url} did not answer in time; give a larger --timeout or a smaller --parallel"
        if isinstance(error, openai.APIConnectionError):
            return f"can't reach a server at {self.base_url}: {error.__cause__ or error}"
        if isinstance(error, Malformed):
            return f"{self.base_url} {error}"
        advice = "; start llama_cpp.server with --logits_all true" if _lacks_logits(error) else ""
        return f"{self.base_url} failed: {message_of(error)}{advice}"


def _split_url(url: str) -> SplitResult | None:
    """The parts of a web address; None for one that leads nowhere."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and url.isascii() and parts.port != 0
    except ValueError:
        return None
    return parts if usable and ".." not in str(parts.hostname) else None


def _is_plain(text: str) -> bool:
    """Whether a text may stand in a header."""
    return text.isascii() and text.isprintable()


def message_of(error: Exception) -> str:
    """What a server says, in one line."""
    return " ".join(str(error).split())[:300]


def _backoff(error: Exception, attempt: int) -> float | None:
    """Seconds before a request is sent again: what the server asks for, or longer each time; None for never."""
    if isinstance(error, openai.APIStatusError):
        retried = error.status_code in (408, 409, 429) or error.status_code >= 500
        if not retried or _lacks_logits(error):
            return None
        wanted = _retry_after(error.response.headers.get("retry-after"))
        if wanted is not None:
            return wanted if wanted <= MAX_RETRY_AFTER_S else None
    return min(MAX_BACKOFF_S, INITIAL_BACKOFF_S * 2**attempt) * random.uniform(0.75, 1)


def _lacks_logits(error: Exception) -> bool:
    """Whether llama_cpp.server was started without what scoring needs, which it reports with the status 500."""
    return "logits_all" in str(error)


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


async def _next(results: AsyncIterator[Any]) -> Any:
    return await anext(results, None)


async def _close(results: Any) -> None:
    await results.aclose()
