"""Plan files: for each caption of a task, plans with their probabilities, answered by a language model or scripted."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

from jaxteach.errors import UserError
from jaxteach.runs.files import read_text, write_json

FORMAT: Final = "jaxteach-plans"
VERSION: Final = 1
SKILLS: Final = ("explore", "goto", "pickup", "drop", "toggle", "wait")
WITHOUT_OBJECT: Final = ("explore", "wait")
PLAN_SOURCES: Final = ("shipped", "recorded", "scripted", "none")
"""What can be given instead of a file: the plans that ship, these if a model answered them, these if they were written
by hand, or no plans at all."""
BY_HAND: Final = "written by hand"
"""The source, in the provenance, of plans that were not answered by a language model."""
MAX_BYTES: Final = 16 * 2**20
MAX_PLANS: Final = 64
MAX_SKILLS: Final = 16
MAX_OTHERS: Final = 8


class PlanFileError(UserError):
    """A plan file that can't be used; the message is one sentence that says why."""


class MisfitError(PlanFileError):
    """Plans that are well-formed, but not for this world."""


@dataclass(frozen=True)
class Plan:
    """Skills to carry out one after the other, each with the object it is for (None: none)."""

    probability: float
    skills: tuple[tuple[str, str | None], ...]


class CaptionParts(NamedTuple):
    """A caption in parts."""

    sees: tuple[str, ...]
    holds: str | None


@dataclass(frozen=True)
class CaptionPlans:
    """The plans for one caption; with `others`, only while these are the other agents' captions, in any order."""

    sees: tuple[str, ...]
    holds: str | None
    plans: tuple[Plan, ...]
    others: tuple[CaptionParts, ...] = ()


