"""KeyInBox and RandomBoxKey: a locked door whose key may be in a box.

Source: the worlds of LLM4RL, arXiv 2306.03604.
"""

from typing import Any

import jax
import jax.numpy as jnp

from envs_jax.checks import checked_integer, checked_odd
from envs_jax.grid.actions import Deed
from envs_jax.grid.cells import EMPTY_WORD, boxed, is_open_door, object_word
from envs_jax.grid.constants import BOX, DOOR, EAST, KEY, LOCKED, SOUTH, Actions
from envs_jax.grid.grid_state import GridState
from envs_jax.grid.layouts import Layout
from envs_jax.minigrid.environment import Judgement
from envs_jax.minigrid.historical import HistoricalEnv


class KeyInBox(HistoricalEnv):
    """A room with a locked door, its key in a box.

    - reward and termination: as in `envs_jax.doorkey.DoorKey`, success is a toggle after which the door is open.
    - facts: the door's cell.

    Args:
        world_size: cells a side of the world, 5..32.
        room_size: smallest and largest side of the room in cells, walls included.
        view_size: side of the square that the agent sees in front of it, odd.
        max_steps: steps until an episode is truncated.
        frame_stack: how many observations are stacked on the channel axis, newest last, 1..256.
    """

    num_facts = 1

    def __init__(
        self,
        world_size: int = 10,
        room_size: tuple[int, int] = (5, 10),
        view_size: int = 3,
        max_steps: int = 100,
        frame_stack: int = 1,
    ) -> None:
        size = checked_integer("world_size", world_size, 5, 32)
        self.room_size = (
            checked_integer("room_size[0]", room_size[0], 5, size),
            checked_integer("room_size[1]", room_size[1], room_size[0], size),
        )
        super().__init__(size, checked_odd("view_size", view_size, 3, size), max_steps, frame_stack)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        low, high = self.room_size
        width, height = layout.rand_int(low, high + 1), layout.rand_int(low, high + 1)
        room = layout.area(0, 0, width, height)
        layout.wall_rect(0, 0, width, height)
        side, color = layout.rand_int(0, 4), layout.rand_color()
        upright = side % 2 == 0
        place = layout.rand_int(1, jnp.where(upright, height, width) - 1)
        far = jnp.where(side == EAST, width - 1, jnp.where(side == SOUTH, height - 1, 0))
        x, y = jnp.where(upright, far, place), jnp.where(upright, place, far)
        door = layout.put(x, y, object_word(DOOR, color, LOCKED))
        layout.place_agent(room)
        beside = layout.area(jnp.clip(x, 1, width - 2), jnp.clip(y, 1, height - 2), 1, 1)
        self.place_box(layout, color, room, beside)
        return [], [door]

    def place_box(self, layout: Layout, color: jax.Array, room: jax.Array, beside_door: jax.Array) -> None:
        """Puts the key and the box into the room."""
        layout.place(boxed(object_word(KEY, color), color), room)

    def judge(self, before: GridState, state: GridState, action: jax.Array, deed: Deed) -> Judgement:
        opened = (action == Actions.toggle) & is_open_door(state.cells[state.facts[0]])
        return Judgement(opened, jnp.bool_(False))


class RandomBoxKey(KeyInBox):
    """As `KeyInBox`, with the key in the box or, as likely, beside an empty box; no box just inside the door."""

    def place_box(self, layout: Layout, color: jax.Array, room: jax.Array, beside_door: jax.Array) -> None:
        in_box, key = layout.rand_int(0, 2) == 1, object_word(KEY, color)
        layout.place(jnp.where(in_box, EMPTY_WORD, key), room)
        layout.place(jnp.where(in_box, boxed(key, color), object_word(BOX, color)), room, beside_door)
