"""Whole episodes of When2Ask: how often a policy asks, and what it is worth."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.ppo.episodes import Policy


class AskedEpisodes(NamedTuple):
    """The outcomes of N episodes of an `AskWorld`, when they ended or after its `max_steps`."""

    success: jax.Array  # bool[N]
    questions: jax.Array  # int32[N], all that were put
    game_return: jax.Array  # float32[N], without the price of questions
    episode_return: jax.Array  # float32[N]
    length: jax.Array  # int32[N]


def ask_policy(share: float) -> Policy:
    """Asks at random in a share of the steps: 0 leaves the questions to the ends of plans, 1 asks in every step."""

    def act(memory: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        del obs
        return memory, jax.random.bernoulli(key, share, (len(first), 1)).astype(jnp.int32)

    return act


def play_asking(world: AgentAxisWrapper, policy: Policy, memory: Any, key: jax.Array, episodes: int) -> AskedEpisodes:
    """Plays episodes of an `AskWorld` side by side, each on its own layout.

    Args:
        world: the `AskWorld`, with an axis of agents.
        policy: who decides, such as `ask_policy(0.5)`.
        memory: the policy's before the first step.
        key: draws the layouts and the policy's actions.
        episodes: how many.
    """
    reset_key, act_key = jax.random.split(key)
    state, timestep = jax.vmap(world.reset)(jax.random.split(reset_key, episodes))
    zeros, nothing = jnp.zeros(episodes, jnp.float32), jnp.zeros(episodes, jnp.int32)
    start = AskedEpisodes(jnp.zeros(episodes, bool), nothing, zeros, zeros, nothing)

    def step(carry: Any, count: jax.Array) -> tuple[Any, None]:
        state, obs, memory, running, outcome = carry
        first = jnp.full(episodes, count == 0)
        memory, action = policy(memory, obs, first, jax.random.fold_in(act_key, count))
        state, timestep = jax.vmap(world.step)(state, action)
        after = AskedEpisodes(
            success=timestep.extras["success"],
            questions=timestep.extras["questions"],
            game_return=outcome.game_return + timestep.extras["game_reward"],
            episode_return=outcome.episode_return + jnp.asarray(timestep.reward)[:, 0],
            length=outcome.length + 1,
        )
        outcome = jax.tree.map(lambda new, old: jnp.where(running, new, old), after, outcome)
        return (state, timestep.observation, memory, running & ~jnp.asarray(timestep.last()), outcome), None

    carry = (state, timestep.observation, memory, jnp.ones(episodes, bool), start)
    return jax.lax.scan(step, carry, jnp.arange(world.max_steps, dtype=jnp.int32))[0][-1]
