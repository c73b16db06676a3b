"""MultiGrid's physics in a hallway: the agents act one after the other, each on the cell in front of it."""

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.actions import _signed as signed
from envs_jax.grid.constants import CLOSED, LOCKED, OPEN, Actions
from envs_jax.grid.egocentric import cell_step
from envs_jax.grid.hallway import HallwayState, Layout
from envs_jax.grid.layouts import NOWHERE


def act_in_order(
    state: HallwayState, layout: Layout, action: jax.Array, order: jax.Array, allow_overlap: bool
) -> HallwayState:
    """One action int32[A] of every agent, carried out in the order int32[A] of agents."""
    front = front_cells(state, layout)
    agents = np.arange(state.agent_cell.shape[0], dtype=np.int32)
    for turn in range(len(agents)):
        state = _take_turn(state, layout, action, front, agents == order[turn], allow_overlap)
    turned = state.agent_dir + signed(action == Actions.right, action == Actions.left)
    return state._replace(agent_dir=turned & 3)


def front_cells(state: HallwayState, layout: Layout) -> jax.Array:
    """int32[A], the cell in front of each agent."""
    return state.agent_cell + cell_step(state.agent_dir, layout)


def _take_turn(
    state: HallwayState, layout: Layout, actions: jax.Array, fronts: jax.Array, me: jax.Array, allow_overlap: bool
) -> HallwayState:
    """The action of the agent that `me` bool[A] marks; turning is left to `act_in_order`."""
    action, front, carried = _values_of(me, actions, fronts, state.carried)
    doors = np.arange(layout.door_cell.size, dtype=np.int32)
    door, key = layout.door_cell == front, state.key_cell == front
    crowded = (state.agent_cell == front).any()
    free = ~jnp.asarray(layout.walls)[front] & ~door.any() & ~key.any()
    passable = free | (door & (state.door_state == OPEN)).any()
    moves = (action == Actions.forward) & passable & (allow_overlap | ~crowded)
    picks = key & (action == Actions.pickup) & (carried == NOWHERE)
    drops = (doors == carried) & (action == Actions.drop) & free & ~crowded
    in_hand = jnp.where(drops.any(), NOWHERE, jnp.where(picks, doors, carried).max())
    turned = jnp.where(doors == carried, OPEN, LOCKED)
    toggled = jnp.where(state.door_state == LOCKED, turned, CLOSED - state.door_state)
    return state._replace(
        agent_cell=jnp.where(me & moves, front, state.agent_cell),
        key_cell=jnp.where(picks, NOWHERE, jnp.where(drops, front, state.key_cell)),
        carried=jnp.where(me, in_hand, state.carried),
        door_state=jnp.where(door & (action == Actions.toggle), toggled, state.door_state),
    )


def _values_of(me: jax.Array, *columns: jax.Array) -> list[jax.Array]:
    """The values int32[] of one agent, marked by bool[A], in columns int32[A]; cheaper than lookups."""
    return [jnp.where(me, column, 0).sum(dtype=jnp.int32) for column in columns]
