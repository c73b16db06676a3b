"""The map that an agent of a hallway keeps: what it saw, laid together by dead reckoning.

A view contains the agent's direction, but not its position. The agent counts its steps from
where it began: a step forward succeeds if the cell in front is free, which the view before it
shows. Others act in the same step and may have cleared or blocked that cell first; so both
places, one step ahead and where it was, are compared with the walls and doors known, and the one
that contradicts fewer of them is taken.

The map is a torus as large as the world, so that it needs no origin: no two of the world's cells
share a place on it, and its border walls keep the opposite sides apart. Distances
are measured between places that are steps from the agent's start, without wrapping.
"""

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.cells import EMPTY_WORD
from envs_jax.grid.constants import (
    AGENT,
    DIR_TO_VEC,
    DOOR,
    KEY,
    NUM_COLORS,
    OPEN,
    UNSEEN,
    WALL,
    Actions,
)
from envs_jax.small_gather import pick

NOTHING: Final = -1
START: Final = 64
"""Both coordinates of an episode's first cell, so that none within a world's size of it is negative."""
STRIDE: Final = 2 * START


class Scene(NamedTuple):
    """One view, turned so that it lies as the world does, V columns from west to east.

    Bit y of word x is the cell (x, y) of the view from its north-west corner; places are numbers
    `x * V + y`, -1: not in view.
    """

    direction: jax.Array  # int32[]
    held: jax.Array  # int32[], colour of the key in hand, -1: none
    lit: jax.Array  # uint32[V], the cells in view
    solid: jax.Array  # uint32[V], walls and doors
    agents: jax.Array  # uint32[V], other agents; they hide what they stand on
    door_place: jax.Array  # int32[colours]
    door_state: jax.Array  # int32[colours]
    key_place: jax.Array  # int32[colours], those on the ground


class HallwayMemory(NamedTuple):
    """What an agent knows; cells are numbers `x * STRIDE + y`, -1: unknown."""

    cell: jax.Array  # int32[], where it stands
    direction: jax.Array  # int32[]
    action: jax.Array  # int32[], done since the last view
    held: jax.Array  # int32[], colour of the key in hand, -1: none
    seen: jax.Array  # uint32[W], bit y of word x on the torus
    solid: jax.Array  # uint32[W], walls and doors
    agents: jax.Array  # uint32[W], other agents in the last view
    door_cell: jax.Array  # int32[colours]
    door_state: jax.Array  # int32[colours], as last seen
    key_cell: jax.Array  # int32[colours], -1 also for keys that are no longer where they were seen


def empty_memory(width: int) -> HallwayMemory:
    """The memory before the first view."""
    rows, cells = jnp.zeros(width, jnp.uint32), jnp.full(NUM_COLORS, NOTHING, jnp.int32)
    return HallwayMemory(
        cell=jnp.int32(START * STRIDE + START),
        direction=jnp.int32(0),
        action=jnp.int32(Actions.done),
        held=jnp.int32(NOTHING),
        seen=rows,
        solid=rows,
        agents=rows,
        door_cell=cells,
        door_state=jnp.zeros(NUM_COLORS, jnp.int32),
        key_cell=cells,
    )


