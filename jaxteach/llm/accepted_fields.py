"""Which fields of a request a server accepts, learnt from what it refuses."""

import re
from collections.abc import Mapping
from typing import Any, Final

NEUTRAL_SAMPLING: Final = {"repeat_penalty": 1.0, "repetition_penalty": 1.0, "top_k": 2**20, "min_p": 0.0}
"""Switches off what servers do to the model's probabilities by default, in the names of llama.cpp, vLLM and SGLang.
All of them accept so large a top_k; some refuse 0 and -1."""
MAX_N: Final = 128
"""OpenAI's limit of `n`."""
MENTIONS_N: Final = re.compile(r"(?<![\w\\])n(?!\w)|\bchoices?\b")
"""Finds `n` in a refusal in lower case, where it is not the end of an escaped line."""
DROPPED_BY_NAME: Final = ("max_tokens", "temperature", "top_p", "seed")


class AcceptedFields:
    """What is sent to a server, and what is left out from the first refusal on.

    Args:
        extra_body: the user's own fields of each request, which are never left out.

    Attributes:
        dropped: fields that the server has refused by their names.
        neutral: whether requests have the fields of `NEUTRAL_SAMPLING`.
        max_n: the most samples in a request.
        suspects_n: the prompts whose request was refused, perhaps for `n`, with whether it had the fields of
            `NEUTRAL_SAMPLING`; their samples are asked for one by one.
    """

    def __init__(self, extra_body: Mapping[str, Any]) -> None:
        self._extra_body = extra_body
        self.dropped: set[str] = set()
        self.max_n = MAX_N
        self.suspects_n: dict[str, bool] = {}
        self.try_neutral()

    def try_neutral(self) -> None:
        """Sends `NEUTRAL_SAMPLING` until the server refuses it."""
        self.neutral, self._neutral_settled = True, False

    def omit_neutral(self) -> None:
        """Sends no `NEUTRAL_SAMPLING`."""
        self.neutral, self._neutral_settled = False, True

    @property
    def refused(self) -> list[str]:
        """The fields that the server refuses, sorted."""
        neutral = set() if self.neutral else set(NEUTRAL_SAMPLING) - set(self._extra_body)
        # max_tokens is sent as max_completion_tokens instead.
        return sorted((self.dropped - {"max_tokens"}) | neutral)

    def drop_refused_field(self, error: Exception, body: Mapping[str, Any], prompt: str, neutral: bool) -> bool:
        """Drops what a request was probably refused for; False where nothing is left to drop.

        Args:
            error: the refusal.
            body: the request.
            prompt: the request's prompt.
            neutral: whether it had the fields of `NEUTRAL_SAMPLING`.
        """
        text = str(error).lower()
        if "unsupported" in text or "not support" in text:
            found = next((name for name in DROPPED_BY_NAME if name in body and f"'{name}'" in text), None)
            if found and found not in self._extra_body:
                self.dropped.add(found)
                return True
        if "n" in body and "n" not in self._extra_body and not any(name in text for name in NEUTRAL_SAMPLING):
            if MENTIONS_N.search(text):
                self.max_n = 1
            else:
                self.suspects_n[prompt] = neutral
            return True
        if neutral and not (self.neutral and self._neutral_settled):
            self.neutral = False
            return True
        return False

    def restore(self, prompt: str) -> None:
        """Takes back what was dropped on suspicion, since a request about this prompt failed without it too."""
        if not self._neutral_settled:
            self.neutral = True
        self.suspects_n.pop(prompt, None)

    def confirm(self, prompt: str, neutral: bool, asked: int, answered: int) -> None:
        """Settles what the server accepts after a success.

        Args:
            prompt: that of the request.
            neutral: whether the request had the fields of `NEUTRAL_SAMPLING`.
            asked: the samples that it asked for.
            answered: the samples in the response.
        """
        if not self._neutral_settled:
            self.neutral, self._neutral_settled = neutral, True
        # The same request, but for n, has been refused.
        if asked == 1 and self.suspects_n.pop(prompt, None) is neutral:
            self.max_n = 1
        if answered < asked:
            self.max_n = min(self.max_n, answered)
