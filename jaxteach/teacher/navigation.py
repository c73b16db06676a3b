"""The skills that carry a plan out: explore and go to, on maps of bits; the others are one action each."""

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import (
    BALL,
    BOX,
    DIR_TO_VEC,
    DOOR,
    EAST,
    EMPTY,
    GOAL,
    KEY,
    LAVA,
    OPEN,
    SOUTH,
    UNSEEN,
    WALL,
    WEST,
    Actions,
)
from envs_jax.small_gather import pick

FINISHED: Final = -1
"""What a skill returns instead of an action when it has nothing left to do."""
STUCK: Final = -2
"""What *go to* returns when no path leads to its target."""
MAX_HEIGHT: Final = 32
"""The largest height of a map: a column is the bits of a uint32."""


class Map(NamedTuple):
    """What an observation shows of the world: bit y of word x, uint32[W] each."""

    unseen: jax.Array
    solid: jax.Array  # walls and doors, open ones too
    items: jax.Array  # keys, balls and boxes on the ground
    passable: jax.Array  # empty cells, goals, lava, open doors, and the agent's own cell


class Pose(NamedTuple):
    """Where the agent is and where it looks; int32[] each."""

    x: jax.Array
    y: jax.Array
    direction: jax.Array


def read_map(words: jax.Array, agent_cell: jax.Array, size: tuple[int, int]) -> Map:
    """The map in one painted frame, uint32[W * H], H at most 32."""
    words = words.reshape(size)
    kind = words & 0xFF
    is_agent = np.arange(words.size, dtype=np.int32).reshape(size) == agent_cell
    open_door = (kind == DOOR) & ((words >> 16) & 0xFF == OPEN)
    walkable = (kind == EMPTY) | (kind == GOAL) | (kind == LAVA) | open_door
    item = (kind == KEY) | (kind == BALL) | (kind == BOX)
    return Map(
        unseen=mask_rows(kind == UNSEEN),
        solid=mask_rows((kind == WALL) | (kind == DOOR)),
        items=mask_rows(item & ~is_agent),
        passable=mask_rows(walkable | is_agent),
    )


def mask_rows(cells: jax.Array) -> jax.Array:
    """uint32[..., W], the set of cells bool[..., W, H], H at most 32."""
    bits = np.uint32(1) << np.arange(cells.shape[-1], dtype=np.uint32)
    bits = np.array(bits, ndmin=cells.ndim)
    return jnp.where(cells, bits, np.uint32(0)).sum(-1, dtype=jnp.uint32)


def explore(world: Map, pose: Pose, height: int, view_size: int) -> jax.Array:
    """The action that uncovers unseen cells, int32[]; `FINISHED` when none is left inside the borders."""
    reach = view_size // 2
    edge_x, edge_y = _far_borders(world.solid, height)
    columns = np.arange(world.solid.shape[0], dtype=np.int32)
    below = _ones(edge_y)
    unseen = jnp.where(columns < edge_x, world.unseen & below, jnp.uint32(0))
    front_x, front_y = ahead(pose, pose.direction)
    here = _unseen_beyond(unseen, pose.x, pose.y, reach)
    beyond_front = _unseen_beyond(unseen, front_x, front_y, reach)

    left, right, back = ((pose.direction + turn) & 3 for turn in (3, 1, 2))
    left_x, left_y = ahead(pose, left)
    left_blocked = bit(world.solid | world.items, left_x, left_y)
    around_item = jnp.where(left_blocked, Actions.right, Actions.left)
    action = jnp.where(pick(beyond_front, back), Actions.left, FINISHED)
    action = jnp.where(pick(here, right), Actions.right, action)
    action = jnp.where(pick(here, left), Actions.left, action)
    action = jnp.where(pick(here, pose.direction), Actions.forward, action)
    return jnp.where(bit(world.items, front_x, front_y), around_item, action).astype(jnp.int32)


def go_to(world: Map, pose: Pose, target_x: jax.Array, target_y: jax.Array, height: int) -> jax.Array:
    """`approach` to a single cell."""
    targets = cell_rows(target_x, target_y, (world.passable.shape[0], height))
    return approach(world.passable, pose, targets, height)


def approach(passable: jax.Array, pose: Pose, targets: jax.Array, height: int, wraps: bool = False) -> jax.Array:
    """The first action of a shortest path to face a target cell, int32[]; `FINISHED` there, `STUCK` without a path.

    Light spreads backward from the states that face a target, over (direction, cell) states,
    one move or turn a wave, until it is next to the agent's state. Among equal shortest paths
    *forward* comes first, then *left*: walking on keeps long straight runs, which a student
    copies more easily than early turns.

    Args:
        passable: uint32[W], the cells that can be walked through.
        pose: the agent's.
        targets: uint32[W], the cells to face, any of them.
        height: bits of a row, at most 32.
        wraps: whether the map's opposite edges touch.
    """
    directions = np.arange(4, dtype=np.int32)[:, None]

    def behind(boards: jax.Array) -> jax.Array:
        """For each direction, the cells from which a step forward enters the board."""
        return jnp.stack([ahead_rows(boards[direction], direction, height, wraps) for direction in range(4)])

    def wave(boards: jax.Array) -> jax.Array:
        turned = jnp.roll(boards, 1, 0) | jnp.roll(boards, -1, 0)
        return boards | turned | (behind(boards) & passable[None])

    own_cell = cell_rows(pose.x, pose.y, (passable.shape[0], height))[None]
    agent, agent_turned_left = (
        jnp.where(directions == direction, own_cell, jnp.uint32(0))
        for direction in (pose.direction, (pose.direction + 3) & 3)
    )
    goals = behind(jnp.broadcast_to(targets, (4, *targets.shape))) & passable[None]

    def searching(boards: tuple[jax.Array, jax.Array]) -> jax.Array:
        before, after = boards
        return ((after & agent) == 0).all() & (before != after).any()

    first = (goals, wave(goals))
    reached, spread = jax.lax.while_loop(searching, lambda boards: (boards[1], wave(boards[1])), first)
    action = jnp.where((reached & agent_turned_left).any(), Actions.left, Actions.right)
    action = jnp.where((behind(reached) & agent).any(), Actions.forward, action)
    action = jnp.where((spread & agent).any(), action, STUCK)
    return jnp.where((goals & agent).any(), FINISHED, action).astype(jnp.int32)


