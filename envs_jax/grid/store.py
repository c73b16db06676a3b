"""Keeps XLA from computing the same words again for each reader."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

_EXPONENT: Final = np.uint32(0x3F000000)


def compute_once(words: jax.Array) -> jax.Array:
    """The same uint32[...], below 2**23, computed once.

    On CPUs, XLA repeats cheap computations for each reader, here a look-up for each byte of a word. It does not repeat
    square roots, and unlike integer divisions they are vectorized.
    """
    return jax.lax.platform_dependent(words, cpu=_through_root, default=lambda same: same)


def _through_root(words: jax.Array) -> jax.Array:
    number = jax.lax.bitcast_convert_type(words | _EXPONENT, jnp.float32)
    # The root of a square is exact; XLA would see through one of equal factors.
    root = jnp.sqrt(number * jnp.abs(number))
    return jax.lax.bitcast_convert_type(root, jnp.uint32) ^ _EXPONENT
