"""What is seen of a room's state, and painted worlds and observations."""

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import DOOR, EAST, EMPTY, GREY, KEY, LAVA, NO_DIRECTION, OPEN, SOUTH, WALL
from envs_jax.grid.state import RoomState
from envs_jax.grid.visibility import spread_light, view_window

# A painted cell is one word: object id, colour, state and direction from the lowest byte up.
EMPTY_WORD = np.uint32(EMPTY)
WALL_WORD = np.uint32(WALL | GREY << 8)
LAVA_WORD = np.uint32(LAVA)


def coordinates(cell: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """int32, `(cell // size, cell % size)` of cells in -1..1023, where size is at most 32.

    By a product, as XLA gives each integer division a pass of its own over the batch.
    """
    x = (cell * -(-(1 << 16) // size)) >> 16
    return x, cell - x * size


def see(state: RoomState, size: int, view_size: int) -> tuple[jax.Array, ...]:
    """The cells of the view square that are seen now, words as in `RoomState.seen`.

    Rows of the view are lines of the world across the agent's direction; for an agent that
    looks along y they are turned back into words along x before they go to their places.
    """
    x, y = coordinates(state.agent_cell, size)
    along_x = state.agent_dir % 2 == 0
    along, across = jnp.where(along_x, x, y), jnp.where(along_x, y, x)
    sign = jnp.where((state.agent_dir == EAST) | (state.agent_dir == SOUTH), 1, -1)
    lines = [along + sign * i for i in range(view_size)]
    opaque = _opaque_lines(state, size, along_x, lines)
    start = jnp.uint32(1) << across.astype(jnp.uint32)
    lit = spread_light(opaque, start, view_window(across, view_size, size))
    sides = [across - view_size // 2 + i for i in range(view_size)]
    words = [jnp.uint32(0)] * -(-(size * size) // 32)
    for line, side, along_row, across_row in zip(lines, sides, lit, _transpose(lit, lines, sides)):
        place = jnp.where(along_x, line, side)
        row = jnp.where(along_x, along_row, across_row & np.uint32((1 << size) - 1))
        row = jnp.where((place >= 0) & (place < size), row, jnp.uint32(0))
        if len(words) > 6:  # For a few words it is faster to compute the row again.
            place, row = compute_once(place, state), compute_once(row, state)
        words = [word | _shifted(row, place * size - 32 * i) for i, word in enumerate(words)]
    return tuple(words)


def _transpose(rows: list[jax.Array], lines: list[jax.Array], sides: list[jax.Array]) -> list[jax.Array]:
    """For each of `sides` the bits number `side` of all rows, each at its bit `line`; uint32."""
    columns = [jnp.uint32(0)] * len(sides)
    for row, line in zip(rows, lines):
        bits = [(row >> side.astype(jnp.uint32)) & 1 for side in sides]
        columns = [column | bit << line.astype(jnp.uint32) for column, bit in zip(columns, bits)]
    return columns


def _shifted(row: jax.Array, shift: jax.Array) -> jax.Array:
    """`row << shift`, or `row >> -shift` for a negative one; uint32."""
    up, down = row << shift.astype(jnp.uint32), row >> (-shift).astype(jnp.uint32)
    return jnp.where(shift >= 0, up, down)


def _opaque_lines(state: RoomState, size: int, along_x: jax.Array, lines: list[jax.Array]) -> list[jax.Array]:
    """The walls and closed doors on the given lines of the world, uint32 each."""
    length = jnp.where(along_x, state.room_size[0], state.room_size[1])
    width = jnp.where(along_x, state.room_size[1], state.room_size[0]).astype(jnp.uint32)
    full = (jnp.uint32(1) << width) - 1
    sides = (jnp.uint32(1) << (width - 1)) | 1
    door_x, door_y = coordinates(state.door_cell, size)
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
    return _paint_objects(state, size).reshape(-1)[: size * size]


def paint_observation(state: RoomState, size: int) -> jax.Array:
    """uint32[size * size], the historical observation of one frame, a word a cell."""
    words = _paint_objects(state, size)
    is_agent = _cells(size) == state.agent_cell
    words = jnp.where(is_agent, _hand_word(state), words)
    direction = jnp.where(is_agent, state.agent_dir, NO_DIRECTION).astype(jnp.uint32)
    words = jnp.where(_has(jnp.stack(state.seen)), words, jnp.uint32(0)) | (direction << 24)
    return compute_once(words, state).reshape(-1)[: size * size]


def compute_once(words: jax.Array, state: RoomState) -> jax.Array:
    """The same integers, stored before anything reads them.

    XLA computes what is cheap again for each reader, so it would paint a word once for each of
    its four bytes. Divisions it does not repeat, and it can't know that this one is by 1.
    """
    return words // jnp.where(state.step_count >= 0, 1, 2).astype(words.dtype)


def _cells(size: int) -> np.ndarray:
    """int32[ceil(size * size / 32), 32], the cells' indices: loops of 32 fill a CPU's vectors."""
    return np.arange(-(-(size * size) // 32) * 32, dtype=np.int32).reshape(-1, 32)


def _has(words: jax.Array) -> jax.Array:
    """bool[n, 32], which cells are in the set of cells uint32[n]."""
    return (words[:, None] & (np.uint32(1) << np.arange(32, dtype=np.uint32))[None]) != 0


def _paint_objects(state: RoomState, size: int) -> jax.Array:
    """The words of `_cells`, without the agent."""
    cells = _cells(size)
    words = jnp.where(_has(compute_once(_walls(state, size), state)), WALL_WORD, EMPTY_WORD)
    for i in range(state.lava_cell.shape[0]):
        words = jnp.where(cells == state.lava_cell[i], LAVA_WORD, words)
    for i in range(state.door_cell.shape[0]):
        words = jnp.where(cells == state.door_cell[i], _door_word(state, i), words)
    for i in range(state.key_cell.shape[0]):
        words = jnp.where(cells == state.key_cell[i], _key_word(state.key_color[i]), words)
    return words


def _walls(state: RoomState, size: int) -> jax.Array:
    """uint32[ceil(size * size / 32)], the cells of the room's walls, as the words of `RoomState.seen`."""
    columns, height = state.room_size[0], state.room_size[1].astype(jnp.uint32)
    full, sides = (jnp.uint32(1) << height) - 1, (jnp.uint32(1) << (height - 1)) | 1
    rows = [jnp.where(columns == x + 1, full, jnp.where(x < columns, sides, jnp.uint32(0))) for x in range(size)]
    rows[0] = full
    words = []
    for first in range(0, size * size, 32):
        word = jnp.uint32(0)
        for x in range(first // size, min(size, -(-(first + 32) // size))):
            shift = x * size - first
            word |= rows[x] << np.uint32(shift) if shift >= 0 else rows[x] >> np.uint32(-shift)
        words.append(word)
    return jnp.stack(words)


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