@dataclass(frozen=True)
class PlanFile:
    """The plans of the tasks that share their captions, and where they come from."""

    tasks: tuple[str, ...]
    captions: tuple[CaptionPlans, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of what teaches: the captions with their plans, however the file is written."""
        return hashlib.sha256(json.dumps([asdict(entry) for entry in self.captions]).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def by_hand(self) -> bool:
        """Whether a person wrote the plans; else a language model answered them."""
        return self.provenance.get("source") == BY_HAND


def find_plans(plans: str, task: str) -> PlanFile:
    """The plans that a word or a path stands for.

    Args:
        plans: one of `PLAN_SOURCES`, or the path of a plan file.
        task: the task they are for.

    Raises:
        PlanFileError: there are no such plans, or they can't be used.
    """
    if plans not in PLAN_SOURCES:
        return load_plans(plans, task)
    if plans == "none":
        return PlanFile((task,), ())
    shipped = shipped_plans(task)
    if plans == "recorded" and shipped.by_hand:
        raise PlanFileError(
            f"no recorded plans ship for {task}, only plans written by hand; ask for scripted ones or give a plan file"
        )
    if plans == "scripted" and not shipped.by_hand:
        raise PlanFileError(
            f"no plans written by hand ship for {task}, only recorded ones; ask for recorded ones or give a plan file"
        )
    return shipped


def shipped_plans(task: str) -> PlanFile:
    """The plans that come with the package for a task.

    Raises:
        PlanFileError: there are none.
    """
    folder = resources.files("jaxteach.teacher") / "plans"
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".json"):
            plans = _parse(entry.read_text("utf-8"), entry.name)
            if task in plans.tasks:
                return plans
    raise PlanFileError(f"no plans ship for {task}; give a plan file")


def load_plans(path: str | Path, task: str | None) -> PlanFile:
    """Reads and checks a plan file for a task, or for any task if `task` is None.

    Raises:
        PlanFileError: the file is missing, malformed or for other tasks.
    """
    path = Path(path)
    try:
        text = read_text(path, MAX_BYTES)
    except OSError as error:
        raise PlanFileError(f"can't read the plan file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise PlanFileError(f"{path} is not a plan file: it is not text") from None
    plans = _parse(text, str(path))
    if task is not None and task not in plans.tasks:
        raise PlanFileError(f"{path} is for {', '.join(plans.tasks)}, not for {task}")
    return plans


def save_plans(plans: PlanFile, path: str | Path) -> None:
    """Writes a plan file that `load_plans` reads, whole or not at all.

    Raises:
        UserError: it can't be written.
    """
    captions = [
        {
            "sees": list(entry.sees),
            "holds": entry.holds,
            **({"others": [other._asdict() for other in entry.others]} if entry.others else {}),
            "plans": [
                {"p": plan.probability, "skills": [list(skill) for skill in plan.skills]} for plan in entry.plans
            ],
        }
        for entry in plans.captions
    ]
    document = {
        "format": FORMAT,
        "version": VERSION,
        "tasks": list(plans.tasks),
        "provenance": plans.provenance,
        "captions": captions,
    }
    write_json(Path(path), document)


def _parse(text: str, name: str) -> PlanFile:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanFileError(f"{name} is not a plan file: it is not JSON: {error}") from None
    try:
        return _plan_file(document)
    except _Malformed as error:
        raise PlanFileError(f"{name} is malformed: {error}") from None


class _Malformed(Exception):
    """What is wrong inside a plan file."""


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise _Malformed(message)


def _expect_keys(document: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = next((key for key in document if key not in known), None)
    _expect(unknown is None, f"{where} has an unknown key {unknown!r}; remove it, known are {', '.join(known)}")


def _plan_file(document: Any) -> PlanFile:
    _expect(isinstance(document, dict), "it is not an object")
    _expect(document.get("format") == FORMAT, f'its "format" is not "{FORMAT}"')
    _expect(
        document.get("version") == VERSION and document["version"] is not True,
        f'its "version" is not {VERSION}, the one this jaxteach reads',
    )
    _expect_keys(document, ("format", "version", "tasks", "provenance", "captions"), "it")
    tasks, captions = document.get("tasks"), document.get("captions")
    _expect(_is_names(tasks) and len(tasks) > 0, '"tasks" is not a list of task names')
    _expect(isinstance(captions, list), '"captions" is not a list')
    provenance = document.get("provenance", {})
    _expect(isinstance(provenance, dict), '"provenance" is not an object')
    parsed = tuple(_caption(entry, f"caption {i}") for i, entry in enumerate(captions))
    known: set[tuple[Any, ...]] = set()
    for i, caption in enumerate(parsed):
        key = (caption.sees, caption.holds, *sorted(caption.others, key=str))
        _expect(key not in known, f"caption {i} appears twice")
        known.add(key)
    return PlanFile(tuple(tasks), parsed, provenance)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _caption(entry: Any, where: str) -> CaptionPlans:
    _expect(isinstance(entry, dict), f"{where} is not an object")
    _expect_keys(entry, ("sees", "holds", "plans", "others"), where)
    sees, holds, plans = entry.get("sees"), entry.get("holds"), entry.get("plans")
    parts = _caption_parts(sees, holds, where)
    _expect(isinstance(plans, list), f'{where}: "plans" is not a list')
    _expect(0 < len(plans) <= MAX_PLANS, f"{where} has {len(plans)} plans, not 1..{MAX_PLANS}")
    parsed = tuple(_plan(plan, f"{where}, plan {i}") for i, plan in enumerate(plans))
    total = math.fsum(plan.probability for plan in parsed)
    _expect(abs(total - 1) < 1e-3, f"{where}: the probabilities sum to {total:g}, not to 1")
    others = entry.get("others", [])
    _expect(isinstance(others, list) and len(others) <= MAX_OTHERS, f'{where}: "others" is not a short list')
    _expect(all(isinstance(other, dict) for other in others), f'{where}: "others" are not objects')
    for other in others:
        _expect_keys(other, ("sees", "holds"), f"{where}, others")
    rest = tuple(_caption_parts(other.get("sees"), other.get("holds"), f"{where}, others") for other in others)
    return CaptionPlans(*parts, parsed, rest)


def _caption_parts(sees: Any, holds: Any, where: str) -> CaptionParts:
    _expect(_is_names(sees), f'{where}: "sees" is not a list of names')
    _expect(holds is None or isinstance(holds, str), f'{where}: "holds" is neither a name nor null')
    return CaptionParts(tuple(sees), holds)


def _plan(entry: Any, where: str) -> Plan:
    _expect(isinstance(entry, dict), f"{where} is not an object")
    _expect_keys(entry, ("p", "skills"), where)
    probability, skills = entry.get("p"), entry.get("skills")
    is_number = isinstance(probability, int | float) and not isinstance(probability, bool)
    _expect(is_number and 0 < probability <= 1, f'{where}: "p" is not a probability above 0')
    _expect(isinstance(skills, list), f'{where}: "skills" is not a list')
    _expect(0 < len(skills) <= MAX_SKILLS, f"{where} has {len(skills)} skills, not 1..{MAX_SKILLS}")
    return Plan(float(probability), tuple(_skill(skill, where) for skill in skills))


def _skill(entry: Any, where: str) -> tuple[str, str | None]:
    _expect(isinstance(entry, list) and len(entry) == 2, f"{where}: a skill is not a pair [skill, object]")
    name, target = entry
    _expect(name in SKILLS, f"{where}: {name!r} is not one of the skills {', '.join(SKILLS)}")
    if name in WITHOUT_OBJECT:
        _expect(target is None, f"{where}: {name} takes no object")
    else:
        _expect(isinstance(target, str), f"{where}: {name} needs an object")
    return name, target
