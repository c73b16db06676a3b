"""Jumanji's specs and observations as Gymnasium's spaces and dicts, of a world and of each agent in it."""

from copy import deepcopy
from typing import Any

import jax
import numpy as np
from gymnasium import spaces
from jumanji.env import Environment
from jumanji.specs import jumanji_specs_to_gym_spaces


def count_agents(env: Environment[Any, Any, Any]) -> int | None:
    """A, if the actions have an axis for agents, else None.

    The world says so with `num_agents`, or by a reward for each row of an action.
    """
    shape = env.action_spec.shape
    if not shape:
        return None
    declared = getattr(env, "num_agents", None)
    if declared is None:
        rewards = jax.eval_shape(env.reset, jax.random.key(0))[1].reward.shape
        declared = rewards[0] if rewards else None
    return declared if declared == shape[0] else None


def to_space(spec: Any) -> spaces.Space[Any]:
    """The space of a spec; a nested one is a Dict."""
    return jumanji_specs_to_gym_spaces(spec)


def to_values(space: spaces.Space[Any], tree: Any) -> Any:
    """An observation as an array, or as a dict where the space is one."""
    if not isinstance(space, spaces.Dict):
        return tree
    return {name: to_values(part, getattr(tree, name)) for name, part in space.items()}


def agent_spaces(space: spaces.Space[Any], agents: int) -> list[spaces.Space[Any]]:
    """Each agent's own space; a space without an axis for agents is shared by all."""
    return [_row_space(space, agents, agent) for agent in range(agents)]


def agent_values(space: spaces.Space[Any], values: Any, agents: int, agent: int) -> Any:
    """A copy of one agent's own part of values of a space."""
    if isinstance(space, spaces.Dict):
        return {name: agent_values(part, values[name], agents, agent) for name, part in space.items()}
    return (values[agent] if _has_axis(space, agents) else values).copy()


def _has_axis(space: spaces.Space[Any], agents: int) -> bool:
    return bool(space.shape) and space.shape[0] == agents


def _row_space(space: spaces.Space[Any], agents: int, agent: int) -> spaces.Space[Any]:
    if isinstance(space, spaces.Dict):
        return spaces.Dict({name: _row_space(part, agents, agent) for name, part in space.items()})
    if not _has_axis(space, agents):
        return deepcopy(space)
    if isinstance(space, spaces.MultiDiscrete):
        counts = space.nvec[agent]
        return spaces.MultiDiscrete(counts) if np.ndim(counts) else spaces.Discrete(int(counts))
    if not isinstance(space, spaces.Box):
        raise ValueError(f"{space} can't be shared out to agents")
    low, high = space.low[agent], space.high[agent]
    if np.ndim(low) == 0 and np.issubdtype(low.dtype, np.integer):
        return spaces.Discrete(int(high) - int(low) + 1, start=int(low))
    return spaces.Box(low, high, np.shape(low), low.dtype)
