"""The exploration of LLM4RL (arXiv 2306.03604): west to a wall, along the walls to a corner, then in lanes.

Unlike `navigation.explore` it has a state, and where it goes does not depend on what is unseen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import EAST, NORTH, SOUTH, WEST, Actions
from envs_jax.small_gather import pick
from jaxteach.teacher.action_lists import NO_ACTION, append_turn, count, no_actions, rest
from jaxteach.teacher.navigation import ahead_rows

NOT_BEGUN, TO_A_WALL, IN_LANES = range(3)


class Exploration(NamedTuple):
    """How far an exploration has come."""

    phase: jax.Array  # int32[], `NOT_BEGUN`, `TO_A_WALL` or `IN_LANES`
    queue: jax.Array  # int32[view_size + 1], the actions to take first, -1 after the last


def not_begun(view_size: int) -> Exploration:
    """An exploration before its first step, of an agent with a view of `view_size` x `view_size` cells."""
    return Exploration(jnp.int32(NOT_BEGUN), no_actions(view_size + 1))


def explore_step(
    before: Exploration, direction: jax.Array, blocked: jax.Array, coin: jax.Array
) -> tuple[Exploration, jax.Array]:
    """One step of an exploration.

    Args:
        before: the exploration before the step.
        direction: int32[], of the agent.
        blocked: bool[], a wall or a door is half a view ahead.
        coin: int32[], 0 or 1, `Actions.left` or `Actions.right`, the turn at the end of a lane to the south where the
            exploration does not tell it.

    Returns:
        The exploration after the step, and the action int32[].
    """
    to_west = append_turn(no_actions(len(before.queue)), WEST - direction)
    queue = jnp.where(before.phase == NOT_BEGUN, to_west, before.queue)
    in_lanes, queued = before.phase == IN_LANES, queue[0] != NO_ACTION
    at_corner = ~queued & blocked & (direction == NORTH)
    along_wall = jnp.where(queued, queue[0], jnp.where(blocked, Actions.right, Actions.forward))

    # Between two lanes the queue ends with the turn into the next one.
    turn_from_south = jnp.where(queued, pick(queue, count(queue) - 1), coin)
    right, left = jnp.int32(Actions.right), jnp.int32(Actions.left)
    turn = pick(jnp.stack([right, turn_from_south, left, right]), direction)
    in_lane = jnp.where(blocked, turn, jnp.where(queued, queue[0], Actions.forward))
    next_lane = jnp.where((direction == EAST) | (direction == WEST), _next_lane(queue, turn), NO_ACTION)

    phase = jnp.where(in_lanes | at_corner, IN_LANES, TO_A_WALL).astype(jnp.int32)
    queue = jnp.where(in_lanes & blocked, next_lane, rest(queue))
    return Exploration(phase, queue), jnp.where(in_lanes, in_lane, along_wall).astype(jnp.int32)


def all_seen(unseen: jax.Array, solid: jax.Array, height: int) -> jax.Array:
    """bool[], the whole room was seen: the box around all walls and doors has walls or doors all along its border.

    No cell in it is unseen, and it has cells inside.

    Args:
        unseen: uint32[W], the cells that were never seen.
        solid: uint32[W], the walls and doors that were seen.
        height: bits of a row, at most 32.
    """
    columns = _span(solid != 0)
    bits = np.uint32(1) << np.arange(height, dtype=np.uint32)
    every = jax.lax.reduce(solid, np.uint32(0), jax.lax.bitwise_or, (0,))
    inside = jnp.sum(jnp.where(_span((every & bits) != 0), bits, np.uint32(0)), dtype=jnp.uint32)
    box = jnp.where(columns, inside, jnp.uint32(0))
    # The box without its border: cells whose neighbours are all in the box.
    inner = box
    for direction in (EAST, SOUTH, WEST, NORTH):
        inner &= ahead_rows(box, direction, height)
    lined = (box & ~inner & ~solid == 0).all() & (inner != 0).any()
    return lined & (box & unseen == 0).all()


def _next_lane(queue: jax.Array, turn: jax.Array) -> jax.Array:
    """The queue after a turn at the end of a lane: a view's length ahead, and the same turn again."""
    return jnp.full(len(queue), Actions.forward, jnp.int32).at[-1].set(turn)


def _span(mask: jax.Array) -> jax.Array:
    """bool[N], True from the first to the last element of bool[N] that is True."""
    return (jnp.cumsum(mask) > 0) & (jnp.cumsum(mask[::-1])[::-1] > 0)
