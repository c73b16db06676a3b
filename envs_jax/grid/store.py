"""Words that a program computes once, though it reads them often."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

_EXPONENT: Final = np.uint32(0x3F000000)


def compute_once(words: jax.Array) -> jax.Array:
    """The same uint32[...], below 2**23, stored before anything reads them.

    On CPUs, XLA computes what is cheap again for each reader, so it would look a word up once for each of its bytes.
    Square roots it does not repeat; unlike integer divisions they are taken in vectors.
    """
    return jax.lax.platform_dependent(words, cpu=_through_root, default=lambda same: same)


def _through_root(words: jax.Array) -> jax.Array:
    number = jax.lax.bitcast_convert_type(words | _EXPONENT, jnp.float32)
    # The root of a square is exact; XLA would see through one of equal factors.
    root = jnp.sqrt(number * jnp.abs(number))
    return jax.lax.bitcast_convert_type(root, jnp.uint32) ^ _EXPONENT
