"""Grids as MiniGrid's arrays: from object ids, colours and states to words, and back."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import concrete_array
from envs_jax.grid.actions import split_cell
from envs_jax.grid.cells import CONTENTS_SHIFT, EMPTY_WORD, STATE_SHIFT
from envs_jax.grid.constants import (
    AGENT,
    BALL,
    BOX,
    DOOR,
    EMPTY,
    IDX_TO_COLOR,
    IDX_TO_OBJECT,
    KEY,
    LOCKED,
    NUM_COLORS,
    UNSEEN,
)
from envs_jax.grid.state import GridState, opaque_lines, pad_with_walls

HELD = (KEY, BALL, BOX)
"""What an agent can carry, and a box can hold."""


def checked_integers(name: str, value: Any, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """`value` as int32 of a shape, within low..high; `ValueError` says what it is instead."""
    array = concrete_array(name, value)
    if array.shape != shape or array.dtype.kind not in "iub":
        raise ValueError(f"{name} must be integers of shape {shape}, not {array.dtype} of shape {array.shape}")
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ValueError(f"{name} must be within {low}..{high}, not {array.tolist()}")
    return array.astype(np.int32)


def find_cells(grid: np.ndarray, kind: int, count: int, color: int | None = None) -> list[int]:
    """The indices of the cells of a grid uint8[W, H, 3] that have a kind of object, of a colour if one is given.

    Raises:
        ValueError: there are not `count` of them.
    """
    kinds, colors, _ = np.moveaxis(np.asarray(grid), -1, 0)
    cells = np.flatnonzero((kinds == kind) & ((colors == color) | (color is None))).tolist()
    if len(cells) != count:
        name = " ".join([*([] if color is None else [IDX_TO_COLOR[color]]), IDX_TO_OBJECT[kind]])
        raise ValueError(f"a world of this kind has {count} {name}(s), the grid has {len(cells)}")
    return cells


def describe_cell(cell: np.ndarray) -> str:
    """A cell of a grid, uint8[3], in words."""
    kind, color, state = cell.tolist()
    color_name = IDX_TO_COLOR.get(color, f"colour {color}") if kind != EMPTY else f"colour {color}"
    return f"{IDX_TO_OBJECT.get(kind, f'object {kind}')} ({color_name}, state {state})"


def pack_grid(grid: Any, contents: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """`cells` and `opaque` of a `GridState`, of a grid uint8[W, H, 3] and what its boxes hold, uint8[W, H, 2] or None.

    Raises:
        ValueError: the arrays have other shapes, or numbers that stand for nothing.
    """
    cells = checked_integers("grid", grid, (*shape, 3), 0, 255)
    kinds, colors, states = np.moveaxis(cells, -1, 0)
    wrong = (kinds < EMPTY) | (kinds >= AGENT) | (colors >= NUM_COLORS)
    wrong |= (states > np.where(kinds == DOOR, LOCKED, 0)) | ((kinds == EMPTY) & (colors > 0))
    if wrong.any():
        x, y = np.argwhere(wrong)[0].tolist()
        raise ValueError(f"the grid has {describe_cell(cells[x, y])} at ({x}, {y}), which is no object of MiniGrid's")
    inner = np.zeros((*shape, 2)) if contents is None else checked_integers("contents", contents, (*shape, 2), 0, 255)
    words = kinds | colors << 8 | states << STATE_SHIFT | _contents(inner, kinds == BOX) << CONTENTS_SHIFT
    with jax.ensure_compile_time_eval():  # A program may be traced around this.
        cells, opaque = _packed(words.astype(np.uint32).reshape(-1), *shape)
    return {"cells": np.asarray(cells), "opaque": np.asarray(opaque)}


@partial(jax.jit, static_argnums=(1, 2))
def _packed(words: jax.Array, width: int, height: int) -> tuple[jax.Array, jax.Array]:
    return pad_with_walls(words), opaque_lines(words, width, height)


def pack_carrying(carrying: Any, contents: Any) -> np.uint32:
    """The word of what is carried, (object id, colour), and of what it holds.

    Raises:
        ValueError: it can't be carried.
    """
    kind, color = checked_integers("carrying", carrying, (2,), 0, 255).tolist()
    inner = checked_integers("carrying_contents", contents, (2,), 0, 255)
    content = int(_contents(inner, np.array(kind == BOX)))
    if kind in (UNSEEN, EMPTY):
        return EMPTY_WORD
    if kind not in HELD or color >= NUM_COLORS:
        raise ValueError(f"carrying must be nothing, (0, 0), or a key, a ball or a box, not {(kind, color)}")
    return np.uint32(kind | color << 8 | content << CONTENTS_SHIFT)


def _contents(inner: np.ndarray, is_box: np.ndarray) -> np.ndarray:
    """int64[...], the byte for what boxes hold."""
    kinds, colors = np.moveaxis(np.asarray(inner, np.int64), -1, 0)
    holds = kinds > EMPTY
    if (holds & (~is_box | ~np.isin(kinds, HELD) | (colors >= NUM_COLORS))).any():
        raise ValueError("contents must be keys, balls or boxes in boxes, and (0, 0) elsewhere")
    return np.where(holds, kinds | colors << 4, 0)


def unpack_state(state: GridState, width: int, height: int) -> dict[str, jax.Array]:
    """The arrays of a state, named as in `MiniGridEnv.make_state`; with several agents, theirs have an axis [A]."""
    carries, cells = state.carrying != EMPTY_WORD, state.cells[: width * height]
    carrying = jnp.where(carries[..., None], _bytes(state.carrying)[..., :2], np.uint8(0)).astype(jnp.int32)
    return {
        "grid": _bytes(cells)[:, :3].reshape(width, height, 3),
        "contents": _unpacked_contents(cells).reshape(width, height, 2),
        "agent_pos": jnp.stack(split_cell(state.agent_cell, height), -1),
        "agent_dir": state.agent_dir,
        "carrying": carrying,
        "carrying_contents": _unpacked_contents(state.carrying),
        "step_count": state.step_count,
        "mission": state.mission,
        "facts": state.facts,
    }


def _bytes(words: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(words, jnp.uint8)


def _unpacked_contents(words: jax.Array) -> jax.Array:
    """uint8[..., 2]"""
    inner = words >> CONTENTS_SHIFT
    return jnp.stack([inner & 15, inner >> 4], -1).astype(jnp.uint8)
