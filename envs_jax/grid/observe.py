"""From a room's facts to what is seen now and to painted worlds and observations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import DOOR, EAST, EMPTY, GREY, KEY, LAVA, NO_DIRECTION, OPEN, SOUTH, WALL
from envs_jax.grid.visibility import spread_light, view_window

if TYPE_CHECKING:
    from envs_jax.grid.state import RoomState

# A painted cell is one word: object id, colour, state and direction from the lowest byte up.
EMPTY_WORD = np.uint32(EMPTY)
WALL_WORD = np.uint32(WALL | GREY << 8)
LAVA_WORD = np.uint32(LAVA)


def see(state: RoomState, size: int, view_size: int) -> jax.Array:
    """uint32[size], the cells of the view square that are seen now, as in `RoomState.seen`.

    Rows of the view are lines of the world across the agent's direction; for an agent that
    looks along y they are turned back into words along x at the end.
    """
    x, y = state.agent_cell // size, state.agent_cell % size
    along_x = state.agent_dir % 2 == 0
    along, across = jnp.where(along_x, x, y), jnp.where(along_x, y, x)
    sign = jnp.where((state.agent_dir == EAST) | (state.agent_dir == SOUTH), 1, -1)
    lines = [along + sign * i for i in range(view_size)]
    opaque = _opaque_lines(state, size, along_x, lines)
    start = jnp.uint32(1) << across.astype(jnp.uint32)
    lit = spread_light(opaque, start, view_window(across, view_size, size))

    columns = np.arange(size, dtype=np.int32)
    world = np.uint32((1 << size) - 1)
    seen_along_x, seen_along_y = jnp.zeros(size, jnp.uint32), jnp.zeros(size, jnp.uint32)
    for line, cells in zip(lines, lit):
        seen_along_x |= jnp.where(columns == line, cells, jnp.uint32(0))
        seen_along_y |= ((cells >> columns.astype(np.uint32)) & 1) << line.astype(jnp.uint32)
    return jnp.where(along_x, seen_along_x, seen_along_y & world)


def _opaque_lines(state: RoomState, size: int, along_x: jax.Array, lines: list[jax.Array]) -> list[jax.Array]:
    """The walls and closed doors on the given lines of the world, uint32 each."""
    length = jnp.where(along_x, state.room_size[0], state.room_size[1])
    width = jnp.where(along_x, state.room_size[1], state.room_size[0]).astype(jnp.uint32)
    full = (jnp.uint32(1) << width) - 1
    sides = (jnp.uint32(1) << (width - 1)) | 1
    door_x, door_y = state.door_cell // size, state.door_cell % size
    door_line = jnp.where(along_x, door_x, door_y)
    door_bit = jnp.uint32(1) << jnp.where(along_x, door_y, door_x).astype(jnp.uint32)
    rows = []
    for line in lines:
        row = jnp.where((line == 0) | (line == length - 1), full, jnp.where(line < length, sides, jnp.uint32(0)))
        for d in range(state.door_cell.shape[0]):
            here = (door_line[d] == line) & (state.door_cell[d] >= 0)
            closed = jnp.where(state.door_state[d] == OPEN, jnp.uint32(0), door_bit[d])
            row = jnp.where(here, (row & ~door_bit[d]) | closed, row)
        rows.append(row)
    return rows


def paint_world(state: RoomState, size: int) -> jax.Array:
    """uint32[size * size], the whole world without the agent, a word a cell."""
    return _paint_objects(state, size, np.arange(size * size, dtype=np.int32))


def paint_observation(state: RoomState, size: int) -> jax.Array:
    """uint32[size * size], the historical observation of one frame, a word a cell.

    The cells are painted 32 at a time, each time under one word of the cells seen: loops of 32
    fill a CPU's vectors, and no cell has to look for its bit.
    """
    seen = compute_once(_number_bits(state.seen, size), state)
    cells = np.arange(seen.shape[0] * 32, dtype=np.int32).reshape(-1, 32)
    is_agent = cells == state.agent_cell
    words = jnp.where(is_agent, _hand_word(state), _paint_objects(state, size, cells))
    direction = jnp.where(is_agent, state.agent_dir, NO_DIRECTION).astype(jnp.uint32)
    is_seen = ((seen[:, None] >> np.arange(32, dtype=np.uint32)) & 1) == 1
    words = jnp.where(is_seen, words, jnp.uint32(0)) | (direction << 24)
    return compute_once(words, state).reshape(-1)[: size * size]


def compute_once(words: jax.Array, state: RoomState) -> jax.Array:
    """The same words, stored before anything reads them.

    XLA computes what is cheap again for each reader, so it would paint a word once for each of
    its four bytes. Divisions it does not repeat, and it can't know that this one is by 1.
    """
    one = jnp.where(state.step_count >= 0, jnp.uint32(1), jnp.uint32(2))
    return words // one


def _number_bits(rows: jax.Array, size: int) -> jax.Array:
    """uint32[ceil(size * size / 32)], from a bit y in word x to bit `cell % 32` in word `cell // 32`."""
    words = []
    for first in range(0, size * size, 32):
        word = jnp.uint32(0)
        for x in range(first // size, min(size, -(-(first + 32) // size))):
            shift = x * size - first
            word |= rows[x] << np.uint32(shift) if shift >= 0 else rows[x] >> np.uint32(-shift)
        words.append(word)
    return jnp.stack(words)


def _paint_objects(state: RoomState, size: int, cells: np.ndarray) -> jax.Array:
    """The words of the given cells, without the agent; of `cells`' shape."""
    x, y = cells // size, cells % size
    columns, rows = state.room_size[0], state.room_size[1]
    inside = (x < columns) & (y < rows)
    border = inside & ((x == 0) | (y == 0) | (x == columns - 1) | (y == rows - 1))
    words = jnp.where(border, WALL_WORD, EMPTY_WORD)
    for i in range(state.lava_cell.shape[0]):
        words = jnp.where(cells == state.lava_cell[i], LAVA_WORD, words)
    for i in range(state.door_cell.shape[0]):
        words = jnp.where(cells == state.door_cell[i], _door_word(state, i), words)
    for i in range(state.key_cell.shape[0]):
        words = jnp.where(cells == state.key_cell[i], _key_word(state.key_color[i]), words)
    return words


def unpack_words(words: jax.Array, size: int) -> jax.Array:
    """uint32[F..., size * size] -> uint8[size, size, 4 * F], frames side by side on the channel axis."""
    frames = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1, size, size, 4)
    if frames.shape[0] == 1:
        return frames[0]
    return jnp.moveaxis(frames, 0, 2).reshape(size, size, -1)


def _door_word(state: RoomState, door: int) -> jax.Array:
    return (DOOR | state.door_color[door] << 8 | state.door_state[door] << 16).astype(jnp.uint32)


def _key_word(color: jax.Array) -> jax.Array:
    return (KEY | color << 8).astype(jnp.uint32)


def _hand_word(state: RoomState) -> jax.Array:
    word = jnp.uint32(EMPTY_WORD)
    for i in range(state.key_cell.shape[0]):
        word = jnp.where(state.carried == i, _key_word(state.key_color[i]), word)
    return word
