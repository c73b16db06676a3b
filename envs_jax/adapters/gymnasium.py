"""Worlds of one agent as Gymnasium environments."""

from typing import Any

import gymnasium
import numpy as np
from jumanji.env import Environment

from envs_jax.adapters.convert import count_agents, to_space, to_values
from envs_jax.adapters.game import METADATA, Game, checked_action, checked_env, checked_mode, ends
from envs_jax.adapters.minigrid import has_mission, minigrid_world, to_minigrid_space, to_minigrid_values
from envs_jax.checks import check_observations
from envs_jax.forking import NotForked


class GymnasiumEnv(NotForked, gymnasium.Env[Any, Any]):
    """A world of one agent as a Gymnasium environment, with the observation and action of its specs.

    A MiniGrid world, wrapped or not, behaves as in the package `minigrid`: it shows `image`, uint8[V, V, 3],
    `direction`, an int, and `mission`, a str, and an episode that ends by itself in step `max_steps` is both terminated
    and truncated.

    `reset(seed)` starts with `jax.random.key(seed)`, or a hash of a seed of more than 32 bits;
    without a seed, with the key that the last episode left, as automatic resets do, or at first
    with a random one.

    Args:
        env: a DoorKey task, or any Jumanji world of one agent. A nested observation is a dict.
        render_mode: "rgb_array" if `render` is going to be called.

    Raises:
        ValueError: the world has an axis for agents, or the mode is unknown, the world has no
            pictures, or its observations don't have the shapes and dtypes of its `observation_spec`.
        RuntimeError: in a process that was forked after JAX had started.
    """

    metadata = METADATA

    def __init__(self, env: Environment[Any, Any, Any], render_mode: str | None = None) -> None:
        if count_agents(checked_env(env)) is not None:
            raise ValueError(f"{type(env).__name__} has an axis for agents; adapt it with PettingZooEnv")
        check_observations(env)
        self._game, self.render_mode = Game(env), checked_mode(env, render_mode)
        space, world = to_space(env.observation_spec), minigrid_world(env)
        self._world = world
        self._mission_world = world if has_mission(space) else None
        self.observation_space = space if self._mission_world is None else to_minigrid_space(space, self._mission_world)
        self.action_space = to_space(env.action_spec)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; `options` are accepted and ignored.

        Raises:
            gymnasium.error.Error: the seed is negative or not an integer.
        """
        timestep = self._game.reset(seed)
        # Gymnasium takes no other integers than Python's.
        super().reset(seed=None if seed is None else int(seed), options=options)
        return self._values(timestep.observation), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step.

        Raises:
            ResetNeeded: there is no running episode.
            InvalidAction: the action is not in the action space.
        """
        self._game.check_running()
        timestep = self._game.step(checked_action(self.action_space, action))
        terminated, truncated = map(bool, ends(timestep))
        if terminated and self._world is not None:
            truncated = self._game.step_count >= self._world.max_steps
        return self._values(timestep.observation), float(timestep.reward), terminated, truncated, {}

    def _values(self, observation: Any) -> Any:
        values = to_values(self.observation_space, observation)
        return values if self._mission_world is None else to_minigrid_values(values, observation, self._mission_world)

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """uint8[H, W, 3], the present state, if the mode is "rgb_array"."""
        return self._game.render() if self.render_mode == "rgb_array" else None
