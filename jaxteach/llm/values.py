"""Asks a model how close to success captions are, for potential-based shaping: by scores or by preferences."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Final, Protocol

from msgspec import structs

from jaxteach.errors import UserError
from jaxteach.llm.client import Question
from jaxteach.llm.final_answer import split_thoughts
from jaxteach.llm.preferences import Comparison, bradley_terry, comparison_pairs
from jaxteach.llm.prompts import Prompt
from jaxteach.llm.query import questions_about
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import PlanFile, caption_parts

PLAN_QUESTION: Final = "Answer with the skills"
"""The beginning of the prompts' part about answers."""
SCORE_QUESTION: Final = """\
Answer with how close the agent is to its goal, from 0 (it has not begun) to 10 (one step is left), \
on one line and nothing else:
Value: number

Example, for another world:
Agent sees <lever>, <bridge>, holds <nothing>.
Value: 4

Now it is your turn.
{caption}
"""
PREFERENCE_QUESTION: Final = """\
Answer with the number of the situation that is closer to the goal, 1 or 2, or 0 if they are \
equally close, on one line and nothing else:
Closer: number

Example, for another world:
Situation 1: Agent sees <lever>, <bridge>, holds <nothing>.
Situation 2: Agent sees <nothing>, holds <nothing>.
Closer: 1

Now it is your turn.
{caption}
"""
HIGHEST: Final = 10.0
"""The score of a situation one step from the goal, as `SCORE_QUESTION` says."""
SCORE: Final = re.compile(r"value:[\s*<]*(\d+(?:\.\d+)?)(?![\d.,]*\d|e[+-]?\d|\s*%|\s*/\s*(?!10\b)\d)", re.IGNORECASE)
"""A score; not the beginning of 10,000 or 1e5, nor one on another scale, such as 3/5 or 5%."""
PREFERENCE: Final = re.compile(
    r"closer:[\s*<]*(?:situation )?([012])\b(?![.,/]\d|\s*(?:or|and)\s+(?:situation )?\d)", re.IGNORECASE
)
"""A choice; not the beginning of 1.5, nor that of "1 or 2"."""


class Valuation(Protocol):
    """A way to ask for values."""

    sought: ClassVar[str]
    """What answers should have, for messages."""

    @property
    def asked(self) -> Mapping[Question, Any]:
        """All questions, with the captions that they are about."""
        ...

    def add(self, question: Question, answer: str) -> bool:
        """Takes one answer, and says whether it can be read; one that can't counts for nothing."""
        ...

    def values(self) -> dict[int, float]:
        """Values of 0..1 by the number of the caption; empty where no answer could be read."""
        ...


@dataclass(frozen=True)
class Scores:
    """Each caption's value is the mean of the model's scores."""

    sought: ClassVar[str] = "a value of 0..10"
    asked: dict[Question, int]
    found: dict[int, list[float]]

    @classmethod
    def of(cls, prompt: Prompt, vocabulary: Vocabulary, samples: int) -> "Scores":
        """Asks about each caption `samples` times."""
        captions = range(len(vocabulary.texts))
        return cls(questions_about(value_prompt(prompt, SCORE_QUESTION), vocabulary, captions, samples), {})

    def add(self, question: Question, answer: str) -> bool:
        score = parse_score(answer)
        if score is not None:
            self.found.setdefault(self.asked[question], []).append(score)
        return score is not None

    def values(self) -> dict[int, float]:
        return {caption: fmean(scores) for caption, scores in self.found.items()}


@dataclass(frozen=True)
class Preferences:
    """The values under which the model's preferences between captions are likeliest (Bradley-Terry), from 0 to 1.

    After Motif (arXiv 2310.00166), which fits a network to them; here each caption has a strength of its own.
    """

    sought: ClassVar[str] = "a choice of 0..2"
    count: int
    asked: dict[Question, tuple[int, int]]
    found: list[Comparison]

    @classmethod
    def of(cls, prompt: Prompt, vocabulary: Vocabulary) -> "Preferences":
        """Asks about the pairs of `comparison_pairs`, each in both orders, since models prefer a place."""
        texts, ask = vocabulary.texts, value_prompt(prompt, PREFERENCE_QUESTION)
        pairs = [pair for i, j in comparison_pairs(len(texts)) for pair in ((i, j), (j, i))]
        asked = {Question(ask.about(f"Situation 1: {texts[i]}\nSituation 2: {texts[j]}"), 0): (i, j) for i, j in pairs}
        return cls(len(texts), asked, [])

    def add(self, question: Question, answer: str) -> bool:
        choice = parse_preference(answer)
        if choice is not None:
            self.found.append(Comparison(*self.asked[question], {0: 0.5, 1: 1.0, 2: 0.0}[choice]))
        return choice is not None

    def values(self) -> dict[int, float]:
        if not self.found:
            return {}
        strengths = bradley_terry(self.found, self.count).tolist()
        return {caption: strengths[caption] for each in self.found for caption in (each.first, each.second)}


def value_prompt(prompt: Prompt, question: str) -> Prompt:
    """The task's prompt with this question instead of that about plans.

    Raises:
        UserError: the prompt has no part about answers.
    """
    description, found, _ = prompt.text.partition(PLAN_QUESTION)
    if not found:
        raise UserError(f'--values needs a prompt with a part that begins "{PLAN_QUESTION}"')
    return Prompt(description + question)


def parse_score(text: str) -> float | None:
    """The last score in an answer, divided by 10, so from 0 to 1; None if there is none, or if it is above 10."""
    numbers = SCORE.findall(split_thoughts(text)[0])
    if not numbers or float(numbers[-1]) > HIGHEST:
        return None
    return float(numbers[-1]) / HIGHEST


def parse_preference(text: str) -> int | None:
    """The last choice in an answer, 1, 2, or 0 for neither; None where there is none."""
    choices = PREFERENCE.findall(split_thoughts(text)[0])
    return int(choices[-1]) if choices else None


def with_values(plans: PlanFile, vocabulary: Vocabulary, values: dict[int, float]) -> PlanFile:
    """The plans with values, float of 0..1 by the number of the caption."""
    by_parts = {parts: round(values[i], 4) for i, parts in enumerate(caption_parts(vocabulary)) if i in values}
    entries = (structs.replace(entry, value=by_parts.get(entry.caption)) for entry in plans.captions)
    return structs.replace(plans, captions=tuple(entries))
