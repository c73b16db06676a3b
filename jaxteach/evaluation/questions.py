"""Whole episodes of When2Ask: how often a policy asks, and what it is worth."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.ppo.episodes import Policy, film_episodes


class AskedEpisodes(NamedTuple):
    """The outcomes of N episodes of an `AskWorld`, when they ended or after `max_steps` steps."""

    success: jax.Array  # bool[N]
    questions: jax.Array  # int32[N], how many were put
    game_return: jax.Array  # float32[N], without the price of questions
    episode_return: jax.Array  # float32[N]
    length: jax.Array  # int32[N]


def ask_policy(share: float) -> Policy:
    """Asks at random in a share of the steps, 0 to 1: 0 asks only after plans, 1 in each step."""

    def act(memory: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        del obs
        return memory, jax.random.bernoulli(key, jnp.float32(share), (len(first), 1)).astype(jnp.int32)

    return act


def play_asking(world: AgentAxisWrapper, policy: Policy, memory: Any, key: jax.Array, episodes: int) -> AskedEpisodes:
    """Plays episodes of an `AskWorld` side by side, each on its own layout.

    Args:
        world: the `AskWorld`, with an axis of agents.
        policy: decides when to ask, such as `ask_policy(0.5)`.
        memory: the policy's before the first step.
        key: draws the layouts and the policy's actions.
        episodes: N.
    """
    outcome, (questions, rewards) = film_episodes(world, policy, memory, key, episodes, episodes, _frame)
    played = np.arange(world.max_steps + 1, dtype=np.int32)[:, None] <= outcome.length
    return AskedEpisodes(
        success=outcome.success,
        questions=jnp.take_along_axis(questions, outcome.length[None], 0)[0],
        game_return=jnp.where(played, rewards, 0).sum(0),
        episode_return=outcome.episode_return,
        length=outcome.length,
    )


def _frame(world: AgentAxisWrapper, state: Any, timestep: Any) -> tuple[jax.Array, jax.Array]:
    """The questions so far in the episode, int32[], and the reward without their price, float32[]."""
    del world, state
    return timestep.extras["questions"], timestep.extras["game_reward"]
