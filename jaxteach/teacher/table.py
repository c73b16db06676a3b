"""Plans as arrays: the skill table that the jitted teacher reads."""

from typing import Final, NamedTuple

import numpy as np

from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import CaptionPlans, PlanFile, PlanFileError

NOTHING_LEFT, WAIT, EXPLORE, FIRST_OBJECT_SKILL = 0, 1, 2, 3
OBJECT_SKILLS: Final = ("goto", "pickup", "drop", "toggle")


class SkillTable(NamedTuple):
    """For C captions, up to P plans of up to S skills each, M different ones at most for a caption.

    A skill is a number: 0 nothing left, 1 wait, 2 explore, then *go to*, *pick up*, *drop*,
    *toggle* of the first object name, of the second, and so on. Plans give the places of their
    skills among those of their caption, so that only these need to be carried out.
    """

    skills: np.ndarray  # int32[C, M], the different skills of a caption's plans
    plans: np.ndarray  # int32[C, P, S], places in `skills`
    probabilities: np.ndarray  # float32[C, P], all zeros: the caption has no plans


class Room(NamedTuple):
    """The size that a table has at least, so that it can grow without changing its shapes."""

    plans: int = 1  # P
    depth: int = 1  # S
    skills: int = 1  # M


NO_MORE: Final = Room()
"""A table just as large as its plans need."""


def compile_plans(plans: PlanFile, vocabulary: Vocabulary, room: Room = NO_MORE) -> SkillTable:
    """The table of a plan file.

    Args:
        plans: the file.
        vocabulary: the task's words.
        room: the least sizes of the table.

    Raises:
        PlanFileError: the file has a caption, a skill or an object that the task doesn't have.
    """
    width = max([room.plans, *(len(entry.plans) for entry in plans.captions)])
    depth = max([room.depth, *(len(plan.skills) for entry in plans.captions for plan in entry.plans)])
    numbers = np.full((len(vocabulary.texts), width, depth), NOTHING_LEFT, np.int32)
    probabilities = np.zeros((len(vocabulary.texts), width), np.float32)
    for entry in plans.captions:
        row = _caption_row(entry, vocabulary)
        total = sum(plan.probability for plan in entry.plans)
        for i, plan in enumerate(entry.plans):
            numbers[row, i, : len(plan.skills)] = [_skill_number(*skill, vocabulary) for skill in plan.skills]
            probabilities[row, i] = plan.probability / total
    return SkillTable(*_without_repetition(numbers, room.skills), probabilities)


def _without_repetition(numbers: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """The different skills of each caption, int32[C, M], and where the skills int32[C, P, S] stand among them."""
    different = [np.unique(row) for row in numbers]
    skills = np.full((len(numbers), max([least, *map(len, different)])), NOTHING_LEFT, np.int32)
    for row, found in zip(skills, different):
        row[: len(found)] = found
    places = [np.searchsorted(found, row) for found, row in zip(different, numbers)]
    return skills, np.stack(places).astype(np.int32)


def _caption_row(entry: CaptionPlans, vocabulary: Vocabulary) -> int:
    known = zip(vocabulary.sees, vocabulary.holds)
    rows = [i for i, (sees, holds) in enumerate(known) if tuple(sees) == entry.sees and holds == entry.holds]
    if not rows:
        raise PlanFileError(
            f"the plan file has a caption that the task never shows: sees {list(entry.sees)}, holds {entry.holds}"
        )
    return rows[0]


def _skill_number(skill: str, target: str | None, vocabulary: Vocabulary) -> int:
    if skill not in vocabulary.skills:
        raise PlanFileError(f"the plan file uses {skill!r}, and the task's skills are {', '.join(vocabulary.skills)}")
    if target is None:
        return {"explore": EXPLORE, "wait": WAIT}[skill]
    if target not in vocabulary.object_names:
        raise PlanFileError(
            f"the plan file names {target!r}, and the task's objects are {', '.join(vocabulary.object_names)}"
        )
    place = vocabulary.object_names.index(target)
    return FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * place + OBJECT_SKILLS.index(skill)
