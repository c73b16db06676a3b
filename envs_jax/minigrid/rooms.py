"""A grid of rooms with walls between them, MiniGrid's `RoomGrid`, and its worlds of one locked door."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_integer
from envs_jax.grid.actions import Effect
from envs_jax.grid.arrays import find_cells
from envs_jax.grid.cells import EMPTY_WORD, object_word
from envs_jax.grid.constants import BALL, BOX, CLOSED, DIR_TO_VEC, DOOR, EAST, KEY, LOCKED, NORTH, SOUTH, WEST, Actions
from envs_jax.grid.layouts import Layout, Number
from envs_jax.grid.state import GridState
from envs_jax.minigrid.environment import COLORS, MiniGridEnv, Outcome, carries, object_types, opens_door


class Rooms:
    """The walls, doors and objects of a grid of rooms in the making.

    A room (i, j) is the one in column i and row j. As in MiniGrid, an agent stands in the middle of the middle room
    until it is placed, and objects keep a distance from it.

    Args:
        layout: of the whole grid.
        room_size: cells a side of a room, walls included.
        columns: rooms along x.
        rows: rooms along y.
    """

    def __init__(self, layout: Layout, room_size: int, columns: int, rows: int) -> None:
        self.layout, self.size, self.columns, self.rows = layout, room_size, columns, rows
        step = room_size - 1
        for j in range(rows):
            for i in range(columns):
                layout.wall_rect(i * step, j * step, room_size, room_size)
        # Where doors can be, right of and below each room.
        self._right: dict[tuple[int, int], tuple[Number, Number]] = {}
        self._below: dict[tuple[int, int], tuple[Number, Number]] = {}
        for j in range(rows):
            for i in range(columns):
                if i < columns - 1:
                    self._right[i, j] = (i + 1) * step, layout.rand_int(j * step + 1, (j + 1) * step)
                if j < rows - 1:
                    self._below[i, j] = layout.rand_int(i * step + 1, (i + 1) * step), (j + 1) * step
        half = room_size // 2
        layout.put_agent(columns // 2 * step + half, rows // 2 * step + half)

    def area(self, i: Number, j: Number) -> jax.Array:
        """bool[W * H], a room with its walls."""
        return self.layout.area(i * (self.size - 1), j * (self.size - 1), self.size, self.size)

    def door_pos(self, i: int, j: int, side: int) -> tuple[Number, Number]:
        """Where the door of a room's side is, or would be; sides as directions."""
        if side in (EAST, WEST):
            return self._right[i - (side == WEST), j]
        return self._below[i, j - (side == NORTH)]

    def add_door(self, i: int, j: int, side: int, color: Number, state: int) -> jax.Array:
        """Puts a door into a room's wall; int32[], its cell."""
        return self.layout.put_obj(*self.door_pos(i, j, side), object_word(DOOR, color, state))

    def block(self, i: int, j: int, side: int, word: jax.Array) -> None:
        """Puts an object just inside a room before a door."""
        x, y = self.door_pos(i, j, side)
        dx, dy = DIR_TO_VEC[side].tolist()
        self.layout.put_obj(x - dx, y - dy, word)

    def place_in_room(self, i: Number, j: Number, word: jax.Array) -> jax.Array:
        """Puts an object into a free cell of a room that is not next to the agent; int32[], its cell."""
        beside = self.layout.near(self.layout.agent_cell, lambda dx, dy: dx + dy < 2)
        return self.layout.place_obj(word, self.area(i, j), beside)

    def remove_wall(self, i: int, j: int, side: int) -> None:
        """Opens the whole wall between a room and its neighbour."""
        step, inner = self.size - 1, self.size - 2
        x, y = i * step, j * step
        if side in (EAST, WEST):
            self.layout.vert_wall(x + step * (side == EAST), y + 1, inner, EMPTY_WORD)
        else:
            self.layout.horz_wall(x + 1, y + step * (side == SOUTH), inner, EMPTY_WORD)

    def place_agent(self, i: int, j: int) -> None:
        """Puts the agent into a room, not right in front of an object."""
        self.layout.place_agent_off_objects(self.area(i, j))


class RoomGrid(MiniGridEnv):
    """A world of several rooms of one size."""

    def __init__(self, room_size: int, columns: int, rows: int, max_steps: int, agent_view_size: int) -> None:
        self.room_size, self.columns, self.rows = room_size, columns, rows
        step = room_size - 1
        super().__init__(step * columns + 1, step * rows + 1, max_steps, agent_view_size)

    def rooms(self, layout: Layout) -> Rooms:
        """The rooms of a fresh layout."""
        return Rooms(layout, self.room_size, self.columns, self.rows)


