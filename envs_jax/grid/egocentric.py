"""What the agents of a hallway see: MiniGrid's egocentric views, one lookup and one painting a step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.cells import WALL_WORD
from envs_jax.grid.constants import AGENT, DIR_TO_VEC, NUM_COLORS, OPEN, WEST
from envs_jax.grid.hallway import HallwayState, Layout, hand_words, object_word, paint
from envs_jax.grid.visibility import spread_light


class ViewTables(NamedTuple):
    """The walls and the light in every view, as bits.

    A view has `view_size**2` cells, numbered `i * view_size + j` as the observation's [i, j];
    cell k is bit `k % 32` of word `k // 32`. C is the number of cells of the world; a spot is
    `cell * 4 + direction`. Only doors change what is lit, so all their states fit a table.
    """

    walls: np.ndarray  # uint32[4 * C, words], cells outside the world are walls
    lit: np.ndarray  # uint32[4 * C * 2**D, words], row `spot << D | mask`, bit d of mask: door d stops light


def view_tables(layout: Layout, view_size: int, see_through_walls: bool) -> ViewTables:
    """Computes the tables, on the host."""
    depth, side = _offsets(view_size)
    x, y = np.divmod(np.arange(layout.walls.size, dtype=np.int32)[:, None, None], layout.height)
    ahead_x, ahead_y = DIR_TO_VEC[:, :1], DIR_TO_VEC[:, 1:]
    view_x = x + ahead_x * depth - ahead_y * side
    view_y = y + ahead_y * depth + ahead_x * side
    outside = (view_x < 0) | (view_x >= layout.width) | (view_y < 0) | (view_y >= layout.height)
    cells = np.where(outside, layout.walls.size, view_x * layout.height + view_y).reshape(-1, view_size**2)
    walls = np.append(layout.walls, True)[cells]
    if see_through_walls:
        return ViewTables(_pack_bits(walls), _pack_bits(np.ones((1, view_size**2), bool)))
    opaque = np.repeat(walls[:, None], 2**layout.door_cell.size, axis=1)
    masks = np.arange(opaque.shape[1])
    for door, cell in enumerate(layout.door_cell):
        opaque |= (cells == cell)[:, None] & (masks >> door & 1 == 1)[:, None]
    lit = _light(opaque.reshape(-1, view_size, view_size))
    return ViewTables(_pack_bits(walls), _pack_bits(lit.reshape(-1, view_size**2)))


def look(state: HallwayState, layout: Layout, tables: ViewTables, view_size: int) -> jax.Array:
    """uint8[A, view_size, view_size, 3], each agent's view: object id, colour and state."""
    num_agents = state.agent_cell.shape[0]
    agents = np.arange(num_agents, dtype=np.int32)
    # A loop that XLA keeps: fused into the bytes' loop, the painting would be done once for every byte.
    words = jax.lax.map(lambda agent: _paint_view(state, layout, tables, view_size, agent), agents)
    return jax.lax.bitcast_convert_type(words, jnp.uint8)[..., :3].reshape(num_agents, view_size, view_size, 3)


def _paint_view(
    state: HallwayState, layout: Layout, tables: ViewTables, view_size: int, viewer: jax.Array
) -> jax.Array:
    """uint32[view_size**2], the view of the agent with the number `viewer`, a word a cell."""
    depth, side = _offsets(view_size)
    cell, direction = state.agent_cell[viewer], state.agent_dir[viewer]
    cells = cell + cell_step(direction, layout) * depth + cell_step((direction + 1) & 3, layout) * side
    spot = cell * 4 + direction
    words = paint(state, layout, cells)
    for agent in range(state.agent_cell.shape[0]):
        word = object_word(AGENT, jnp.int32(agent % NUM_COLORS), state.agent_dir[agent])
        words = jnp.where(cells == state.agent_cell[agent], word, words)
    words = jnp.where((depth == 0) & (side == 0), hand_words(state)[viewer], words)
    # Walls come last: cells outside the world are walls, but share their indices with cells inside.
    words = jnp.where(_bits(tables.walls, spot, view_size**2), WALL_WORD, words)
    if len(tables.lit) > 1:
        lit = _bits(tables.lit, spot << layout.door_cell.size | _door_mask(state, layout), view_size**2)
        words = jnp.where(lit, words, jnp.uint32(0))
    return words


def cell_step(direction: jax.Array, layout: Layout) -> jax.Array:
    """int32[...], what a step in a direction int32[...] adds to a cell's number."""
    step = jnp.where(direction % 2 == 0, layout.height, 1)
    return jnp.where(direction < WEST, step, -step)


def _offsets(view_size: int) -> tuple[np.ndarray, np.ndarray]:
    """int32[view_size**2] each, how far ahead and how far right of the agent a view's cells lie."""
    i, j = np.divmod(np.arange(view_size**2, dtype=np.int32), view_size)
    return view_size - 1 - j, i - view_size // 2


def _light(opaque: np.ndarray) -> np.ndarray:
    """bool[n, view_size, view_size], the lit cells of views with the given opaque cells."""
    view_size = opaque.shape[-1]
    bits = np.arange(view_size, dtype=np.uint32)
    rows = jnp.asarray((opaque.astype(np.uint32) << bits[:, None]).sum(1, dtype=np.uint32)[:, ::-1])
    window = jnp.uint32((1 << view_size) - 1)
    lit = spread_light(list(rows.T), jnp.uint32(1 << view_size // 2), window)
    return (np.stack(lit[::-1], -1)[:, None] >> bits[:, None] & 1).astype(bool)


def _pack_bits(flags: np.ndarray) -> np.ndarray:
    """bool[n, count] -> uint32[n, words]"""
    padded = np.pad(flags, ((0, 0), (0, -flags.shape[1] % 32)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def _bits(table: np.ndarray, row: jax.Array, count: int) -> jax.Array:
    """bool[..., count], the flags packed in the rows int32[...] of a table."""
    words = jnp.asarray(table).at[row].get(mode="promise_in_bounds")
    number = np.arange(count, dtype=np.uint32)
    spread = words[..., :1]
    for word in range(1, table.shape[1]):
        spread = jnp.where(number // 32 == word, words[..., word : word + 1], spread)
    return (spread >> (number % 32)) & 1 == 1


def _door_mask(state: HallwayState, layout: Layout) -> jax.Array:
    """int32[], bit d: door d stops light; a door where an agent stands shows the agent and does not."""
    occupied = (state.agent_cell[:, None] == layout.door_cell[None]).any(0)
    stops = (state.door_state != OPEN) & ~occupied
    return jnp.where(stops, 1 << np.arange(stops.size, dtype=np.int32), 0).sum(dtype=jnp.int32)
