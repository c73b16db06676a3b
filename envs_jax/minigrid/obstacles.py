"""Dynamic-Obstacles: balls that move about an empty room."""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jumanji import specs
from jumanji.types import StepType, TimeStep

from envs_jax.checks import checked_action, checked_integer
from envs_jax.grid.actions import front_cell
from envs_jax.grid.arrays import find_cells
from envs_jax.grid.cells import EMPTY_WORD, cell_word, kind_of
from envs_jax.grid.constants import BALL, COLOR_TO_IDX, GOAL, NUM_ACTIONS, Actions
from envs_jax.grid.layouts import Layout
from envs_jax.grid.placement import random_words
from envs_jax.grid.state import GridState, pad_with_walls
from envs_jax.minigrid.empty import Empty
from envs_jax.minigrid.environment import Observation

OBSTACLE = cell_word(BALL, COLOR_TO_IDX["blue"])


class DynamicObstacles(Empty):
    """A room with a goal and balls that move to a free neighbouring cell before each of the agent's actions.

    Stepping forward gives a reward of -1 and ends the episode if the cell ahead held anything but the goal before the
    obstacles moved.

    - action: int32 in 0..2; others of MiniGrid's turn left.
    - facts: the obstacles' cells.

    Args:
        size: cells a side.
        num_obstacles: balls.
        random_start: whether the agent begins anywhere, instead of in a corner.
        max_steps: `4 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    facts_are_cells = True

    def __init__(
        self,
        size: int = 8,
        num_obstacles: int = 4,
        random_start: bool = False,
        max_steps: int | None = None,
        agent_view_size: int = 7,
    ) -> None:
        size = checked_integer("size", size, 5, 32)
        self.num_facts = checked_integer("num_obstacles", num_obstacles, 1, size // 2 + 1)
        super().__init__(size, random_start, max_steps, agent_view_size)

    @cached_property
    def action_spec(self) -> specs.DiscreteArray:
        return specs.DiscreteArray(Actions.forward + 1, name="action")

    @cached_property
    def reward_spec(self) -> specs.Array:
        return specs.BoundedArray((), jnp.float32, minimum=-1.0, maximum=1.0, name="reward")

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        super().generate(layout)
        return [], [layout.place_obj(OBSTACLE) for _ in range(self.num_facts)]

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        return find_cells(grid, BALL, self.num_facts)

    def remap_action(self, action: jax.Array) -> jax.Array:
        return jnp.where(action > Actions.forward, Actions.left, action)

    def step(
        self, state: GridState, action: ArrayLike, moves: jax.Array | None = None
    ) -> tuple[GridState, TimeStep[Observation]]:
        """One step: the obstacles move, then as in every world.

        Args:
            state: the state before.
            action: int32[].
            moves: int32[num_obstacles], the cells to which the obstacles move, one after the other; drawn from the
                state's key if None.

        Raises:
            ValueError: the action is invalid, see `checked_action`.
        """
        ahead = front_cell(state, self.width, self.height).word
        state, timestep = super().step(self._move_obstacles(state, moves), action)
        meant = self.remap_action(checked_action(action, NUM_ACTIONS))
        hits = (meant == Actions.forward) & (ahead != EMPTY_WORD) & (kind_of(ahead) != GOAL)
        timestep = timestep.replace(  # type: ignore[attr-defined]
            reward=jnp.where(hits, jnp.float32(-1), timestep.reward),
            discount=jnp.where(hits, jnp.float32(0), timestep.discount),
            step_type=jnp.where(hits, StepType.LAST, timestep.step_type),
        )
        return state, timestep

    def _move_obstacles(self, state: GridState, moves: jax.Array | None) -> GridState:
        """The state after the obstacles went, one after the other, to `moves`, or if None to free cells beside them."""
        words = iter(())
        if moves is None:
            next_key, key = jax.random.split(state.key)
            state, words = state._replace(key=next_key), random_words(key, self.num_facts)
        layout = Layout(self.width, self.height, words)
        layout.cells, layout.agent_cell = state.cells[: self.width * self.height], state.agent_cell
        cells = []
        for obstacle in range(self.num_facts):
            old = state.facts[obstacle]
            new = self._draw_move(layout, old) if moves is None else jnp.asarray(moves[obstacle], jnp.int32)
            layout.set_cell(old, EMPTY_WORD)
            layout.set_cell(new, OBSTACLE)
            cells.append(new)
        return state._replace(cells=pad_with_walls(layout.cells), facts=jnp.stack(cells))

    def _draw_move(self, layout: Layout, cell: jax.Array) -> jax.Array:
        """int32[], a free cell around a cell, uniform; the cell itself where there is none."""
        free = layout.free(layout.near(cell, lambda dx, dy: (dx <= 1) & (dy <= 1)))
        return jnp.where(free.any(), layout.rand_elem(free), cell)
