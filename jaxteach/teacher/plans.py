"""Plan files: for each caption of a task, plans with their probabilities, answered by a language model or scripted."""

import hashlib
import json
import math
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import asdict, astuple

from jaxteach.errors import UserError
from jaxteach.runs.files import read_text, write_json
from jaxteach.runs.manifest import DamagedError, check_manifest
from jaxteach.teacher.domain import Vocabulary

FORMAT: Final = "jaxteach-plans"
VERSION: Final = 1
BASIC_SKILLS: Final = ("explore", "goto", "pickup", "drop", "toggle", "wait")
SKILLS: Final = (*BASIC_SKILLS, "putnext")
WITHOUT_OBJECT: Final = ("explore", "wait")
PLAN_SOURCES: Final = ("shipped", "recorded", "scripted", "none")
"""What can be given instead of a file: the plans that ship, these if a model answered them, these if they were written
by hand, or no plans at all."""
BY_HAND: Final = "written by hand"
"""The source, in the provenance, of plans that were not answered by a language model."""
PLANS_NAME: Final = "plans.json"
"""The plan file of a folder that shares plans."""
MAX_BYTES: Final = 16 * 2**20
MAX_SHARED_BYTES: Final = 2**30
"""Largest file accepted in a shared folder, in bytes."""
MAX_PLANS: Final = 64
MAX_SKILLS: Final = 16
MAX_OTHERS: Final = 8


class PlanFileError(UserError):
    """A plan file that can't be used; the message is one sentence that says why."""


class MisfitError(PlanFileError):
    """Plans that are well-formed, but not for this world."""


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """Skills to carry out one after the other, each with the object it is for (None: none)."""

    probability: Annotated[float, Meta(gt=0, le=1)] = field(name="p")
    skills: Annotated[tuple[tuple[str, str | None], ...], Meta(min_length=1, max_length=MAX_SKILLS)]

    def __post_init__(self) -> None:
        for skill, target in self.skills:
            if skill not in SKILLS:
                raise ValueError(f"{skill!r} is not one of the skills {', '.join(SKILLS)}")
            if (target is None) != (skill in WITHOUT_OBJECT):
                raise ValueError(f"{skill} {'needs an' if target is None else 'takes no'} object")


class CaptionParts(Struct, frozen=True, forbid_unknown_fields=True):
    """A caption in parts."""

    sees: tuple[str, ...]
    holds: str | None


def caption_parts(vocabulary: Vocabulary) -> list[CaptionParts]:
    """All captions of a vocabulary."""
    return [CaptionParts(tuple(sees), holds) for sees, holds in zip(vocabulary.sees, vocabulary.holds)]


class CaptionPlans(CaptionParts, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The plans for one caption; with `others`, only while these are the other agents' captions, in any order."""

    plans: Annotated[tuple[Plan, ...], Meta(min_length=1, max_length=MAX_PLANS)]
    others: Annotated[tuple[CaptionParts, ...], Meta(max_length=MAX_OTHERS)] = ()
    value: Annotated[float, Meta(ge=0, le=1)] | None = None
    """How close to success the situation is, from 0 to 1, for potential-based shaping."""

    @property
    def caption(self) -> CaptionParts:
        """The caption itself."""
        return CaptionParts(self.sees, self.holds)


class PlanFile(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The plans of the tasks that share their captions, and where they come from."""

    tasks: Annotated[tuple[str, ...], Meta(min_length=1)]
    captions: tuple[CaptionPlans, ...]
    provenance: dict[str, Any] = {}

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the captions and their plans, which does not depend on how the file is formatted.

        Nor does it depend on the values of situations, which only `--guidance potential` learns from.
        """
        return self._digest([{}] * len(self.captions))

    @cached_property
    def digest_with_values(self) -> str:
        """As `digest`, of the values of situations too; the same where there are none."""
        return self._digest([{} if entry.value is None else {"value": entry.value} for entry in self.captions])

    def _digest(self, more: list[dict[str, float]]) -> str:
        # The form of version 0.1, so that digests in existing runs still match.
        captions = [
            {
                "sees": entry.sees,
                "holds": entry.holds,
                "plans": [asdict(plan) for plan in entry.plans],
                "others": [astuple(other) for other in entry.others],
            }
            | extra
            for entry, extra in zip(self.captions, more)
        ]
        return hashlib.sha256(json.dumps(captions).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def by_hand(self) -> bool:
        """Whether a person wrote the plans; else a language model answered them."""
        return self.provenance.get("source") == BY_HAND


def find_plans(plans: str, task: str) -> PlanFile:
    """The plans that a word or a path stands for.

    Args:
        plans: one of `PLAN_SOURCES`, or the path of a plan file or of a folder that shares one.
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
        PlanFileError: the file is missing, malformed or for other tasks, or the folder is refused by `plans_path`.
    """
    path = plans_path(path)
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


def plans_path(path: str | Path) -> Path:
    """The plan file that a path stands for: the path itself, or the plan file of a folder that fits its manifest.

    Raises:
        PlanFileError: the folder differs from its manifest, or the path can't be looked up.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            return path
        check_manifest(path, lambda file: MAX_SHARED_BYTES)
    except OSError as error:
        raise PlanFileError(f"can't read the plan file {path}: {error.strerror or error}") from None
    except DamagedError as error:
        raise PlanFileError(
            f"the folder {path} is not as python -m jaxteach.teach --card made it: {error}; "
            "get it again, or give a plan file"
        ) from None
    return path / PLANS_NAME


def save_plans(plans: PlanFile, path: str | Path) -> None:
    """Writes a plan file that `load_plans` reads, whole or not at all.

    Raises:
        UserError: it can't be written.
    """
    write_json(Path(path), _document(plans))


def check_plans(plans: PlanFile, name: str) -> None:
    """Checks that `load_plans` would take plans that were made in Python; messages call them `name`.

    Raises:
        PlanFileError: a probability or a number of plans or skills is not allowed.
    """
    _parse(json.dumps(_document(plans)), name)


def _document(plans: PlanFile) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "tasks": plans.tasks,
        "provenance": plans.provenance,
        "captions": msgspec.to_builtins(plans.captions),
    }


def _parse(text: str, name: str) -> PlanFile:
    try:
        document = msgspec.convert(json.loads(text), dict[str, Any])
        if document.pop("format", None) != FORMAT:
            raise ValueError(f'its "format" is not "{FORMAT}"')
        version = document.pop("version", None)
        if version != VERSION or version is True:
            raise ValueError(f'its "version" is not {VERSION}, the one this jaxteach reads')
        plans = msgspec.convert(document, PlanFile)
        _check_captions(plans.captions)
    except (ValueError, RecursionError) as error:
        raise PlanFileError(f"{name} is not a plan file: {error}") from None
    return plans


def _check_captions(captions: tuple[CaptionPlans, ...]) -> None:
    known: set[tuple[Any, ...]] = set()
    values: dict[CaptionParts, float] = {}
    for i, caption in enumerate(captions):
        total = math.fsum(plan.probability for plan in caption.plans)
        if abs(total - 1) >= 1e-3:
            raise ValueError(f"the probabilities of caption {i} sum to {total:g}, not to 1")
        key = (caption.caption, *sorted(caption.others, key=str))
        if key in known:
            raise ValueError(f"caption {i} appears twice")
        if caption.value is not None and values.setdefault(caption.caption, caption.value) != caption.value:
            raise ValueError(f"caption {i} has another value with other agents' captions; values don't depend on them")
        known.add(key)
