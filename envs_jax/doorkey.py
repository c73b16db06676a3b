"""The DoorKey tasks: a room with a locked door, and its key.

Source: the reference systems of arXiv 2311.13373 and arXiv 2306.03604, whose worlds are MiniGrid's.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_flag, checked_integer
from envs_jax.grid.actions import Effect, split_cell
from envs_jax.grid.arrays import find_cells
from envs_jax.grid.cells import EMPTY_WORD, LAVA_WORD, boxed, object_word
from envs_jax.grid.constants import BOX, COLOR_TO_IDX, DOOR, EAST, KEY, LOCKED, NUM_COLORS, SOUTH, WEST
from envs_jax.grid.layouts import Layout
from envs_jax.grid.placement import floor_divide
from envs_jax.grid.state import GridState
from envs_jax.minigrid.environment import Outcome, opens_door
from envs_jax.minigrid.historical import HistoricalEnv

Room = tuple[jax.Array, jax.Array]
"""Columns and rows of a room with its walls, int32[] each."""


class DoorKey(HistoricalEnv):
    """A room with a locked door: find the key, open the door.

    - observation: `uint8[size, size, 4 * frame_stack]`, see `HistoricalEnv`.
    - action: int32 in 0..6, MiniGrid's `Actions`; another number raises an error or, in a
      compiled program, does nothing.
    - reward: float32, `1 - 0.9 * step_count / max_steps` for a toggle after which a door is open.
    - termination (discount 0): success, or lava entered; truncation (discount 1): `max_steps`.
    - facts: the doors' cells.

    Args:
        world_size: cells a side of the world, 5..32.
        room_size: smallest and largest side of the room in cells, walls included, each side
            drawn on its own.
        view_size: side of the square the agent sees in front of it, odd, 3..world_size.
        num_keys: keys in the room, of different colours; the first fits the door.
        max_steps: steps until an episode is truncated.
        frame_stack: how many observations are stacked on the channel axis, newest last, 1..256.

    Raises:
        ValueError: a parameter has the wrong type, or a value for which there is no world.
    """

    facts_are_cells = True
    num_doors = 1
    num_boxes = 0
    num_lava = 0
    most_keys = NUM_COLORS  # One for each colour.
    fixed_colors: tuple[int, ...] = ()
    keys_avoid_door = False

    def __init__(
        self,
        world_size: int = 10,
        room_size: tuple[int, int] = (5, 10),
        view_size: int = 3,
        num_keys: int = 1,
        max_steps: int = 150,
        frame_stack: int = 1,
    ) -> None:
        size = checked_integer("world_size", world_size, 5, 32)
        self.room_size = self._checked_room(room_size, size)
        self.num_keys = checked_integer("num_keys", num_keys, 1, self.most_keys)
        self.num_facts = self.num_doors
        self.num_draws = 7 + self.num_doors + 2 * self.num_keys + self.num_lava
        super().__init__(size, view_size, max_steps, frame_stack)

    def _checked_room(self, room_size: Any, size: int) -> tuple[int, int]:
        """The smallest and the largest side of the room."""
        try:
            low, high = room_size
        except (TypeError, ValueError):
            wanted = "room_size must be two integers, the smallest and the largest side"
            raise ValueError(f"{wanted}, not {room_size!r}") from None
        low, high = checked_integer("room_size[0]", low, 5, size), checked_integer("room_size[1]", high, 5, size)
        if low > high:
            raise ValueError(f"room_size must be the smallest side and then the largest, not {(low, high)}")
        return low, high

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        low, high = self.room_size
        room = layout.rand_int(low, high + 1), layout.rand_int(low, high + 1)
        layout.wall_rect(0, 0, *room)
        layout.opaque = self._lines_of_walls(room)
        doors, colors = self._draw_doors(layout, room), self._draw_colors(layout)
        for door in doors:
            layout.set_cell(door, object_word(DOOR, colors[0], LOCKED))
        self._place_objects(layout, room, doors[0], colors)
        layout.agent_dir = layout.rand_int(0, 4)
        return [], list(doors)

    def _lines_of_walls(self, room: Room) -> jax.Array:
        """uint32[2 * size], the walls and the closed doors in them, as in `GridState.opaque`."""
        along_y, line = np.divmod(np.arange(2 * self.size, dtype=np.int32), self.size)
        length, breadth = (jnp.where(along_y == 0, *sides) for sides in (room, room[::-1]))
        full = np.uint32(0xFFFFFFFF) >> (32 - breadth).astype(jnp.uint32)
        ends = np.uint32(1) << (breadth - 1).astype(jnp.uint32) | np.uint32(1)
        between = jnp.where(line < length, ends, np.uint32(0))
        return jnp.where((line == 0) | (line == length - 1), full, between)

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        return find_cells(grid, DOOR, self.num_doors)

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        return Outcome(opens_door(state, action), jnp.bool_(False))

    def _draw_doors(self, layout: Layout, room: Room) -> list[jax.Array]:
        """The cells of the doors: one on any side, not in a corner."""
        return [self._door_on(layout.rand_int(0, 4), layout, room)]

    def _door_on(self, side: jax.Array, layout: Layout, room: Room) -> jax.Array:
        columns, rows = room
        vertical = (side == EAST) | (side == WEST)
        place = layout.rand_int(1, jnp.where(vertical, rows, columns) - 1)
        far = jnp.where(side == EAST, columns - 1, jnp.where(side == SOUTH, rows - 1, 0))
        return jnp.where(vertical, layout.cell(far, place), layout.cell(place, far))

    def _draw_colors(self, layout: Layout) -> list[jax.Array]:
        """A colour for each key, all different; the first is the door's."""
        colors = [jnp.int32(color) for color in self.fixed_colors[: self.num_keys]]
        while len(colors) < self.num_keys:
            colors.append(layout.rand_free(NUM_COLORS, colors))
        return colors

    def _place_objects(self, layout: Layout, room: Room, door: jax.Array, colors: list[jax.Array]) -> None:
        """Places the agent, then the keys, then the lava, each on a free cell inside the walls."""
        inside, by_door = self._count_inside(room), self._number_beside(door, room)
        taken = [layout.rand_int(0, inside)]
        layout.agent_cell = self._inner_cell(taken[0], room)
        for color in colors:
            taken.append(layout.rand_free(inside, taken + [by_door] * self.keys_avoid_door))
            layout.set_cell(self._inner_cell(taken[-1], room), object_word(KEY, color))
        for _ in range(self.num_lava):
            taken.append(layout.rand_free(inside, [*taken, by_door]))
            layout.set_cell(self._inner_cell(taken[-1], room), LAVA_WORD)

    def _count_inside(self, room: Room) -> jax.Array:
        """int32[], how many cells the walls enclose."""
        return (room[0] - 2) * (room[1] - 2)

    def _number_beside(self, door: jax.Array, room: Room) -> jax.Array:
        """The number of the cell just inside a door."""
        x, y = split_cell(door, self.size)
        return self._inner_number(jnp.clip(x, 1, room[0] - 2), jnp.clip(y, 1, room[1] - 2), room)

    def _inner_cell(self, number: jax.Array, room: Room) -> jax.Array:
        """The cell of the `number`-th cell inside the walls, row-major."""
        column = floor_divide(number, room[1] - 2)
        return (column + 1) * self.size + number - column * (room[1] - 2) + 1

    def _inner_number(self, x: jax.Array, y: jax.Array, room: Room) -> jax.Array:
        """The inverse of `_inner_cell`, of a cell (x, y)."""
        return (x - 1) * (room[1] - 2) + y - 1