def reachable(passable: jax.Array, start: jax.Array, height: int, wraps: bool = False) -> jax.Array:
    """uint32[W], the cells that a walk from the cells `start` uint32[W] leads to, and all cells next to these."""

    def spread(boards: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        reached = boards[1] & passable | start
        return reached, neighbourhood(reached, height, wraps)

    def spreading(boards: tuple[jax.Array, jax.Array]) -> jax.Array:
        reached, touched = boards
        return (touched & passable & ~reached).any()

    return jax.lax.while_loop(spreading, spread, (start, neighbourhood(start, height, wraps)))[1]


def neighbourhood(rows: jax.Array, height: int, wraps: bool = False) -> jax.Array:
    """uint32[W], the cells of a set and the four next to each of them."""
    for neighbours in [ahead_rows(rows, direction, height, wraps) for direction in range(4)]:
        rows |= neighbours
    return rows


def ahead_rows(rows: jax.Array, direction: int, height: int, wraps: bool = False) -> jax.Array:
    """For each cell of uint32[W] the bit of the next cell in a direction; 0 beyond an edge, unless the map wraps."""
    none = jnp.zeros((1,), jnp.uint32)
    if direction == EAST:
        return jnp.concatenate([rows[1:], rows[:1] if wraps else none])
    if direction == WEST:
        return jnp.concatenate([rows[-1:] if wraps else none, rows[:-1]])
    if direction == SOUTH:
        moved = rows >> 1
        return moved | (rows << (height - 1)) & np.uint32(1 << (height - 1)) if wraps else moved
    moved = (rows << 1) & np.uint32((1 << height) - 1)
    return moved | (rows >> (height - 1)) if wraps else moved


def cell_rows(x: jax.Array, y: jax.Array, size: tuple[int, int]) -> jax.Array:
    """uint32[W], the bit of one cell, none for a cell outside the map of W columns and H rows."""
    inside = (np.arange(size[0], dtype=np.int32) == x) & (y >= 0) & (y < size[1])
    return jnp.where(inside, jnp.uint32(1) << y.astype(jnp.uint32), jnp.uint32(0))


def _far_borders(solid: jax.Array, height: int) -> tuple[jax.Array, jax.Array]:
    """Where the reference's scan finds the room's far walls: X and Y, the world's size where it finds none."""
    width = solid.shape[0]
    inner = np.uint32((1 << (height - 1)) - 2)
    scanned = jnp.where(np.arange(width) % (width - 1) != 0, solid & inner, jnp.uint32(0))
    columns = np.arange(width, dtype=np.int32)

    along = scanned & (solid >> 1)
    first_x = jnp.min(jnp.where(along != 0, columns, width))
    # The cell that sets X is not looked at for Y.
    used = jnp.where(columns == first_x, along & -along, jnp.uint32(0))
    across = scanned & jnp.append(solid[1:], jnp.uint32(0)) & ~used
    first = jnp.min(jnp.where(across != 0, columns, width))
    row = jnp.sum(jnp.where(columns == first, across, jnp.uint32(0)), dtype=jnp.uint32)
    first_y = jax.lax.population_count((row & -row) - 1).astype(jnp.int32)
    return (
        jnp.where(first_x < width, first_x + 1, width),
        jnp.where(first < width, first_y + 1, height),
    )


def _unseen_beyond(unseen: jax.Array, x: jax.Array, y: jax.Array, reach: int) -> jax.Array:
    """bool[4], for each direction: is an unseen cell more than `reach` beyond (x, y)?"""
    columns = np.arange(unseen.shape[0], dtype=np.int32)
    rows = jax.lax.reduce(unseen, np.uint32(0), jax.lax.bitwise_or, (0,))
    lit = unseen != 0
    return jnp.stack(
        [
            (lit & (columns > x + reach)).any(),
            (rows & ~_ones(y + reach + 1)) != 0,
            (lit & (columns < x - reach)).any(),
            (rows & _ones(y - reach)) != 0,
        ]
    )


def _ones(count: jax.Array) -> jax.Array:
    """uint32[], `count` ones from the lowest bit up, for a count of -32..32."""
    some = (jnp.uint32(1) << jnp.clip(count, 0, 31).astype(jnp.uint32)) - 1
    return jnp.where(count >= 32, jnp.uint32(2**32 - 1), some)


def ahead(pose: Pose, direction: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The neighbour of the agent's cell in a direction."""
    return pose.x + pick(DIR_TO_VEC[:, 0], direction), pose.y + pick(DIR_TO_VEC[:, 1], direction)


def bit(rows: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """bool[], the bit of a cell, False outside the world."""
    columns = np.arange(rows.shape[0], dtype=np.int32)
    mask = jnp.where((columns == x) & (y >= 0), jnp.uint32(1) << y.astype(jnp.uint32), jnp.uint32(0))
    return (rows & mask).any()
