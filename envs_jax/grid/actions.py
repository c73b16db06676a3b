"""MiniGrid's actions: what the agent does to the cell in front of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.cells import (
    EMPTY_WORD,
    STATE_SHIFT,
    can_overlap,
    can_pickup,
    color_of,
    is_opaque,
    kind_of,
    state_of,
    unboxed,
)
from envs_jax.grid.constants import BOX, CLOSED, DOOR, EAST, KEY, LOCKED, NORTH, OPEN, SOUTH, WEST, Actions
from envs_jax.grid.state import GridState


class FrontCell(NamedTuple):
    """The cell in front of an agent; one outside the grid counts as a wall."""

    x: jax.Array  # int32[]
    y: jax.Array  # int32[]
    cell: jax.Array  # int32[], W * H outside the grid
    word: jax.Array  # uint32[]


class Effect(NamedTuple):
    """What an action did, for the rules of worlds."""

    before: jax.Array  # uint32[], the cell in front of the agent before the action
    after: jax.Array  # uint32[], the same cell after it
    cell: jax.Array  # int32[], its index
    entered: jax.Array  # bool[], whether the agent moved into it
    dropped: jax.Array  # bool[], whether the agent laid down what it carried


def front_cell(state: GridState, width: int, height: int) -> FrontCell:
    """The cell in front of the agent."""
    x, y = split_cell(state.agent_cell, height)
    x += _signed(state.agent_dir == EAST, state.agent_dir == WEST)
    y += _signed(state.agent_dir == SOUTH, state.agent_dir == NORTH)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    cell = jnp.where(inside, x * height + y, width * height)
    return FrontCell(x, y, cell, state.cells.at[cell].get(mode="promise_in_bounds"))


def act(
    state: GridState,
    action: jax.Array,
    width: int,
    height: int,
    agents: jax.Array | None = None,
    allow_overlap: bool = True,
) -> tuple[GridState, Effect]:
    """The state after an action; the step is not counted.

    Args:
        state: of the agent that acts.
        action: int32[].
        width: cells along x.
        height: cells along y.
        agents: int32[A], the cells of all agents of a world of several; nothing is laid down on others.
        allow_overlap: whether agents may enter the cells of others.
    """
    front = front_cell(state, width, height)
    word, carrying = front.word, state.carrying
    is_door, empty_handed = kind_of(word) == DOOR, carrying == EMPTY_WORD
    crowded = jnp.bool_(False) if agents is None else (agents == front.cell).any()
    enters = (action == Actions.forward) & can_overlap(word) & (allow_overlap | ~crowded)
    picks = (action == Actions.pickup) & can_pickup(word) & empty_handed
    drops = (action == Actions.drop) & (word == EMPTY_WORD) & ~empty_handed & ~crowded
    toggles = action == Actions.toggle
    after = jnp.where(picks, EMPTY_WORD, jnp.where(drops, carrying, word))
    after = jnp.where(toggles & is_door, _toggled(word, carrying), after)
    after = jnp.where(toggles & (kind_of(word) == BOX), unboxed(word), after)
    turned = state.agent_dir + _signed(action == Actions.right, action == Actions.left)
    state = put(state, front, after, width, height)._replace(
        agent_cell=jnp.where(enters, front.cell, state.agent_cell),
        agent_dir=turned & 3,
        carrying=jnp.where(picks, word, jnp.where(drops, EMPTY_WORD, carrying)),
    )
    return state, Effect(word, after, front.cell, enters, drops)


def put(state: GridState, front: FrontCell, word: jax.Array, width: int, height: int) -> GridState:
    """The state with another word in a cell; outside the grid it is the wall that is there."""
    flips = is_opaque(word) != is_opaque(front.word)
    x, y = jnp.clip(front.x, 0, width - 1), jnp.clip(front.y, 0, height - 1)
    places = jnp.stack([x, width + y])
    bits = np.uint32(1) << jnp.stack([y, x]).astype(jnp.uint32)
    bits = jnp.where(flips, bits, np.uint32(0))
    lines = state.opaque.at[places].get(mode="promise_in_bounds") ^ bits
    return state._replace(
        cells=state.cells.at[front.cell].set(word, mode="promise_in_bounds"),
        opaque=state.opaque.at[places].set(lines, mode="promise_in_bounds", unique_indices=True),
    )


def split_cell(cell: jax.Array, height: int) -> tuple[jax.Array, jax.Array]:
    """int32[...] each, `(cell // height, cell % height)` of cells in 0..1023.

    By a product, as XLA gives each integer division a pass of its own over the batch.
    """
    x = (cell * -(-(1 << 16) // height)) >> 16
    return x, cell - x * height


def _toggled(word: jax.Array, carrying: jax.Array) -> jax.Array:
    """uint32[...], a door after a toggle."""
    fits = (kind_of(carrying) == KEY) & (color_of(carrying) == color_of(word))
    state = state_of(word)
    toggled = jnp.where(state == LOCKED, jnp.where(fits, OPEN, LOCKED), CLOSED - state)
    return (word & np.uint32(~(255 << STATE_SHIFT) & 0xFFFFFFFF)) | toggled.astype(jnp.uint32) << STATE_SHIFT


def _signed(plus: jax.Array, minus: jax.Array) -> jax.Array:
    """int32[...], 1 for `plus` less 1 for `minus`, bool[...] each."""
    return plus.astype(jnp.int32) - minus.astype(jnp.int32)
