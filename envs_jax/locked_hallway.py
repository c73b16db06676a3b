"""LockedHallway: several agents look for keys to the locked rooms along a hallway; exact to MultiGrid."""

import math
from functools import cached_property, partial
from itertools import permutations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import StepType, TimeStep

from envs_jax.checks import (
    checked_action,
    checked_count,
    checked_flag,
    checked_integer,
    checked_odd,
    checked_steps,
    concrete_array,
)
from envs_jax.equality import EqualByArguments
from envs_jax.grid.actions import act
from envs_jax.grid.arrays import checked_integers, describe_cell, pack_carrying, pack_grid, unpack_state
from envs_jax.grid.cells import EMPTY_WORD, WALL_WORD, object_word, state_of
from envs_jax.grid.constants import AGENT, DOOR, EMPTY, KEY, LOCKED, NUM_ACTIONS, NUM_COLORS, WALL, Actions
from envs_jax.grid.hallway import lay_out
from envs_jax.grid.placement import floor_divide, random_words, uniform_below, uniform_free
from envs_jax.grid.state import NO_HISTORY, GridState, opaque_lines, pad_with_walls
from envs_jax.grid.views import egocentric_image, with_agents


class Observation(NamedTuple):
    """What each of the A agents perceives, with views of V cells a side."""

    view: jax.Array  # uint8[A, V, V, 3], object id, colour and state; the agent at [V // 2, V - 1], looking to j = 0
    direction: jax.Array  # int32[A]


