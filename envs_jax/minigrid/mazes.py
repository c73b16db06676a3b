"""ObstructedMaze: locked doors, blocked by balls, with their keys in boxes."""

from typing import Any

import jax
import jax.numpy as jnp

from envs_jax.checks import checked_flag, checked_integer
from envs_jax.grid.cells import boxed, object_word
from envs_jax.grid.constants import BALL, CLOSED, COLOR_TO_IDX, EAST, KEY, LOCKED, NUM_COLORS
from envs_jax.grid.layouts import Layout
from envs_jax.minigrid.environment import object_types
from envs_jax.minigrid.rooms import PickupWorld, Rooms

BLUE, GREEN, GREY = (COLOR_TO_IDX[name] for name in ("blue", "green", "grey"))
TARGET, BLOCKER = object_word(BALL, BLUE), object_word(BALL, GREEN)
SIDE_ROOMS = ((2, 1), (1, 2), (0, 1), (1, 0))
CORNERS = ((2, 0), (2, 2), (0, 2), (0, 0))


class ObstructedMaze(PickupWorld):
    """A blue ball in a maze of rooms.

    - mission: the ball's colour and its type.

    Args:
        num_quarters: sides of the middle room that lead on, 1..4; 0 for a maze of two rooms.
        agent_room: column and row of the room where the agent begins.
        key_in_box: whether keys are in boxes.
        blocked: whether a ball stands before each locked door.
        keys_last: whether keys are placed after all doors of a room, as in version 1: no ball takes their place.
        max_steps: steps until an episode is truncated.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_placeholders = ({BLUE: "blue"}, object_types(BALL))

    def __init__(
        self,
        num_quarters: int = 4,
        agent_room: tuple[int, int] = (1, 1),
        key_in_box: bool = True,
        blocked: bool = True,
        keys_last: bool = False,
        max_steps: int = 3600,
        agent_view_size: int = 7,
    ) -> None:
        self.num_quarters = checked_integer("num_quarters", num_quarters, 0, 4)
        columns, rows = (3, 3) if num_quarters else (2, 1)
        column, row = agent_room
        self.agent_room = (
            checked_integer("agent_room[0]", column, 0, columns - 1),
            checked_integer("agent_room[1]", row, 0, rows - 1),
        )
        self.key_in_box, self.blocked = checked_flag("key_in_box", key_in_box), checked_flag("blocked", blocked)
        self.keys_last = checked_flag("keys_last", keys_last)
        super().__init__(6, columns, rows, max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        rooms, colors = self.rooms(layout), layout.rand_subset(NUM_COLORS, NUM_COLORS)
        if self.num_quarters == 0:
            self._lock(rooms, 0, 0, EAST, colors[0])
            self._add_key(rooms, 0, 0, colors[0])
            rooms.place_in_room(1, 0, TARGET)
        else:
            for side in range(self.num_quarters):
                self._add_quarter(rooms, side, colors)
            corner = layout.rand_int(0, self.num_quarters)
            columns, rows = (jnp.asarray(places)[corner] for places in zip(*CORNERS))
            rooms.place_in_room(columns, rows, TARGET)
        rooms.place_agent(*self.agent_room)
        return [BLUE, BALL], []

    def _add_quarter(self, rooms: Rooms, side: int, colors: list[jax.Array]) -> None:
        """The door to a side room, and its two locked doors with their keys."""
        room = SIDE_ROOMS[side]
        rooms.add_door(1, 1, side, colors[side], CLOSED)
        locks = [((side + turn) % 4, colors[(side + turn) % NUM_COLORS]) for turn in (-1, 1)]
        for wall, color in locks:
            self._lock(rooms, *room, wall, color)
            if not self.keys_last:
                self._add_key(rooms, *room, color)
        if self.keys_last:
            for _, color in locks:
                self._add_key(rooms, *room, color)

    def _lock(self, rooms: Rooms, i: int, j: int, side: int, color: jax.Array) -> None:
        rooms.add_door(i, j, side, color, LOCKED)
        if self.blocked:
            rooms.block(i, j, side, BLOCKER)

    def _add_key(self, rooms: Rooms, i: int, j: int, color: jax.Array) -> None:
        key = object_word(KEY, color)
        rooms.place_in_room(i, j, boxed(key, GREY) if self.key_in_box else key)
