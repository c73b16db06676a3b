"""Worlds of several agents as PettingZoo's `ParallelEnv`."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded
from jumanji.env import Environment
from pettingzoo import ParallelEnv

from envs_jax.adapters.convert import agent_spaces, agent_values, count_agents, to_space, to_values
from envs_jax.adapters.game import METADATA, Game, checked_action, checked_env, checked_mode, ends, is_last
from envs_jax.checks import check_observations
from envs_jax.forking import NotForked
from envs_jax.locked_hallway import LockedHallway
from envs_jax.mpe import SCENARIOS, ParticleWorld

MISSION: Final = "unlock all the doors"
MPE2_VERSIONS: Final = {"simple_speaker_listener": 4}  # 3 elsewhere


class PettingZooEnv(NotForked, ParallelEnv[str, Any, Any]):
    """A multi-agent world as PettingZoo's `ParallelEnv`; all agents live as long as the episode.

    - observations: a particle world's are float32, as long as the agent's own; a hallway's are a
      dict of `view`, uint8[V, V, 3], and `direction`; those of a world of your own are what its
      spec says, with the agent's own row where there is an axis for agents.
    - actions: numbers below the agent's count of them; in a continuous particle world vectors,
      which are clipped to [0, 1].
    - `state()`: the agents' observations, flattened and joined, as in `mpe2`.

    `reset(seed)` starts with `jax.random.key(seed)`, or a hash of a seed of more than 32 bits;
    without a seed, with the key that the last episode left, as automatic resets do, or at first
    with a random one. After an episode's end `step` returns five empty dicts, as in `mpe2`.

    Args:
        env: a `LockedHallway`, a `ParticleWorld`, or any Jumanji world whose actions have an axis
            for agents. Its `agents`, if it has names there, are the agents' names.
        render_mode: "rgb_array" if `render` is going to be called.
        multigrid_names: whether a hallway's observations are MultiGrid's: `image`, int64[V, V, 3],
            `direction`, and `mission`, a string.

    Raises:
        ValueError: the world has no axis for agents, the mode is unknown or the world has no
            pictures, MultiGrid's names are wanted for another world, or the observations don't have
            the shapes and dtypes of the `observation_spec`.
        RuntimeError: in a process that was forked after JAX had started.
    """

    def __init__(
        self, env: Environment[Any, Any, Any], render_mode: str | None = None, multigrid_names: bool = False
    ) -> None:
        count = count_agents(checked_env(env))
        if count is None:
            raise ValueError(f"{type(env).__name__} has no axis for agents; adapt it with GymnasiumEnv")
        if multigrid_names and not isinstance(env, LockedHallway):
            raise ValueError(f"multigrid_names is for LockedHallway, not {type(env).__name__}")
        self.metadata = {"name": _name(env), "is_parallelizable": True, **METADATA}
        self._game, self.render_mode = Game(env), checked_mode(env, render_mode)
        self._multigrid_names = multigrid_names
        check_observations(env)
        self._joint_space = to_space(env.observation_spec)
        self.possible_agents = _agent_names(env, count)
        self.agents = []
        self.observation_spaces = dict(zip(self.possible_agents, self._each_observation_space(env, count)))
        self.action_spaces = dict(zip(self.possible_agents, _action_spaces(env, count)))
        flat = [_flat_space(space) for space in self.observation_spaces.values()]
        low, high = (np.concatenate([getattr(space, bound) for space in flat]) for bound in ("low", "high"))
        self.state_space = spaces.Box(low, high, dtype=low.dtype.type)
        self._values: Any = None

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode; `options` are accepted and ignored.

        Raises:
            gymnasium.error.Error: the seed is negative or not an integer.
        """
        del options
        self._values = to_values(self._joint_space, self._game.reset(seed).observation)
        self.agents = self.possible_agents[:]
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """One step of all agents.

        Raises:
            ResetNeeded: `reset` was never called.
            InvalidAction: the actions are not a dict by agents' names, or an agent has no action, or one that is not
                in its action space.
        """
        if self._game.started and not self.agents:
            return {}, {}, {}, {}, {}
        self._game.check_running()
        timestep = self._game.step(self._join(actions))
        everyone = self.possible_agents
        terminated, truncated = (np.broadcast_to(end, len(everyone)).tolist() for end in ends(timestep))
        rewards = dict(zip(everyone, np.broadcast_to(timestep.reward, len(everyone)).tolist()))
        if is_last(timestep):
            self.agents = []
        self._values = to_values(self._joint_space, timestep.observation)
        each = dict(zip(everyone, terminated)), dict(zip(everyone, truncated)), {agent: {} for agent in everyone}
        return self._observations(), rewards, *each

    def state(self) -> np.ndarray:
        """The observations of all agents, the present or last ones, as one vector of `state_space`.

        Raises:
            ResetNeeded: `reset` was never called.
        """
        if not self._game.started:
            raise ResetNeeded("there is no state; call reset before state")
        observations = self._observations()
        parts: Any = [spaces.flatten(self.observation_spaces[agent], seen) for agent, seen in observations.items()]
        return np.concatenate(parts).astype(self.state_space.dtype)

    def render(self) -> np.ndarray | None:
        """uint8[H, W, 3], the present state, if the mode is "rgb_array"."""
        return self._game.render() if self.render_mode == "rgb_array" else None

    def _each_observation_space(self, env: Environment[Any, Any, Any], count: int) -> list[spaces.Space[Any]]:
        if isinstance(env, ParticleWorld):
            return [spaces.Box(-np.inf, np.inf, (size,), np.float32) for size in env.observation_sizes]
        if self._multigrid_names and isinstance(env, LockedHallway):
            return [_multigrid_space(env.agent_view_size) for _ in range(count)]
        return agent_spaces(self._joint_space, count)

    def _observations(self) -> dict[str, Any]:
        """Each agent's own observation, the caller's to keep."""
        observations, count = {}, len(self.possible_agents)
        for i, (agent, space) in enumerate(self.observation_spaces.items()):
            seen = agent_values(self._joint_space, self._values, count, i)
            if isinstance(self._game.env, ParticleWorld):
                seen = seen[: space.shape[0]]  # pyright: ignore[reportOptionalSubscript]
            elif self._multigrid_names:
                seen = {"image": seen["view"].astype(np.int64), "direction": seen["direction"], "mission": MISSION}
            observations[agent] = seen
        return observations

    def _join(self, actions: dict[str, Any]) -> np.ndarray:
        """[A, ...] as the world's action; shorter vectors padded with zeros."""
        if not isinstance(actions, Mapping):
            raise InvalidAction(f"actions must be a dict from agents' names to actions, not {type(actions).__name__}")
        unknown = [str(agent) for agent in actions if agent not in self.possible_agents]
        if unknown:
            raise InvalidAction(f"there is no agent {', '.join(unknown)}; the agents are {', '.join(self.agents)}")
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise InvalidAction(f"each agent needs an action; {', '.join(missing)} has none")
        joint = np.zeros(self._game.env.action_spec.shape, self._game.env.action_spec.dtype)
        for i, agent in enumerate(self.agents):
            action = checked_action(self.action_spaces[agent], actions[agent])
            joint[(i, slice(len(action))) if action.ndim else i] = action
        return joint


