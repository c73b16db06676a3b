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
        state = self._draw_moves(state) if moves is None else self._move(state, moves)
        state, timestep = super().step(state, action)
        meant = self.remap_action(checked_action(action, NUM_ACTIONS))
        hits = (meant == Actions.forward) & (ahead != EMPTY_WORD) & (kind_of(ahead) != GOAL)
        timestep = timestep.replace(  # type: ignore[attr-defined]
            reward=jnp.where(hits, jnp.float32(-1), timestep.reward),
            discount=jnp.where(hits, jnp.float32(0), timestep.discount),
            step_type=jnp.where(hits, StepType.LAST, timestep.step_type),
        )
        return state, timestep

    def _draw_moves(self, state: GridState) -> GridState:
        """Every obstacle goes to a free cell around it, uniform, or stays where there is none."""
        next_key, key = jax.random.split(state.key)
        layout = Layout(self.width, self.height, random_words(key, self.num_facts))
        layout.cells, layout.agent_cell = state.cells[: self.width * self.height], state.agent_cell
        cells = []
        for obstacle in range(self.num_facts):
            old = state.facts[obstacle]
            free = layout.free(layout.near(old, lambda dx, dy: (dx <= 1) & (dy <= 1)))
            new = jnp.where(free.any(), layout.rand_elem(free), old)
            layout.cells = self._moved(layout.cells, old, new)
            cells.append(new)
        return state._replace(key=next_key, cells=pad_with_walls(layout.cells), facts=jnp.stack(cells))

    def _move(self, state: GridState, moves: jax.Array) -> GridState:
        cells = state.cells
        for obstacle in range(self.num_facts):
            cells = self._moved(cells, state.facts[obstacle], moves[obstacle])
        return state._replace(cells=cells, facts=jnp.asarray(moves, jnp.int32))

    def _moved(self, cells: jax.Array, old: jax.Array, new: jax.Array) -> jax.Array:
        numbers = np.arange(cells.shape[0], dtype=np.int32)
        return jnp.where(numbers == new, OBSTACLE, jnp.where(numbers == old, EMPTY_WORD, cells))
