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


def approx_kl(log_probs: jax.Array, old_log_probs: jax.Array, active: jax.Array | None = None) -> jax.Array:
    """The KL divergence of the policy from the one that acted, float32[]: the mean of (ratio - 1) - log(ratio).

    This estimate of samples has little variance and is never negative, as in CleanRL.
    """
    log_ratio = log_probs - old_log_probs
    return mean(jnp.exp(log_ratio) - 1 - log_ratio, active)


def clip_fraction(
    log_probs: jax.Array, old_log_probs: jax.Array, clip: float, active: jax.Array | None = None
) -> jax.Array:
    """The share of samples whose ratio is further from 1 than `clip`, float32[]."""
    ratio = jnp.exp(log_probs - old_log_probs)
    return mean((jnp.abs(ratio - 1) > clip).astype(jnp.float32), active)


def explained_variance(values: jax.Array, returns: jax.Array, active: jax.Array | None = None) -> jax.Array:
    """1 - Var(returns - values) / Var(returns), float32[]; 0 where the returns are all equal."""

    def variance(x: jax.Array) -> jax.Array:
        return mean((x - mean(x, active)) ** 2, active)

    spread = variance(returns)
    return jnp.where(spread > 0, 1 - variance(returns - values) / jnp.where(spread > 0, spread, 1), 0.0)


def entropy(logits: jax.Array, active: jax.Array | None = None) -> jax.Array:
    """The mean entropy in nats of float32[B, actions], float32[]."""
    log_probs = jax.nn.log_softmax(logits)
    return -mean((jnp.exp(log_probs) * log_probs).sum(-1), active)


def kickstarting_loss(logits: jax.Array, teacher_probs: jax.Array, active: jax.Array | None = None) -> jax.Array:
    """The student's cross-entropy against the teacher (arXiv 1803.03835), float32[].

    Args:
        logits: float32[B, actions].
        teacher_probs: float32[B, actions]; a row of zeros, where the teacher has no plans, adds 0.
        active: see above.
    """
    return -mean((teacher_probs * jax.nn.log_softmax(logits)).sum(-1), active)
