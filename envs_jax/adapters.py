"""The worlds for other libraries: PettingZoo, Gymnasium, and batches of arrays for training with PyTorch."""

import importlib
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from typing import Any, Final

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded
from jumanji.env import Environment
from jumanji.types import TimeStep
from pettingzoo import ParallelEnv

from envs_jax.doorkey import DoorKey
from envs_jax.grid.constants import NUM_ACTIONS
from envs_jax.locked_hallway import LockedHallway
from envs_jax.mpe import ParticleWorld
from envs_jax.vector import VectorState, vectorize

METADATA: Final[dict[str, Any]] = {"name": "envs_jax", "render_modes": ["rgb_array"], "render_fps": 10}


class PettingZooEnv(ParallelEnv[str, Any, Any]):
    """A multi-agent world as PettingZoo's `ParallelEnv`; all agents live as long as the episode.

    - observations: a particle world's are float32, as long as the agent's own; a hallway's are a
      dict of `view`, uint8[V, V, 3], and `direction`.
    - actions: numbers below the agent's count of them; in a continuous particle world vectors,
      which are clipped to [0, 1].

    `reset(seed)` starts with `jax.random.key(seed)`; without a seed, with the key that the last
    episode left, as automatic resets do, or at first with a random one.

    Args:
        env: a `LockedHallway` or a `ParticleWorld`.
        render_mode: "rgb_array" if `render` is going to be called.

    Raises:
        ValueError: the world has no axis for agents, or the mode is unknown.
    """

    metadata = METADATA

    def __init__(self, env: LockedHallway | ParticleWorld, render_mode: str | None = None) -> None:
        if not isinstance(env, LockedHallway | ParticleWorld):
            raise ValueError(f"{type(env).__name__} has no axis for agents; adapt it with GymnasiumEnv")
        self._game, self.render_mode = _Game(env), _checked_mode(render_mode)
        self.possible_agents = _agent_names(env)
        self.agents = []
        self.observation_spaces = dict(zip(self.possible_agents, _observation_spaces(env)))
        self.action_spaces = dict(zip(self.possible_agents, _action_spaces(env)))

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode; `options` are accepted and mean nothing."""
        del options
        timestep = self._game.reset(seed)
        self.agents = self.possible_agents[:]
        return self._split(timestep.observation), self._for_all({})

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """One step of all agents.

        Raises:
            ResetNeeded: there is no running episode.
            InvalidAction: an agent has no action, or one that is not in its action space.
        """
        timestep = self._game.step(self._join(actions))
        terminated, truncated = _ends(timestep)
        rewards = {agent: float(reward) for agent, reward in zip(self.possible_agents, np.asarray(timestep.reward))}
        if terminated or truncated:
            self.agents = []
        ends = self._for_all(terminated), self._for_all(truncated)
        return self._split(timestep.observation), rewards, *ends, self._for_all({})

    def render(self) -> np.ndarray | None:
        """uint8[H, W, 3], the present state, if the mode is "rgb_array"."""
        return self._game.render() if self.render_mode == "rgb_array" else None

    def _for_all(self, value: Any) -> dict[str, Any]:
        return {agent: value if isinstance(value, bool) else dict(value) for agent in self.possible_agents}

    def _split(self, observation: Any) -> dict[str, Any]:
        """Each agent's own observation, from that of all agents."""
        split = {}
        for i, (agent, space) in enumerate(self.observation_spaces.items()):
            if isinstance(space, spaces.Box):
                split[agent] = observation[i, : space.shape[0]]
            else:
                split[agent] = {name: value[i] for name, value in observation._asdict().items()}
        return split

    def _join(self, actions: dict[str, Any]) -> np.ndarray:
        """int32[A], or float32[A, k] padded with zeros."""
        missing = [agent for agent in self.possible_agents if agent not in actions]
        if missing and self.agents:
            raise InvalidAction(f"each agent needs an action; {', '.join(missing)} has none")
        joint = np.zeros(self._game.env.action_spec.shape, self._game.env.action_spec.dtype)
        for i, agent in enumerate(self.agents):
            action = _checked_action(self.action_spaces[agent], actions[agent])
            joint[(i, slice(action.size)) if action.ndim else i] = action
        return joint


