"""Look-ups in tables of a few entries, as comparisons: CPUs have no vectors for gathers."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

MANY: Final = 64
"""Rows from which on a gather is faster."""


def pick(table: jax.Array | np.ndarray, place: jax.Array) -> jax.Array:
    """`table[place]` for a table with few rows; a place outside it gives the first row."""
    if table.shape[0] >= MANY:
        place = jnp.asarray(place)
        return jnp.asarray(table)[jnp.where((place >= 0) & (place < table.shape[0]), place, 0)]
    shape = (*jnp.shape(place), *table.shape[1:])
    place = jnp.asarray(place)[(...,) + (None,) * (table.ndim - 1)]
    chosen = jnp.broadcast_to(jnp.asarray(table[0]), shape)
    for i in range(1, table.shape[0]):
        chosen = jnp.where(place == i, table[i], chosen)
    return chosen
