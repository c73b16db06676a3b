"""What an agent sees of a grid: MiniGrid's egocentric image, and the whole grid."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.actions import split_cell
from envs_jax.grid.cells import WALL_WORD, object_word
from envs_jax.grid.constants import AGENT, COLOR_TO_IDX, EAST, NORTH, NUM_COLORS, SOUTH
from envs_jax.grid.state import GridState
from envs_jax.grid.visibility import shift_bits, spread_light


class View(NamedTuple):
    """The square of V x V cells in front of an agent, row by row from it, left to right."""

    cells: jax.Array  # int32[V * V], their indices, 0 outside the grid
    inside: jax.Array  # bool[V * V], whether they are in the grid
    lit: jax.Array  # bool[V * V], whether the agent sees them; walls outside the grid may be seen


class Agents(NamedTuple):
    """The agents of a world of several, as they are seen: in the order of the colours."""

    cells: jax.Array  # int32[A]
    directions: jax.Array  # int32[A]


def egocentric_image(
    state: GridState,
    width: int,
    height: int,
    view_size: int,
    see_through_walls: bool,
    agents: Agents | None = None,
) -> jax.Array:
    """uint8[V, V, 3], object id, colour and state of the cells in front of the agent, MiniGrid's `image`.

    The agent stands in the middle of the last row, `image[V // 2, V - 1]`, which shows what it carries; cells outside
    the grid are walls, and cells that it does not see are 0. Other agents hide what they stand on.
    """
    view = look(state, width, height, view_size, see_through_walls)
    words = jnp.where(view.inside, state.cells.at[view.cells].get(mode="promise_in_bounds"), WALL_WORD)
    for agent in range(0 if agents is None else agents.cells.shape[0]):
        word = object_word(AGENT, agent % NUM_COLORS, agents.directions[agent])
        words = jnp.where(view.inside & (view.cells == agents.cells[agent]), word, words)
    own = np.arange(view_size**2, dtype=np.int32) == view_size // 2
    words = jnp.where(view.lit, jnp.where(own, state.carrying, words), np.uint32(0))
    rows = _image(compute_once(words, state), (view_size, view_size))
    return jnp.swapaxes(rows[::-1], 0, 1)


def look(state: GridState, width: int, height: int, view_size: int, see_through_walls: bool = False) -> View:
    """What the agent has in view."""
    ahead, column = np.divmod(np.arange(view_size**2, dtype=np.int32), view_size)
    side = column - view_size // 2
    x, y = split_cell(state.agent_cell, height)
    along_x = (state.agent_dir & 1) == 0
    forward = jnp.where((state.agent_dir == EAST) | (state.agent_dir == SOUTH), 1, -1)
    right = jnp.where((state.agent_dir == EAST) | (state.agent_dir == NORTH), 1, -1)
    along, across = jnp.where(along_x, x, y), jnp.where(along_x, y, x)
    length, breadth = jnp.where(along_x, width, height), jnp.where(along_x, height, width)
    a, c = along + forward * ahead, across + right * side
    inside = (a >= 0) & (a < length) & (c >= 0) & (c < breadth)
    cells = jnp.where(inside, jnp.where(along_x, a * height + c, c * height + a), 0)
    if see_through_walls:
        return View(cells, inside, jnp.ones(view_size**2, bool))
    rows = _lit_rows(state, width, view_size, along, across, forward, along_x, length, breadth)
    return View(cells, inside, _in_agent_s_frame(compute_once(jnp.stack(rows), state), right, view_size))


def _lit_rows(
    state: GridState,
    width: int,
    view_size: int,
    along: jax.Array,
    across: jax.Array,
    forward: jax.Array,
    along_x: jax.Array,
    length: jax.Array,
    breadth: jax.Array,
) -> list[jax.Array]:
    """uint32[] for each row of the view, nearest first: bit k for the cell k - V // 2 beside the agent's column.

    Cells outside the grid are walls, which are seen where light reaches them.
    """
    half = view_size // 2
    window = jnp.uint32((1 << view_size) - 1)
    ones = np.uint32(0xFFFFFFFF)
    # The bits of the grid's cells in the window, whose lowest bit is `across - half`.
    low = across - half
    inside = shift_bits(_ones(breadth), -low) & window
    opaque = []
    for step in range(view_size):
        line = along + forward * step
        on_grid = (line >= 0) & (line < length)
        place = jnp.where(on_grid, jnp.where(along_x, line, width + line), 0)
        word = shift_bits(state.opaque.at[place].get(mode="promise_in_bounds"), -low)
        opaque.append(jnp.where(on_grid, (word & inside) | (window & ~inside), ones))
    return spread_light(opaque, jnp.uint32(1 << half), window)


def _in_agent_s_frame(rows: jax.Array, right: jax.Array, view_size: int) -> jax.Array:
    """bool[V * V] of rows uint32[V], row by row from the agent, left to right."""
    columns = np.arange(view_size, dtype=np.uint32)
    places = jnp.where(right > 0, columns, columns[::-1])
    return ((rows[:, None] >> places[None]) & 1 == 1).reshape(-1)


def _ones(count: jax.Array) -> jax.Array:
    """uint32[], `count` low bits, count in 1..32."""
    return np.uint32(0xFFFFFFFF) >> (32 - count).astype(jnp.uint32)


def full_image(state: GridState, width: int, height: int) -> jax.Array:
    """uint8[W, H, 3], the whole grid with the agent as an object, red, its direction as its state."""
    agent = object_word(AGENT, COLOR_TO_IDX["red"], state.agent_dir)
    is_agent = np.arange(width * height, dtype=np.int32) == state.agent_cell
    return _image(compute_once(jnp.where(is_agent, agent, state.cells), state), (width, height))


def compute_once(words: jax.Array, state: GridState) -> jax.Array:
    """The same integers, stored before anything reads them.

    XLA computes what is cheap again for each reader, so it would look a word up once for each of its bytes. Divisions
    it does not repeat, and it can't know that this one is by 1.
    """
    return words // jnp.where(state.step_count >= 0, 1, 2).astype(words.dtype)


def _image(words: jax.Array, shape: tuple[int, int]) -> jax.Array:
    return jax.lax.bitcast_convert_type(words, jnp.uint8)[..., :3].reshape(*shape, 3)
