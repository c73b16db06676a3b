"""MiniGrid's physics in one room: what an action does to the cell in front of the agent."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import CLOSED, EAST, LOCKED, NORTH, OPEN, SOUTH, WEST, Actions
from envs_jax.grid.observe import coordinates
from envs_jax.grid.state import NOWHERE, RoomState


class Front(NamedTuple):
    """What stands in the cell in front of the agent."""

    cell: jax.Array  # int32[]
    door: jax.Array  # bool[D]
    key: jax.Array  # bool[K]
    lava: jax.Array  # bool[]
    free: jax.Array  # bool[], an empty cell of the world


def act(state: RoomState, action: jax.Array, size: int) -> tuple[RoomState, jax.Array]:
    """One action of the agent; also returns whether it walked into lava (bool[])."""
    front = look_ahead(state, size)
    turned = state.agent_dir + signed(action == Actions.right, action == Actions.left)
    open_door = (front.door & (state.door_state == OPEN)).any()
    moves = (action == Actions.forward) & (front.free | open_door | front.lava)
    key_cell, carried = _move_keys(state, action, front)
    moved = state._replace(
        agent_cell=jnp.where(moves, front.cell, state.agent_cell),
        agent_dir=turned & 3,
        key_cell=key_cell,
        carried=carried,
        door_state=_toggle(state, action, front),
    )
    return moved, moves & front.lava


def look_ahead(state: RoomState, size: int) -> Front:
    """The cell in front of the agent; one outside the world counts as a wall."""
    direction = state.agent_dir
    x, y = coordinates(state.agent_cell, size)
    x, y = x + signed(direction == EAST, direction == WEST), y + signed(direction == SOUTH, direction == NORTH)
    columns, rows = state.room_size[0], state.room_size[1]
    border = ((x == 0) | (x == columns - 1)) & (y < rows) | ((y == 0) | (y == rows - 1)) & (x < columns)
    in_world = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    cell = jnp.where(in_world, x * size + y, NOWHERE - 1)
    door, key = state.door_cell == cell, state.key_cell == cell
    lava = (state.lava_cell == cell).any()
    free = in_world & ~border & ~door.any() & ~key.any() & ~lava
    return Front(cell, door, key, lava, free)


def signed(plus: jax.Array, minus: jax.Array) -> jax.Array:
    """int32[...], 1 for `plus` less 1 for `minus`, bool[...] each."""
    return plus.astype(jnp.int32) - minus.astype(jnp.int32)


def _move_keys(state: RoomState, action: jax.Array, front: Front) -> tuple[jax.Array, jax.Array]:
    indices = np.arange(state.key_cell.shape[0], dtype=np.int32)
    picks = front.key & (action == Actions.pickup) & (state.carried == NOWHERE)
    drops = (indices == state.carried) & (action == Actions.drop) & front.free
    key_cell = jnp.where(picks, NOWHERE, jnp.where(drops, front.cell, state.key_cell))
    picked = jnp.max(jnp.where(picks, indices, NOWHERE))
    carried = jnp.where(drops.any(), NOWHERE, jnp.maximum(picked, state.carried))
    return key_cell, carried


def _toggle(state: RoomState, action: jax.Array, front: Front) -> jax.Array:
    """int32[D], the doors' states after the action."""
    indices = np.arange(state.key_color.shape[0], dtype=np.int32)
    in_hand = indices == state.carried
    unlocks = (in_hand[None, :] & (state.key_color[None, :] == state.door_color[:, None])).any(1)
    locked = state.door_state == LOCKED
    toggled = jnp.where(locked, jnp.where(unlocks, OPEN, LOCKED), CLOSED - state.door_state)
    return jnp.where(front.door & (action == Actions.toggle), toggled, state.door_state)
