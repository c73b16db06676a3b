"""Plans as arrays: the skill table that the jitted teacher reads."""

from typing import Any, Final, NamedTuple

import jax
import numpy as np

from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import CaptionParts, CaptionPlans, MisfitError, PlanFile, PlanFileError, caption_parts

NOTHING_LEFT, WAIT, EXPLORE, FIRST_OBJECT_SKILL = 0, 1, 2, 3
OBJECT_SKILLS: Final = ("goto", "pickup", "drop", "toggle", "putnext")
MAX_COMBINATIONS: Final = 2**20


class SkillTable(NamedTuple):
    """For C captions, up to P plans of up to S skills each, M different ones at most for a caption.

    Plans for captions that depend on the other agents' captions have rows of their own, after one row for each caption.

    A skill is a number: 0 nothing left, 1 wait, 2 explore, then *go to*, *pick up*, *drop*,
    *toggle* of the first object name, of the second, and so on. Plans give the places of their
    skills among those of their caption, so that only these need to be carried out.
    """

    skills: np.ndarray  # int32[C, M], the different skills of a caption's plans
    plans: np.ndarray  # int32[C, P, S], places in `skills`
    probabilities: np.ndarray  # float32[C, P], all zeros: the caption has no plans
    rows: np.ndarray  # int32[C, C ** (A - 1)], the row for a caption and the others'; [C, 0]: the caption's own


class TableSize(NamedTuple):
    """The least size of a table, so that plans can be added without changing its shapes."""

    plans: int = 1  # P
    depth: int = 1  # S
    skills: int = 1  # M


AS_NEEDED: Final = TableSize()
"""A table as large as its plans need."""


def compile_plans(plans: PlanFile, vocabulary: Vocabulary, size: TableSize = AS_NEEDED) -> SkillTable:
    """The table of a plan file.

    Args:
        plans: the file.
        vocabulary: the task's words.
        size: the least sizes of the table.

    Raises:
        MisfitError: the file has a caption, a skill or an object that the task doesn't have.
    """
    width = max([size.plans, *(len(entry.plans) for entry in plans.captions)])
    depth = max([size.depth, *(len(plan.skills) for entry in plans.captions for plan in entry.plans)])
    known = {caption: i for i, caption in enumerate(caption_parts(vocabulary))}
    others = [entry for entry in plans.captions if entry.others]
    height = len(known) + len(others)
    numbers = np.full((height, width, depth), NOTHING_LEFT, np.int32)
    probabilities = np.zeros((height, width), np.float32)
    rows = _joint_rows(others, known)
    for entry in plans.captions:
        row = len(known) + others.index(entry) if entry.others else _caption_number(entry.caption, known)
        total = sum(plan.probability for plan in entry.plans)
        for i, plan in enumerate(entry.plans):
            numbers[row, i, : len(plan.skills)] = [_skill_number(*skill, vocabulary) for skill in plan.skills]
            probabilities[row, i] = plan.probability / total
    return SkillTable(*_without_repetition(numbers, size.skills), probabilities, rows)


def others_index(others: np.ndarray | jax.Array, captions: int) -> Any:
    """The column of `SkillTable.rows` for the others' captions, sorted, int[A - 1, ...] -> int[...]."""
    number = 0 * others[0]
    for caption in others:
        number = number * captions + caption
    return number


def _joint_rows(others: list[CaptionPlans], known: dict[CaptionParts, int]) -> np.ndarray:
    """`SkillTable.rows` for the entries that depend on the other agents' captions."""
    count = len(known)
    if not others:
        return np.zeros((count, 0), np.int32)
    sizes = {len(entry.others) for entry in others}
    if len(sizes) > 1 or count ** (1 + max(sizes)) > MAX_COMBINATIONS:
        raise PlanFileError(
            f"the plan file has plans for {sorted(sizes)} others; a table can be made for one number of them, "
            f"and for at most {MAX_COMBINATIONS} combinations of captions"
        )
    rows = np.repeat(np.arange(count, dtype=np.int32)[:, None], count ** sizes.pop(), 1)
    for i, entry in enumerate(others):
        theirs = sorted(_caption_number(other, known) for other in entry.others)
        rows[_caption_number(entry.caption, known), others_index(np.array(theirs), count)] = count + i
    return rows


def _without_repetition(numbers: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """The different skills of each caption, int32[C, M], and where the skills int32[C, P, S] stand among them."""
    different = [np.unique(row) for row in numbers]
    skills = np.full((len(numbers), max([least, *map(len, different)])), NOTHING_LEFT, np.int32)
    for row, found in zip(skills, different):
        row[: len(found)] = found
    places = [np.searchsorted(found, row) for found, row in zip(different, numbers)]
    return skills, np.stack(places).astype(np.int32)


def _caption_number(caption: CaptionParts, known: dict[CaptionParts, int]) -> int:
    if caption not in known:
        raise MisfitError(
            f"the plan file has a caption that the task never shows: sees {list(caption.sees)}, holds {caption.holds}"
        )
    return known[caption]


def _skill_number(skill: str, target: str | None, vocabulary: Vocabulary) -> int:
    if skill not in vocabulary.skills:
        raise MisfitError(f"the plan file uses {skill!r}, and the task's skills are {', '.join(vocabulary.skills)}")
    if target is None:
        return {"explore": EXPLORE, "wait": WAIT}[skill]
    if target not in vocabulary.object_names:
        raise MisfitError(
            f"the plan file names {target!r}, and the task's objects are {', '.join(vocabulary.object_names)}"
        )
    place = vocabulary.object_names.index(target)
    return FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * place + OBJECT_SKILLS.index(skill)
