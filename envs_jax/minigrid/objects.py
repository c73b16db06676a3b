"""Rooms with objects: Fetch, GoToObject, GoToDoor, PutNear and Playground."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_integer
from envs_jax.grid.actions import Effect, split_cell
from envs_jax.grid.arrays import find_cells
from envs_jax.grid.cells import EMPTY_WORD, color_of, kind_of, object_word
from envs_jax.grid.constants import BALL, BOX, CLOSED, DOOR, KEY, NUM_COLORS, Actions
from envs_jax.grid.layouts import Layout
from envs_jax.grid.state import GridState
from envs_jax.minigrid.environment import COLORS, MiniGridEnv, Outcome, carries, object_types

TYPES = object_types(KEY, BALL, BOX)


def different_objects(layout: Layout, count: int) -> list[jax.Array]:
    """uint32[] each, objects that differ in type or colour."""
    numbers = layout.rand_subset(len(TYPES) * NUM_COLORS, count)
    return [object_word(KEY + number // NUM_COLORS, number % NUM_COLORS) for number in numbers]


def one_of(values: list[jax.Array], number: jax.Array) -> jax.Array:
    """The value with a number int32[]."""
    return jnp.stack(values)[number]


def is_beside(state: GridState, cell: jax.Array, height: int) -> jax.Array:
    """bool[], whether the agent stands next to a cell, not at a corner of it."""
    (x, y), (other_x, other_y) = split_cell(state.agent_cell, height), split_cell(cell, height)
    return jnp.abs(x - other_x) + jnp.abs(y - other_y) == 1


class ObjectRoom(MiniGridEnv):
    """One room with objects, through which the agent sees."""

    def __init__(self, size: int, num_objects: int, max_steps: int | None, agent_view_size: int) -> None:
        size = checked_integer("size", size, 4, 32)
        self.num_objects = checked_integer("num_objects", num_objects, 1, min(16, (size - 2) ** 2 - 1))
        super().__init__(size, size, 5 * size**2 if max_steps is None else max_steps, agent_view_size, True)


class GoTo(MiniGridEnv):
    """A world in which the action `done` beside a cell is the success; it ends the episode, and so does a toggle.

    - facts: the cell.
    """

    num_facts = 1
    facts_are_cells = True

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        done, toggled = action == Actions.done, action == Actions.toggle
        beside = is_beside(state, state.facts[0], self.height)
        return Outcome(done & beside, toggled | (done & ~beside))


class Fetch(ObjectRoom):
    """Pick up the object that the mission names.

    - mission: the wording, the object's colour and its type.

    Args:
        size: cells a side.
        num_objects: keys and balls.
        max_steps: `5 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "{} {} {}"
    mission_placeholders = (
        dict(enumerate(("get a", "go get a", "fetch a", "go fetch a", "you must fetch a"))),
        COLORS,
        object_types(KEY, BALL),
    )

    def __init__(
        self, size: int = 8, num_objects: int = 3, max_steps: int | None = None, agent_view_size: int = 7
    ) -> None:
        super().__init__(size, num_objects, max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        words = [layout.rand_object((KEY, BALL)) for _ in range(self.num_objects)]
        for word in words:
            layout.place_obj(word)
        layout.place_agent()
        target = one_of(words, layout.rand_int(0, self.num_objects))
        return [layout.rand_int(0, 5), color_of(target), kind_of(target)], []

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        _, color, kind = state.mission
        right = carries(state, kind, color)
        return Outcome(right, (state.carrying != EMPTY_WORD) & ~right)


class GoToObject(GoTo, ObjectRoom):
    """Go to the object that the mission names, then take the action `done`; a toggle ends the episode too.

    - mission: the object's colour and its type.
    - facts: the cell where the object was at first.

    Args:
        size: cells a side.
        num_objects: keys, balls and boxes, all different.
        max_steps: `5 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "go to the {} {}"
    mission_placeholders = (COLORS, TYPES)

    def __init__(
        self, size: int = 6, num_objects: int = 2, max_steps: int | None = None, agent_view_size: int = 7
    ) -> None:
        super().__init__(size, num_objects, max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        words = different_objects(layout, self.num_objects)
        cells = [layout.place_obj(word) for word in words]
        layout.place_agent()
        number = layout.rand_int(0, self.num_objects)
        target = one_of(words, number)
        return [color_of(target), kind_of(target)], [one_of(cells, number)]

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        return find_cells(grid, mission[1], 1, mission[0])


class GoToDoor(GoTo):
    """Go to the door that the mission names, one in each wall; episodes end as in `GoToObject`.

    - mission: the door's colour.
    - facts: the door's cell.

    Args:
        size: cells a side of the largest room.
        max_steps: `4 * size**2` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "go to the {} door"
    mission_placeholders = (COLORS,)

    def __init__(self, size: int = 5, max_steps: int | None = None, agent_view_size: int = 7) -> None:
        size = checked_integer("size", size, 5, 32)
        super().__init__(size, size, 4 * size**2 if max_steps is None else max_steps, agent_view_size, True)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        width, height = layout.rand_int(5, self.width + 1), layout.rand_int(5, self.height + 1)
        layout.wall_rect(0, 0, width, height)
        horizontal, vertical = ([layout.rand_int(2, side - 2) for _ in range(2)] for side in (width, height))
        places = [(horizontal[0], 0), (horizontal[1], height - 1), (0, vertical[0]), (width - 1, vertical[1])]
        colors = layout.rand_subset(NUM_COLORS, len(places))
        cells = [layout.put_obj(x, y, object_word(DOOR, color, CLOSED)) for (x, y), color in zip(places, colors)]
        layout.place_agent(layout.area(0, 0, width, height))
        number = layout.rand_int(0, len(places))
        return [one_of(colors, number)], [one_of(cells, number)]

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        return find_cells(grid, DOOR, 1, mission[0])


class PutNear(MiniGridEnv):
    """Put one object near another.

    - mission: colour and type of the object to move, colour and type of the other.
    - facts: the cell where the other object was at first.

    Args:
        size: cells a side.
        num_objects: keys, balls and boxes, all different, none near another.
        max_steps: `5 * size` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "put the {} {} near the {} {}"
    mission_placeholders = (COLORS, TYPES, COLORS, TYPES)
    num_facts = 1
    facts_are_cells = True

    def __init__(
        self, size: int = 6, num_objects: int = 2, max_steps: int | None = None, agent_view_size: int = 7
    ) -> None:
        size = checked_integer("size", size, 6, 32)
        self.num_objects = checked_integer("num_objects", num_objects, 2, 3)
        super().__init__(size, size, 5 * size if max_steps is None else max_steps, agent_view_size, True)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        words, cells = different_objects(layout, self.num_objects), []
        near = jnp.zeros(self.width * self.height, bool)
        for word in words:
            cells.append(layout.place_obj(word, reject=near))
            near |= layout.near(cells[-1], lambda dx, dy: (dx <= 1) & (dy <= 1))
        layout.place_agent()
        moved = layout.rand_int(0, self.num_objects)
        other = layout.rand_int(0, self.num_objects - 1)
        other += (other >= moved).astype(jnp.int32)
        parts = [
            part for word in (one_of(words, moved), one_of(words, other)) for part in (color_of(word), kind_of(word))
        ]
        return parts, [one_of(cells, other)]

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        return find_cells(grid, mission[3], 1, mission[2])

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        color, kind, _, _ = state.mission
        picked = (action == Actions.pickup) & (state.carrying != EMPTY_WORD)
        dropped = (action == Actions.drop) & (before.carrying != EMPTY_WORD)
        (x, y), (other_x, other_y) = split_cell(effect.cell, self.height), split_cell(state.facts[0], self.height)
        near = (jnp.abs(x - other_x) <= 1) & (jnp.abs(y - other_y) <= 1)
        success = effect.dropped & near
        return Outcome(success, (picked & ~carries(state, kind, color)) | (dropped & ~success))


class Playground(MiniGridEnv):
    """Nine rooms with doors and many objects, without a mission.

    Args:
        max_steps: steps until an episode is truncated.
        agent_view_size: see `MiniGridEnv`.
    """

    maximum_return = 0.0

    def __init__(self, max_steps: int = 100, agent_view_size: int = 7) -> None:
        super().__init__(19, 19, max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        layout.wall_rect(0, 0, self.width, self.height)
        step = self.width // 3
        for top in (0, step, 2 * step):
            for left in (0, step, 2 * step):
                right, bottom = left + step, top + step
                if left < 2 * step:
                    layout.vert_wall(right, top, step)
                    layout.put_obj(right, layout.rand_int(top + 1, bottom - 1), self._door(layout))
                if top < 2 * step:
                    layout.horz_wall(left, bottom, step)
                    layout.put_obj(layout.rand_int(left + 1, right - 1), bottom, self._door(layout))
        layout.place_agent()
        for _ in range(12):
            layout.place_obj(layout.rand_object())
        return [], []

    def _door(self, layout: Layout) -> jax.Array:
        return object_word(DOOR, layout.rand_color(), CLOSED)
