"""The teacher and the plans that options name."""

from pathlib import Path
from typing import Final

from jaxteach.config import TeacherConfig, TrainConfig, WorldConfig, as_typed
from jaxteach.errors import UserError
from jaxteach.tasks import OBJECT
from jaxteach.teacher.plans import PLAN_SOURCES, MisfitError, PlanFile, find_plans, load_plans, plans_path
from jaxteach.teacher.policy import Teacher, make_teacher

GIVEN: Final[dict[str, Teacher]] = {}
"""Teachers that were passed as objects, by what stands for their plans in the options."""


def load_teacher(task: str, config: TeacherConfig, world: WorldConfig) -> Teacher:
    """The teacher that the options name.

    Raises:
        UserError: there is no such teacher for this world.
    """
    if config.plans in GIVEN:
        return GIVEN[config.plans]
    if config.plans.startswith(OBJECT):
        raise UserError("the teacher of this run was passed as an object; pass it again in Python, as teacher=")
    try:
        return make_teacher(task, config.plans, not config.hard_planner, **world.overrides(task))
    except MisfitError as error:
        source = "plans that ship with jaxteach" if config.plans in PLAN_SOURCES else f"plans of {config.plans}"
        raise UserError(
            f"the {source} don't fit {task}{world.arguments}: {error}; give --plans that python -m jaxteach.teach "
            "made with the same options, or train with --no_teacher"
        ) from None
    except ValueError as error:
        way_out = "; leave that option out, or train with --no_teacher" if world.arguments else ""
        raise UserError(f"{as_typed(str(error), task)}{way_out if not isinstance(error, UserError) else ''}") from None


def named_plans(option: str, given: str, task: str | None) -> tuple[PlanFile, Path | None]:
    """The plans that an option such as --card gives, and their file; None for those that ship with the package.

    Args:
        option: its name.
        given: a plan file, a folder that shares one, or one of `PLAN_SOURCES`.
        task: the task, None for those of the file.

    Raises:
        UserError: there are no such plans, or they can't be read.
    """
    if given == "none":
        raise UserError(f"{option} none has no plans; give a plan file")
    if given not in PLAN_SOURCES:
        path = plans_path(given)
        return load_plans(path, task), path
    if task is None:
        raise UserError(f"{option} {given} needs --task, the task of the plans that ship with jaxteach")
    return find_plans(given, task), None


def plans_of(config: TrainConfig) -> PlanFile | None:
    """The plans that a run with these options begins with; None without a teacher, or where they are not known.

    Raises:
        UserError: they can't be read.
    """
    if not config.taught:
        return None
    if config.teacher.plans.startswith(OBJECT):
        given = GIVEN.get(config.teacher.plans)
        return None if given is None else given.plans
    return find_plans(config.teacher.plans, config.task)


def digest_of(config: TrainConfig) -> str | None:
    """The digest of `plans_of`; None where they can't be read, as a finished run needs no plans."""
    try:
        plans = plans_of(config)
    except UserError:
        return None
    return None if plans is None else learnt_digest(config, plans)


def learnt_digest(config: TrainConfig, plans: PlanFile) -> str:
    """The digest of what a run with these options learns from: the values of situations with potential alone."""
    return plans.digest_with_values if "potential" in config.ppo.methods else plans.digest
