"""Whole episodes of a policy, without learning: returns, lengths and success."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jumanji.env import Environment

from jaxteach.networks import Network, forward
from jaxteach.teacher import Teacher
from jaxteach.teacher.policy import start_over

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


def teacher_policy(teacher: Teacher) -> Policy:
    """The teacher as a policy that draws its actions; where it is silent it waits."""

    def act(memory: Any, obs: jax.Array, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        plan_key, action_key = jax.random.split(key)
        memory = start_over(first, teacher.reset(), memory)
        memory, probs = jax.vmap(teacher)(memory, obs, jax.random.split(plan_key, first.shape[0]))
        action = jax.random.categorical(action_key, jnp.log(probs))
        silent = probs.sum(-1) == 0
        action = jnp.where(silent, teacher.domain.idle, action).astype(jnp.int32)
        return jax.vmap(teacher.advance)(memory, action), action

    return act


def with_random_actions(policy: Policy, share: float, num_actions: int) -> Policy:
    """A policy of which a share of the actions is replaced by uniform ones."""

    def act(memory: Any, obs: jax.Array, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        policy_key, chance_key, action_key = jax.random.split(key, 3)
        memory, action = policy(memory, obs, first, policy_key)
        chance = jax.random.bernoulli(chance_key, share, action.shape)
        return memory, jnp.where(chance, jax.random.randint(action_key, action.shape, 0, num_actions), action)

    return act


def run_episodes(
    env: Environment[Any, Any, Any], policy: Policy, memory: Any, key: jax.Array, episodes: int
) -> Episodes:
    """Plays `episodes` episodes side by side, each on its own layout, until all have ended."""
    return film_episodes(env, policy, memory, key, episodes, filmed=0)[0]


def film_episodes(
    env: Any, policy: Policy, memory: Any, key: jax.Array, episodes: int, filmed: int
) -> tuple[Episodes, jax.Array]:
    """Plays episodes and keeps what the first `filmed` of them show.

    Args:
        env: the world.
        policy: who acts.
        memory: the policy's memory before the first step.
        key: draws the layouts and the actions.
        episodes: how many, side by side.
        filmed: how many of them to keep.

    Returns:
        The outcomes, and uint8[max_steps + 1, filmed, ...], the observations; those after an
        episode's end are meaningless.
    """
    reset_key, act_key = jax.random.split(key)
    state, timestep = jax.vmap(env.reset)(jax.random.split(reset_key, episodes))
    obs = timestep.observation
    frames = jnp.zeros((env.max_steps + 1, filmed, *obs.shape[1:]), obs.dtype).at[0].set(obs[:filmed])
    nothing = Episodes(jnp.zeros(episodes, jnp.float32), jnp.zeros(episodes, jnp.int32))

    def step(loop: Any) -> Any:
        state, obs, memory, running, outcome, frames, count = loop
        first = jnp.full(episodes, count == 0)
        memory, action = policy(memory, obs, first, jax.random.fold_in(act_key, count))
        state, timestep = jax.vmap(env.step)(state, action)
        outcome = Episodes(
            outcome.episode_return + jnp.where(running, timestep.reward, 0),
            outcome.length + running,
        )
        obs, running = timestep.observation, running & ~jnp.asarray(timestep.last())
        return state, obs, memory, running, outcome, frames.at[count + 1].set(obs[:filmed]), count + 1

    start = (state, obs, memory, jnp.ones(episodes, bool), nothing, frames, jnp.int32(0))
    end = jax.lax.while_loop(lambda loop: loop[3].any(), step, start)
    return end[4], end[5]
