"""From a model's words to a plan, or to the reason why there is none."""

import re
from collections.abc import Sequence
from typing import Final

from jaxteach.llm.final_answer import final_answer
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.names import ARTICLE, folded
from jaxteach.teacher.plans import MAX_SKILLS, WITHOUT_OBJECT

CUT_OFF: Final = "cut off"
"""The reason where an answer ends too early; a larger --max_tokens may help."""

PHRASES: Final = {
    "explore": "explore",
    "wait": "wait",
    "go to": "goto",
    "goto": "goto",
    "pick up": "pickup",
    "pickup": "pickup",
    "drop": "drop",
    "toggle": "toggle",
    "open": "toggle",
    "put next to": "putnext",
}
"""The words for skills; where there are two, the first is the one that prompts use."""

Skills = tuple[tuple[str, str | None], ...]


class Rejected(Exception):
    """An answer that is not a plan; the message is the reason, the same for the same mistake."""


def parse_answer(text: str, vocabulary: Vocabulary) -> Skills:
    """The final plan in a model's text, see `final_answer`.

    Raises:
        Rejected: there is none, or it isn't one in the task's words.
    """
    answer = final_answer(text)
    if answer.cut_off:
        raise Rejected(CUT_OFF)
    if answer.items is None:
        raise Rejected('no "Action: {...}"')
    if answer.items == [""]:
        raise Rejected("an empty plan")
    if len(answer.items) > MAX_SKILLS:
        raise Rejected(f"more than {MAX_SKILLS} skills")
    return tuple(_skill(item, vocabulary) for item in answer.items)


def _skill(item: str, vocabulary: Vocabulary) -> tuple[str, str | None]:
    words = folded(re.sub(r"[<>]", " ", item))
    for phrase, skill in PHRASES.items():
        if skill in vocabulary.skills and (words == phrase or words.startswith(phrase + " ")):
            return skill, _target(skill, words[len(phrase) :].strip(), vocabulary.object_names)
    raise Rejected("an unknown skill")


def _target(skill: str, name: str, object_names: Sequence[str]) -> str | None:
    if skill in WITHOUT_OBJECT:
        if name:
            raise Rejected(f"{skill} with an object")
        return None
    if not name:
        raise Rejected(f"{skill} without an object")
    known = {folded(known): known for known in object_names}
    name = name.removeprefix(ARTICLE)
    if name not in known:
        raise Rejected("an unknown object")
    return known[name]


def phrase_of(skill: str) -> str:
    """The words that prompts use for a skill."""
    return next(phrase for phrase, named in PHRASES.items() if named == skill)


def plan_text(skills: Skills) -> str:
    """A plan in the words in which models are asked for it."""
    return ", ".join(phrase_of(skill) + (f" <{target}>" if target else "") for skill, target in skills)


def answer_text(skills: Skills) -> str:
    """A whole answer that `parse_answer` reads as the plan."""
    return f"Action: {{{plan_text(skills)}}}"
