"""LockedRoom: six rooms along a corridor, one of them locked."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from envs_jax.grid.cells import GOAL_WORD, object_word
from envs_jax.grid.constants import CLOSED, DOOR, KEY, LOCKED, NUM_COLORS
from envs_jax.grid.layouts import Layout
from envs_jax.minigrid.environment import COLORS, MiniGridEnv

ROOMS = 6


class LockedRoom(MiniGridEnv):
    """The goal is in a locked room, its key in another room.

    - mission: the key's colour, the colour of the room where it is, the locked door's colour.

    Args:
        max_steps: steps until an episode is truncated.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "get the {} key from the {} room, unlock the {} door and go to the goal"
    mission_placeholders = (COLORS,) * 3

    def __init__(self, max_steps: int = 190, agent_view_size: int = 7) -> None:
        super().__init__(19, 19, max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        left, right, third = self.width // 2 - 2, self.width // 2 + 2, self.height // 3
        layout.wall_rect(0, 0, self.width, self.height)
        for wall in (left, right):
            layout.vert_wall(wall, 0, self.height)
        for top in range(0, 3 * third, third):
            layout.horz_wall(0, top, left)
            layout.horz_wall(right, top, self.width - right)
        tops = np.repeat(np.arange(3, dtype=np.int32) * third, 2)
        lefts, doors = np.tile(np.array([0, right], np.int32), 3), np.tile(np.array([left, right], np.int32), 3)
        locked = layout.rand_int(0, ROOMS)
        inner_width, inner_height = left, third  # one past the last cell inside, from a room's corner
        goal_x, goal_y = layout.rand_int(1, inner_width), layout.rand_int(1, inner_height)
        layout.put_obj(jnp.asarray(lefts)[locked] + goal_x, jnp.asarray(tops)[locked] + goal_y, GOAL_WORD)
        colors = layout.rand_subset(NUM_COLORS, ROOMS)
        for room in range(ROOMS):
            state = jnp.where(locked == room, LOCKED, CLOSED)
            layout.put_obj(int(doors[room]), int(tops[room]) + 3, object_word(DOOR, colors[room], state))
        keyroom = layout.rand_int(0, ROOMS - 1)
        keyroom += (keyroom >= locked).astype(jnp.int32)
        key_x, key_y = layout.rand_int(1, inner_width), layout.rand_int(1, inner_height)
        color = jnp.stack(colors)[locked]
        layout.put_obj(jnp.asarray(lefts)[keyroom] + key_x, jnp.asarray(tops)[keyroom] + key_y, object_word(KEY, color))
        layout.place_agent(layout.area(left, 0, right - left, self.height))
        return [color, jnp.stack(colors)[keyroom], color], []