class Unlock(RoomGrid):
    """A locked door and its key.

    - facts: the door's cell.

    Args:
        max_steps: steps until an episode is truncated.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "open the door"
    num_facts = 1
    facts_are_cells = True

    def __init__(self, max_steps: int = 288, agent_view_size: int = 7) -> None:
        super().__init__(6, 2, 1, max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        rooms, color = self.rooms(layout), layout.rand_color()
        door = rooms.add_door(0, 0, EAST, color, LOCKED)
        rooms.place_in_room(0, 0, object_word(KEY, color))
        rooms.place_agent(0, 0)
        return [], [door]

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        return find_cells(grid, DOOR, 1)

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        return Outcome(opens_door(state, action), jnp.bool_(False))


class PickupWorld(RoomGrid):
    """A world whose mission is to pick up an object: its colour and its type."""

    mission_template = "pick up the {} {}"

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        color, kind = state.mission
        return Outcome((action == Actions.pickup) & carries(state, kind, color), jnp.bool_(False))


class UnlockPickup(PickupWorld):
    """A box behind a locked door.

    - mission: the box's colour and its type.

    Args:
        max_steps: steps until an episode is truncated.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_placeholders = (COLORS, object_types(BOX))

    def __init__(self, max_steps: int = 288, agent_view_size: int = 7) -> None:
        super().__init__(6, 2, 1, max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        rooms, target, color = self.rooms(layout), layout.rand_color(), layout.rand_color()
        rooms.place_in_room(1, 0, object_word(BOX, target))
        self.lock(layout, rooms, color)
        rooms.place_in_room(0, 0, object_word(KEY, color))
        rooms.place_agent(0, 0)
        return [target, BOX], []

    def lock(self, layout: Layout, rooms: Rooms, color: jax.Array) -> None:
        """Adds the locked door."""
        rooms.add_door(0, 0, EAST, color, LOCKED)


class BlockedUnlockPickup(UnlockPickup):
    """As `UnlockPickup`, with a ball before the door."""

    def __init__(self, max_steps: int = 576, agent_view_size: int = 7) -> None:
        super().__init__(max_steps, agent_view_size)

    def lock(self, layout: Layout, rooms: Rooms, color: jax.Array) -> None:
        rooms.add_door(0, 0, EAST, color, LOCKED)
        rooms.block(0, 0, EAST, object_word(BALL, layout.rand_color()))


class KeyCorridor(PickupWorld):
    """A ball in a locked room off a corridor, the key in another room.

    - mission: the ball's colour and its type.

    Args:
        room_size: cells a side of a room, walls included.
        num_rows: rooms on each side of the corridor.
        max_steps: `30 * room_size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_placeholders = (COLORS, object_types(BALL))

    def __init__(
        self, room_size: int = 6, num_rows: int = 3, max_steps: int | None = None, agent_view_size: int = 7
    ) -> None:
        room_size, rows = checked_integer("room_size", room_size, 3, 10), checked_integer("num_rows", num_rows, 1, 3)
        super().__init__(room_size, 3, rows, 30 * room_size**2 if max_steps is None else max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        rooms = self.rooms(layout)
        for j in range(1, self.rows):
            rooms.remove_wall(1, j, NORTH)
        row, door, target = layout.rand_int(0, self.rows), layout.rand_color(), layout.rand_color()
        for j in range(self.rows):
            x, y = rooms.door_pos(2, j, WEST)
            layout.fill(layout.area(x, y, 1, 1) & (row == j), object_word(DOOR, door, LOCKED))
        rooms.place_in_room(2, row, object_word(BALL, target))
        rooms.place_in_room(0, layout.rand_int(0, self.rows), object_word(KEY, door))
        rooms.place_agent(1, self.rows // 2)
        self._connect(layout, rooms, row)
        return [target, BALL], []

    def _connect(self, layout: Layout, rooms: Rooms, locked: jax.Array) -> None:
        """Adds closed doors at random walls until every room can be reached, as MiniGrid's `connect_all`."""
        walls = self._walls()
        ends = np.array([(i + 3 * j, i + dx + 3 * (j + dy)) for i, j, dx, dy in walls], np.int32)
        is_locked_room = np.arange(3 * self.rows, dtype=np.int32) == 2 + 3 * locked
        # The corridor is one room; the locked room has its door.
        linked = jnp.asarray([i == i_to == 1 for i, i_to in (ends % 3).tolist()])
        linked |= jnp.asarray((ends % 3 == [1, 2]).all(1)) & is_locked_room[ends[:, 1]]
        addable = ~linked & ~is_locked_room[ends].any(1)
        places = [rooms.door_pos(i, j, EAST if dx else SOUTH) for i, j, dx, _ in walls]
        is_door = jnp.stack([layout.area(x, y, 1, 1) for x, y in places])
        for _ in walls:
            done = _reached(linked, ends, 1 + 3 * (self.rows // 2), 3 * self.rows).all()
            wall = layout.rand_elem(addable)
            color = layout.rand_color()
            added = (np.arange(len(walls), dtype=np.int32) == wall) & ~done
            layout.fill(is_door[wall] & ~done, object_word(DOOR, color, CLOSED))
            linked, addable = linked | added, addable & ~added

    def _walls(self) -> list[tuple[int, int, int, int]]:
        """The walls between rooms: room, and the way to its neighbour."""
        across = [(i, j, 1, 0) for j in range(self.rows) for i in range(2)]
        return across + [(i, j, 0, 1) for j in range(self.rows - 1) for i in range(3)]


def _reached(linked: jax.Array, ends: np.ndarray, start: int, count: int) -> jax.Array:
    """bool[count], the rooms that can be reached from one of them over the linked walls."""
    touches = (ends[:, :, None] == np.arange(count, dtype=np.int32)).any(1)

    def spread(_: int, reached: jax.Array) -> jax.Array:
        crossed = linked & (touches & reached[None]).any(1)
        return reached | (touches & crossed[:, None]).any(0)

    return jax.lax.fori_loop(0, count - 1, spread, jnp.asarray(np.arange(count, dtype=np.int32) == start))
