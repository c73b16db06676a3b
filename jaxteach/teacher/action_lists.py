"""Lists of actions as arrays of a fixed length, with -1 after the last action."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import Actions

NO_ACTION: Final = -1


def no_actions(length: int) -> jax.Array:
    """int32[length], an empty list."""
    return jnp.full(length, NO_ACTION, jnp.int32)


def append(actions: jax.Array, action: jax.Array | int, when: jax.Array | bool = True) -> jax.Array:
    """The list with one more action if `when` holds, int32[length]; a full list stays as it is."""
    end = np.arange(len(actions), dtype=np.int32) == count(actions)
    return jnp.where(end & when, jnp.int32(action), actions)


def append_turn(actions: jax.Array, quarters: jax.Array, when: jax.Array | bool = True) -> jax.Array:
    """The list with a turn by int32[] `quarters` to the right, modulo 4, if `when` holds; half a turn is two lefts."""
    quarters = quarters & 3
    actions = append(actions, Actions.right, when & (quarters == 1))
    actions = append(actions, Actions.left, when & (quarters >= 2))
    return append(actions, Actions.left, when & (quarters == 2))


def rest(actions: jax.Array) -> jax.Array:
    """The list without its first action, int32[length]."""
    return jnp.append(actions[1:], jnp.int32(NO_ACTION))


def count(actions: jax.Array) -> jax.Array:
    """int32[], how many actions a list has."""
    return (actions != NO_ACTION).sum(dtype=jnp.int32)
