"""The exploration of LLM4RL (arXiv 2306.03604): first to a wall and along it, then in lanes across the room.

Unlike `navigation.explore` it has a state, and where it goes does not depend on what is unseen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import EAST, NORTH, SOUTH, WEST, Actions
from envs_jax.small_gather import pick
from jaxteach.teacher.actions import NO_ACTION, append_turn, count, no_actions, rest
from jaxteach.teacher.navigation import ahead_rows

TO_A_WALL, IN_LANES = 1, 2


class Exploration(NamedTuple):
    """How far an exploration has come."""

    phase: jax.Array  # int32[], 0 before it begins, then `TO_A_WALL` and `IN_LANES`
    queue: jax.Array  # int32[view_size + 1], actions to take before others, -1 after the last


def not_begun(view_size: int) -> Exploration:
    """An exploration before its first step, with a view of so many cells a side."""
    return Exploration(jnp.int32(0), no_actions(view_size + 1))


def explore_step(
    before: Exploration, direction: jax.Array, blocked: jax.Array, coin: jax.Array
) -> tuple[Exploration, jax.Array]:
    """One step of an exploration.

    Args:
        before: how far it has come.
        direction: int32[], of the agent.
        blocked: bool[], a wall or a door is half a view ahead.
        coin: int32[], 0 or 1, the turn at the end of a lane to the south that nothing else tells.

    Returns:
        How far it has come, and the action int32[].
    """
    begins = before.phase == 0
    to_west = append_turn(no_actions(len(before.queue)), WEST - direction)
    phase, queue = jnp.maximum(before.phase, TO_A_WALL), jnp.where(begins, to_west, before.queue)
    first, last = queue[0], pick(queue, count(queue) - 1)
    queued = first != NO_ACTION
    after, unblocked = rest(queue), jnp.where(queued, first, Actions.forward)

    along = jnp.where(queued, first, jnp.where(blocked, Actions.right, Actions.forward))
    at_corner = ~queued & blocked & (direction == NORTH)
    turns = jnp.stack(
        [jnp.int32(Actions.right), jnp.where(queued, last, coin), jnp.int32(Actions.left), jnp.int32(Actions.right)]
    )
    across = jnp.where(blocked, pick(turns, direction), unblocked)
    next_lane = jnp.where(
        (direction == EAST) | (direction == WEST), _next_lane(queue, pick(turns, direction)), NO_ACTION
    )

    in_lanes = phase == IN_LANES
    queue = jnp.where(in_lanes & blocked, next_lane, after)
    phase = jnp.where(at_corner, IN_LANES, phase)
    return Exploration(phase.astype(jnp.int32), queue), jnp.where(in_lanes, across, along).astype(jnp.int32)


def all_seen(unseen: jax.Array, solid: jax.Array, height: int) -> jax.Array:
    """bool[], the room with its border is seen: the box around all walls and doors is lined with them and has no gap.

    Args:
        unseen: uint32[W], the cells that were never seen.
        solid: uint32[W], the walls and doors that were.
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
    """bool[N], from the first to the last element that is set."""
    return (jnp.cumsum(mask) > 0) & (jnp.cumsum(mask[::-1])[::-1] > 0)
