"""Memory: an object at the start tells which way to go at the end of a corridor."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_flag, checked_odd
from envs_jax.grid.actions import Effect
from envs_jax.grid.cells import WALL_WORD, object_word
from envs_jax.grid.constants import BALL, COLOR_TO_IDX, KEY, Actions
from envs_jax.grid.layouts import Layout
from envs_jax.grid.state import GridState
from envs_jax.minigrid.environment import MiniGridEnv, Outcome

GREEN = COLOR_TO_IDX["green"]


class Memory(MiniGridEnv):
    """A corridor that ends between two objects, of which one is like the one at its start.

    Picking up is a toggle here, as in MiniGrid.

    - facts: the cells that end the episode with success and with failure.

    Args:
        size: cells a side, odd.
        random_length: whether the corridor's length is drawn.
        max_steps: `5 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "go to the matching object at the end of the hallway"
    num_facts = 2
    facts_are_cells = True

    def __init__(
        self, size: int = 7, random_length: bool = False, max_steps: int | None = None, agent_view_size: int = 7
    ) -> None:
        size = checked_odd("size", size, 7, 31)
        self.random_length = checked_flag("random_length", random_length)
        super().__init__(size, size, 5 * size**2 if max_steps is None else max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        middle = self.height // 2
        end = layout.rand_int(4, self.width - 2) if self.random_length else self.width - 3
        layout.wall_rect(0, 0, self.width, self.height)
        for wall, inner in ((middle - 2, middle - 1), (middle + 2, middle + 1)):
            layout.horz_wall(1, wall, 4)
            layout.put_obj(4, inner, WALL_WORD)
            layout.horz_wall(5, inner, end - 5)
        for top, length in ((0, middle), (middle + 1, middle)):
            layout.vert_wall(end, top, length)
        layout.vert_wall(end + 2, 0, self.height)
        layout.put_agent(layout.rand_int(1, end + 1), middle)
        start, above = layout.rand_int(0, 2), layout.rand_int(0, 2)
        for x, y, is_ball in ((1, middle - 1, start), (end + 1, middle - 2, above), (end + 1, middle + 2, 1 - above)):
            layout.put_obj(x, y, object_word(jnp.where(is_ball == 1, BALL, KEY), GREEN))
        up, down = layout.cell(end + 1, middle - 1), layout.cell(end + 1, middle + 1)
        return [], [jnp.where(start == above, up, down), jnp.where(start == above, down, up)]

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        kinds = grid[..., 0]
        places = np.argwhere((kinds == KEY) | (kinds == BALL))
        if len(places) != 3:
            raise ValueError(f"a world of this kind has 3 keys and balls, the grid has {len(places)}")
        start, upper, lower = (tuple(place) for place in places)
        up, down = (int(x * self.height + y + step) for (x, y), step in ((upper, 1), (lower, -1)))
        return [up, down] if kinds[start] == kinds[upper] else [down, up]

    def remap_action(self, action: jax.Array) -> jax.Array:
        return jnp.where(action == Actions.pickup, Actions.toggle, action)

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        success, failure = state.agent_cell == state.facts
        return Outcome(success, failure)
