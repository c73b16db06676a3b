"""The DoorKey tasks: fresh layouts and the rule of success; the physics is MiniGrid's (`envs_jax.grid`)."""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import StepType, TimeStep

from envs_jax.checks import MOST_FRAMES, checked_action, checked_count, checked_integer, checked_odd, checked_steps
from envs_jax.equality import EqualByArguments
from envs_jax.grid.arrays import Capacity, from_arrays, to_arrays
from envs_jax.grid.constants import (
    AGENT,
    COLOR_TO_IDX,
    EAST,
    LOCKED,
    NO_DIRECTION,
    NUM_ACTIONS,
    NUM_COLORS,
    OPEN,
    SOUTH,
    WEST,
    Actions,
)
from envs_jax.grid.observe import coordinates, paint_observation, see, unpack_words
from envs_jax.grid.placement import floor_divide, random_words, uniform_below, uniform_free
from envs_jax.grid.state import NOWHERE, RoomState
from envs_jax.grid.step import act


class DoorKey(EqualByArguments, Environment[Any, specs.DiscreteArray, Any]):
    """A room with a locked door: find the key, open the door.

    Source: the reference system of arXiv 2311.13373, whose worlds are MiniGrid's.

    - observation: `uint8[size, size, 4 * frame_stack]`: object id, colour and state of every
      cell that was ever seen, with its present content, and the agent's direction at its cell
      (4 elsewhere); the agent's own cell shows what it carries.
    - action: int32 in 0..6, MiniGrid's `Actions`; another number raises an error or, in a
      compiled program, does nothing.
    - reward: float32, `1 - 0.9 * step_count / max_steps` for a toggle after which a door is open.
    - termination (discount 0): success, or lava entered; truncation (discount 1): `max_steps`.

    Args:
        world_size: cells a side of the world, 5..32.
        room_size: smallest and largest side of the room in cells, walls included, each side
            drawn on its own.
        view_size: side of the square the agent sees in front of it, odd.
        num_keys: keys in the room, of different colours; the first fits the door.
        max_steps: steps until an episode is truncated.
        frame_stack: how many observations are stacked on the channel axis, newest last, 1..256.

    Raises:
        ValueError: a parameter has the wrong type, or a value for which there is no world.
    """

    num_doors = 1
    num_lava = 0
    most_keys = NUM_COLORS  # One for each colour.
    fixed_colors: tuple[int, ...] = ()
    keys_avoid_door = False
    maximum_return = 1.0

    def __init__(
        self,
        world_size: int = 10,
        room_size: tuple[int, int] = (5, 10),
        view_size: int = 3,
        num_keys: int = 1,
        max_steps: int = 150,
        frame_stack: int = 1,
    ) -> None:
        self.size = checked_integer("world_size", world_size, 5, 32)
        self.room_size = self._checked_room(room_size)
        self.view_size = checked_odd("view_size", view_size, 3, self.size)
        self.num_keys = checked_integer("num_keys", num_keys, 1, self.most_keys)
        self.max_steps = checked_steps("max_steps", max_steps)
        self.frame_stack = checked_count("frame_stack", frame_stack, most=MOST_FRAMES)
        super().__init__()

    def _checked_room(self, room_size: Any) -> tuple[int, int]:
        """The smallest and the largest side of the room."""
        try:
            low, high = room_size
        except (TypeError, ValueError):
            wanted = "room_size must be two integers, the smallest and the largest side"
            raise ValueError(f"{wanted}, not {room_size!r}") from None
        low, high = (
            checked_integer("room_size[0]", low, 5, self.size),
            checked_integer("room_size[1]", high, 5, self.size),
        )
        if low > high:
            raise ValueError(f"room_size must be the smallest side and then the largest, not {(low, high)}")
        return low, high

    @property
    def capacity(self) -> Capacity:
        return Capacity(self.size, self.num_doors, self.num_keys, self.num_lava, self.frame_stack)

    @cached_property
    def observation_spec(self) -> specs.Spec[Any]:
        top = np.tile(np.array([AGENT, NUM_COLORS - 1, LOCKED, NO_DIRECTION], np.uint8), self.frame_stack)
        shape = (self.size, self.size, 4 * self.frame_stack)
        return specs.BoundedArray(shape, jnp.uint8, minimum=0, maximum=top, name="observation")

    @cached_property
    def action_spec(self) -> specs.DiscreteArray:
        return specs.DiscreteArray(NUM_ACTIONS, name="action")

    @cached_property
    def reward_spec(self) -> specs.Array:
        return specs.BoundedArray((), jnp.float32, minimum=0.0, maximum=1.0, name="reward")

    @cached_property
    def discount_spec(self) -> specs.BoundedArray:
        return specs.BoundedArray((), jnp.float32, minimum=0.0, maximum=1.0, name="discount")

    def reset(self, key: jax.Array) -> tuple[RoomState, TimeStep[jax.Array]]:
        """A fresh layout; all its draws come from `key`."""
        next_key, layout_key = jax.random.split(key)
        words = random_words(layout_key, 5 + self.num_doors + 2 * self.num_keys + self.num_lava)
        low, high = self.room_size
        room = low + jnp.stack([uniform_below(next(words), high - low + 1) for _ in range(2)])
        door_cell = self._draw_doors(words, room)
        colors = self._draw_colors(words)
        agent_cell, key_cell, lava_cell = self._draw_objects(words, room, door_cell)
        state = RoomState(
            key=next_key,
            step_count=jnp.int32(0),
            room_size=room,
            door_cell=door_cell,
            door_color=jnp.broadcast_to(colors[0], (self.num_doors,)),
            door_state=jnp.full(self.num_doors, LOCKED, jnp.int32),
            key_cell=key_cell,
            key_color=colors,
            lava_cell=lava_cell,
            agent_cell=agent_cell,
            agent_dir=uniform_below(next(words), 4),
            carried=jnp.int32(NOWHERE),
            seen=(),
            history=jnp.zeros((self.frame_stack - 1, self.size**2), jnp.uint32),
        )
        state = self._repeat_first_frame(state._replace(seen=see(state, self.size, self.view_size)))
        return state, TimeStep(
            step_type=StepType.FIRST,
            reward=jnp.float32(0),
            discount=jnp.float32(1),
            observation=self.observe(state),
            extras={},
        )

    def step(self, state: RoomState, action: ArrayLike) -> tuple[RoomState, TimeStep[jax.Array]]:
        """One step: count, act, look, judge.

        Raises:
            ValueError: the action is invalid, see `checked_action`.
        """
        action, history = checked_action(action, NUM_ACTIONS), self._push_frame(state)
        state, in_lava = act(state, action, self.size)
        state = state._replace(step_count=state.step_count + 1, history=history)
        state = state._replace(seen=tuple(map(jnp.bitwise_or, state.seen, see(state, self.size, self.view_size))))
        success = (action == Actions.toggle) & (state.door_state == OPEN).any()
        spent = state.step_count.astype(jnp.float32) / self.max_steps
        terminated = success | in_lava
        last = terminated | (state.step_count >= self.max_steps)
        return state, TimeStep(
            step_type=jnp.where(last, StepType.LAST, StepType.MID),
            reward=jnp.where(success, 1 - jnp.float32(0.9) * spent, jnp.float32(0)),
            discount=1 - terminated.astype(jnp.float32),
            observation=self.observe(state),
            extras={},
        )

    def observe(self, state: RoomState) -> jax.Array:
        """The historical observation of a state, `uint8[size, size, 4 * frame_stack]`."""
        frame = paint_observation(state, self.size)
        if self.frame_stack == 1:
            return unpack_words(frame, self.size)
        return unpack_words(jnp.concatenate([state.history, frame[None]]), self.size)

    def make_state(
        self,
        grid: Any,
        agent_pos: Any,
        agent_dir: Any,
        carrying: Any,
        seen: Any,
        step_count: Any,
        key: jax.Array | None = None,
    ) -> RoomState:
        """The state of a given world, drawn or recorded; runs on the host.

        Args:
            grid: uint8[size, size, 3], object id, colour and state of every cell, no agent.
            agent_pos: int[2], (x, y).
            agent_dir: int, 0 east, 1 south, 2 west, 3 north.
            carrying: (object id, colour), (0, 0) for empty hands.
            seen: bool[size, size], the cells seen so far in the episode, the present view included.
            step_count: steps done in the episode.
            key: PRNG key of the next reset; `jax.random.key(0)` by default.

        Raises:
            ValueError: the world is not one of this task's kind; the message says where.
        """
        state = from_arrays(self.capacity, grid, agent_pos, agent_dir, carrying, seen, step_count, key)
        return self._repeat_first_frame(state)

    def to_arrays(self, state: RoomState) -> dict[str, jax.Array]:
        """The arguments that `make_state` takes for this state, less the key."""
        return to_arrays(state, self.size)

    def render(self, state: RoomState) -> np.ndarray:
        """uint8[H, W, 3], RGB: the whole world and the agent; runs on the host."""
        from envs_jax.grid.render import render_state  # noqa: PLC0415  stepping needs no drawing

        return render_state(self, state)

    def _repeat_first_frame(self, state: RoomState) -> RoomState:
        if self.frame_stack == 1:
            return state
        frame = paint_observation(state, self.size)
        return state._replace(history=jnp.broadcast_to(frame, state.history.shape))

    def _push_frame(self, state: RoomState) -> jax.Array:
        if self.frame_stack == 1:
            return state.history
        return jnp.concatenate([state.history[1:], paint_observation(state, self.size)[None]])

    def _draw_doors(self, words: Any, room: jax.Array) -> jax.Array:
        """int32[D]: one door on any side, not in a corner."""
        side = uniform_below(next(words), 4)
        return self._door_on(side, next(words), room)[None]

    def _door_on(self, side: jax.Array, word: jax.Array, room: jax.Array) -> jax.Array:
        columns, rows = room[0], room[1]
        upright = (side == EAST) | (side == WEST)
        place = 1 + uniform_below(word, jnp.where(upright, rows, columns) - 2)
        far = jnp.where(side == EAST, columns - 1, jnp.where(side == SOUTH, rows - 1, 0))
        return jnp.where(upright, far * self.size + place, place * self.size + far)

    def _draw_colors(self, words: Any) -> jax.Array:
        """int32[K]: the door's colour first, then colours that differ."""
        colors = [jnp.int32(color) for color in self.fixed_colors[: self.num_keys]]
        while len(colors) < self.num_keys:
            colors.append(uniform_free(next(words), NUM_COLORS, colors))
        return jnp.stack(colors)

    def _draw_objects(
        self, words: Any, room: jax.Array, door_cell: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The agent's cell, then the keys', then the lava's, each free and inside the walls."""
        inside = (room - 2).prod(dtype=jnp.int32)
        by_door = self._inner_number(self._beside_door(door_cell[0], room), room)
        taken = [uniform_below(next(words), inside)]
        for _ in range(self.num_keys):
            avoid = [by_door] if self.keys_avoid_door else []
            taken.append(uniform_free(next(words), inside, taken + avoid))
        for _ in range(self.num_lava):
            taken.append(uniform_free(next(words), inside, [*taken, by_door]))
        cells = [self._inner_cell(number, room) for number in taken]
        lava = cells[1 + self.num_keys :]
        return cells[0], jnp.stack(cells[1 : 1 + self.num_keys]), jnp.array(lava, jnp.int32).reshape(self.num_lava)

    def _beside_door(self, door_cell: jax.Array, room: jax.Array) -> jax.Array:
        """The cell just inside a door."""
        x, y = coordinates(door_cell, self.size)
        return jnp.clip(x, 1, room[0] - 2) * self.size + jnp.clip(y, 1, room[1] - 2)

    def _inner_cell(self, number: jax.Array, room: jax.Array) -> jax.Array:
        """The cell of the `number`-th cell inside the walls, row-major."""
        column = floor_divide(number, room[1] - 2)
        return (column + 1) * self.size + number - column * (room[1] - 2) + 1

    def _inner_number(self, cell: jax.Array, room: jax.Array) -> jax.Array:
        """The inverse of `_inner_cell`."""
        x, y = coordinates(cell, self.size)
        return (x - 1) * (room[1] - 2) + y - 1


class LavaDoorKey(DoorKey):
    """DoorKey with one cell of lava, never just inside the door; entering it ends the episode."""

    num_lava = 1


class ColoredDoorKey(DoorKey):
    """DoorKey with a blue door and keys of several colours, blue and red first, none just inside the door."""

    fixed_colors = (COLOR_TO_IDX["blue"], COLOR_TO_IDX["red"])
    keys_avoid_door = True


class TwoDoor(DoorKey):
    """Two doors of one colour on opposite sides, the key in the middle (the paper's DivergedDoorKey)."""

    num_doors = 2
    most_keys = 1

    def _checked_room(self, room_size: Any) -> tuple[int, int]:
        low, high = super()._checked_room(room_size)
        least = 2 + (self.size - 2) // 2 + 1
        if low < least:
            raise ValueError(
                f"room_size[0] must be at least {least} in a TwoDoor of world_size {self.size}, "
                f"whose key lies in the 2x2 block in its middle, not {low}"
            )
        return low, high

    def _draw_doors(self, words: Any, room: jax.Array) -> jax.Array:
        axis = uniform_below(next(words), 2)
        sides = [axis, axis + 2]
        return jnp.sort(jnp.stack([self._door_on(side, next(words), room) for side in sides]))

    def _draw_objects(
        self, words: Any, room: jax.Array, door_cell: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        corner = (self.size - 2) // 2
        place = uniform_below(next(words), 4)
        key_cell = (corner + place // 2) * self.size + corner + place % 2
        agent = uniform_free(next(words), (room - 2).prod(dtype=jnp.int32), [self._inner_number(key_cell, room)])
        return self._inner_cell(agent, room), key_cell[None], jnp.zeros(0, jnp.int32)
