"""Gridworlds and particle worlds as pure JAX functions, exact to their references."""

import inspect
from collections.abc import Callable
from typing import Any

from jumanji.env import Environment

from envs_jax.doorkey import ColoredDoorKey, DoorKey, LavaDoorKey, TwoDoor
from envs_jax.locked_hallway import WORLDS
from envs_jax.mpe import SCENARIOS

_TASKS: dict[str, tuple[Callable[..., Environment[Any, Any, Any]], dict[str, Any]]] = {
    "SimpleDoorKey": (DoorKey, {}),
    "LavaDoorKey": (LavaDoorKey, {}),
    "ColoredDoorKey": (ColoredDoorKey, {"num_keys": 2}),
    "TwoDoor": (TwoDoor, {"world_size": 20, "room_size": (20, 20)}),
    **WORLDS,
    **SCENARIOS,
}


def tasks() -> list[str]:
    """The names that `make` knows."""
    return list(_TASKS)


def register(task: str, world: Callable[..., Any]) -> None:
    """Makes a world known by a name; the parameters of `world` are its overrides.

    Raises:
        ValueError: the name is taken.
    """
    if task in _TASKS:
        raise ValueError(f"there is a task {task} already; choose another name")
    _TASKS[task] = (world, {})


def parameters(task: str) -> list[str]:
    """The names of the overrides that `make` takes for a task.

    Raises:
        ValueError: an unknown task; the message lists the known ones.
    """
    if task not in _TASKS:
        raise ValueError(f"unknown task {task!r}; known are {', '.join(_TASKS)}")
    return [name for name in inspect.signature(_TASKS[task][0]).parameters if name != "self"]


def make(task: str, **overrides: Any) -> Any:
    """The environment of a task, with the task's defaults changed by `overrides`.

    Raises:
        ValueError: an unknown task or override; the message lists the known ones.
    """
    known = parameters(task)
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ValueError(f"{task} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    factory, defaults = _TASKS[task]
    return factory(**{**defaults, **overrides})
