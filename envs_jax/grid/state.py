"""The state of a MiniGrid world."""

from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.cells import WALL_WORD, is_opaque


class GridState(NamedTuple):
    """A grid of W x H cells with one agent, or with A, whose cells, directions and hands then have an axis [A].

    A cell (x, y) has the index `x * H + y`. C is a multiple of 32, larger than W * H. M is the number of parts of the
    world's mission, F that of its facts. In worlds whose observation is historical, S is C and K the number of frames
    before the last one; both are 0 in others, which have no words for `seen`.
    """

    key: jax.Array  # PRNG key of the next draws
    step_count: jax.Array  # int32[]
    cells: jax.Array  # uint32[C], a word a cell, see `envs_jax.grid.cells`, and then walls, for all cells outside
    opaque: jax.Array  # uint32[W + H], what stops light: bit y of word x, and bit x of word W + y
    agent_cell: jax.Array  # int32[]
    agent_dir: jax.Array  # int32[], 0 east, 1 south, 2 west, 3 north
    carrying: jax.Array  # uint32[], a word, `EMPTY_WORD` for empty hands
    mission: jax.Array  # int32[M], see the world
    facts: jax.Array  # int32[F], what the world's rules need to know beside the grid, see the world
    seen: tuple[jax.Array, ...]  # uint32[] each, bit `cell % 32` of word `cell // 32`: the cell was seen
    history: jax.Array  # uint32[K, S], painted frames, oldest first


def pad_with_walls(cells: jax.Array) -> jax.Array:
    """uint32[C], `GridState.cells` of uint32[W * H]."""
    count = cells.shape[0]
    return jnp.pad(cells, (0, 32 - count % 32), constant_values=WALL_WORD)


def opaque_lines(cells: jax.Array, width: int, height: int) -> jax.Array:
    """uint32[W + H], `GridState.opaque` of cells uint32[W * H]."""
    opaque = is_opaque(cells).reshape(width, height)
    rows, columns = (np.uint32(1) << np.arange(length, dtype=np.uint32) for length in (height, width))
    along_x = jnp.where(opaque, rows[None, :], np.uint32(0)).sum(1, dtype=jnp.uint32)
    along_y = jnp.where(opaque, columns[:, None], np.uint32(0)).sum(0, dtype=jnp.uint32)
    return jnp.concatenate([along_x, along_y])


NO_HISTORY: Final[dict[str, Any]] = {"seen": (), "history": np.zeros((0, 0), np.uint32)}
"""The fields of worlds whose observation is not historical."""
