"""What an agent sees: MiniGrid's row-by-row spread of light, on rows of bits."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def spread_light(opaque: Sequence[jax.Array], start: jax.Array, window: jax.Array) -> list[jax.Array]:
    """Lights a view row by row, away from the agent.

    A lit transparent cell lights its neighbours in the row, the cell in front and the two
    diagonals in front. MiniGrid does it in a left-to-right and a right-to-left sweep; together
    they light exactly the runs of transparent cells that touch a lit one, which is what this
    computes on all cells of a row at once.

    Args:
        opaque: a row each, nearest first; uint32 of any shape, bit i: cell i stops light.
        start: uint32, the agent's cell as a bit of the first row.
        window: uint32, the cells that belong to the view (and to the world).

    Returns:
        The lit cells of each row, uint32, as many as `opaque` has.
    """
    lit, rows = start, []
    for row in opaque:
        clear = window & ~row
        runs = _fill(lit & clear, clear, len(opaque))
        beside = (runs << 1) | (runs >> 1)
        rows.append((lit | beside | runs) & window)
        lit = (runs | beside) & window
    return rows


def _fill(bits: jax.Array, clear: jax.Array, length: int) -> jax.Array:
    """The runs of `clear` bits, of a length at most, that have one of the `bits`, which are clear."""
    # Upwards, a carry runs through each of them; downwards, the reach doubles.
    down, reach = bits, clear
    for step in range((length - 1).bit_length()):
        down |= reach & (down >> np.uint32(1 << step))
        reach &= reach >> np.uint32(1 << step)
    return (bits | down | ((bits + clear) ^ clear)) & clear


def view_window(centre: jax.Array, view_size: int, length: int) -> jax.Array:
    """The bits of a view `view_size` wide around bit `centre`, clipped to `length` bits; uint32."""
    view = shift_bits(jnp.uint32((1 << view_size) - 1), centre - view_size // 2)
    return view & jnp.uint32((1 << length) - 1)


def shift_bits(word: jax.Array, shift: jax.Array) -> jax.Array:
    """`word << shift`, or `word >> -shift` for a negative one; uint32."""
    up, down = word << shift.astype(jnp.uint32), word >> (-shift).astype(jnp.uint32)
    return jnp.where(shift >= 0, up, down)