class LavaDoorKey(DoorKey):
    """DoorKey with one cell of lava, never just inside the door; entering it ends the episode."""

    num_lava = 1


class ColoredDoorKey(DoorKey):
    """DoorKey with keys of several colours, none just inside the door.

    Args:
        free_colors: whether all colours are drawn, as in LLM4RL; if not, the door is blue, and the keys are blue and
            red before others.

    The other parameters are those of `DoorKey`.
    """

    keys_avoid_door = True

    def __init__(
        self,
        world_size: int = 10,
        room_size: tuple[int, int] = (5, 10),
        view_size: int = 3,
        num_keys: int = 2,
        max_steps: int = 150,
        frame_stack: int = 1,
        free_colors: bool = False,
    ) -> None:
        if not checked_flag("free_colors", free_colors):
            self.fixed_colors = COLOR_TO_IDX["blue"], COLOR_TO_IDX["red"]
        super().__init__(world_size, room_size, view_size, num_keys, max_steps, frame_stack)


class TwoDoor(DoorKey):
    """Two doors of one colour on opposite sides, the key in the middle (the paper's DivergedDoorKey)."""

    num_doors = 2
    most_keys = 1

    def _checked_room(self, room_size: Any, size: int) -> tuple[int, int]:
        low, high = super()._checked_room(room_size, size)
        least = 2 + (size - 2) // 2 + 1
        if low < least:
            raise ValueError(
                f"room_size[0] must be at least {least} in a TwoDoor of world_size {size}, "
                f"whose key lies in the 2x2 block in its middle, not {low}"
            )
        return low, high

    def _draw_doors(self, layout: Layout, room: Room) -> list[jax.Array]:
        axis = layout.rand_int(0, 2)
        one, other = (self._door_on(side, layout, room) for side in (axis, axis + 2))
        return [jnp.minimum(one, other), jnp.maximum(one, other)]

    def _place_objects(self, layout: Layout, room: Room, door: jax.Array, colors: list[jax.Array]) -> None:
        corner = (self.size - 2) // 2
        place = layout.rand_int(0, 4)
        x, y = corner + place // 2, corner + place % 2
        layout.set_cell(layout.cell(x, y), object_word(KEY, colors[0]))
        agent = layout.rand_free(self._count_inside(room), [self._inner_number(x, y, room)])
        layout.agent_cell = self._inner_cell(agent, room)


