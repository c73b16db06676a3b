"""The state of a one-room world."""

from typing import NamedTuple

import jax

NOWHERE = -1


class RoomState(NamedTuple):
    """One room in the corner of a square world of `size` cells a side.

    A cell (x, y) has the index `x * size + y`; -1 is nowhere. D, K and L are the numbers of
    doors, keys and lava cells that the task has, F its frame stack.
    """

    key: jax.Array  # PRNG key of the next reset
    step_count: jax.Array  # int32[]
    room_size: jax.Array  # int32[2], (columns, rows) with the walls
    door_cell: jax.Array  # int32[D]
    door_color: jax.Array  # int32[D]
    door_state: jax.Array  # int32[D], open, closed or locked
    key_cell: jax.Array  # int32[K], -1 while carried
    key_color: jax.Array  # int32[K]
    lava_cell: jax.Array  # int32[L]
    agent_cell: jax.Array  # int32[]
    agent_dir: jax.Array  # int32[]
    carried: jax.Array  # int32[], index of the carried key, -1: none
    seen: tuple[jax.Array, ...]  # uint32[] each, bit `cell % 32` of word `cell // 32`: the cell was seen
    history: jax.Array  # uint32[F - 1, size * size], painted frames before this one, oldest first
