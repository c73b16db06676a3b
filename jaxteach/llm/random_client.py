"""Uniformly random plans without a model, a baseline for teachers."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxteach.llm.client import Answer, Question
from jaxteach.llm.grammar import candidate_plans
from jaxteach.llm.parse import answer_text
from jaxteach.teacher.domain import Vocabulary


class RandomClient:
    """Answers every question with one of the candidate plans, all equally likely."""

    def __init__(self, vocabulary: Vocabulary, seed: int) -> None:
        self._plans, self._seed = candidate_plans(vocabulary), seed

    @property
    def identity(self) -> dict[str, Any]:
        """See `Client`."""
        return {"backend": "random", "model": "none, uniformly random plans", "seed": self._seed, "grammar": None}

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """See `Client`."""
        for question in questions:
            draws = np.random.default_rng([self._seed, question.sample, zlib.crc32(question.prompt.encode())])
            yield question, Answer(answer_text(self._plans[draws.integers(len(self._plans))]))

    def request_stats(self) -> dict[str, Any]:
        """See `Client`."""
        return {}
