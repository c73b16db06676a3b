"""The state of a hallway with locked rooms, and its conversion from and to painted grids."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.arrays import checked_integers, describe_cell
from envs_jax.grid.cells import EMPTY_WORD, WALL_WORD
from envs_jax.grid.constants import COLOR_TO_IDX, DOOR, EMPTY, GREY, KEY, LOCKED, NUM_COLORS, UNSEEN, WALL
from envs_jax.grid.layouts import NOWHERE


class HallwayState(NamedTuple):
    """Rooms on both sides of a hallway, and the agents.

    A cell (x, y) has the index `x * height + y`; -1 is nowhere. D is the number of rooms, of
    their doors and of the keys: key d is the one that fits door d. A is the number of agents.
    """

    key: jax.Array  # PRNG key of the next draws
    step_count: jax.Array  # int32[]
    door_color: jax.Array  # int32[D], all different
    door_state: jax.Array  # int32[D], open, closed or locked
    unlocked: jax.Array  # bool[D], the door was rewarded as unlocked
    key_cell: jax.Array  # int32[D], -1 while carried
    agent_cell: jax.Array  # int32[A]
    agent_dir: jax.Array  # int32[A]
    carried: jax.Array  # int32[A], the door that the carried key fits, -1: none


class Layout(NamedTuple):
    """What is the same in every episode. Doors and rooms are numbered in the order of their doors' cells."""

    width: int
    height: int
    walls: np.ndarray  # bool[width * height]
    door_cell: np.ndarray  # int32[D]
    room_corner: np.ndarray  # int32[D], the first cell inside each room
    hall_corner: int  # the first cell of the hallway
    hall_size: tuple[int, int]  # columns and rows inside the hallway's walls
    centre: int  # where the agents stand while a fresh world is furnished


