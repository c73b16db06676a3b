"""Whole episodes of a policy, without learning: returns, lengths and success."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jumanji.env import Environment

from jaxteach.networks import Network, forward

Policy = Callable[[Any, jax.Array, jax.Array, jax.Array], tuple[Any, jax.Array]]
"""(memory, obs [N, ...], first bool[N], key) -> (memory, action int32[N])."""


class Episodes(NamedTuple):
    """The outcomes of N episodes."""

    episode_return: jax.Array  # float32[N]
    length: jax.Array  # int32[N]

    @property
    def success(self) -> jax.Array:
        """bool[N]: the reference counts an episode with a positive return as a success."""
        return self.episode_return > 0


def student_policy(network: Network, params: Any, greedy: bool) -> Policy:
    """The student as a policy; it samples its actions, or takes the likeliest."""

    def act(carry: Any, obs: jax.Array, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        inputs = jax.vmap(network.prepare)(obs)
        output, carry = forward(network, params, inputs[None], first[None], carry)
        logits = output.logits[0]
        action = jnp.argmax(logits, -1) if greedy else jax.random.categorical(key, logits)
        return carry, action.astype(jnp.int32)

    return act


def run_episodes(
    env: Environment[Any, Any, Any], policy: Policy, memory: Any, key: jax.Array, episodes: int
) -> Episodes:
    """Plays `episodes` episodes side by side, each on its own layout, until all have ended."""
    reset_key, act_key = jax.random.split(key)
    state, timestep = jax.vmap(env.reset)(jax.random.split(reset_key, episodes))
    nothing = Episodes(jnp.zeros(episodes, jnp.float32), jnp.zeros(episodes, jnp.int32))

    def step(loop: Any) -> Any:
        state, obs, memory, running, outcome, count = loop
        first = jnp.full(episodes, count == 0)
        memory, action = policy(memory, obs, first, jax.random.fold_in(act_key, count))
        state, timestep = jax.vmap(env.step)(state, action)
        outcome = Episodes(
            outcome.episode_return + jnp.where(running, timestep.reward, 0),
            outcome.length + running,
        )
        return state, timestep.observation, memory, running & ~jnp.asarray(timestep.last()), outcome, count + 1

    start = (state, timestep.observation, memory, jnp.ones(episodes, bool), nothing, jnp.int32(0))
    return jax.lax.while_loop(lambda loop: loop[3].any(), step, start)[4]
