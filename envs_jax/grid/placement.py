"""Uniform draws for fresh layouts: from random words to numbers and free cells."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp


def random_words(key: jax.Array, count: int) -> Iterator[jax.Array]:
    """`count` independent uint32 words, one for each draw of a reset."""
    return iter(jax.random.bits(key, (count,), jnp.uint32))


def uniform_below(word: jax.Array, limit: jax.Array | int) -> jax.Array:
    """An int32 uniform in [0, limit), limit < 2**16, from one uint32 word; bias below limit / 2**32."""
    n = jnp.asarray(limit).astype(jnp.uint32)
    low = ((word & 0xFFFF) * n) >> 16
    return (((word >> 16) * n + low) >> 16).astype(jnp.int32)


def floor_divide(dividend: jax.Array, divisor: jax.Array) -> jax.Array:
    """`dividend // divisor` for 0 <= dividend < 2**16; CPUs divide float32 in vectors, integers not."""
    half = jnp.float32(0.5)
    return ((dividend.astype(jnp.float32) + half) / divisor.astype(jnp.float32)).astype(jnp.int32)


def uniform_free(word: jax.Array, count: jax.Array | int, taken: Sequence[jax.Array]) -> jax.Array:
    """An int32 uniform over [0, count) less the numbers in `taken` (repeats allowed)."""
    ordered = _sort(taken)
    repeats = [a == b for a, b in zip(ordered[1:], ordered)]
    free = count - len(ordered) + sum(repeat.astype(jnp.int32) for repeat in repeats)
    chosen = uniform_below(word, free)
    fresh = [jnp.bool_(True), *(~repeat for repeat in repeats)]
    for number, is_fresh in zip(ordered, fresh):
        chosen += ((chosen >= number) & is_fresh).astype(jnp.int32)
    return chosen


def _sort(numbers: Sequence[jax.Array]) -> list[jax.Array]:
    """Sorts scalars by compare and exchange, without a call to sort in a batched program."""
    ordered: list[jax.Array] = []
    for number in numbers:
        rest = number
        for i, other in enumerate(ordered):
            ordered[i], rest = jnp.minimum(other, rest), jnp.maximum(other, rest)
        ordered.append(rest)
    return ordered
