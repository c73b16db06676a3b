"""A model behind an OpenAI-compatible server: vLLM, llama.cpp's server, Ollama, or a hosted one."""

import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final
from urllib.parse import urlsplit

import openai

from jaxteach.errors import UserError
from jaxteach.llm.client import Question

KEY_VARIABLE: Final = "OPENAI_API_KEY"
"""The environment variable with the server's key; it is never written anywhere."""
NO_KEY: Final = "none"


class ServerClient:
    """Many requests side by side, so that the server can batch them.

    Args:
        base_url: up to and including the version, such as http://localhost:8000/v1.
        model: the model's name on the server.
        temperature: of sampling.
        max_tokens: the longest answer.
        seed: of all draws, for servers that honour seeds.
        grammar: GBNF sent along as `grammar`, which llama.cpp's servers follow; None for free answers.
        parallel: requests in flight.
        timeout: seconds to wait for one answer.
        retries: how often a failed request is sent again, after growing pauses.

    Raises:
        UserError: the URL is not valid.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        temperature: float,
        max_tokens: int,
        seed: int,
        grammar: str | None,
        parallel: int,
        timeout: float,
        retries: int,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"--base_url must be like http://localhost:8000/v1, not {base_url}")
        if parts.username or parts.password or parts.query:
            raise UserError(f"--base_url must not hold a key; put it into the environment variable {KEY_VARIABLE}")
        self.base_url, self.model, self.temperature, self.max_tokens = base_url, model, temperature, max_tokens
        self.seed, self.grammar, self.parallel = seed, grammar, parallel
        key = os.environ.get(KEY_VARIABLE) or NO_KEY
        self._client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=retries)

    @property
    def identity(self) -> dict[str, Any]:
        """See `Client`."""
        return {
            "backend": "openai",
            "base_url": self.base_url,
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "grammar": self.grammar,
        }

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, str]]:
        """See `Client`."""
        with ThreadPoolExecutor(self.parallel) as pool:
            futures = {pool.submit(self._request, question): question for question in questions}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except openai.OpenAIError as error:
                raise UserError(self._explain(error)) from None
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _request(self, question: Question) -> str:
        draw = zlib.crc32(f"{self.seed} {question.sample} {question.prompt}".encode()) >> 1
        response = self._client.chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": question.prompt}],
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=draw,
            extra_body={"grammar": self.grammar} if self.grammar else None,
        )
        return (response.choices[0].message.content or "") if response.choices else ""

    def _explain(self, error: openai.OpenAIError) -> str:
        kept = "the answers so far are kept, run the same command again to go on"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{self.base_url} refuses the key in {KEY_VARIABLE}; {kept}"
        if isinstance(error, openai.NotFoundError):
            return f"{self.base_url} has no model {self.model!r} or no chat completions; {kept}"
        if isinstance(error, openai.APITimeoutError):
            return f"{self.base_url} did not answer in time; give a larger --timeout; {kept}"
        if isinstance(error, openai.APIConnectionError):
            return f"can't reach a server at {self.base_url}: {error.__cause__ or error}; {kept}"
        return f"{self.base_url} failed: {' '.join(str(error).split())[:300]}; {kept}"
