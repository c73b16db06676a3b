"""MultiRoom: a chain of rooms of random sizes at random places."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_integer
from envs_jax.grid.cells import GOAL_WORD, object_word
from envs_jax.grid.constants import CLOSED, DOOR, EAST, NUM_COLORS, SOUTH, WEST
from envs_jax.grid.layouts import Layout
from envs_jax.grid.placement import uniform_below
from envs_jax.minigrid.environment import MiniGridEnv

LEAST_SIZE = 4
TRIES = 8
"""How often MiniGrid tries to add a room to a chain."""


class Chain(NamedTuple):
    """Rooms, each with the door through which it is entered; R is the number that is wanted."""

    top: jax.Array  # int32[R, 2], corners, (x, y)
    size: jax.Array  # int32[R, 2]
    door: jax.Array  # int32[R, 2]
    wall: jax.Array  # int32[R], the wall with the door, 0 right, 1 below, 2 left, 3 above
    whole: jax.Array  # bool[], whether there was room for all


class MultiRoom(MiniGridEnv):
    """A chain of rooms, the agent in the first, a goal in the last.

    Args:
        num_rooms: rooms.
        max_room_size: cells a side of a room, walls included, at most.
        max_steps: `20 * num_rooms` by default.
        agent_view_size: see `MiniGridEnv`.
    """

    mission_template = "traverse the rooms to get to the goal"

    def __init__(
        self, num_rooms: int = 6, max_room_size: int = 10, max_steps: int | None = None, agent_view_size: int = 7
    ) -> None:
        self.num_rooms = checked_integer("num_rooms", num_rooms, 1, 8)
        self.max_room_size = checked_integer("max_room_size", max_room_size, LEAST_SIZE, 12)
        super().__init__(25, 25, 20 * num_rooms if max_steps is None else max_steps, agent_view_size)

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        chain, color = self._draw_chain(jax.random.wrap_key_data(layout.draw(2), impl="threefry2x32")), None
        for room in range(self.num_rooms):
            (left, top), (width, height) = chain.top[room], chain.size[room]
            layout.wall_rect(left, top, width, height)
            if room > 0:
                excluded = jnp.zeros(NUM_COLORS, bool) if color is None else np.arange(NUM_COLORS) == color
                color = layout.rand_elem(~excluded)
                door_x, door_y = chain.door[room]
                layout.put_obj(door_x, door_y, object_word(DOOR, color, CLOSED))
        first, last = (layout.area(*chain.top[room], *chain.size[room]) for room in (0, -1))
        layout.place_agent(first)
        layout.place_obj(GOAL_WORD, last)
        return [], []

    def _draw_chain(self, key: jax.Array) -> Chain:
        """A whole chain: MiniGrid too begins anew until it has one."""

        def attempt(carry: tuple[jax.Array, Chain]) -> tuple[jax.Array, Chain]:
            next_key, key = jax.random.split(carry[0])
            return next_key, self._attempt(jax.random.bits(key, (self.num_rooms, TRIES, 6), jnp.uint32))

        count = self.num_rooms
        pairs = jnp.zeros((count, 2), jnp.int32)
        empty = Chain(pairs, pairs, pairs, jnp.zeros(count, jnp.int32), jnp.bool_(False))
        return jax.lax.while_loop(lambda carry: ~carry[1].whole, attempt, (key, empty))[1]

    def _attempt(self, words: jax.Array) -> Chain:
        """A chain from random uint32[R, tries, 6]."""
        first = words[0, 0]
        size = self._draw_size(first)
        top = jnp.stack([uniform_below(first[2], self.width - 2), uniform_below(first[3], self.width - 2)])
        tops, sizes, doors, walls, whole = [top], [size], [top], [jnp.int32(WEST)], self._fits(top, size, [], [])
        for room in range(1, self.num_rooms):
            tried = jax.vmap(partial(self._next_room, tops=tops, sizes=sizes, entry=walls[-1]))(words[room])
            top, size, door, wall, fits = (part[jnp.argmax(tried[-1])] for part in tried)
            whole &= fits
            tops, sizes, doors, walls = [*tops, top], [*sizes, size], [*doors, door], [*walls, wall]
        return Chain(jnp.stack(tops), jnp.stack(sizes), jnp.stack(doors), jnp.stack(walls), whole)

    def _draw_size(self, words: jax.Array) -> jax.Array:
        span = self.max_room_size + 1 - LEAST_SIZE
        return LEAST_SIZE + jnp.stack([uniform_below(words[0], span), uniform_below(words[1], span)])

    def _next_room(
        self, words: jax.Array, tops: list[jax.Array], sizes: list[jax.Array], entry: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
        """A room behind a random wall of the last one: its corner, size, door and wall, and whether it fits."""
        (left, upper), (wide, high) = tops[-1], sizes[-1]
        leave = uniform_below(words[2], 3)
        leave += (leave >= entry).astype(jnp.int32)
        along_x, along_y = 1 + uniform_below(words[3], wide - 2), 1 + uniform_below(words[3], high - 2)
        sideways = (leave == EAST) | (leave == WEST)
        door_x = left + jnp.where(sideways, jnp.where(leave == EAST, wide - 1, 0), along_x)
        door_y = upper + jnp.where(sideways, along_y, jnp.where(leave == SOUTH, high - 1, 0))
        size = self._draw_size(words)
        beside_x = door_x - size[0] + 2 + uniform_below(words[4], size[0] - 2)
        beside_y = door_y - size[1] + 2 + uniform_below(words[4], size[1] - 2)
        top_x = jnp.where(sideways, jnp.where(leave == EAST, door_x, door_x - size[0] + 1), beside_x)
        top_y = jnp.where(sideways, beside_y, jnp.where(leave == SOUTH, door_y, door_y - size[1] + 1))
        top = jnp.stack([top_x, top_y])
        fits = self._fits(top, size, tops[:-1], sizes[:-1])
        return top, size, jnp.stack([door_x, door_y]), (leave + 2) % 4, fits

    def _fits(self, top: jax.Array, size: jax.Array, tops: list[jax.Array], sizes: list[jax.Array]) -> jax.Array:
        """bool[], whether a room is inside the grid and overlaps none of others; MiniGrid leaves the last row free."""
        end = top + size
        fits = (top >= 0).all() & (end[0] <= self.width) & (end[1] < self.height)
        for other, other_size in zip(tops, sizes):
            fits &= (end < other).any() | (other + other_size <= top).any()
        return fits