class KeyInBox(DoorKey):
    """DoorKey with the key in a box of its colour.

    The parameters are those of `DoorKey`, without `num_keys`.
    """

    num_boxes = 1

    def __init__(
        self,
        world_size: int = 10,
        room_size: tuple[int, int] = (5, 10),
        view_size: int = 3,
        max_steps: int = 100,
        frame_stack: int = 1,
    ) -> None:
        super().__init__(world_size, room_size, view_size, 1, max_steps, frame_stack)

    def _place_objects(self, layout: Layout, room: Room, door: jax.Array, colors: list[jax.Array]) -> None:
        inside = self._count_inside(room)
        agent = layout.rand_int(0, inside)
        layout.agent_cell = self._inner_cell(agent, room)
        box = layout.rand_free(inside, [agent])
        layout.set_cell(self._inner_cell(box, room), boxed(object_word(KEY, colors[0]), colors[0]))


class RandomBoxKey(KeyInBox):
    """As `KeyInBox`, with the key in the box or, as likely, beside an empty box; no box just inside the door."""

    def _place_objects(self, layout: Layout, room: Room, door: jax.Array, colors: list[jax.Array]) -> None:
        inside, (color,) = self._count_inside(room), colors
        agent, in_box = layout.rand_int(0, inside), layout.rand_int(0, 2) == 1
        layout.agent_cell = self._inner_cell(agent, room)
        key = jnp.where(in_box, agent, layout.rand_free(inside, [agent]))
        word = object_word(KEY, color)
        layout.set_cell(self._inner_cell(key, room), jnp.where(in_box, EMPTY_WORD, word))
        box = layout.rand_free(inside, [agent, key, self._number_beside(door, room)])
        layout.set_cell(self._inner_cell(box, room), jnp.where(in_box, boxed(word, color), object_word(BOX, color)))
