"""Plans as arrays: the skill table that the jitted teacher reads."""

from typing import Final, NamedTuple

import numpy as np

from jaxteach.teacher.captions import Captions
from jaxteach.teacher.plans import CaptionPlans, PlanFile, PlanFileError

NOTHING_LEFT, WAIT, EXPLORE, FIRST_OBJECT_SKILL = 0, 1, 2, 3
OBJECT_SKILLS: Final = ("goto", "pickup", "drop", "toggle")


class SkillTable(NamedTuple):
    """For C captions, up to P plans of up to S skills each.

    A skill is a number: 0 nothing left, 1 wait, 2 explore, then *go to*, *pick up*, *drop*,
    *toggle* of the first object name, of the second, and so on.
    """

    skills: np.ndarray  # int32[C, P, S]
    probabilities: np.ndarray  # float32[C, P], all zeros: the caption has no plans


def compile_plans(plans: PlanFile, captions: Captions) -> SkillTable:
    """The table of a plan file.

    Raises:
        PlanFileError: the file has a caption or an object that the task doesn't have.
    """
    width = max((len(entry.plans) for entry in plans.captions), default=1)
    depth = max((len(plan.skills) for entry in plans.captions for plan in entry.plans), default=1)
    skills = np.full((len(captions.texts), width, depth), NOTHING_LEFT, np.int32)
    probabilities = np.zeros((len(captions.texts), width), np.float32)
    for entry in plans.captions:
        row = _caption_row(entry, captions)
        total = sum(plan.probability for plan in entry.plans)
        for i, plan in enumerate(entry.plans):
            numbers = [_skill_number(skill, target, captions) for skill, target in plan.skills]
            skills[row, i, : len(numbers)] = numbers
            probabilities[row, i] = plan.probability / total
    return SkillTable(skills, probabilities)


def _caption_row(entry: CaptionPlans, captions: Captions) -> int:
    known = zip(captions.sees, captions.holds)
    rows = [i for i, (sees, holds) in enumerate(known) if tuple(sees) == entry.sees and holds == entry.holds]
    if not rows:
        raise PlanFileError(
            f"the plan file has a caption that the task never shows: sees {list(entry.sees)}, holds {entry.holds}"
        )
    return rows[0]


def _skill_number(skill: str, target: str | None, captions: Captions) -> int:
    if target is None:
        return {"explore": EXPLORE, "wait": WAIT}[skill]
    if target not in captions.object_names:
        raise PlanFileError(
            f"the plan file names {target!r}, and the task's objects are {', '.join(captions.object_names)}"
        )
    place = captions.object_names.index(target)
    return FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * place + OBJECT_SKILLS.index(skill)
