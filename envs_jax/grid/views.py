"""What an agent sees of a grid: MiniGrid's egocentric image, and the whole grid."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.actions import split_cell
from envs_jax.grid.cells import object_word
from envs_jax.grid.constants import AGENT, COLOR_TO_IDX, EAST, NORTH, NUM_COLORS, SOUTH
from envs_jax.grid.state import GridState
from envs_jax.grid.store import compute_once
from envs_jax.grid.visibility import shift_bits, spread_light


def with_agents(state: GridState, width: int, height: int) -> GridState:
    """The state of a world of several agents as each of them sees it: agents hide, and let through light, what they
    stand on."""
    x, y = split_cell(state.agent_cell, height)
    numbers, lines = (np.arange(n, dtype=np.int32) for n in (state.cells.shape[0], width + height))
    cells, opaque = state.cells, state.opaque
    for agent in range(state.agent_cell.shape[0]):
        word = object_word(AGENT, agent % NUM_COLORS, state.agent_dir[agent])
        cells = jnp.where(numbers == state.agent_cell[agent], word, cells)
        bits = [np.uint32(1) << place[agent].astype(jnp.uint32) for place in (x, y)]
        opaque = jnp.where(lines == x[agent], opaque & ~bits[1], opaque)
        opaque = jnp.where(lines == width + y[agent], opaque & ~bits[0], opaque)
    return state._replace(cells=cells, opaque=opaque)


class View(NamedTuple):
    """The square of V x V cells in front of an agent, in the order of MiniGrid's image.

    Cell `i * V + j` lies `V - 1 - j` cells ahead of the agent and `i - V // 2` cells to the right of it.
    """

    cells: jax.Array  # int32[V * V], their indices, W * H outside the grid
    lit: jax.Array  # bool[V * V], whether the agent sees them; walls outside the grid may be seen


def egocentric_image(
    state: GridState,
    width: int,
    height: int,
    view_size: int,
    see_through_walls: bool,
) -> jax.Array:
    """uint8[V, V, 3], object id, colour and state of the cells in front of the agent, MiniGrid's `image`.

    The agent stands in the middle of the last row, `image[V // 2, V - 1]`, which shows what it carries; cells outside
    the grid are walls, and cells that it does not see are 0.
    """
    view = look(state, width, height, view_size, see_through_walls)
    words = state.cells.at[view.cells].get(mode="promise_in_bounds")
    own = np.arange(view_size**2, dtype=np.int32) == view_size * (view_size // 2) + view_size - 1
    words = jnp.where(view.lit, jnp.where(own, state.carrying, words), np.uint32(0))
    return _image(words, (view_size, view_size))


class Pose(NamedTuple):
    """Where an agent stands and looks; lines of cells lie across its direction."""

    along_x: jax.Array  # bool[], whether it looks east or west
    line: jax.Array  # int32[], its line
    place: jax.Array  # int32[], its place in the line
    forward: jax.Array  # int32[], 1 or -1, the way to the next line
    right: jax.Array  # int32[], 1 or -1, the way to the next place to its right


def look(state: GridState, width: int, height: int, view_size: int, see_through_walls: bool = False) -> View:
    """What the agent has in view."""
    column, row = np.divmod(np.arange(view_size**2, dtype=np.int32), view_size)
    ahead, side = view_size - 1 - row, column - view_size // 2
    pose = pose_of(state, height)
    length, breadth = jnp.where(pose.along_x, width, height), jnp.where(pose.along_x, height, width)
    line, place = pose.line + pose.forward * ahead, pose.place + pose.right * side
    inside = (line >= 0) & (line < length) & (place >= 0) & (place < breadth)
    cells = jnp.where(pose.along_x, line * height + place, place * height + line)
    cells = jnp.where(inside, cells, width * height)
    if see_through_walls:
        return View(cells, jnp.ones(view_size**2, bool))
    opaque = _opaque_rows(state, pose, (width, height), view_size)
    rows = spread_light(opaque, jnp.uint32(1 << view_size // 2), jnp.uint32((1 << view_size) - 1))
    return View(cells, _spread_bits(rows, ahead, column, pose.right))


def pose_of(state: GridState, height: int) -> Pose:
    """Where the agent of a grid stands and looks."""
    x, y = split_cell(state.agent_cell, height)
    direction = state.agent_dir
    along_x = (direction & 1) == 0
    return Pose(
        along_x,
        line=jnp.where(along_x, x, y),
        place=jnp.where(along_x, y, x),
        forward=jnp.where((direction == EAST) | (direction == SOUTH), 1, -1),
        right=jnp.where((direction == EAST) | (direction == NORTH), 1, -1),
    )


def _opaque_rows(state: GridState, pose: Pose, size: tuple[int, int], view_size: int) -> list[jax.Array]:
    """uint32[] for each row of the view, nearest first: bit k for the cell k - V // 2 places from the agent's.

    Cells outside the grid are walls.
    """
    width, height = size
    window = jnp.uint32((1 << view_size) - 1)
    low = pose.place - view_size // 2
    on_line = jnp.where(pose.along_x, np.uint32((1 << height) - 1), np.uint32((1 << width) - 1))
    outside = window & ~shift_bits(on_line, -low)
    rows = []
    for step in range(view_size):
        line = pose.line + pose.forward * step
        on_grid = (line >= 0) & (line < jnp.where(pose.along_x, width, height))
        number = jnp.where(on_grid, jnp.where(pose.along_x, line, width + line), 0)
        row = shift_bits(state.opaque.at[number].get(mode="promise_in_bounds"), -low)
        rows.append(jnp.where(on_grid, row | outside, window))
    return rows


def _spread_bits(rows: list[jax.Array], ahead: np.ndarray, column: np.ndarray, right: jax.Array) -> jax.Array:
    """bool[V * V], the bits of rows uint32[] for the cells `ahead` and in a `column`, left to right."""
    view_size = len(rows)
    per_word = 23 // view_size
    number, bit = ahead // per_word, ahead % per_word * view_size
    bits: jax.Array = jnp.uint32(0)
    for first in range(0, view_size, per_word):
        packed = [row << np.uint32(i * view_size) for i, row in enumerate(rows[first : first + per_word])]
        word = compute_once(functools.reduce(jnp.bitwise_or, packed))
        bits = jnp.where(number == first // per_word, word, bits)
    place = jnp.where(right > 0, bit + column, bit + view_size - 1 - column)
    return (bits >> place.astype(jnp.uint32)) & 1 == 1


def full_image(state: GridState, width: int, height: int) -> jax.Array:
    """uint8[W, H, 3], the whole grid with the agent as an object, red, its direction as its state."""
    agent = object_word(AGENT, COLOR_TO_IDX["red"], state.agent_dir)
    is_agent = np.arange(width * height, dtype=np.int32) == state.agent_cell
    return _image(jnp.where(is_agent, agent, state.cells[: width * height]), (width, height))


def _image(words: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """uint8[*shape, 3], the object ids, colours and states of words."""
    words = compute_once(words & np.uint32(0x00FFFFFF))
    return jax.lax.bitcast_convert_type(words, jnp.uint8)[..., :3].reshape(*shape, 3)
