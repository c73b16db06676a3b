"""Advantages and returns of trajectories with ends and truncations."""

import jax
import jax.numpy as jnp


def generalized_advantages(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    discounts: jax.Array,
    last: jax.Array,
    gamma: float,
    lam: float,
) -> jax.Array:
    """Generalized advantage estimation (arXiv 1506.02438).

    With `lam` = 1 an advantage is the discounted return to go less the value.

    Args:
        rewards: float32[T, ...].
        values: float32[T, ...], of the observations acted on.
        next_values: float32[T, ...], of the observations that followed, before any reset: that of
            the final observation where the episode was truncated.
        discounts: float32[T, ...], the world's own, by which what follows is worth less: 0 where
            the episode terminated, else 1 in most worlds.
        last: bool[T, ...], the episode ended with this step; an axis for agents may be 1.
        gamma: the learner's discount of a step, which multiplies the world's.
        lam: how far advantages look beyond one step, 0..1.

    Returns:
        float32[T, ...].
    """
    deltas = rewards + gamma * (discounts * next_values) - values
    decay = gamma * lam * (discounts * (1 - last.astype(jnp.float32)))

    def backward(following: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        delta, keep = step
        advantage = delta + keep * following
        return advantage, advantage

    _, advantages = jax.lax.scan(backward, jnp.zeros_like(deltas[0]), (deltas, decay), reverse=True)
    return advantages