class GymnasiumEnv(gymnasium.Env[Any, Any]):
    """A DoorKey task as a Gymnasium environment, with the observation of `DoorKey`.

    `reset(seed)` starts with `jax.random.key(seed)`; without a seed, with the key that the last
    episode left, as automatic resets do, or at first with a random one.

    Args:
        env: a DoorKey task.
        render_mode: "rgb_array" if `render` is going to be called.

    Raises:
        ValueError: the world has an axis for agents, or the mode is unknown.
    """

    metadata = METADATA

    def __init__(self, env: DoorKey, render_mode: str | None = None) -> None:
        if not isinstance(env, DoorKey):
            raise ValueError(f"{type(env).__name__} has an axis for agents; adapt it with PettingZooEnv")
        self._game, self.render_mode = _Game(env), _checked_mode(render_mode)
        spec: Any = env.observation_spec
        low, high = (np.broadcast_to(bound, spec.shape) for bound in (spec.minimum, spec.maximum))
        self.observation_space = spaces.Box(low, high, dtype=spec.dtype)
        self.action_space = spaces.Discrete(NUM_ACTIONS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; `options` are accepted and mean nothing."""
        super().reset(seed=seed, options=options)
        return self._game.reset(seed).observation, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step.

        Raises:
            ResetNeeded: there is no running episode.
            InvalidAction: the action is not in the action space.
        """
        timestep = self._game.step(_checked_action(self.action_space, action))
        return timestep.observation, float(timestep.reward), *_ends(timestep), {}

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """uint8[H, W, 3], the present state, if the mode is "rgb_array"."""
        return self._game.render() if self.render_mode == "rgb_array" else None


class BatchedEnv:
    """`num_envs` copies of any world as arrays, with automatic resets; for training outside JAX.

    Arrays are NumPy's and read-only (the memory is JAX's), or tensors that share JAX's memory on
    its device. A world with several agents has their axis after the batch's, and a hallway's
    observation is an `Observation` of arrays.

    Args:
        env: any environment of this package.
        num_envs: how many copies.
        torch: whether to return tensors.

    Raises:
        ImportError: tensors are wanted and PyTorch is not installed.
    """

    def __init__(self, env: Environment[Any, Any, Any], num_envs: int, torch: bool = False) -> None:
        self.env: Any = env
        self.num_envs = num_envs
        self._vector = vectorize(env, num_envs)
        self._reset, self._step = jax.jit(self._vector.reset), jax.jit(self._advance)
        self._export: Callable[[jax.Array], Any] = _tensor_maker() if torch else np.asarray
        self._device = next(iter(jnp.zeros(()).devices()))
        self._state: VectorState[Any] | None = None

    def reset(self, seed: int) -> Any:
        """Starts every copy on its own layout; the first observations, [N, ...]."""
        # A key without a fixed device would make the first step another program than the later ones.
        self._state, timestep = self._reset(jax.device_put(jax.random.key(seed), self._device))
        return self._handed_over(timestep.observation)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of every copy; the finished ones start again.

        Args:
            actions: [N, ...] as the environment's action; an array or a tensor, on any device.

        Returns:
            The observations [N, ...], after the reset where there was one; the rewards
            float32[N] or float32[N, A]; terminated, bool[N]; truncated, bool[N]; info with
            `final_obs`, the observations [N, ...] before any reset, `episode_return`, as the
            rewards, and `episode_length`, int32[N], both up to and including this step.

        Raises:
            ResetNeeded: `reset` was never called.
            InvalidAction: the actions have another shape.
        """
        if self._state is None:
            raise ResetNeeded("call reset before step")
        spec = self.env.action_spec
        if np.shape(actions) != (self.num_envs, *spec.shape):
            raise InvalidAction(f"actions must have shape {(self.num_envs, *spec.shape)}, not {np.shape(actions)}")
        self._state, results = self._step(self._state, _to_jax(actions, spec.dtype, self._device))
        return self._handed_over(results)

    def _handed_over(self, arrays: Any) -> Any:
        """The arrays as the caller wants them, ready, so that actions may be overwritten from now on."""
        return jax.tree.map(self._export, jax.block_until_ready(arrays))

    def _advance(self, state: VectorState[Any], actions: jax.Array) -> tuple[VectorState[Any], Any]:
        state, timestep = self._vector.step(state, actions)
        last = jnp.asarray(timestep.last())
        terminated = last & (jnp.reshape(timestep.discount, (self.num_envs, -1)) == 0).all(-1)
        truncated = last & ~terminated
        extras = timestep.extras
        info = {name: extras[name] for name in ("episode_return", "episode_length")} | {"final_obs": extras["next_obs"]}
        return state, (timestep.observation, timestep.reward, terminated, truncated, info)


class _Game:
    """One world played on the host: its compiled functions and its present state."""

    def __init__(self, env: Environment[Any, Any, Any]) -> None:
        self.env: Any = env
        self._reset, self._step = _compiled(env)
        self._state: Any = None
        self._running = False

    def reset(self, seed: int | None) -> TimeStep[Any]:
        """Starts an episode; the time step's arrays are NumPy's and the caller's own."""
        if seed is not None or self._state is None:
            key = jax.random.key(np.random.SeedSequence().generate_state(1)[0] if seed is None else seed)
        else:
            key = self._state.key
        self._state, timestep = self._reset(key)
        self._running = True
        return jax.tree.map(np.array, timestep)

    def step(self, action: np.ndarray) -> TimeStep[Any]:
        """Goes on by a step; the time step's arrays are NumPy's and the caller's own."""
        if not self._running:
            raise ResetNeeded("the episode is over or was never started; call reset before step")
        self._state, timestep = self._step(self._state, action)
        timestep = jax.tree.map(np.array, timestep)
        self._running = not timestep.last()
        return timestep

    def render(self) -> np.ndarray:
        if self._state is None:
            raise ResetNeeded("there is nothing to draw; call reset before render")
        return self.env.render(self._state)


@lru_cache(maxsize=64)
def _compiled(env: Environment[Any, Any, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`reset` and `step`, compiled once for all that adapt the same environment."""
    return jax.jit(env.reset), jax.jit(env.step)


def _ends(timestep: TimeStep[Any]) -> tuple[bool, bool]:
    """Whether the episode was terminated, and whether truncated; for all agents at once."""
    last, terminated = bool(timestep.last()), bool(np.all(timestep.discount == 0))
    return last and terminated, last and not terminated


def _checked_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f'render_mode must be None or "rgb_array", not {render_mode!r}')
    return render_mode


def _agent_names(env: LockedHallway | ParticleWorld) -> list[str]:
    if isinstance(env, ParticleWorld):
        return list(env.agents)
    return [f"agent_{i}" for i in range(env.num_agents)]


def _observation_spaces(env: LockedHallway | ParticleWorld) -> list[spaces.Space[Any]]:
    if isinstance(env, ParticleWorld):
        return [spaces.Box(-np.inf, np.inf, (size,), np.float32) for size in env.observation_sizes]
    view: Any = env.observation_spec["view"]
    low, high = (np.broadcast_to(bound, view.shape)[0] for bound in (view.minimum, view.maximum))
    parts = {"view": spaces.Box(low, high, dtype=view.dtype), "direction": spaces.Discrete(4)}
    return [spaces.Dict(deepcopy(parts)) for _ in range(env.num_agents)]


def _action_spaces(env: LockedHallway | ParticleWorld) -> list[spaces.Space[Any]]:
    if isinstance(env, LockedHallway):
        return [spaces.Discrete(NUM_ACTIONS) for _ in range(env.num_agents)]
    if env.continuous_actions:
        return [spaces.Box(0.0, 1.0, (count,), np.float32) for count in env.num_actions]
    return [spaces.Discrete(count) for count in env.num_actions]


def _checked_action(space: spaces.Space[Any], action: Any) -> np.ndarray:
    """`action` as an array if it fits; numbers out of a box are left to the world, which clips them."""
    array = np.asarray(action)
    fits = array.shape == space.shape and np.isfinite(array).all()
    if not (fits if isinstance(space, spaces.Box) else space.contains(array)):
        raise InvalidAction(f"the action {action!r} is not in {space}")
    return array


def _tensor_maker() -> Callable[[jax.Array], Any]:
    """PyTorch's `from_dlpack`."""
    try:
        return importlib.import_module("torch").from_dlpack
    except ImportError as error:
        raise ImportError("torch=True needs PyTorch, which is not installed: pip install torch") from error


def _to_jax(actions: Any, dtype: Any, device: Any) -> jax.Array:
    """An array or a tensor as `dtype` on `device`; a tensor that is there already does not leave it."""
    if hasattr(actions, "detach"):
        # Through dlpack go only dense tensors without gradients.
        actions = jnp.from_dlpack(actions.detach().contiguous())
    return jax.device_put(jnp.asarray(actions, dtype), device)