def _name(env: Environment[Any, Any, Any]) -> str:
    """The name of a world where it comes from, else that of its class."""
    if type(env) is LockedHallway:
        return f"LockedHallway-{env.num_rooms}Rooms"
    names = [f"{task}_v{MPE2_VERSIONS.get(task, 3)}" for task, (world, _) in SCENARIOS.items() if type(env) is world]
    return names[0] if names else type(env).__name__


def _agent_names(env: Any, count: int) -> list[str]:
    names = getattr(env, "agents", None)
    if isinstance(names, list | tuple) and len(names) == count and all(isinstance(name, str) for name in names):
        return list(names)
    return [f"agent_{i}" for i in range(count)]


def _action_spaces(env: Environment[Any, Any, Any], count: int) -> list[spaces.Space[Any]]:
    if isinstance(env, ParticleWorld) and env.continuous_actions:
        return [spaces.Box(0.0, 1.0, (length,), np.float32) for length in env.num_actions]
    return agent_spaces(to_space(env.action_spec), count)


def _multigrid_space(view_size: int) -> spaces.Dict:
    image = spaces.Box(0, 255, (view_size, view_size, 3), np.int64)
    mission = spaces.Text(len(MISSION), charset=frozenset(MISSION))
    return spaces.Dict({"image": image, "direction": spaces.Discrete(4), "mission": mission})


def _flat_space(space: spaces.Space[Any]) -> spaces.Box:
    flat = spaces.flatten_space(space)
    if not isinstance(flat, spaces.Box):
        raise ValueError(f"{space} can't be flattened for state()")
    return flat
