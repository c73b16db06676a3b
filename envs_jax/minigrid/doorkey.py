"""DoorKey and RedBlueDoors: doors between two or three rooms."""

from typing import Any

import jax
import numpy as np

from envs_jax.checks import checked_integer
from envs_jax.grid.actions import Effect
from envs_jax.grid.arrays import find_cells
from envs_jax.grid.cells import GOAL_WORD, cell_word, is_open_door
from envs_jax.grid.constants import CLOSED, COLOR_TO_IDX, DOOR, KEY, LOCKED
from envs_jax.grid.layouts import Layout
from envs_jax.grid.state import GridState
from envs_jax.minigrid.environment import MiniGridEnv, Outcome

YELLOW, RED, BLUE = (COLOR_TO_IDX[name] for name in ("yellow", "red", "blue"))


class DoorKey(MiniGridEnv):
    """A key on this side of a locked door, the goal on the other.

    Args:
        size: cells a side.
        max_steps: `10 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "use the key to open the door and then get to the goal"

    def __init__(self, size: int = 8, max_steps: int | None = None, agent_view_size: int = 7) -> None:
        size = checked_integer("size", size, 5, 32)
        super().__init__(size, size, 10 * size**2 if max_steps is None else max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        layout.put_obj(self.width - 2, self.height - 2, GOAL_WORD)
        wall = layout.rand_int(2, self.width - 2)
        layout.vert_wall(wall, 0, self.height)
        left = layout.area(0, 0, wall, self.height)
        layout.place_agent(left)
        layout.put_obj(wall, layout.rand_int(1, self.width - 2), cell_word(DOOR, YELLOW, LOCKED))
        layout.place_obj(cell_word(KEY, YELLOW), left)
        return [], []


class RedBlueDoors(MiniGridEnv):
    """A red and a blue door, to be opened in this order.

    - facts: the cells of the red and of the blue door.

    Args:
        size: cells along y; twice as many along x.
        max_steps: `20 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "open the red door then the blue door"
    num_facts = 2
    facts_are_cells = True

    def __init__(self, size: int = 8, max_steps: int | None = None, agent_view_size: int = 7) -> None:
        size = checked_integer("size", size, 5, 16)
        super().__init__(2 * size, size, 20 * size**2 if max_steps is None else max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        size, left = self.height, self.height // 2
        layout.wall_rect(0, 0, 2 * size, size)
        layout.wall_rect(left, 0, size, size)
        layout.place_agent(layout.area(left, 0, size, size))
        red = layout.put_obj(left, layout.rand_int(1, size - 1), cell_word(DOOR, RED, CLOSED))
        blue = layout.put_obj(left + size - 1, layout.rand_int(1, size - 1), cell_word(DOOR, BLUE, CLOSED))
        return [], [red, blue]

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        return find_cells(grid, DOOR, 1, RED) + find_cells(grid, DOOR, 1, BLUE)

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        red_before, blue_before = is_open_door(before.cells[before.facts])
        red, blue = is_open_door(state.cells[state.facts])
        return Outcome(blue & red_before, (blue & ~red_before) | (~blue & red & blue_before))
