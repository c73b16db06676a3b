"""Whole episodes of a policy, without learning: returns, lengths and success."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.minigrid.historical import HistoricalEnv
from envs_jax.vector import select_copies
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.networks.base import forward
from jaxteach.networks.registry import Network
from jaxteach.ppo.distillation import merge_agents
from jaxteach.teacher import Teacher

EVALUATION = 0x6576616C
"""Sets the streams of `evaluation_key` apart from those of training, which split the same keys."""

Policy = Callable[[Any, Any, jax.Array, jax.Array], tuple[Any, jax.Array]]
"""(memory, obs [N, A, ...], first bool[N], key) -> (memory, action int32[N, A])."""


class Episodes(NamedTuple):
    """The outcomes of N episodes."""

    episode_return: jax.Array  # float32[N], the mean of the agents' returns
    length: jax.Array  # int32[N]
    success: jax.Array  # bool[N], the task was fulfilled at the end, see `AgentAxisWrapper`
    unfinished: jax.Array  # bool[N], stopped after `max_steps` steps, in a world that goes on
    metrics: dict[str, jax.Array]  # number[N] each, the world's `episode_metrics` at the end


def student_policy(network: Network, params: Any, greedy: bool) -> Policy:
    """The student as a policy; it samples its actions, or takes the likeliest."""

    def act(carry: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        inputs = jax.vmap(jax.vmap(network.prepare))(obs)
        output, carry = forward(network, params, inputs[None], first[None], carry)
        logits = output.logits[0]
        action = jnp.argmax(logits, -1) if greedy else jax.random.categorical(key, logits)
        return carry, action.astype(jnp.int32)

    return act


def teacher_policy(teacher: Teacher) -> Policy:
    """The teacher as a policy that draws its actions; without a plan it waits."""

    def act(memory: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        plan_key, action_key = jax.random.split(key)
        memory = select_copies(first, teacher.reset(), memory)
        memory, probs = jax.vmap(teacher)(memory, merge_agents(teacher, obs), jax.random.split(plan_key, len(first)))
        action = jax.random.categorical(action_key, jnp.log(probs))
        uncovered = probs.sum(-1) == 0
        action = jnp.where(uncovered, teacher.domain.noop, action).astype(jnp.int32)
        return jax.vmap(teacher.advance)(memory, action), action.reshape(len(first), -1)

    return act


def with_random_actions(policy: Policy, share: float, action_counts: tuple[int, ...]) -> Policy:
    """A policy of which a share of the actions is replaced by uniform ones of those that each agent has."""
    counts = np.array(action_counts, np.int32)

    def act(memory: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        policy_key, chance_key, action_key = jax.random.split(key, 3)
        memory, action = policy(memory, obs, first, policy_key)
        chance = jax.random.bernoulli(chance_key, jnp.float32(share), action.shape)
        limits = jnp.broadcast_to(counts, action.shape)
        return memory, jnp.where(chance, jax.random.randint(action_key, action.shape, 0, limits, jnp.int32), action)

    return act


def frame_of(world: AgentAxisWrapper, state: Any, timestep: Any) -> Any:
    """What a film shows: the historical observation where the world has it, else the state without its keys."""
    if isinstance(world.env, HistoricalEnv):
        return timestep.observation[0]
    return jax.tree.map(lambda leaf: None if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf, state)


def run_episodes(world: AgentAxisWrapper, policy: Policy, memory: Any, key: jax.Array, episodes: int) -> Episodes:
    """Plays `episodes` episodes side by side, each on its own layout, until all have ended or come to `max_steps`."""
    return film_episodes(world, policy, memory, key, episodes, filmed=0)[0]


def film_episodes(
    world: AgentAxisWrapper,
    policy: Policy,
    memory: Any,
    key: jax.Array,
    episodes: int,
    filmed: int,
) -> tuple[Episodes, Any]:
    """Plays episodes and keeps what the first `filmed` of them show.

    Those that have not ended after the world's `max_steps` steps are stopped, and count as they stand.

    Args:
        world: where.
        policy: who acts.
        memory: the policy's memory before the first step.
        key: draws the layouts and the actions.
        episodes: how many, side by side.
        filmed: how many of them to keep.

    Returns:
        The outcomes, and what `frame_of` gives, leaves [max_steps + 1, filmed, ...]; what comes after an episode's end
        is meaningless.
    """
    reset_key, act_key = jax.random.split(key)
    state, timestep = jax.vmap(world.reset)(jax.random.split(reset_key, episodes))

    def shoot(state: Any, timestep: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[:filmed], jax.vmap(partial(frame_of, world))(state, timestep))

    shot = shoot(state, timestep)
    film = jax.tree.map(lambda leaf: jnp.zeros((world.max_steps + 1, *leaf.shape), leaf.dtype).at[0].set(leaf), shot)
    running, nobody = jnp.ones(episodes, bool), jnp.zeros(episodes, bool)
    names = getattr(world.env, "episode_metrics", ())
    metrics = {name: timestep.extras[name] for name in names}
    nothing = Episodes(jnp.zeros(episodes, jnp.float32), jnp.zeros(episodes, jnp.int32), nobody, nobody, metrics)

    def step(loop: Any) -> Any:
        state, obs, memory, running, outcome, film, count = loop
        first = jnp.full(episodes, count == 0)
        memory, action = policy(memory, obs, first, jax.random.fold_in(act_key, count))
        state, timestep = jax.vmap(world.step)(state, action)
        outcome = Episodes(
            outcome.episode_return + jnp.where(running, timestep.reward.mean(-1), 0),
            outcome.length + running.astype(jnp.int32),
            jnp.where(running, timestep.extras["success"], outcome.success),
            running & ~jnp.asarray(timestep.last()),
            {name: jnp.where(running, timestep.extras[name], outcome.metrics[name]) for name in names},
        )
        film = jax.tree.map(lambda film, leaf: film.at[count + 1].set(leaf), film, shoot(state, timestep))
        return state, timestep.observation, memory, outcome.unfinished, outcome, film, count + 1

    start = (state, timestep.observation, memory, running, nothing, film, jnp.int32(0))
    end = jax.lax.while_loop(lambda loop: loop[3].any() & (loop[6] < world.max_steps), step, start)
    return end[4], end[5]


def unfinished_message(outcome: Episodes, max_steps: int) -> str | None:
    """What a person should know of episodes that had to be stopped; None where all ended."""
    count, episodes = int(np.sum(outcome.unfinished)), np.size(outcome.unfinished)
    if not count:
        return None
    return f"{count} of {episodes} episodes had not ended after max_steps {max_steps} steps; they count as they stood"


def evaluation_key(seed: int) -> jax.Array:
    """The key of episodes apart from training: no run's own layouts and evaluations draw from it."""
    return jax.random.fold_in(jax.random.key(seed), np.uint32(EVALUATION))