def read_view(view: jax.Array, direction: jax.Array) -> Scene:
    """The scene in a view uint8[V, V, 3], with the agent at [V // 2, V - 1] looking to [V // 2, 0]."""
    size = view.shape[0]
    parts = view.astype(jnp.uint32)
    words = parts[..., 0] | parts[..., 1] << 8 | parts[..., 2] << 16
    hand = words[size // 2, size - 1]
    words = words.at[size // 2, size - 1].set(EMPTY_WORD)
    turned = pick(jnp.stack([jnp.rot90(words, facing + 1) for facing in range(4)]), direction)
    kind, color, status = turned & 0xFF, ((turned >> 8) & 0xFF).astype(jnp.int32), (turned >> 16).astype(jnp.int32)
    bits = np.uint32(1) << np.arange(size, dtype=np.uint32)
    places = np.arange(size * size, dtype=np.int32).reshape(size, size)
    colors = np.arange(NUM_COLORS, dtype=np.int32)[:, None, None]

    def columns(mask: jax.Array) -> jax.Array:
        return jnp.where(mask, bits, np.uint32(0)).sum(1, dtype=jnp.uint32)

    def by_color(object_type: int, values: jax.Array | np.ndarray) -> jax.Array:
        return jnp.where((kind == object_type)[None] & (color[None] == colors), values, NOTHING).max((1, 2))

    doors = by_color(DOOR, places * 4 | status)
    return Scene(
        direction=direction,
        held=jnp.where(hand & 0xFF == KEY, (hand >> 8).astype(jnp.int32), NOTHING),
        lit=columns(kind != UNSEEN),
        solid=columns((kind == WALL) | (kind == DOOR)),
        agents=columns(kind == AGENT),
        door_place=doors >> 2,
        door_state=doors & 3,
        key_place=by_color(KEY, places),
    )


def take_in(memory: HallwayMemory, scene: Scene, height: int, overlap: bool) -> HallwayMemory:
    """The memory after a scene.

    Args:
        memory: with the action since the last scene.
        scene: what the agent sees now.
        height: rows of the torus.
        overlap: whether agents may stand on one cell.
    """
    cell = _locate(memory, scene, height, overlap)
    width, size = memory.seen.shape[0], scene.lit.shape[0]
    corner = cell + pick(_corners(size), scene.direction)
    lit, solid, agents = (_lay(part, corner, (width, height)) for part in scene[2:5])

    def cells(place: jax.Array, before: jax.Array) -> jax.Array:
        return jnp.where(place >= 0, corner + (place // size) * STRIDE + place % size, before)

    gone = has_cells(lit, memory.key_cell, height)
    return memory._replace(
        cell=cell,
        direction=scene.direction,
        action=jnp.int32(Actions.done),
        held=scene.held,
        seen=memory.seen | lit,
        solid=memory.solid | solid,
        agents=agents,
        door_cell=cells(scene.door_place, memory.door_cell),
        door_state=jnp.where(scene.door_place >= 0, scene.door_state, memory.door_state),
        key_cell=cells(scene.key_place, jnp.where(gone, NOTHING, memory.key_cell)),
    )


def free_cells(memory: HallwayMemory, height: int, overlap: bool) -> jax.Array:
    """uint32[W], the cells known that an agent may enter as they are."""
    width = memory.seen.shape[0]
    keys = cell_set(memory.key_cell, (width, height))
    free = memory.seen & ~memory.solid & ~keys | doors_in_state(memory, OPEN, height)
    return free if overlap else free & ~memory.agents


def doors_in_state(memory: HallwayMemory, state: int, height: int) -> jax.Array:
    """uint32[W], the doors last seen in a state."""
    return cell_set(jnp.where(memory.door_state == state, memory.door_cell, NOTHING), (memory.seen.shape[0], height))


def cell_set(cells: jax.Array, size: tuple[int, int]) -> jax.Array:
    """uint32[W], the bits of a cell int32[] or of cells int32[n] on the torus of W columns and H rows; none for -1."""
    bits = _cell_bits(cells.reshape(-1), size)
    return jax.lax.reduce(bits, np.uint32(0), jax.lax.bitwise_or, (0,))


def has_cells(rows: jax.Array, cells: jax.Array, height: int) -> jax.Array:
    """bool[...], whether cells int32[...] are in a set of cells uint32[W]; False for -1."""
    bits = _cell_bits(cells, (rows.shape[0], height))
    return ((bits & jnp.broadcast_to(rows, bits.shape)) != 0).any(-1)


def ahead(cell: jax.Array, direction: jax.Array) -> jax.Array:
    """int32[], the cell in front."""
    return cell + pick(_STEPS, direction)


_STEPS: Final = (DIR_TO_VEC @ np.array([STRIDE, 1])).astype(np.int32)


def _corners(size: int) -> np.ndarray:
    """int32[4], for each direction the way from the agent to the north-west corner of its view."""
    side, reach = size // 2, size - 1
    east, south, west, north = (0, -side), (-side, 0), (-reach, -side), (-side, -reach)
    return (np.array([east, south, west, north]) @ [STRIDE, 1]).astype(np.int32)


def _locate(memory: HallwayMemory, scene: Scene, height: int, overlap: bool) -> jax.Array:
    """int32[], where the agent stands now."""
    front = ahead(memory.cell, memory.direction)
    walks = memory.action == Actions.forward
    free = has_cells(free_cells(memory, height, overlap), front, height)
    here, there = (_contradictions(memory, scene, cell, height) for cell in (memory.cell, front))
    return jnp.where(walks & jnp.where(here == there, free, there < here), front, memory.cell)


def _contradictions(memory: HallwayMemory, scene: Scene, cell: jax.Array, height: int) -> jax.Array:
    """int32[], how many cells in view are solid and known not to be, or the other way round, seen from a cell."""
    size = (memory.seen.shape[0], height)
    corner = cell + pick(_corners(scene.lit.shape[0]), scene.direction)
    clear, solid = (_lay(part, corner, size) for part in (scene.lit & ~scene.agents, scene.solid))
    own = _cell_bits(cell, size)
    wrong = memory.seen & clear & ~own & (solid ^ memory.solid)
    return jax.lax.population_count(wrong).sum(dtype=jnp.int32)


def _lay(columns: jax.Array, corner: jax.Array, size: tuple[int, int]) -> jax.Array:
    """uint32[W], the columns uint32[V] of a view on the torus, its north-west corner at a cell."""
    width, height = size
    for start in range(height, columns.shape[0], height):
        columns |= columns >> start
    columns &= np.uint32((1 << height) - 1)
    down = (corner % STRIDE % height).astype(jnp.uint32)
    columns = (columns << down | columns >> (height - down)) & np.uint32((1 << height) - 1)
    x = (corner // STRIDE + np.arange(columns.shape[0], dtype=np.int32)) % width
    here = x[:, None] == np.arange(width, dtype=np.int32)[None]
    return jax.lax.reduce(jnp.where(here, columns[:, None], np.uint32(0)), np.uint32(0), jax.lax.bitwise_or, (0,))


def _cell_bits(cells: jax.Array, size: tuple[int, int]) -> jax.Array:
    """uint32[..., W], each of the cells int32[...] as a bit on the torus; none for -1."""
    x, y = cells // STRIDE % size[0], cells % STRIDE % size[1]
    columns = np.arange(size[0], dtype=np.int32).reshape(*[1] * cells.ndim, -1)
    here = (x[..., None] == columns) & (cells >= 0)[..., None]
    return jnp.where(here, (jnp.uint32(1) << y.astype(jnp.uint32))[..., None], np.uint32(0))
