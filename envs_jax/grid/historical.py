"""The historical observation: every cell that was ever seen, with its present content."""

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import NO_DIRECTION
from envs_jax.grid.state import GridState
from envs_jax.grid.views import pose_of
from envs_jax.grid.visibility import shift_bits, spread_light, view_window

Seen = tuple[jax.Array, ...]
"""A set of cells, uint32[] each: bit `cell % 32` of word `cell // 32`."""


def visible_cells(state: GridState, size: int, view_size: int) -> Seen:
    """The cells of the view square that are seen now, in a square world.

    Rows of the view are lines of the world across the agent's direction; for an agent that looks along y they are
    turned back into words along x before they go to their places.
    """
    pose = pose_of(state, size)
    along_x, across = pose.along_x, pose.place
    lines = [pose.line + pose.forward * i for i in range(view_size)]
    first = jnp.where(along_x, 0, size)
    # Light never comes back from a line outside the world, so it may be any line.
    places = [first + jnp.clip(line, 0, size - 1) for line in lines]
    opaque = [state.opaque.at[place].get(mode="promise_in_bounds") for place in places]
    start = jnp.uint32(1) << across.astype(jnp.uint32)
    lit = spread_light(opaque, start, view_window(across, view_size, size))
    sides = [across - view_size // 2 + i for i in range(view_size)]
    words = [jnp.uint32(0)] * (state.cells.shape[0] // 32)
    for line, side, along_row, across_row in zip(lines, sides, lit, _transpose(lit, lines, sides)):
        place = jnp.where(along_x, line, side)
        row = jnp.where(along_x, along_row, across_row & np.uint32((1 << size) - 1))
        row = jnp.where((place >= 0) & (place < size), row, jnp.uint32(0))
        words = [word | shift_bits(row, place * size - 32 * i) for i, word in enumerate(words)]
    return tuple(words)


def _transpose(rows: list[jax.Array], lines: list[jax.Array], sides: list[jax.Array]) -> list[jax.Array]:
    """For each of `sides` the bits number `side` of all rows, each at its bit `line`; uint32."""
    columns = [jnp.uint32(0)] * len(sides)
    for row, line in zip(rows, lines):
        bits = [(row >> side.astype(jnp.uint32)) & 1 for side in sides]
        columns = [column | bit << line.astype(jnp.uint32) for column, bit in zip(columns, bits)]
    return columns


def pack_seen(mask: np.ndarray) -> tuple[np.uint32, ...]:
    """bool[size, size] -> its words."""
    bits = np.packbits(np.pad(mask.reshape(-1), (0, 32 - mask.size % 32)), bitorder="little")
    return tuple(bits.view("<u4").astype(np.uint32))


def unpack_seen(seen: Seen, count: int) -> jax.Array:
    """bool[count], the inverse of `pack_seen`, flat."""
    return _has(seen).reshape(-1)[:count]


def _has(seen: Seen) -> jax.Array:
    """bool[n, 32], which cells are in the set."""
    return (jnp.stack(seen)[:, None] & (np.uint32(1) << np.arange(32, dtype=np.uint32))[None]) != 0


def historical_frame(state: GridState) -> jax.Array:
    """uint32[C], each cell that was seen with its present content, and the agent's direction at its cell.

    The bytes of a word are object id, colour, state and direction (4 where there is no agent); the agent's own cell
    shows what it carries.
    """
    # Rows of 32, as `seen` has them: such loops fill a CPU's vectors.
    cells = state.cells.reshape(-1, 32)
    is_agent = np.arange(cells.size, dtype=np.int32).reshape(-1, 32) == state.agent_cell
    words = jnp.where(is_agent, state.carrying, cells) & np.uint32(0x00FFFFFF)
    direction = jnp.where(is_agent, state.agent_dir, NO_DIRECTION).astype(jnp.uint32)
    content = jnp.where(_has(state.seen), words, np.uint32(0))
    # XLA repeats cheap computations for each byte of a word, but not a reduction.
    parts = jnp.where(np.arange(2, dtype=np.int32).reshape(2, 1, 1) == 0, content, direction << 24)
    return jax.lax.reduce(parts, np.uint32(0), jax.lax.bitwise_or, (0,)).reshape(-1)


def unpack_frames(words: jax.Array, size: int) -> jax.Array:
    """uint32[F..., C] -> uint8[size, size, 4 * F], frames side by side on the channel axis."""
    words = words[..., : size * size]
    frames = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1, size, size, 4)
    if frames.shape[0] == 1:
        return frames[0]
    return jnp.moveaxis(frames, 0, 2).reshape(size, size, -1)
