"""Requests to a server, side by side, each sent again until it is answered or can't be."""

import asyncio
import os
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import openai

from jaxteach.errors import UserError
from jaxteach.llm.completions import Malformed

NO_KEY: Final = "none"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LONGEST_WAIT_S: Final = 600.0
"""A server that wants a longer pause is not waited for."""

Connection: TypeAlias = openai.AsyncOpenAI
Job = TypeVar("Job")
Result = TypeVar("Result")
Body = TypeVar("Body")


class Unanswered(Exception):
    """A request has no answer; the message says why.

    Attributes:
        error: what the last attempt ended with.
        ends: whether no other request can be answered either.
    """

    def __init__(self, reason: str, error: Exception) -> None:
        super().__init__(reason)
        self.error = error
        ends = openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError, openai.APIConnectionError
        self.ends = isinstance(error, ends)

    @property
    def refused(self) -> bool:
        """Whether the server refuses the request as it stands, so that another form may be taken."""
        return isinstance(self.error, openai.BadRequestError | openai.UnprocessableEntityError)


class Requests:
    """How requests are sent to a server, and how many were.

    Args:
        base_url: up to and including the version, such as http://localhost:8000/v1; None for a server that isn't asked.
        model: the model's name on the server.
        parallel: requests in flight.
        timeout: seconds for one answer, from the request to its last byte.
        retries: how often a failed request is sent again, after growing pauses.
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
        parts = urlsplit(base_url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"--base_url must be like http://localhost:8000/v1, not {base_url}")
        if parts.username or parts.password or parts.query:
            raise UserError(f"--base_url must not hold a key; put it into the environment variable {api_key_env}")
        self.base_url, self.model, self.parallel = base_url, model, parallel
        self.timeout, self.retries, self.api_key_env = timeout, retries, api_key_env
        self._headers = dict(headers or {})
        self.sent = Counter(requests=0, retries=0)

    def beside(self, path: str) -> str:
        """The address of what servers offer outside of OpenAI's API, such as `tokenize`."""
        return f"{str(self.base_url).rstrip('/').removesuffix('/v1')}/{path}"

    def connect(self) -> Connection:
        """A connection for many requests, a context manager."""
        key = os.environ.get(self.api_key_env) or NO_KEY
        options: Any = {"default_headers": self._headers, "max_retries": 0, "timeout": None}
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=key, **options)

    async def post(
        self, connection: Connection, path: str, body: Mapping[str, Any], read: Callable[[bytes], Body]
    ) -> Body:
        """What `read` finds in the answer to a request, after as many attempts as it takes.

        Args:
            connection: from `connect`.
            path: below `base_url`, or a whole address.
            body: the request.
            read: raises `Malformed` for an outage that looks like an answer.

        Raises:
            Unanswered: there is no answer.
        """
        for attempt in range(self.retries + 1):
            self.sent.update(requests=1, retries=min(attempt, 1))
            try:
                request = connection.post(path, cast_to=bytes, body=dict(body))
                return read(await asyncio.wait_for(request, self.timeout))
            except (openai.APIConnectionError, openai.APIStatusError, Malformed, TimeoutError) as error:
                pause = _pause(error, attempt)
                if attempt == self.retries or pause is None:
                    raise Unanswered(self._explain(error), error) from None
                await asyncio.sleep(pause)
        raise AssertionError

    def side_by_side(
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
        return f"{self.base_url} failed: {message_of(error)}"


def message_of(error: Exception) -> str:
    """What a server says, in one line."""
    return " ".join(str(error).split())[:300]


def _pause(error: Exception, attempt: int) -> float | None:
    """Seconds before a request is sent again: what the server asks for, or longer each time; None for never."""
    if isinstance(error, openai.APIStatusError):
        if error.status_code not in (408, 409, 429) and error.status_code < 500:
            return None
        # llama_cpp.server reports with 500 what it was not started for.
        if "logits_all" in str(error):
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


async def _next(results: AsyncIterator[Any]) -> Any:
    return await anext(results, None)


async def _close(results: Any) -> None:
    await results.aclose()
