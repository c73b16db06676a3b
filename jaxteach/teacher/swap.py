"""Picking up with full hands, as LLM4RL does: drop what is held nearby, come back, and pick up."""

import jax
import jax.numpy as jnp

from envs_jax.grid.constants import Actions
from jaxteach.teacher.action_lists import append, append_turn, no_actions
from jaxteach.teacher.navigation import Pose, ahead, bit, neighbourhood

AHEAD, RIGHT, BEHIND, LEFT = range(4)
"""Directions seen from the agent, in quarter turns to the right."""


def swap_length(walks: int) -> int:
    """The length of the list that `swap_actions` gives."""
    return 6 * (walks + 1)


def swap_actions(pose: Pose, empty: jax.Array, doors: jax.Array, height: int, walks: int) -> jax.Array:
    """The actions that drop what is held and then pick up what is ahead.

    The agent drops it behind itself, to its right or to its left, in the first cell that is empty and not beside a
    door. If there is none, the agent walks to the last empty one of the three, and tries ahead, right and left there.

    Args:
        pose: the agent's.
        empty: uint32[W], the cells that were seen to be empty.
        doors: uint32[W], the doors that were seen.
        height: bits of a row, at most 32.
        walks: how many steps the agent walks at most.

    Returns:
        int32[swap_length(walks)], -1 after the last action; no action at all if there is no cell to drop it.
    """
    good = empty & ~neighbourhood(doors, height)
    actions, here, ways = no_actions(swap_length(walks)), pose, []
    searches, done = jnp.bool_(True), jnp.bool_(False)
    for options in [(BEHIND, RIGHT, LEFT), *[(AHEAD, RIGHT, LEFT)] * walks]:
        turn, fits, some = _choose(here, options, good, empty)
        drops, walks_on = searches & fits, searches & ~fits & some
        actions = append_turn(actions, turn, drops | walks_on)
        actions = append(actions, Actions.drop, drops)
        actions = append(actions, Actions.forward, walks_on)
        facing = jnp.where(drops | walks_on, (here.direction + turn) & 3, here.direction)
        x, y = ahead(here, facing)
        here = Pose(jnp.where(walks_on, x, here.x), jnp.where(walks_on, y, here.y), facing)
        ways.append((walks_on, facing))
        searches, done = walks_on, done | drops
    direction = here.direction
    for walked, way in reversed(ways):
        actions = append_turn(actions, way + 2 - direction, walked)
        actions = append(actions, Actions.forward, walked)
        direction = jnp.where(walked, (way + 2) & 3, direction)
    actions = append_turn(actions, pose.direction - direction)
    return jnp.where(done, append(actions, Actions.pickup), no_actions(len(actions)))


def _choose(
    here: Pose, options: tuple[int, ...], good: jax.Array, empty: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The turn int32[] to the first good cell, else to the last empty one; bool[] each, is one good, and one empty?"""
    turn, fits, some = jnp.int32(0), jnp.bool_(False), jnp.bool_(False)
    for option in options:
        x, y = ahead(here, (here.direction + option) & 3)
        is_good, is_empty = bit(good, x, y), bit(empty, x, y)
        turn = jnp.where(~fits & is_empty, option, turn).astype(jnp.int32)
        fits |= is_good
        some |= is_empty
    return turn, fits, some
