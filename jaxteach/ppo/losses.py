"""The terms of the loss, as means over samples.

`active`, bool[B], leaves out the samples of agents that had finished; None leaves out none.
"""

import jax
import jax.numpy as jnp


def mean(values: jax.Array, active: jax.Array | None = None) -> jax.Array:
    """float32[], the mean over the active samples of float32[B]; 0 where there are none."""
    if active is None:
        return values.mean()
    return jnp.where(active, values, 0).sum() / jnp.maximum(active.sum(dtype=jnp.int32), 1).astype(jnp.float32)


def policy_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    advantages: jax.Array,
    clip: float,
    active: jax.Array | None = None,
) -> jax.Array:
    """PPO's clipped surrogate (arXiv 1707.06347), float32[], from float32[B] each."""
    ratio = jnp.exp(log_probs - old_log_probs)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    return -mean(jnp.minimum(ratio * advantages, clipped * advantages), active)


def value_loss(
    values: jax.Array, old_values: jax.Array, returns: jax.Array, clip: float, active: jax.Array | None = None
) -> jax.Array:
    """The squared error of the value or of the value clipped near the old one, whichever is larger, float32[]."""
    clipped = old_values + jnp.clip(values - old_values, -clip, clip)
    return mean(jnp.maximum((values - returns) ** 2, (clipped - returns) ** 2), active)


def entropy(logits: jax.Array, active: jax.Array | None = None) -> jax.Array:
    """The mean entropy in nats of float32[B, actions], float32[]."""
    log_probs = jax.nn.log_softmax(logits)
    return -mean((jnp.exp(log_probs) * log_probs).sum(-1), active)


def kickstarting_loss(logits: jax.Array, teacher_probs: jax.Array, active: jax.Array | None = None) -> jax.Array:
    """The student's cross-entropy against the teacher (arXiv 1803.03835), float32[].

    Args:
        logits: float32[B, actions].
        teacher_probs: float32[B, actions]; a row of zeros, where the teacher is silent, adds 0.
        active: see above.
    """
    return -mean((teacher_probs * jax.nn.log_softmax(logits)).sum(-1), active)
