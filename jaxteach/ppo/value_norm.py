"""Value normalisation: the critic learns returns in units of their spread, whatever the rewards are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxteach.ppo import losses

KEPT = 0.99
MIN_STD = 0.1


class ValueScale(NamedTuple):
    """Moving averages of the returns, as MAPPO keeps them (arXiv 2103.01955)."""

    mean: jax.Array  # float32[], too near to 0 by the factor `weight`
    square: jax.Array  # float32[], likewise
    weight: jax.Array  # float32[], 0 before the first returns, then towards 1


def unknown_scale() -> ValueScale:
    """The scale before any returns; it changes no value."""
    return ValueScale(jnp.float32(0), jnp.float32(0), jnp.float32(0))


def updated(scale: ValueScale, returns: jax.Array, active: jax.Array | None) -> ValueScale:
    """The scale after an iteration's returns, float32[...]; those of finished agents don't count."""
    moments = (losses.mean(returns, active), losses.mean(returns**2, active), 1.0)
    return ValueScale(*(KEPT * old + (1 - KEPT) * new for old, new in zip(scale, moments)))


def to_returns(scale: ValueScale, values: jax.Array) -> jax.Array:
    """What the critic says, in the units of returns."""
    mean, std = _moments(scale)
    return values * std + mean


def to_values(scale: ValueScale, returns: jax.Array) -> jax.Array:
    """The inverse of `to_returns`."""
    mean, std = _moments(scale)
    return (returns - mean) / std


def _moments(scale: ValueScale) -> tuple[jax.Array, jax.Array]:
    known = scale.weight > 0
    weight = jnp.where(known, scale.weight, 1)
    mean = scale.mean / weight
    std = jnp.sqrt(jnp.maximum(scale.square / weight - mean**2, MIN_STD**2))
    return mean, jnp.where(known, std, 1)