class LockedHallway(EqualByArguments, Environment[Any, specs.MultiDiscreteArray, Observation]):
    """Rooms on both sides of a hallway, each behind a locked door: find the keys, unlock all doors.

    Source: `LockedHallwayEnv` of the package `multigrid` 0.1.0, whose parameters have the same
    names here (its `agents` is `num_agents`); its termination modes change nothing in this world.

    - observation: `Observation`; agents see each other, and what they carry at their own cell.
      Unlike in MiniGrid, an agent hides what it stands on, so others see through a closed
      door in which an agent stands.
    - action: int32[A] in 0..6, MiniGrid's `Actions`; the agents act in an order drawn in each step.
      Another number raises an error or, in a compiled program, does nothing.
    - reward: float32[A], `1 - 0.9 * step_count / max_steps` for each door unlocked for the first
      time, judged after all have acted: to all agents, or to the first agent (by number) that
      toggled that door.
    - facts: int32[num_rooms], 1 for each door unlocked so far, in the order of the doors in the grid.
    - termination (discount 0): all doors were unlocked; truncation (discount 1): `max_steps`.

    Args:
        num_rooms: 2, 4 or 6.
        num_agents: 1..4.
        room_size: cells a side of a room, walls included, 4..10.
        max_hallway_keys: the hallway has 1..`max_hallway_keys` keys at first.
        max_keys_per_room: each room with keys has 1..`max_keys_per_room` of them.
        max_steps: steps until an episode is truncated; `8 * num_rooms * room_size**2` by default.
        joint_reward: whether all agents are rewarded for each door.
        allow_agent_overlap: whether agents may stand on one cell.
        agent_view_size: side of the square an agent sees in front of it, odd, 3..15.
        see_through_walls: whether walls and doors hide nothing.

    Raises:
        ValueError: a parameter has the wrong type, or a value for which there is no world.
    """

    def __init__(
        self,
        num_rooms: int = 6,
        num_agents: int = 2,
        room_size: int = 5,
        max_hallway_keys: int = 1,
        max_keys_per_room: int = 2,
        max_steps: int | None = None,
        joint_reward: bool = True,
        allow_agent_overlap: bool = True,
        agent_view_size: int = 7,
        see_through_walls: bool = False,
    ) -> None:
        self.num_rooms = checked_count("num_rooms", num_rooms)
        if self.num_rooms not in (2, 4, 6):
            raise ValueError(f"num_rooms must be 2, 4 or 6, not {self.num_rooms}")
        self.num_agents = checked_integer("num_agents", num_agents, 1, 4)
        self.room_size = checked_integer("room_size", room_size, 4, 10)
        self.max_hallway_keys = checked_count("max_hallway_keys", max_hallway_keys)
        self.max_keys_per_room = checked_count("max_keys_per_room", max_keys_per_room)
        default = 8 * self.num_rooms * self.room_size**2
        self.max_steps = default if max_steps is None else checked_steps("max_steps", max_steps)
        self.joint_reward = checked_flag("joint_reward", joint_reward)
        self.allow_agent_overlap = checked_flag("allow_agent_overlap", allow_agent_overlap)
        self.agent_view_size = checked_odd("agent_view_size", agent_view_size, 3, 15)
        self.see_through_walls = checked_flag("see_through_walls", see_through_walls)
        self._layout = lay_out(self.num_rooms, self.room_size)
        self._check_capacity()
        super().__init__()

    def _check_capacity(self) -> None:
        hall = self._hall_cells - self.num_agents
        room = (self.room_size - 2) ** 2
        if min(self.max_hallway_keys, self.num_rooms) > hall or min(self.max_keys_per_room, self.num_rooms - 1) > room:
            raise ValueError(
                f"these sizes leave room for {hall} key(s) in the hallway and {room} in a room, "
                f"fewer than max_hallway_keys {self.max_hallway_keys} or max_keys_per_room {self.max_keys_per_room}"
            )

    @cached_property
    def observation_spec(self) -> specs.Spec[Observation]:
        agents, size = self.num_agents, self.agent_view_size
        top = np.array([AGENT, NUM_COLORS - 1, 3], np.uint8)
        view = specs.BoundedArray((agents, size, size, 3), jnp.uint8, minimum=0, maximum=top, name="view")
        direction = specs.BoundedArray((agents,), jnp.int32, minimum=0, maximum=3, name="direction")
        return specs.Spec(Observation, "ObservationSpec", view=view, direction=direction)

    @cached_property
    def action_spec(self) -> specs.MultiDiscreteArray:
        return specs.MultiDiscreteArray(jnp.full(self.num_agents, NUM_ACTIONS, jnp.int32), name="action")

    @property
    def maximum_return(self) -> float:
        """The mean of the agents' returns where all doors are unlocked at once."""
        return float(self.num_rooms) if self.joint_reward else self.num_rooms / self.num_agents

    @cached_property
    def reward_spec(self) -> specs.BoundedArray:
        doors = min(self.num_agents, self.num_rooms) if self.joint_reward else 1
        return specs.BoundedArray((self.num_agents,), jnp.float32, minimum=0.0, maximum=float(doors), name="reward")

    @cached_property
    def discount_spec(self) -> specs.BoundedArray:
        return specs.BoundedArray((self.num_agents,), jnp.float32, minimum=0.0, maximum=1.0, name="discount")

    def reset(self, key: jax.Array) -> tuple[GridState, TimeStep[Observation]]:
        """A fresh layout; all its draws come from `key`."""
        next_key, layout_key = jax.random.split(key)
        words = random_words(layout_key, 3 + 2 * self.num_rooms + self.num_agents)
        key_cell, hall_places = self._place_keys(words)
        colors = _draw_row(next(words), _arrangements(NUM_COLORS, self.num_rooms))
        state = GridState(
            key=next_key,
            step_count=jnp.int32(0),
            cells=self._initial_cells(colors, key_cell),
            opaque=jnp.asarray(self._opaque),
            agent_cell=self._place_agents(words, hall_places),
            agent_dir=self._draw_directions(next(words)),
            carrying=jnp.full(self.num_agents, EMPTY_WORD, jnp.uint32),
            mission=jnp.zeros(0, jnp.int32),
            facts=jnp.zeros(self.num_rooms, jnp.int32),
            **NO_HISTORY,
        )
        return state, TimeStep(
            step_type=StepType.FIRST,
            reward=jnp.zeros(self.num_agents, jnp.float32),
            discount=jnp.ones(self.num_agents, jnp.float32),
            observation=self.observe(state),
            extras={},
        )

    def step(
        self, state: GridState, action: ArrayLike, order: jax.Array | None = None
    ) -> tuple[GridState, TimeStep[Observation]]:
        """One step: count, act in order, judge.

        Args:
            state: the state before.
            action: int32[A].
            order: int32[A], the agents in the order in which they act; drawn from the state's key
                if None. With an order given, or a single agent, nothing is drawn and the key stays.

        Raises:
            ValueError: the action is invalid, see `checked_action`, or the order is not a permutation of the agents.
        """
        actions = checked_action(action, [NUM_ACTIONS] * self.num_agents)
        if order is not None:
            given, order = order, checked_action(order, [self.num_agents] * self.num_agents)
            if not isinstance(given, Tracer) and len({*np.asarray(given).tolist()}) < self.num_agents:
                raise ValueError(f"order must name each agent once, not {np.asarray(given).tolist()}")
        state, turns = self._draw_order(state) if order is None else (state, order)
        state, front = self._act_in_order(state, actions, turns)
        unlocked, share = self._judge(state, actions, front)
        state = state._replace(step_count=state.step_count + 1, facts=unlocked.astype(jnp.int32))
        spent = state.step_count.astype(jnp.float32) / self.max_steps
        terminated = unlocked.all()
        last = terminated | (state.step_count >= self.max_steps)
        return state, TimeStep(
            step_type=jnp.where(last, StepType.LAST, StepType.MID),
            reward=share * (1 - jnp.float32(0.9) * spent),
            discount=jnp.broadcast_to(1 - terminated.astype(jnp.float32), (self.num_agents,)),
            observation=self.observe(state),
            extras={},
        )

    # Compiled, since without `jit` around it the loop would be compiled in every call.
    @partial(jax.jit, static_argnums=0, inline=True)
    def observe(self, state: GridState) -> Observation:
        """The observation of a state."""
        size = self._layout.width, self._layout.height
        shown = with_agents(state, *size)

        def view(own: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            viewer = shown._replace(**dict(zip(_OWN, own)))
            return egocentric_image(viewer, *size, self.agent_view_size, self.see_through_walls)

        # One after the other: XLA computes several at once with less fusion, at twice the time.
        views = jax.lax.map(view, tuple(getattr(state, name) for name in _OWN))
        return Observation(views, state.agent_dir)

    def make_state(
        self,
        grid: Any,
        agent_pos: Any,
        agent_dir: Any,
        carrying: Any,
        unlocked: Any,
        step_count: Any,
        key: jax.Array | None = None,
    ) -> GridState:
        """The state of a given world, drawn or recorded; runs on the host.

        Args:
            grid: uint8[W, H, 3], object id, colour and state of every cell, no agents.
            agent_pos: int[A, 2], (x, y) of each agent.
            agent_dir: int[A], 0 east, 1 south, 2 west, 3 north.
            carrying: int[A, 2], (object id, colour), (0, 0) for empty hands.
            unlocked: the doors already rewarded as unlocked: bool[num_rooms], in the order of
                the doors in the grid, row-major; or their number as an int, which must be that
                of the doors that are not locked, as it is in every world reached from a fresh one.
            step_count: steps done in the episode.
            key: PRNG key of the next draws; `jax.random.key(0)` by default.

        Raises:
            ValueError: the world is not one of this task's kind; the message says where.
        """
        layout, agents = self._layout, self.num_agents
        packed = pack_grid(grid, None, (layout.width, layout.height))
        self._check_furniture(np.asarray(grid))
        position = checked_integers("agent_pos", agent_pos, (agents, 2), 0, layout.width - 1)
        hands = checked_integers("carrying", carrying, (agents, 2), 0, 255)
        with jax.ensure_compile_time_eval():  # A program may be traced around this.
            door_state = np.asarray(state_of(jnp.asarray(packed["cells"][layout.door_cell])))
        fields: dict[str, Any] = dict(
            step_count=checked_integers("step_count", step_count, (), 0, 2**31 - 1),
            agent_cell=self._checked_cells(position),
            agent_dir=checked_integers("agent_dir", agent_dir, (agents,), 0, 3),
            carrying=np.array([pack_carrying(hand, (0, 0)) for hand in hands]),
            mission=np.zeros(0, np.int32),
            facts=_checked_unlocked(unlocked, door_state),
            **packed,
            **NO_HISTORY,
        )
        return jax.device_put(GridState(key=jax.random.key(0) if key is None else key, **fields))

    def to_arrays(self, state: GridState) -> dict[str, jax.Array]:
        """The arguments that `make_state` takes for this state, less the key."""
        arrays = unpack_state(state, self._layout.width, self._layout.height)
        names = "grid", "agent_pos", "agent_dir", "carrying", "step_count"
        return {name: arrays[name] for name in names} | {"unlocked": arrays["facts"] > 0}

    def render(self, state: GridState) -> np.ndarray:
        """uint8[H, W, 3], RGB: the whole world and the agents; runs on the host."""
        from envs_jax.grid.render import render_state  # noqa: PLC0415  stepping needs no drawing

        return render_state(self, state)

    def _draw_order(self, state: GridState) -> tuple[GridState, jax.Array]:
        """int32[A], any order of the agents; the state's key is advanced."""
        if self.num_agents == 1:
            return state, jnp.zeros(1, jnp.int32)
        next_key, order_key = jax.random.split(state.key)
        word = next(random_words(order_key, 1))
        return state._replace(key=next_key), _draw_row(word, _arrangements(self.num_agents, self.num_agents))

    def _act_in_order(self, state: GridState, actions: jax.Array, order: jax.Array) -> tuple[GridState, jax.Array]:
        """One action int32[A] of every agent, carried out in the order int32[A] of agents.

        Returns:
            the state; int32[A], the cell that was in front of each agent.
        """
        agents = np.arange(self.num_agents, dtype=np.int32)
        front = jnp.zeros(self.num_agents, jnp.int32)
        for turn in range(self.num_agents):
            me = agents == order[turn]
            own = [getattr(state, name) for name in _OWN]
            action, *mine = _values_of(me, actions, *own)
            acting = state._replace(**dict(zip(_OWN, mine)))
            size = self._layout.width, self._layout.height
            acted, effect = act(acting, action, *size, state.agent_cell, self.allow_agent_overlap)
            state = acted._replace(**{n: jnp.where(me, getattr(acted, n), old) for n, old in zip(_OWN, own)})
            front = jnp.where(me, effect.cell, front)
        return state, front

    def _judge(self, state: GridState, action: jax.Array, front: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The doors unlocked so far, bool[D], and how many new ones each agent is rewarded for, float32[A]."""
        doors = self._layout.door_cell
        toggled = (action == Actions.toggle)[:, None] & (front[:, None] == doors[None])
        unlocked, counts = state.facts > 0, []
        for agent in range(self.num_agents):
            new = toggled[agent] & (state_of(state.cells[doors]) != LOCKED) & ~unlocked
            counts.append(new.sum(dtype=jnp.int32))
            unlocked |= new
        share = jnp.stack(counts).astype(jnp.float32)
        return unlocked, jnp.broadcast_to(share.sum(), share.shape) if self.joint_reward else share

    def _initial_cells(self, colors: jax.Array, key_cell: jax.Array) -> jax.Array:
        """uint32[C], the walls, locked doors with colours int32[D] and their keys in cells int32[D]."""
        layout = self._layout
        cells = pad_with_walls(jnp.asarray(np.where(layout.walls, WALL_WORD, EMPTY_WORD)))
        numbers = np.arange(cells.shape[0], dtype=np.int32)
        for door in range(self.num_rooms):
            locked = object_word(DOOR, colors[door], LOCKED)
            cells = jnp.where(numbers == layout.door_cell[door], locked, cells)
            cells = jnp.where(numbers == key_cell[door], object_word(KEY, colors[door]), cells)
        return cells

    @cached_property
    def _opaque(self) -> np.ndarray:
        """uint32[W + H], what stops light while all doors are closed."""
        layout = self._layout
        opaque = layout.walls.copy()
        opaque[layout.door_cell] = True
        cells = np.where(opaque, WALL_WORD, EMPTY_WORD)
        with jax.ensure_compile_time_eval():
            return np.asarray(opaque_lines(jnp.asarray(cells), layout.width, layout.height))

    def _check_furniture(self, grid: np.ndarray) -> None:
        """Walls and doors stand at their places, and nowhere else."""
        layout = self._layout
        wanted = np.where(layout.walls, WALL, EMPTY)
        wanted[layout.door_cell] = DOOR
        kinds = grid[..., 0].reshape(-1)
        fits = np.where(wanted == EMPTY, (kinds != WALL) & (kinds != DOOR), kinds == wanted)
        if fits.all():
            return
        cell = int(np.argmin(fits))
        x, y = divmod(cell, layout.height)
        things = {WALL: "a wall", DOOR: "a door", EMPTY: "neither"}[int(wanted[cell])]
        found = describe_cell(grid[x, y])
        raise ValueError(f"the grid has {found} at ({x}, {y}), where a world of this task has {things}")

    def _checked_cells(self, position: np.ndarray) -> np.ndarray:
        """int32[A], where agents stand."""
        for x, y in position.tolist():
            if y >= self._layout.height or self._layout.walls[x * self._layout.height + y]:
                raise ValueError(f"an agent can't stand at ({x}, {y}), on a wall or outside the world")
        return position[:, 0] * self._layout.height + position[:, 1]

    def _place_keys(self, words: Any) -> tuple[jax.Array, list[jax.Array]]:
        """Keys in the order of a chain: each group lies in the room that the last key before it opens.

        A room, and the hallway, is known by its corner.

        Returns:
            int32[D], the cell of each door's key; the indices of the hallway's cells that may have a key.
        """
        layout = self._layout
        opens = _draw_row(next(words), layout.room_corner[_arrangements(self.num_rooms, self.num_rooms)])
        corner, left = jnp.int32(layout.hall_corner), 1 + uniform_below(next(words), self.max_hallway_keys)
        corners: list[jax.Array] = []
        indices: list[jax.Array] = []
        key_cell = jnp.zeros(self.num_rooms, jnp.int32)
        for i in range(self.num_rooms):
            if i > 0:
                count = 1 + uniform_below(next(words), self.max_keys_per_room)
                corner, left = jnp.where(left == 0, opens[i - 1], corner), jnp.where(left == 0, count, left)
            left -= 1
            indices.append(self._draw_index(next(words), corner, corners, indices))
            corners.append(corner)
            key_cell = jnp.where(opens[i] == layout.room_corner, self._cell(corner, indices[i]), key_cell)
        in_hall = [jnp.where(c == layout.hall_corner, p, self._hall_cells) for c, p in zip(corners, indices)]
        return key_cell, in_hall[: self.max_hallway_keys]

    def _draw_index(
        self, word: jax.Array, corner: jax.Array, corners: list[jax.Array], indices: list[jax.Array]
    ) -> jax.Array:
        """A free cell's index in the room at `corner`, given earlier keys; agents stand in the hallway's centre."""
        in_hall = corner == self._layout.hall_corner
        size = jnp.where(in_hall, self._hall_cells, (self.room_size - 2) ** 2)
        # The index `size`, one past the last, is always taken: it stands for "takes no cell here".
        taken = [size, jnp.where(in_hall, self._centre_index, size)]
        most_others = max(self.max_hallway_keys, self.max_keys_per_room) - 1
        for earlier in range(max(0, len(indices) - most_others), len(indices)):
            taken.append(jnp.where(corners[earlier] == corner, indices[earlier], size))
        return uniform_free(word, size + 1, taken)

    def _place_agents(self, words: Any, key_indices: list[jax.Array]) -> jax.Array:
        """int32[A], on free cells of the hallway; agents yet to be placed stand in its centre."""
        taken = [jnp.int32(self._hall_cells), *key_indices]
        for waiting in reversed(range(self.num_agents)):
            centre = [jnp.int32(self._centre_index)] if waiting else []
            taken.append(uniform_free(next(words), self._hall_cells + 1, [*taken, *centre]))
        corner = jnp.int32(self._layout.hall_corner)
        return jnp.stack([self._cell(corner, index) for index in taken[-self.num_agents :]])

    def _draw_directions(self, word: jax.Array) -> jax.Array:
        """int32[A], two bits of one draw for each agent."""
        bits = np.arange(0, 2 * self.num_agents, 2, dtype=np.int32)
        return uniform_below(word, 4**self.num_agents) >> bits & 3

    @property
    def _hall_cells(self) -> int:
        return math.prod(self._layout.hall_size)

    @property
    def _centre_index(self) -> int:
        x, y = divmod(self._layout.centre - self._layout.hall_corner, self._layout.height)
        return x * self._layout.hall_size[1] + y

    def _cell(self, corner: jax.Array, index: jax.Array) -> jax.Array:
        """The cell of a row-major index into the room or hallway at `corner`."""
        rows = jnp.where(corner == self._layout.hall_corner, self._layout.hall_size[1], self.room_size - 2)
        column = floor_divide(index, rows)
        return corner + column * self._layout.height + index - column * rows


def _arrangements(count: int, length: int) -> np.ndarray:
    """int32[n, length], all ordered choices of `length` different numbers below `count`."""
    return np.array(list(permutations(range(count), length)), np.int32)


def _draw_row(word: jax.Array, table: np.ndarray) -> jax.Array:
    """Any row of a table, uniform."""
    return jnp.asarray(table).at[uniform_below(word, len(table))].get(mode="promise_in_bounds")


_OWN = "agent_cell", "agent_dir", "carrying"


def _values_of(me: jax.Array, *columns: jax.Array) -> list[jax.Array]:
    """The values of one agent, marked by bool[A], in columns of integers [A]; cheaper than lookups."""
    return [jnp.where(me, column, 0).sum(dtype=column.dtype) for column in columns]


def _checked_unlocked(unlocked: Any, door_state: np.ndarray) -> np.ndarray:
    """int32[D] from bool[D], or from the number of doors that are not locked."""
    free = door_state != LOCKED
    flags = concrete_array("unlocked", unlocked)
    if flags.shape == () and flags.dtype.kind in "iu":
        flags = free if flags == free.sum() else flags
    if flags.shape != free.shape or flags.dtype != np.bool_ or (flags & ~free).any():
        raise ValueError(
            f"unlocked must be one bool for each of {free.size} doors in row-major order, false for locked ones, "
            f"or the number of doors that are not locked, {free.sum()}; it is {np.asarray(unlocked).tolist()}"
        )
    return flags.astype(np.int32)


WORLDS: dict[str, tuple[type[LockedHallway], dict[str, Any]]] = {
    f"LockedHallway-{rooms}Rooms": (LockedHallway, {"num_rooms": rooms}) for rooms in (2, 4, 6)
}
