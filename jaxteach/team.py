"""Worlds as the learner sees them: whoever acts in them is a team, be it of one."""

from functools import cached_property
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import TimeStep

from envs_jax.mpe import ParticleWorld


class TeamWorld:
    """A world of A agents in which observation, action, reward and discount have an agent axis.

    Worlds of several agents have it already; one with a single agent gets it, of length 1.
    `extras` has, beside the world's own, `success`: bool[], the task is fulfilled. In grid worlds
    that is an end with a reward; in particle worlds what the scenario's `succeeds` says of the
    state, so it counts in an episode's last step, and never where a scenario has no success.

    Args:
        env: a world with discrete actions.

    Attributes:
        num_agents: A.
        action_counts: how many actions each agent has.
        max_steps: steps until an episode is truncated.

    Raises:
        ValueError: the actions are continuous.
    """

    def __init__(self, env: Environment[Any, Any, Any]) -> None:
        spec = env.action_spec
        if not isinstance(spec, specs.DiscreteArray | specs.MultiDiscreteArray):
            raise ValueError(f"the learner needs discrete actions, not {spec}")
        self.env: Any = env
        self._single = isinstance(spec, specs.DiscreteArray)
        self.action_counts = tuple(np.atleast_1d(spec.num_values).tolist())
        self.num_agents = len(self.action_counts)
        self.max_steps: int = self.env.max_steps

    def reset(self, key: jax.Array) -> tuple[Any, TimeStep[Any]]:
        """A fresh state; observation leaves [A, ...], reward and discount float32[A]."""
        state, timestep = self.env.reset(key)
        return state, self._for_team(timestep, jnp.bool_(False))

    def step(self, state: Any, action: jax.Array) -> tuple[Any, TimeStep[Any]]:
        """One step with actions int32[A]."""
        state, timestep = self.env.step(state, action[0] if self._single else action)
        return state, self._for_team(timestep, self._success(state, timestep))

    def observe(self, state: Any) -> Any:
        """The observations of a state, leaves [A, ...]."""
        return self._with_axis(self.env.observe(state))

    @cached_property
    def abstract_observation(self) -> Any:
        """The shapes and dtypes of `observe`'s result."""
        return jax.eval_shape(self.reset, jax.random.key(0))[1].observation

    def _success(self, state: Any, timestep: TimeStep[Any]) -> jax.Array:
        if isinstance(self.env, ParticleWorld):
            return self.env.succeeds(state)
        return (timestep.discount == 0).all() & (timestep.reward > 0).any()

    def _for_team(self, timestep: TimeStep[Any], success: jax.Array) -> TimeStep[Any]:
        return timestep.replace(  # type: ignore[attr-defined]
            observation=self._with_axis(timestep.observation),
            reward=self._with_axis(timestep.reward),
            discount=self._with_axis(timestep.discount),
            extras={**timestep.extras, "success": success},
        )

    def _with_axis(self, tree: Any) -> Any:
        tree = jax.tree.map(_narrow, tree)
        return jax.tree.map(lambda leaf: leaf[None], tree) if self._single else tree


def _narrow(leaf: Any) -> jax.Array:
    """A world's array as it is without `jax_enable_x64`: training keeps to 32 bits."""
    leaf = jnp.asarray(leaf)
    return leaf.astype(_NARROWER.get(str(leaf.dtype), leaf.dtype))


_NARROWER: Final = {"float64": "float32", "int64": "int32", "uint64": "uint32"}
