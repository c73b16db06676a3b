"""The options of training as keywords: flat, with the command line's names, and objects beside names."""

import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np
from jax.core import Tracer

from jaxteach.api.objects import Objects, teacher_as_plans
from jaxteach.config import TrainConfig, default_config, with_options
from jaxteach.errors import UserError
from jaxteach.options.legacy import current_options
from jaxteach.options.markers import check_values, is_of, options_of, refuse_idle, without_effect
from jaxteach.system.plugins import import_plugins
from jaxteach.tasks import OBJECT
from jaxteach.teacher.plans import find_plans
from jaxteach.teacher.policy import Teacher
from jaxteach.teacher.table import compile_plans

DEFAULT: Final = "default"
"""Stands for the task's own teacher."""


@contextmanager
def names_as_keywords(**others: str) -> Iterator[None]:
    """Rewrites `--name` as `name`, and `--seed_list` as `seeds`, in the block's `UserError`s, for callers in Python.

    Messages that name a command stay as they are.

    Args:
        others: the keyword for an option whose name differs, such as `num_eval="episodes"`.
    """
    names = {"seed_list": "seeds"} | others
    try:
        yield
    except UserError as error:
        if "python -m" in str(error):
            raise
        raise type(error)(
            re.sub(r"(?<!\w)--([a-z_]+)", lambda found: names.get(found[1], found[1]), str(error))
        ) from None


@contextmanager
def named_options(
    task: Any, seeds: int | Iterable[int] | None, teacher: Any, network: Any, options: Mapping[str, Any]
) -> Iterator[tuple[Objects, dict[str, Any]]]:
    """Keywords as flat options without objects, for which names stand inside the block.

    Args:
        task: a name or an environment.
        seeds: one or several, None for the option's default.
        teacher: None for none, `DEFAULT`, the path of a plan file, a `Teacher` or a `Domain`.
        network: a name, a module, a function that makes one, or None for the task's default.
        options: the others, by their names on the command line; of a sweep, without those that it varies.

    Yields:
        The objects, and the options with the task's name among them.

    Raises:
        UserError: two keywords say the same, or an object can't be used.
    """
    import_plugins()
    if task is None:
        raise UserError("a task is a name, such as SimpleDoorKey, or an environment, not None")
    flat = {name: _plain(name, value) for name, value in current_options(options).items()}
    if seeds is not None:
        flat = _with(flat, "seeds", "seed_list", _seeds(seeds))
    if isinstance(network, str):
        flat, network = _with(flat, "network", "network", network), None
    objects = Objects(None if isinstance(task, str) else task, network)
    with ExitStack() as stack:
        stack.enter_context(objects.bound())
        name = task if isinstance(task, str) else objects.task
        config = with_options(default_config(name), flat)
        check_values(config)  # Networks and teachers are made before all options are checked.
        flat = {"task": config.task} | flat
        if teacher is None:
            flat = _with(flat, "teacher", "no_teacher", True)
        elif isinstance(teacher, str | Path):
            if str(teacher) != DEFAULT:
                flat = _with(flat, "teacher", "plans", str(teacher))
        else:
            made = _teacher(teacher, config, flat)
            own_domain = not isinstance(teacher, Teacher)
            flat["plans"] = stack.enter_context(teacher_as_plans(made, config, own_domain))
            flat.pop("hard_planner", None)
            if not made.soft:
                flat["hard_planner"] = True
        if objects.network is not None:
            # With --guidance ask the student's world has the teacher.
            flat["network"] = stack.enter_context(objects.network_of(with_options(config, flat)))
        yield objects, flat


def configured(flat: Mapping[str, Any]) -> TrainConfig:
    """The configuration that flat options give, checked as the command line's are.

    Raises:
        UserError: an option is unknown, has no effect beside the others, or a value that it can't have.
    """
    options = {name: value for name, value in flat.items() if name != "task"}
    config = with_options(default_config(flat["task"]), options)
    config.check()
    refuse_idle(without_effect(config, options))
    return config


def _with(flat: dict[str, Any], keyword: str, name: str, value: Any) -> dict[str, Any]:
    if name in flat:
        raise UserError(f"{keyword}= and {name}= say the same; give one of them")
    return flat | {name: value}


def _seeds(seeds: Any) -> tuple[int, ...]:
    try:
        if any(isinstance(seed, bool) for seed in np.atleast_1d(np.asarray(seeds, object))):
            raise TypeError
        return tuple(map(operator.index, [seeds] if np.ndim(seeds) == 0 and not np.iterable(seeds) else seeds))
    except TypeError:
        raise UserError(f"seeds are integers, one or several, not {seeds!r}") from None


_KINDS: Final = {option.name: option.kind for option in options_of(TrainConfig("SimpleDoorKey"))}


def _plain(name: str, value: Any) -> Any:
    """A value as the command line gives it: NumPy's numbers as Python's, 1e5 as a whole number, paths as text."""
    kind = _KINDS.get(name)
    if isinstance(value, Tracer):
        raise UserError(
            f"{name} can't be traced here; give it to the update of make_train, as update(state, {name}=...)"
        )
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.ndim(value) == 0:
        value = value.item()
    if name == "seed_list":
        return _seeds(value)
    if isinstance(value, Path):
        return str(value)
    if kind is None or not isinstance(value, float) or not value.is_integer() or is_of(value, kind):
        return value
    return int(value) if is_of(int(value), kind) else value


def _teacher(given: Any, config: TrainConfig, flat: Mapping[str, Any]) -> Teacher:
    """The teacher that an object is, or that plans and a `Domain` make."""
    if flat.get("online"):
        raise UserError("online asks about a registered task; register it with its domain, and leave teacher= out")
    if isinstance(given, Teacher):
        idle = [name for name in ("plans", "hard_planner") if name in flat]
        if idle:
            raise UserError(f"{idle[0]} has no effect with a Teacher, which has its own; leave it out")
        return given
    if not hasattr(given, "vocabulary") or not hasattr(given, "skill_actions"):
        raise UserError(f"a teacher is None, the path of a plan file, a Teacher or a Domain, not {given!r}")
    plans = find_plans(config.teacher.plans, config.task.removeprefix(OBJECT))
    return Teacher(compile_plans(plans, given.vocabulary), given, not config.teacher.hard_planner, plans)
