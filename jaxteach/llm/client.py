"""What every way to a language model offers: questions in, answers out as they come."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Question(NamedTuple):
    """One prompt, to be answered once; a question with another sample number is another draw."""

    prompt: str
    sample: int


class Answer(str):
    """A model's text, and how it came about.

    Attributes:
        finish: why the text ends: "stop", "length" where it was cut off, or "refused".
        thoughts: what a reasoning model thought, where the server keeps that apart.
        usage: numbers of tokens, "prompt_tokens" and "completion_tokens", as far as they are known.
        served: what the server says it serves: a model, and its fingerprint if it has one.
        refused_fields: the fields that the server refuses and was asked without, with commas between.
        following: how many more answers of the same response follow.
    """

    finish: str = "stop"
    thoughts: str = ""
    usage: dict[str, int]
    served: str = ""
    refused_fields: str = ""
    following: int = 0

    def __new__(
        cls,
        text: str,
        finish: str = "stop",
        thoughts: str = "",
        usage: dict[str, int] | None = None,
        served: str = "",
        refused_fields: str = "",
    ) -> "Answer":
        answer = super().__new__(cls, text)
        answer.finish, answer.thoughts, answer.usage, answer.served = finish, thoughts, usage or {}, served
        answer.refused_fields = refused_fields
        return answer


class Client(Protocol):
    """A language model that answers questions."""

    @property
    def identity(self) -> dict[str, Any]:
        """Everything beside the question that an answer depends on, as plain JSON; never a secret."""
        ...

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """Answers every question once, in the order in which answers come.

        Raises:
            UserError: the model can't be reached, or some questions have no answer; raised after all others are
                answered.
        """
        ...

    def request_stats(self) -> dict[str, Any]:
        """What was sent to a server: "requests" and "retries"; empty without one."""
        ...


class Scorer(Protocol):
    """A language model that scores given answers."""

    @property
    def identity(self) -> dict[str, Any]:
        """As in `Client`."""
        ...

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """The log-likelihood of each candidate as the answer to each prompt, float64[prompts, candidates]."""
        ...

    def request_stats(self) -> dict[str, Any]:
        """As in `Client`."""
        ...
