"""Gridworlds and particle worlds as pure JAX functions, exact to their references."""

import envs_jax.lazy_jumanji  # noqa: F401 - before anything else imports Jumanji

# isort: split
import inspect
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final

from jumanji.env import Environment

from envs_jax.doorkey import ColoredDoorKey, DoorKey, KeyInBox, LavaDoorKey, RandomBoxKey, TwoDoor
from envs_jax.locked_hallway import WORLDS
from envs_jax.minigrid import WORLDS as MINIGRID_WORLDS
from envs_jax.mpe import SCENARIOS

_TASKS: dict[str, tuple[Callable[..., Environment[Any, Any, Any]], dict[str, Any]]] = {
    "SimpleDoorKey": (DoorKey, {}),
    "LavaDoorKey": (LavaDoorKey, {}),
    "ColoredDoorKey": (ColoredDoorKey, {}),
    "TwoDoor": (TwoDoor, {"world_size": 20, "room_size": (20, 20)}),
    "KeyInBox": (KeyInBox, {}),
    "RandomBoxKey": (RandomBoxKey, {}),
    **WORLDS,
    **SCENARIOS,
}
_BUILT_IN: Final = frozenset(_TASKS)
_UNLISTED: Final[dict[str, tuple[Callable[..., Environment[Any, Any, Any]], dict[str, Any]]]] = {
    **MINIGRID_WORLDS,
}
_FIXED: Final = {task: ("num_rooms",) for task in WORLDS}
"""What a task's name tells, so that it can't be another."""


def tasks() -> list[str]:
    """The names that `make` knows, except those of `envs_jax.minigrid.WORLDS`."""
    return list(_TASKS)


def all_tasks() -> list[str]:
    """All names that `make` knows."""
    return list(_known())


def register(task: str, world: Callable[..., Any]) -> None:
    """Makes a world known by a name; the parameters of `world` are its overrides.

    A name that was registered before, as by a notebook's cell that runs again, then stands for the new world.

    Args:
        task: few letters, digits and . _ + - only; it also names the folders of runs.
        world: makes the world.

    Raises:
        ValueError: the name is not allowed, or taken.
    """
    if not isinstance(task, str) or not re.fullmatch(r"\w[\w.+-]{0,99}", task):
        raise ValueError(f"{task!r} can't name a task: use few letters, digits and . _ + - only")
    if not callable(world):
        raise ValueError(f"the task {task} needs a function or class that makes its world, not {world!r}")
    taken = next((name for name in _known() if name.lower() == task.lower()), task)
    if taken in (*_BUILT_IN, *_UNLISTED) or taken != task:
        raise ValueError(f"there is a task {taken} already; choose another name")
    _TASKS[task] = (world, {})


def _known() -> dict[str, tuple[Callable[..., Environment[Any, Any, Any]], dict[str, Any]]]:
    """What makes each task's world, and with which parameters."""
    return {**_TASKS, **_UNLISTED}


def canonical_name(task: str) -> str:
    """A task's name as `all_tasks` spells it, for a name in upper or lower case.

    Raises:
        ValueError: an unknown task; the message names the most similar one, and lists the known ones.
    """
    by_lower = {name.lower(): name for name in _known()}
    if not isinstance(task, str) or task.lower() not in by_lower:
        by_short_name = {name.removeprefix("minigrid-"): by_lower[name] for name in by_lower} | by_lower
        near = get_close_matches(str(task).lower(), by_short_name, 1)
        hint = f"did you mean {by_short_name[near[0]]}? " if near else ""
        known = f"known are {', '.join(_TASKS)}, and those of envs_jax.minigrid.WORLDS"
        raise ValueError(f"unknown task {task!r}; {hint}{known}")
    return by_lower[task.lower()]


def parameters(task: str) -> list[str]:
    """The names of the overrides that `make` takes for a task.

    Raises:
        ValueError: an unknown task; the message lists the known ones.
    """
    task = canonical_name(task)
    return [name for name in inspect.signature(_known()[task][0]).parameters if name not in _FIXED.get(task, ())]


def make(task: str, **overrides: Any) -> Any:
    """The environment of a task, with the task's defaults changed by `overrides`.

    Args:
        task: a name of `all_tasks`, in upper or lower case.
        overrides: parameters of the world, see `parameters`.

    Raises:
        ValueError: an unknown task or override; the message lists the known ones. Or a parameter
            has the wrong type, or a value for which there is no world.
    """
    task = canonical_name(task)
    factory, defaults = _known()[task]
    fixed = {name: defaults[name] for name in _FIXED.get(task, ())}
    known = parameters(task)
    for name in sorted(set(overrides) - set(known)):
        if name in fixed and overrides[name] == fixed[name]:
            continue
        if name in fixed:
            raise ValueError(f"{task} has {name} {fixed[name]}, not {overrides[name]!r}; take another of the tasks")
        has = ", ".join(known) or "no parameters"
        raise ValueError(f"{task} has no parameter {name}; it has {has}")
    return factory(**{**defaults, **overrides})
