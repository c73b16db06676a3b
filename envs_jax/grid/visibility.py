"""What an agent sees: MiniGrid's row-by-row spread of light, on rows of bits."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


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
        for _ in range(len(opaque) - 1):
            clear = lit & ~row
            lit = (lit | (clear << 1) | (clear >> 1)) & window
        rows.append(lit)
        clear = lit & ~row
        lit = (clear | (clear << 1) | (clear >> 1)) & window
    return rows


def view_window(centre: jax.Array, view_size: int, length: int) -> jax.Array:
    """The bits of a view `view_size` wide around bit `centre`, clipped to `length` bits; uint32."""
    view = jnp.uint32((1 << view_size) - 1) << centre.astype(jnp.uint32)
    return (view >> (view_size // 2)) & jnp.uint32((1 << length) - 1)


def shift_bits(word: jax.Array, shift: jax.Array) -> jax.Array:
    """`word << shift`, or `word >> -shift` for a negative one; uint32."""
    up, down = word << shift.astype(jnp.uint32), word >> (-shift).astype(jnp.uint32)
    return jnp.where(shift >= 0, up, down)
