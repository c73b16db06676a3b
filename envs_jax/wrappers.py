"""Worlds as the learner sees them, always with an axis of agents."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import TimeStep

from envs_jax.checks import WorldError, check_observations, narrow
from envs_jax.equality import EqualByArguments
from envs_jax.mpe import ParticleWorld


class AgentAxisWrapper(EqualByArguments):
    """A world of A agents in which observation, action, reward and discount have an agent axis.

    Worlds of several agents have it already; one with a single agent gets it, of length 1. A reward
    or discount that a team shares is each agent's.
    `extras` has, beside the world's own, `success`: bool[], the task is fulfilled; it counts in an
    episode's last step. Where the world does not give it, it is an end with a reward, or in
    particle worlds what the scenario's `succeeds` says of the state, never where it has no success.

    Args:
        env: a world with discrete actions.

    Attributes:
        num_agents: A.
        is_single: whether the world's own arrays have no agent axis.
        action_counts: how many actions each agent has.
        max_steps: steps until an episode is truncated.
        abstract_observation: the shapes and dtypes of `observe`'s result.

    Raises:
        WorldError: the actions are continuous, or the world lacks what training needs.
    """

    def __init__(self, env: Environment[Any, Any, Any]) -> None:
        spec = env.action_spec
        if not isinstance(spec, specs.DiscreteArray | specs.MultiDiscreteArray):
            raise WorldError(
                "only worlds with discrete actions can be trained, whose action_spec is a DiscreteArray or, for "
                f"several agents, a MultiDiscreteArray; {_name(env)} has {type(spec).__name__}"
            )
        self.env: Any = env
        self.is_single = isinstance(spec, specs.DiscreteArray)
        self.action_counts = tuple(np.atleast_1d(spec.num_values).tolist())
        self.num_agents = len(self.action_counts)
        self.max_steps = _max_steps(env)
        if not callable(getattr(env, "observe", None)):
            raise WorldError(f"{_name(env)} has no observe(state), the observation of a state, which training needs")
        state, timestep = jax.eval_shape(self.reset, jax.random.key(0))
        if not ("key" in state if isinstance(state, Mapping) else hasattr(state, "key")):
            raise WorldError(f"the state of {_name(env)} has no key, from which the next episode is drawn")
        self.abstract_observation: Any = timestep.observation
        check_observations(env)
        if any(leaf.shape[:1] != (self.num_agents,) for leaf in jax.tree.leaves(self.abstract_observation)):
            raise WorldError(
                f"the observations of {_name(env)} have no axis for {self.num_agents} agents, which its action_spec, a "
                "MultiDiscreteArray, is for; one agent's action is a DiscreteArray"
            )

    def reset(self, key: jax.Array) -> tuple[Any, TimeStep[Any]]:
        """A fresh state; observation leaves [A, ...], reward and discount float32[A]."""
        state, timestep = self.env.reset(key)
        return state, self._for_team(timestep, jnp.bool_(False))

    def step(self, state: Any, action: jax.Array) -> tuple[Any, TimeStep[Any]]:
        """One step with actions int32[A]."""
        state, timestep = self.env.step(state, action[0] if self.is_single else action)
        return state, self._for_team(timestep, self._succeeds(state, timestep))

    def observe(self, state: Any) -> Any:
        """The observations of a state, leaves [A, ...]."""
        return self._with_axis(self.env.observe(state))

    def _succeeds(self, state: Any, timestep: TimeStep[Any]) -> jax.Array:
        own = (timestep.extras or {}).get("success")
        if own is not None:
            own = jnp.asarray(own)
            if own.shape != () or own.dtype != bool:
                raise WorldError(
                    f"extras['success'] of {_name(self.env)} must be bool[], not {own.dtype}{[*own.shape]}"
                )
            return own
        if isinstance(self.env, ParticleWorld):
            return self.env.succeeds(state)
        return (timestep.discount == 0).all() & (timestep.reward > 0).any()

    def _for_team(self, timestep: TimeStep[Any], success: jax.Array) -> TimeStep[Any]:
        return timestep.replace(  # type: ignore[attr-defined]
            observation=self._with_axis(timestep.observation),
            reward=jnp.broadcast_to(narrow(timestep.reward), (self.num_agents,)),
            discount=jnp.broadcast_to(narrow(timestep.discount), (self.num_agents,)),
            extras={**(timestep.extras or {}), "success": success},
        )

    def _with_axis(self, tree: Any) -> Any:
        tree = jax.tree.map(narrow, tree)
        return jax.tree.map(lambda leaf: leaf[None], tree) if self.is_single else tree


def _name(env: Any) -> str:
    return type(env).__name__


def _max_steps(env: Any) -> int:
    """The world's `max_steps`, checked."""
    given = getattr(env, "max_steps", None)
    if given is None:
        raise WorldError(
            f"{_name(env)} has no max_steps, the steps after which its episodes are truncated; give it one"
        )
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 1:
        raise WorldError(f"max_steps of {_name(env)} must be a whole number, at least 1, not {given!r}")
    return int(given)
