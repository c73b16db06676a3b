"""From a call's arguments to the options of a run; environments, networks and teachers may be objects."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from flax import linen as nn
from platformdirs import user_cache_path

from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.api.registry import register_environment, register_network
from jaxteach.config import TrainConfig, default_config, with_options
from jaxteach.errors import UserError
from jaxteach.networks.registry import NETWORKS, REGISTERED
from jaxteach.options.markers import without_effect
from jaxteach.tasks import canonical_task
from jaxteach.teacher.plans import save_plans
from jaxteach.teacher.policy import Teacher

SHIPPED: Final = "shipped"


def make_config(
    task: Any,
    seeds: int | Iterable[int] | None,
    network: Any,
    teacher: Teacher | str | Path | None,
    options: Mapping[str, Any],
) -> TrainConfig:
    """The options of a run, checked as on the command line.

    Args:
        task: a task's name, or an environment.
        seeds: `seed_list`, or one seed; None for the default.
        network: a network's name, or a Flax module; None for the task's default.
        teacher: plans that ship or a plan file, a `Teacher`, or None for pure reinforcement learning.
        options: more options, by their names on the command line.

    Raises:
        UserError: an option is unknown, has a value that makes no sense, or no effect beside the others.
    """
    given = {name: _plain(value) for name, value in options.items()}
    name = canonical_task(task) if isinstance(task, str) else register_environment(task, teacher)
    if seeds is not None:
        if "seed_list" in given:
            raise UserError("give seeds or seed_list, not both")
        given["seed_list"] = _plain([seeds] if isinstance(seeds, int | np.integer) else seeds)
    if network is not None:
        given["network"] = network if isinstance(network, str) else _registered(network)
    given |= _teacher_options(teacher, given)
    config = with_options(default_config(name), given)
    config.check()
    idle = without_effect(config, given)
    if idle:
        reasons = "; ".join(f"{option} has no effect {reason}" for option, reason in idle.items())
        raise UserError(f"{reasons}; leave {'it' if len(idle) == 1 else 'them'} out")
    return replace(config, savedir=config.savedir)


def _teacher_options(teacher: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    if teacher is None:
        return {"no_teacher": True}
    if isinstance(teacher, str | Path):
        # The default says nothing, so that plans= and no_teacher= may say more.
        return {} if str(teacher) == SHIPPED else {"plans": str(teacher)}
    if not isinstance(teacher, Teacher):
        raise UserError(f"teacher must be a Teacher, a plan file or None, not {type(teacher).__name__}")
    if "plans" in given:
        raise UserError("a teacher has its own plans; give teacher or plans, not both")
    return {"plans": str(_kept_plans(teacher)), "hard_planner": not teacher.soft}


def _kept_plans(teacher: Teacher) -> Path:
    """The file with a teacher's plans, named by their digest."""
    if teacher.plans is None:
        raise UserError("this teacher does not know its plans; make it with jaxteach.make_teacher")
    path = user_cache_path("jaxteach") / "plans" / f"{teacher.plans.digest}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_plans(teacher.plans, path)
    return path


def _registered(network: Any) -> str:
    """The name by which a network that is given as an object is registered from now on."""
    if not isinstance(network, nn.Module):
        raise UserError(f"network must be a name or a Flax module, such as a Student, not {network!r}")
    name = type(network).__name__
    if name in NETWORKS:
        raise UserError(f"there is a network {name} already; rename the class")

    def make(world: AgentAxisWrapper) -> Any:
        del world
        return network

    REGISTERED.pop(name, None)
    register_network(name, make)
    return name


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, and sequences as the tuples that options have."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return tuple(_plain(item) for item in value)
    return value
