"""Asks a language model how close to success each caption is, for potential-based shaping."""

import re
from collections.abc import Callable
from statistics import fmean
from typing import Final

from msgspec import structs

from jaxteach.errors import UserError
from jaxteach.llm.answer_cache import AnswerStore
from jaxteach.llm.client import Client
from jaxteach.llm.final_answer import split_thoughts
from jaxteach.llm.prompts import Prompt
from jaxteach.llm.query import questions_about
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import CaptionParts, PlanFile, caption_parts

PLAN_QUESTION: Final = "Answer with the skills"
"""The beginning of the prompts' part about answers."""
VALUE_QUESTION: Final = """\
Answer with how close the agent is to its goal, from 0 (it has not begun) to 10 (one step is left), \
on one line and nothing else:
Value: number

Example, for another world:
Agent sees <lever>, <bridge>, holds <nothing>.
Value: 4

Now it is your turn.
{caption}
"""
HIGHEST: Final = 10.0
"""The value of a situation one step from the goal, as `VALUE_QUESTION` says."""


def value_prompt(prompt: Prompt) -> Prompt:
    """The task's prompt, with a question about the value instead of a plan.

    Raises:
        UserError: the prompt has no part about answers.
    """
    description, found, _ = prompt.text.partition(PLAN_QUESTION)
    if not found:
        raise UserError(f'--values needs a prompt with a part that begins "{PLAN_QUESTION}"')
    return Prompt(description + VALUE_QUESTION)


def parse_value(text: str) -> float | None:
    """The last value in an answer, divided by 10, so from 0 to 1; None if there is none, or if it is above 10."""
    numbers = re.findall(r"value:[\s*<]*(\d+(?:\.\d+)?)", split_thoughts(text)[0], re.IGNORECASE)
    if not numbers or float(numbers[-1]) > HIGHEST:
        return None
    return float(numbers[-1]) / HIGHEST


def add_values(
    client: Client,
    store: AnswerStore,
    prompt: Prompt,
    vocabulary: Vocabulary,
    plans: PlanFile,
    samples: int,
    on_answer: Callable[[], None],
) -> PlanFile:
    """The plans with a value for each caption, the mean of the model's answers, from 0 to 1.

    Args:
        client: asks the model.
        store: keeps the answers, and has those that are known.
        prompt: the task's, about plans.
        vocabulary: the task's.
        plans: of the task; a caption whose answers have no value keeps the value that it has, if any.
        samples: how often each caption is asked about.
        on_answer: called after each answer.

    Raises:
        UserError: no answer has a value.
    """
    captions = caption_parts(vocabulary)
    asked = questions_about(value_prompt(prompt), vocabulary, range(len(captions)), samples)
    found: dict[CaptionParts, list[float]] = {}
    for question, answer in store.complete(client, list(asked)):
        value = parse_value(answer)
        if value is not None:
            found.setdefault(captions[asked[question]], []).append(value)
        on_answer()
    if not found:
        raise UserError(f"none of the {len(asked)} answers has a value of 0..10; all are kept in {store.path}")
    entries = [
        structs.replace(entry, value=round(fmean(found[entry.caption]), 4)) if entry.caption in found else entry
        for entry in plans.captions
    ]
    return structs.replace(plans, captions=tuple(entries))
