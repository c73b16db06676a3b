"""What every way to a language model offers: questions in, answers out as they come."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Question(NamedTuple):
    """One prompt, to be answered once; a question with another sample number is another draw."""

    prompt: str
    sample: int


class Client(Protocol):
    """A language model that answers questions."""

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that an answer depends on besides the question, as plain JSON; never a secret."""
        ...

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, str]]:
        """Answers every question once, in the order in which answers come.

        Raises:
            UserError: the model can't be reached, or stops answering.
        """
        ...


class Scorer(Protocol):
    """A language model that gives the likelihood of answers."""

    @property
    def identity(self) -> dict[str, Any]:
        """As in `Client`."""
        ...

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """The log-likelihood of each candidate as the answer to each prompt, float64[prompts, candidates]."""
        ...