def lay_out(num_rooms: int, room_size: int) -> Layout:
    """Half of the rooms left, half right of the hallway, each door in the middle of its room's wall."""
    pitch, rows = room_size - 1, num_rooms // 2
    width, height = 3 * pitch + 1, rows * pitch + 1
    x, y = np.indices((width, height), np.int32)
    hall = (x > pitch) & (x < 2 * pitch)
    walls = (x % pitch == 0) | ((y % pitch == 0) & ~hall) | (y == 0) | (y == height - 1)
    tops = np.arange(rows, dtype=np.int32) * pitch
    middle = tops + pitch // 2
    door_cell = np.append(pitch * height + middle, 2 * pitch * height + middle)
    walls.reshape(-1)[door_cell] = False
    return Layout(
        width=width,
        height=height,
        walls=walls.reshape(-1),
        door_cell=door_cell,
        room_corner=np.append(height + tops + 1, (2 * pitch + 1) * height + tops + 1),
        hall_corner=(pitch + 1) * height + 1,
        hall_size=(room_size - 2, height - 2),
        centre=(pitch + room_size // 2) * height + rows // 2 * pitch + room_size // 2,
    )


def object_word(kind: int, color: jax.Array, status: jax.Array | int = 0) -> jax.Array:
    """A painted cell as one uint32: object id, colour and state from the lowest byte up."""
    return (kind | color << 8 | status << 16).astype(jnp.uint32)


def paint(state: HallwayState, layout: Layout, cells: jax.Array | np.ndarray) -> jax.Array:
    """uint32[...], the content of cells int32[...], without walls and agents."""
    words = jnp.broadcast_to(EMPTY_WORD, cells.shape)
    for door, cell in enumerate(layout.door_cell):
        word = object_word(DOOR, state.door_color[door], state.door_state[door])
        words = jnp.where(cells == cell, word, words)
    for door in range(len(layout.door_cell)):
        words = jnp.where(cells == state.key_cell[door], object_word(KEY, state.door_color[door]), words)
    return words


def hand_words(state: HallwayState) -> jax.Array:
    """uint32[A], what each agent carries; an empty cell for empty hands."""
    color = state.door_color[jnp.maximum(state.carried, 0)]
    return jnp.where(state.carried == NOWHERE, EMPTY_WORD, object_word(KEY, color))


def to_arrays(state: HallwayState, layout: Layout) -> dict[str, jax.Array]:
    """The arrays that `from_arrays` takes: the world painted, the agents, the doors unlocked so far."""
    inside = paint(state, layout, np.arange(layout.walls.size, dtype=np.int32))
    grid = jax.lax.bitcast_convert_type(jnp.where(layout.walls, WALL_WORD, inside), jnp.uint8)[:, :3]
    hands = hand_words(state)
    carrying = jnp.stack([hands & 255, hands >> 8], -1).astype(jnp.int32)
    return {
        "grid": grid.reshape(layout.width, layout.height, 3),
        "agent_pos": jnp.stack([state.agent_cell // layout.height, state.agent_cell % layout.height], -1),
        "agent_dir": state.agent_dir,
        "carrying": jnp.where((state.carried == NOWHERE)[:, None], 0, carrying),
        "unlocked": state.unlocked,
        "step_count": state.step_count,
    }


def from_arrays(
    layout: Layout,
    num_agents: int,
    grid: Any,
    agent_pos: Any,
    agent_dir: Any,
    carrying: Any,
    unlocked: Any,
    step_count: Any,
    key: jax.Array | None,
) -> HallwayState:
    """A state from a painted world; `ValueError` says what the state can't hold."""
    grid = checked_integers("grid", grid, (layout.width, layout.height, 3), 0, 255)
    _check_furniture(layout, grid)
    cells = grid.reshape(-1, 3)
    door_color, door_state = cells[layout.door_cell, 1], cells[layout.door_cell, 2]
    agent_cell = _agent_cells(layout, checked_integers("agent_pos", agent_pos, (num_agents, 2), 0, layout.width - 1))
    hands = checked_integers("carrying", carrying, (num_agents, 2), 0, 255)
    key_cell, carried = _keys(cells, door_color, hands)
    fields: dict[str, Any] = dict(
        step_count=checked_integers("step_count", step_count, (), 0, 2**31 - 1),
        door_color=door_color,
        door_state=door_state,
        unlocked=_unlocked(unlocked, door_state),
        key_cell=key_cell,
        agent_cell=agent_cell,
        agent_dir=checked_integers("agent_dir", agent_dir, (num_agents,), 0, 3),
        carried=carried,
    )
    return jax.device_put(HallwayState(key=jax.random.key(0) if key is None else key, **fields))


def _check_furniture(layout: Layout, grid: np.ndarray) -> None:
    """Walls and doors at their places, elsewhere nothing but keys."""
    kind, color, status = np.moveaxis(grid, -1, 0).reshape(3, -1)
    is_door = np.zeros_like(layout.walls)
    is_door[layout.door_cell] = True
    wall = (kind == WALL) & (color == GREY) & (status == 0)
    door = (kind == DOOR) & (color < NUM_COLORS) & (status <= LOCKED)
    inside = (kind == EMPTY) & (color == 0) | (kind == KEY) & (color < NUM_COLORS)
    fits = np.select([layout.walls, is_door], [wall, door], inside & (status == 0))
    if fits.all():
        return
    cell = int(np.argmin(fits))
    wanted = "a grey wall" if layout.walls[cell] else "a door" if is_door[cell] else "a key or nothing"
    x, y = divmod(cell, layout.height)
    raise ValueError(f"the grid has {describe_cell(grid[x, y])} at ({x}, {y}), where a world of this task has {wanted}")


def _agent_cells(layout: Layout, position: np.ndarray) -> np.ndarray:
    for x, y in position.tolist():
        if y >= layout.height or layout.walls[x * layout.height + y]:
            raise ValueError(f"an agent can't stand at ({x}, {y}), on a wall or outside the world")
    return position[:, 0] * layout.height + position[:, 1]


def _keys(cells: np.ndarray, door_color: np.ndarray, hands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each door's key, int32[D], and the door whose key each agent carries, int32[A]."""
    if not np.isin(hands[:, 0], (UNSEEN, EMPTY, KEY)).all():
        raise ValueError(f"an agent carries nothing, (0, 0), or a key, ({KEY}, colour), not {hands.tolist()}")
    lying, holders = np.flatnonzero(cells[:, 0] == KEY), np.flatnonzero(hands[:, 0] == KEY)
    colors = np.append(cells[lying, 1], hands[holders, 1]).tolist()
    doors = {color: door for door, color in enumerate(door_color.tolist())}
    if len(doors) < len(door_color) or len(set(colors)) < len(colors) or not doors.keys() >= set(colors):
        raise ValueError(
            "doors must differ in colour, and keys, lying or carried, must differ and each have the colour of a door; "
            f"the doors have {door_color.tolist()}, the keys {colors} (of {COLOR_TO_IDX})"
        )
    key_cell = np.full(len(door_color), NOWHERE, np.int32)
    carried = np.full(len(hands), NOWHERE, np.int32)
    key_cell[[doors[color] for color in cells[lying, 1].tolist()]] = lying
    carried[holders] = [doors[color] for color in hands[holders, 1].tolist()]
    return key_cell, carried


def _unlocked(unlocked: Any, door_state: np.ndarray) -> np.ndarray:
    """bool[D] from itself, or from the number of doors that are not locked."""
    free = door_state != LOCKED
    flags = np.asarray(unlocked)
    if flags.shape == () and flags.dtype.kind in "iu":
        flags = free if flags == free.sum() else flags
    if flags.shape != free.shape or flags.dtype != np.bool_ or (flags & ~free).any():
        raise ValueError(
            f"unlocked must be one bool for each of {free.size} doors in row-major order, false for locked ones, "
            f"or the number of doors that are not locked, {free.sum()}; it is {np.asarray(unlocked).tolist()}"
        )
    return flags
