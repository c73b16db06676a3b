"""What the adapters share: one world played on the host, seeds, and checks with one clear sentence."""

import operator
from functools import partial
from typing import Any, Final

import jax
import numpy as np
from gymnasium import spaces
from gymnasium.error import Error, InvalidAction, ResetNeeded
from jumanji.env import Environment
from jumanji.types import StepType, TimeStep

from envs_jax.animation import has_pictures
from envs_jax.equality import EqualByArguments
from envs_jax.forking import check_process

LAST: Final = int(StepType.LAST)
METADATA: Final[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}


class Game:
    """One world and its present state; equal worlds share their compiled programs."""

    def __init__(self, env: Environment[Any, Any, Any]) -> None:
        self.env: Any = env
        self._programs = _Programs(env)
        self._state: Any = None
        self._running = False

    @property
    def started(self) -> bool:
        """Whether there ever was an episode."""
        return self._state is not None

    def reset(self, seed: int | None) -> TimeStep[Any]:
        """Starts an episode; the time step's arrays are NumPy's and the caller's own."""
        check_process()
        key = self._state.key if seed is None and self.started else key_of(seed)
        self._state, timestep = self._programs.reset(key)
        self._running = True
        return jax.tree.map(np.array, timestep)

    def step(self, action: np.ndarray) -> TimeStep[Any]:
        """Takes one step; the time step's arrays are NumPy's and the caller's own."""
        check_process()
        self.check_running()
        self._state, timestep = self._programs.step(self._state, action.astype(self.env.action_spec.dtype))
        timestep = jax.tree.map(np.array, timestep)
        self._running = not is_last(timestep)
        return timestep

    @property
    def step_count(self) -> int:
        """Steps done in the episode, for a world whose state counts them."""
        return int(self._state.step_count)

    def check_running(self) -> None:
        """Raises `ResetNeeded` if there is no running episode."""
        if not self._running:
            raise ResetNeeded("the episode is over or was never started; call reset before step")

    def render(self) -> np.ndarray:
        check_process()
        if not self.started:
            raise ResetNeeded("there is nothing to draw; call reset before render")
        return self.env.render(self._state)


class _Programs(EqualByArguments):
    """`reset` and `step` of a world, compiled once for all equal worlds."""

    def __init__(self, env: Environment[Any, Any, Any]) -> None:
        self.env = env

    @partial(jax.jit, static_argnums=0)
    def reset(self, key: jax.Array) -> tuple[Any, TimeStep[Any]]:
        return self.env.reset(key)

    @partial(jax.jit, static_argnums=0)
    def step(self, state: Any, action: jax.Array) -> tuple[Any, TimeStep[Any]]:
        return self.env.step(state, action)


def key_of(seed: int | None) -> jax.Array:
    """`jax.random.key(seed)`; a larger seed than 32 bits is hashed to 64, and None gives a random key.

    Raises:
        gymnasium.error.Error: the seed is negative or not an integer.
    """
    if seed is not None:
        try:
            number = None if isinstance(seed, bool) else operator.index(seed)
        except TypeError:
            number = None
        if number is None:
            raise Error(f"Seed must be a python integer, actual type: {type(seed)}")
        seed = number
        if seed < 0:
            raise Error(f"Seed must be greater or equal to zero, actual value: {seed}")
        if seed < 2**32:
            return jax.random.key(seed)
    first, second = np.random.SeedSequence(seed).generate_state(2)
    return jax.random.fold_in(jax.random.key(first), second)


def is_last(timestep: TimeStep[Any]) -> bool:
    """`timestep.last()`, on the host: comparing there takes a tenth of the time."""
    return int(timestep.step_type) == LAST


def ends(timestep: TimeStep[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Terminated and truncated, of the shape of the discount."""
    last, failed = is_last(timestep), np.asarray(timestep.discount) == 0
    return last & failed, last & ~failed


def checked_mode(env: Environment[Any, Any, Any], render_mode: str | None) -> str | None:
    """`render_mode` if the world can be drawn so."""
    if render_mode not in (None, *METADATA["render_modes"]):
        raise ValueError(f'render_mode must be None or "rgb_array", not {render_mode!r}')
    if render_mode is not None and not has_pictures(env):
        raise ValueError(f"{type(env).__name__} has no render(state); leave render_mode out")
    return render_mode


def checked_env(env: Any) -> Environment[Any, Any, Any]:
    """`env` if it is a Jumanji environment.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(env, Environment):
        raise TypeError(f"env must be a Jumanji environment, such as one of envs_jax.make, not {env!r}")
    return env


def checked_action(space: spaces.Space[Any], action: Any) -> np.ndarray:
    """`action` as an array if it fits; values outside a box are left to the world, which clips them."""
    array = np.asarray(action)
    if isinstance(space, spaces.Box) and space.dtype is not None and space.dtype.kind == "f":
        fits = array.shape == space.shape and array.dtype.kind in "iuf" and np.isfinite(array).all()
    else:
        fits = array.dtype.kind in "iu" and space.contains(array)
    if not fits:
        raise InvalidAction(f"the action {action!r} is not in {space}")
    return array
