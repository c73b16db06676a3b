"""Rooms with a goal: Empty, FourRooms, DistShift, LavaGap and the Crossings."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_flag, checked_integer, checked_odd
from envs_jax.grid.cells import EMPTY_WORD, GOAL_WORD, LAVA_WORD, WALL_WORD
from envs_jax.grid.layouts import Layout
from envs_jax.minigrid.environment import MiniGridEnv

REACH_GOAL = "get to the green goal square"


class Empty(MiniGridEnv):
    """An empty room with a goal in its corner.

    Args:
        size: cells a side.
        random_start: whether the agent begins anywhere, instead of in the opposite corner.
        max_steps: `4 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = REACH_GOAL

    def __init__(
        self, size: int = 8, random_start: bool = False, max_steps: int | None = None, agent_view_size: int = 7
    ) -> None:
        self.random_start = checked_flag("random_start", random_start)
        size = checked_integer("size", size, 4, 32)
        super().__init__(size, size, 4 * size**2 if max_steps is None else max_steps, agent_view_size, True)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        layout.put_obj(self.width - 2, self.height - 2, GOAL_WORD)
        if self.random_start:
            layout.place_agent()
        else:
            layout.put_agent(1, 1)
        return [], []


class FourRooms(MiniGridEnv):
    """Four rooms with an opening in each wall between them, a goal anywhere.

    Args:
        max_steps: steps until an episode is truncated.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "reach the goal"

    def __init__(self, max_steps: int = 100, agent_view_size: int = 7) -> None:
        super().__init__(19, 19, max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        half = self.width // 2
        layout.wall_rect(0, 0, self.width, self.height)
        for top in (0, half):
            for left in (0, half):
                if left == 0:
                    layout.vert_wall(half, top, half)
                    layout.put_obj(half, layout.rand_int(top + 1, top + half), EMPTY_WORD)
                if top == 0:
                    layout.horz_wall(left, half, half)
                    layout.put_obj(layout.rand_int(left + 1, left + half), half, EMPTY_WORD)
        layout.place_agent()
        layout.place_obj(GOAL_WORD)
        return [], []


class DistShift(MiniGridEnv):
    """Two strips of lava between the agent and the goal; the second lies in another row in the two versions.

    Args:
        strip2_row: the row of the second strip.
        max_steps: `4 * 9 * 7` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = REACH_GOAL

    def __init__(self, strip2_row: int = 2, max_steps: int = 252, agent_view_size: int = 7) -> None:
        self.strip2_row = checked_integer("strip2_row", strip2_row, 1, 5)
        super().__init__(9, 7, max_steps, agent_view_size, True)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        layout.put_obj(self.width - 2, 1, GOAL_WORD)
        for row in (1, self.strip2_row):
            layout.horz_wall(3, row, self.width - 6, LAVA_WORD)
        layout.put_agent(1, 1)
        return [], []


class LavaGap(MiniGridEnv):
    """A column of lava with a gap.

    Args:
        size: cells a side.
        max_steps: `4 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "avoid the lava and get to the green goal square"

    def __init__(self, size: int = 7, max_steps: int | None = None, agent_view_size: int = 7) -> None:
        size = checked_integer("size", size, 5, 32)
        super().__init__(size, size, 4 * size**2 if max_steps is None else max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        layout.put_agent(1, 1)
        layout.put_obj(self.width - 2, self.height - 2, GOAL_WORD)
        x, y = layout.rand_int(2, self.width - 2), layout.rand_int(1, self.height - 1)
        layout.vert_wall(x, 1, self.height - 2, LAVA_WORD)
        layout.put_obj(x, y, EMPTY_WORD)
        return [], []


class LavaCrossing(MiniGridEnv):
    """Rivers of lava across the room, each with a crossing.

    Args:
        size: cells a side, odd.
        num_crossings: rivers.
        max_steps: `4 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "avoid the lava and get to the green goal square"
    obstacle: ClassVar[np.uint32] = LAVA_WORD

    def __init__(
        self, size: int = 9, num_crossings: int = 1, max_steps: int | None = None, agent_view_size: int = 7
    ) -> None:
        size = checked_odd("size", size, 5, 31)
        self.num_crossings = checked_integer("num_crossings", num_crossings, 1, size - 3)
        self.num_draws = 4 * self.num_crossings
        super().__init__(size, size, 4 * size**2 if max_steps is None else max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        layout.put_agent(1, 1)
        layout.put_obj(self.width - 2, self.height - 2, GOAL_WORD)
        per_axis = (self.width - 3) // 2
        vertical, horizontal = self._draw_rivers(layout, per_axis)
        for i in range(per_axis):
            line = 2 + 2 * i
            layout.fill(layout.area(1, line, self.width - 2, 1) & horizontal[i], self.obstacle)
            layout.fill(layout.area(line, 1, 1, self.height - 2) & vertical[i], self.obstacle)
        self._open_crossings(layout, vertical, horizontal)
        return [], []

    def _draw_rivers(self, layout: Layout, per_axis: int) -> tuple[jax.Array, jax.Array]:
        """bool[n] each, the vertical and the horizontal rivers: `num_crossings` of all, uniform."""
        rivers = layout.rand_subset(2 * per_axis, self.num_crossings)
        chosen = jnp.zeros(2 * per_axis, bool).at[jnp.stack(rivers)].set(True)
        return chosen[:per_axis], chosen[per_axis:]

    def _open_crossings(self, layout: Layout, vertical: jax.Array, horizontal: jax.Array) -> None:
        """A path from the agent to the goal, which crosses the rivers in a random order."""
        places = jnp.asarray(2 + 2 * np.arange(vertical.shape[0], dtype=np.int32))
        x, y = jnp.int32(0), jnp.int32(0)  # the river, or wall, before the room where the path is
        for _ in range(self.num_crossings):
            right, down = vertical & (places > x), horizontal & (places > y)
            wide, high = right.sum(dtype=jnp.int32), down.sum(dtype=jnp.int32)
            eastwards = layout.rand_int(0, wide + high) < wide
            next_x = jnp.min(jnp.where(right, places, self.width - 1))
            next_y = jnp.min(jnp.where(down, places, self.height - 1))
            open_x = jnp.where(eastwards, next_x, layout.rand_int(x + 1, next_x))
            open_y = jnp.where(eastwards, layout.rand_int(y + 1, next_y), next_y)
            layout.put_obj(open_x, open_y, EMPTY_WORD)
            x, y = jnp.where(eastwards, next_x, x), jnp.where(eastwards, y, next_y)


class SimpleCrossing(LavaCrossing):
    """As `LavaCrossing`, with walls instead of lava."""

    mission_template = "find the opening and get to the green goal square"
    obstacle: ClassVar[np.uint32] = WALL_WORD
