"""Trajectories: the student acts in all environments, and what is needed to learn from it is kept."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.vector import VectorEnv
from jaxteach.networks import Carry, Network, forward


class Actor(NamedTuple):
    """Where the rollout stands between two calls."""

    env: Any  # VectorState
    obs: jax.Array  # uint8[N, W, H, 4 * F]
    first: jax.Array  # bool[N], the observation begins an episode
    carry: Carry  # of the network, before `obs`


class Trajectory(NamedTuple):
    """T steps of N environments."""

    obs: jax.Array  # uint8[T, N, W, H, 4 * F]
    inputs: jax.Array  # [T, N, ...], the observations as the network takes them
    first: jax.Array  # bool[T, N]
    action: jax.Array  # int32[T, N]
    log_prob: jax.Array  # float32[T, N]
    value: jax.Array  # float32[T, N]
    next_value: jax.Array  # float32[T, N], 0 after termination
    reward: jax.Array  # float32[T, N]
    last: jax.Array  # bool[T, N]
    episode_return: jax.Array  # float32[T, N], so far
    episode_length: jax.Array  # int32[T, N], so far
    carry: Carry  # the network's before the first step


class _Truncated(NamedTuple):
    """The ends that are not terminal: their final states, to be valued after the rollout."""

    env: Any  # leaves [S, N, ...]
    carry: Carry  # leaves [S, N, ...]
    used: jax.Array  # int32[N], slots filled so far


def start(venv: VectorEnv[Any], network: Network, key: jax.Array) -> Actor:
    """All environments at the first step of an episode."""
    state, timestep = venv.reset(key)
    return Actor(
        state, jnp.asarray(timestep.observation), jnp.ones(venv.num_envs, bool), network.initial_carry(venv.num_envs)
    )


def collect(
    venv: VectorEnv[Any], network: Network, params: Any, actor: Actor, key: jax.Array, length: int
) -> tuple[Actor, Trajectory]:
    """`length` steps of every environment with the student's own sampled actions."""
    prepare = jax.vmap(network.prepare)
    slots = (length - 1) // venv.env.max_steps + 1
    env, carry = jax.tree.map(lambda leaf: jnp.stack([leaf] * slots), (actor.env.env, actor.carry))
    truncated = _Truncated(env, carry, jnp.zeros(venv.num_envs, jnp.int32))

    def step(carry: tuple[Actor, _Truncated], key: jax.Array) -> tuple[tuple[Actor, _Truncated], Any]:
        actor, truncated = carry
        inputs = prepare(actor.obs)
        output, after = forward(network, params, inputs[None], actor.first[None], actor.carry)
        log_probs = jax.nn.log_softmax(output.logits[0])
        action = jax.random.categorical(key, log_probs)
        env, timestep = venv.step(actor.env, action)
        last = jnp.asarray(timestep.last())
        cut = last & jnp.asarray(timestep.discount > 0)
        record = {
            "obs": actor.obs,
            "inputs": inputs,
            "first": actor.first,
            "action": action,
            "log_prob": jnp.take_along_axis(log_probs, action[:, None], 1)[:, 0],
            "value": output.value[0],
            "reward": timestep.reward,
            "last": last,
            "episode_return": timestep.extras["episode_return"],
            "episode_length": timestep.extras["episode_length"],
        }
        truncated = _keep_final(truncated, cut, timestep.extras["next_state"], after)
        return (Actor(env, jnp.asarray(timestep.observation), last, after), truncated), (record, cut)

    begin = actor.carry
    (actor, truncated), (record, cut) = jax.lax.scan(step, (actor, truncated), jax.random.split(key, length))

    def value_of(obs: jax.Array, first: jax.Array, carry: Carry) -> jax.Array:
        return forward(network, params, prepare(obs)[None], first[None], carry)[0].value[0]

    no_first = jnp.zeros(venv.num_envs, bool)
    final_obs = jax.vmap(jax.vmap(venv.env.observe))(truncated.env)
    final_values = jax.vmap(value_of, in_axes=(0, None, 0))(final_obs, no_first, truncated.carry)
    following = jnp.append(record["value"][1:], value_of(actor.obs, actor.first, actor.carry)[None], 0)
    next_value = jnp.where(record["last"], _final_values(final_values, cut), following)
    return actor, Trajectory(**record, next_value=next_value, carry=begin)


def _keep_final(truncated: _Truncated, cut: jax.Array, env: Any, carry: Carry) -> _Truncated:
    """Puts the states of the environments in `cut` into their next free slots."""
    slots = jax.tree.leaves(truncated.env)[0].shape[0]
    chosen = cut & (np.arange(slots, dtype=np.int32)[:, None] == truncated.used)

    def put(kept: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(chosen.reshape(chosen.shape + (1,) * (new.ndim - 1)), new, kept)

    env, carry = jax.tree.map(put, (truncated.env, truncated.carry), (env, carry))
    return _Truncated(env, carry, truncated.used + cut)


def _final_values(values: jax.Array, cut: jax.Array) -> jax.Array:
    """float32[T, N]: the slots' values, float32[S, N], at the truncations bool[T, N], else 0."""
    order = jnp.cumsum(cut, 0) - 1
    chosen = jnp.take_along_axis(values, jnp.maximum(order, 0), 0)
    return jnp.where(cut, chosen, 0)
