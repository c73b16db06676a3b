"""The tasks in Gymnasium's registry."""

import re
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

import envs_jax
from envs_jax.adapters.gymnasium import GymnasiumEnv
from envs_jax.adapters.vector import BatchedEnv


def register_envs() -> None:
    """Registers every task as `jaxteach/TASK-v0`, those of your own too if they are known by now.

    A name that ends in a version keeps it, as in `jaxteach/MiniGrid-Unlock-v0`.

    `gymnasium.make` gives a `GymnasiumEnv`, `gymnasium.make_vec` a `BatchedEnv`; both take the
    task's overrides. In an id, characters of a task's name that Gymnasium doesn't allow are `_`.
    """
    here = __name__
    for task in envs_jax.all_tasks():
        versioned = task if re.search(r"-v\d+$", task) else f"{task}-v0"
        name = f"jaxteach/{re.sub(r'[^A-Za-z0-9_.-]', '_', versioned)}"
        if name not in gymnasium.registry:
            points = f"{here}:make_gymnasium", f"{here}:make_batched"
            gymnasium.register(name, points[0], vector_entry_point=points[1], kwargs={"task": task})


def make_gymnasium(task: str, render_mode: str | None = None, **overrides: Any) -> GymnasiumEnv:
    """A task of one agent for `gymnasium.make`; see `envs_jax.make` for the overrides."""
    return GymnasiumEnv(envs_jax.make(task, **overrides), render_mode)


def make_batched(
    task: str,
    num_envs: int,
    torch: bool = False,
    render_mode: str | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    **overrides: Any,
) -> BatchedEnv:
    """A task for `gymnasium.make_vec`; see `envs_jax.make` for the overrides."""
    return BatchedEnv(envs_jax.make(task, **overrides), num_envs, torch, render_mode, autoreset_mode)
