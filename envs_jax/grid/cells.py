"""The contents of a cell as one word: object, colour and state as MiniGrid numbers them, and what a box holds."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import BALL, BOX, COLOR_TO_IDX, DOOR, EMPTY, FLOOR, GOAL, GREY, KEY, LAVA, OPEN, WALL

STATE_SHIFT: Final = 16
CONTENTS_SHIFT: Final = 24


def cell_word(kind: int, color: int = 0, state: int = 0) -> np.uint32:
    """The word of an object: its id, colour and state from the lowest byte up."""
    return np.uint32(kind | color << 8 | state << STATE_SHIFT)


EMPTY_WORD: Final = cell_word(EMPTY)
WALL_WORD: Final = cell_word(WALL, GREY)
GOAL_WORD: Final = cell_word(GOAL, COLOR_TO_IDX["green"])
LAVA_WORD: Final = cell_word(LAVA)


def object_word(kind: jax.Array | int, color: jax.Array | int, state: jax.Array | int = 0) -> jax.Array:
    """As `cell_word`, of traced int32[...]; uint32[...]."""
    kind, color, state = (jnp.asarray(part).astype(jnp.uint32) for part in (kind, color, state))
    return kind | color << 8 | state << STATE_SHIFT


def boxed(word: jax.Array, color: jax.Array | int) -> jax.Array:
    """uint32[...], a box of a colour that holds an object without a state."""
    contents = kind_of(word) | color_of(word) << 4
    return object_word(BOX, color) | contents.astype(jnp.uint32) << CONTENTS_SHIFT


def unboxed(word: jax.Array) -> jax.Array:
    """uint32[...], what a box holds."""
    contents = word >> CONTENTS_SHIFT
    return jnp.where(contents == 0, EMPTY_WORD, (contents & 15) | (contents >> 4) << 8)


def kind_of(word: jax.Array) -> jax.Array:
    """int32[...], the object's id."""
    return (word & 255).astype(jnp.int32)


def color_of(word: jax.Array) -> jax.Array:
    """int32[...]."""
    return ((word >> 8) & 255).astype(jnp.int32)


def state_of(word: jax.Array) -> jax.Array:
    """int32[...], of a door: open, closed or locked."""
    return ((word >> STATE_SHIFT) & 255).astype(jnp.int32)


def is_open_door(word: jax.Array) -> jax.Array:
    """bool[...]"""
    return (kind_of(word) == DOOR) & (state_of(word) == OPEN)


def can_overlap(word: jax.Array) -> jax.Array:
    """bool[...], whether an agent may enter the cell."""
    return _is_among(word, EMPTY, FLOOR, GOAL, LAVA) | is_open_door(word)


def can_pickup(word: jax.Array) -> jax.Array:
    """bool[...]"""
    return _is_among(word, KEY, BALL, BOX)


def is_opaque(word: jax.Array) -> jax.Array:
    """bool[...], whether the cell stops light."""
    return (kind_of(word) == WALL) | ((kind_of(word) == DOOR) & (state_of(word) != OPEN))


def _is_among(word: jax.Array, *kinds: int) -> jax.Array:
    mask = np.uint32(sum(1 << kind for kind in kinds))
    return (mask >> (word & 31)) & 1 == 1
