"""States of a room from arrays, and back, as `make_state` and `to_arrays` have them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import (
    DOOR,
    IDX_TO_COLOR,
    IDX_TO_OBJECT,
    KEY,
    LAVA,
    LOCKED,
    NUM_COLORS,
    UNSEEN,
    WALL,
)
from envs_jax.grid.observe import paint_world, unpack_words
from envs_jax.grid.state import NOWHERE, RoomState


class Capacity(NamedTuple):
    """How much a task's state can hold."""

    size: int
    doors: int
    keys: int
    lava: int
    frames: int


def pack_cells(mask: np.ndarray) -> tuple[np.uint32, ...]:
    """bool[size, size] -> ceil(size * size / 32) words as in `RoomState.seen`."""
    bits = np.packbits(mask, bitorder="little")
    return tuple(np.pad(bits, (0, -len(bits) % 4)).view("<u4").astype(np.uint32))


def unpack_cells(words: tuple[jax.Array, ...], size: int) -> jax.Array:
    """The inverse of `pack_cells`: bool[size, size]."""
    bits = (jnp.stack(words)[:, None] >> np.arange(32, dtype=np.uint32)[None]) & 1
    return bits.reshape(-1)[: size * size].reshape(size, size).astype(jnp.bool_)


def to_arrays(state: RoomState, size: int) -> dict[str, jax.Array]:
    """The arrays that `from_arrays` takes: the world painted, the agent, what was seen."""
    colors = jnp.append(state.key_color, jnp.int32(0))
    carrying = jnp.where(state.carried >= 0, jnp.stack([jnp.int32(KEY), colors[state.carried]]), 0)
    return {
        "grid": unpack_words(paint_world(state, size), size)[..., :3],
        "agent_pos": jnp.stack([state.agent_cell // size, state.agent_cell % size]),
        "agent_dir": state.agent_dir,
        "carrying": carrying,
        "seen": unpack_cells(state.seen, size),
        "step_count": state.step_count,
    }


def from_arrays(
    capacity: Capacity,
    grid: Any,
    agent_pos: Any,
    agent_dir: Any,
    carrying: Any,
    seen: Any,
    step_count: Any,
    key: jax.Array | None,
) -> RoomState:
    """A state from a painted world; `ValueError` says what the state can't hold."""
    size = capacity.size
    grid = checked_integers("grid", grid, (size, size, 3), 0, 255).astype(np.uint8)
    position = checked_integers("agent_pos", agent_pos, (2,), 0, size - 1)
    direction = checked_integers("agent_dir", agent_dir, (), 0, 3)
    steps = checked_integers("step_count", step_count, (), 0, 2**31 - 1)
    if np.shape(seen) != (size, size):
        raise ValueError(f"seen must have shape {(size, size)}, not {np.shape(seen)}")
    doors = _find(grid, DOOR, capacity.doors)
    keys, key_color, carried = _keys(grid, checked_integers("carrying", carrying, (2,), 0, 255), capacity)
    door_attributes = _attributes(grid, doors)
    fields: dict[str, Any] = dict(
        step_count=np.int32(steps),
        room_size=_room_size(grid),
        door_cell=doors,
        door_color=door_attributes[:, 1],
        door_state=np.where(doors == NOWHERE, LOCKED, door_attributes[:, 2]).astype(np.int32),
        key_cell=keys,
        key_color=key_color,
        lava_cell=_find(grid, LAVA, capacity.lava),
        agent_cell=np.int32(position[0] * size + position[1]),
        agent_dir=np.int32(direction),
        carried=carried,
        seen=pack_cells(np.asarray(seen, bool)),
        history=np.zeros((capacity.frames - 1, size * size), np.uint32),
    )
    state = jax.device_put(RoomState(key=jax.random.key(0) if key is None else key, **fields))
    _check_repainted(grid, np.asarray(_painted(state, size)))
    return state


_painted = jax.jit(lambda state, size: to_arrays(state, size)["grid"], static_argnums=1)


def checked_integers(name: str, value: Any, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """`value` as int32 of a shape, within low..high; `ValueError` says what it is instead."""
    array = np.asarray(value)
    if array.shape != shape or array.dtype.kind not in "iub":
        raise ValueError(f"{name} must be integers of shape {shape}, not {array.dtype} of shape {array.shape}")
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ValueError(f"{name} must be within {low}..{high}, not {array.tolist()}")
    return array.astype(np.int32)


def _find(grid: np.ndarray, kind: int, capacity: int) -> np.ndarray:
    """The cells of all objects of a kind, row-major, filled up with -1."""
    cells = np.flatnonzero(grid[..., 0] == kind)
    if len(cells) > capacity:
        raise ValueError(f"this task holds at most {capacity} {IDX_TO_OBJECT[kind]}(s), the grid has {len(cells)}")
    return np.append(cells, [NOWHERE] * (capacity - len(cells))).astype(np.int32)


def _attributes(grid: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """int32[n, 3], what the grid has at the cells (0 for nowhere)."""
    found = grid.reshape(-1, 3)[cells].astype(np.int32)
    return np.where((cells == NOWHERE)[:, None], 0, found)


def _keys(grid: np.ndarray, carrying: np.ndarray, capacity: Capacity) -> tuple[np.ndarray, np.ndarray, np.int32]:
    cells = _find(grid, KEY, capacity.keys)
    colors = _attributes(grid, cells)[:, 1]
    if carrying[0] in (UNSEEN, 1):
        return cells, colors, np.int32(NOWHERE)
    if carrying[0] != KEY or carrying[1] >= NUM_COLORS:
        raise ValueError(f"carrying must be nothing, (0, 0), or a key, ({KEY}, colour), not {tuple(carrying.tolist())}")
    if (cells != NOWHERE).all():
        raise ValueError(f"this task holds at most {capacity.keys} key(s), one more is carried")
    carried = np.int32(capacity.keys - 1)
    colors[carried] = carrying[1]
    return cells, colors, carried


def _room_size(grid: np.ndarray) -> np.ndarray:
    """The room's columns and rows, from its walls along the x and y axes."""
    solid = np.isin(grid[..., 0], (WALL, DOOR))
    sizes = [len(line) if line.all() else int(np.argmin(line)) for line in (solid[:, 0], solid[0, :])]
    return np.array(sizes, np.int32)


def _check_repainted(grid: np.ndarray, painted: np.ndarray) -> None:
    if np.array_equal(grid, painted):
        return
    x, y = np.argwhere((grid != painted).any(-1))[0].tolist()
    raise ValueError(
        f"the grid has {describe_cell(grid[x, y])} at ({x}, {y}), "
        f"where a room of this task has {describe_cell(painted[x, y])}: it holds one room with its corner at (0, 0), "
        "empty outside, walls on its border, and the task's objects"
    )


def describe_cell(cell: np.ndarray) -> str:
    """A painted cell, uint8[3], in words."""
    kind, color, status = cell.tolist()
    color_name = IDX_TO_COLOR.get(color, f"colour {color}") if kind != 1 else f"colour {color}"
    return f"{IDX_TO_OBJECT.get(kind, f'object {kind}')} ({color_name}, state {status})"
