"""Features of grid worlds for the students' perceptrons: zeros and ones, or small counts, instead of codes."""

from collections.abc import Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import (
    AGENT,
    BALL,
    BOX,
    CLOSED,
    DOOR,
    GOAL,
    KEY,
    LAVA,
    LOCKED,
    NO_DIRECTION,
    NUM_COLORS,
    OPEN,
    UNSEEN,
    WALL,
)
from envs_jax.minigrid.map_memory import MapObservation
from envs_jax.small_gather import pick

NEAR: Final = 3
"""Cells to each side of the agent that are kept one by one."""


def egocentric_features(obs: jax.Array, boxes: bool = False) -> jax.Array:
    """What is around the agent, from the agent's point of view.

    Per channel (unseen, wall, door, key, lava, and three bits of the colour of keys and of
    doors; with `boxes` also box): every cell of the 7 x 7 square around the agent, and, for the whole world, how many
    cells of the channel there are in each row ahead and behind and in each column to the sides.
    The agent's own cell, which shows what it carries, counts in the square only.

    Args:
        obs: uint8[W, H, 4 * F] with W = H; of stacked frames each is seen from the newest pose.
        boxes: whether there is a channel for boxes, the last one.

    Returns:
        uint8[F * (49 + 2 * (2 * W - 1)) * C], C the number of channels, 11 or 12.
    """
    size = obs.shape[0]
    words = jax.lax.bitcast_convert_type(obs.reshape(size, size, -1, 4), jnp.uint32)
    is_agent = (words[..., -1] >> 24) != NO_DIRECTION
    cells = np.arange(size * size, dtype=np.int32).reshape(size, size)
    directions = (words[..., -1] >> 24).astype(jnp.int32)
    pose = jnp.max(jnp.where(is_agent, (cells << 2) | directions, 0))
    x, y, direction = (pose >> 2) // size, (pose >> 2) % size, pose & 3
    frames = [
        _frame_features(_channels(words[..., i], boxes), is_agent, x, y, direction) for i in range(words.shape[-1])
    ]
    return jnp.concatenate(frames)


def view_features(inputs: jax.Array) -> jax.Array:
    """Zeros and ones for the content of each cell of a view, and for the direction.

    Per cell: unseen, wall, and each colour of key, colour of door, state of a door and direction
    of an agent.

    Args:
        inputs: uint8[..., V * V * 3 + 1], object id, colour and state of every cell, then the direction.

    Returns:
        float32[..., V * V * 21 + 4].
    """
    cells = inputs[..., :-1].reshape(*inputs.shape[:-1], -1, 3)
    kind, color, status = cells[..., 0], cells[..., 1], cells[..., 2]
    groups = [_bits(kind, (UNSEEN, WALL))]
    for object_type, detail, count in ((KEY, color, NUM_COLORS), (DOOR, color, NUM_COLORS), (DOOR, status, 3)):
        groups.append(_bits(detail, range(count)) & (kind == object_type)[..., None])
    groups.append(_bits(status, range(4)) & (kind == AGENT)[..., None])
    seen = jnp.concatenate(groups, -1).reshape(*inputs.shape[:-1], -1)
    return jnp.concatenate([seen, _bits(inputs[..., -1], range(4))], -1).astype(jnp.float32)


def map_features(obs: MapObservation) -> jax.Array:
    """What a MiniGrid agent carries, and what its map shows around it.

    Per channel (unseen, wall, key, ball, box, goal, lava, the states of a door, three bits of the object's colour, and
    for each number of the mission whether it is the object's colour, and whether its type): what is carried, every cell
    of the 7 x 7 square around the agent, and how many cells of the channel there are in each row and each column of the
    map.

    Args:
        obs: an observation with a map uint8[S, S, 3] and a mission int32[M].

    Returns:
        uint8[(1 + 49 + 2 * S) * (13 + 2 * M)].
    """
    size, view_size = obs.map.shape[0], obs.image.shape[0]
    channels = _map_channels(obs.map, obs.mission)
    hand = _map_channels(obs.image[view_size // 2, view_size - 1], obs.mission)
    near = slice(max(0, size // 2 - NEAR), size // 2 + NEAR + 1)
    parts = [hand, channels[near, near], channels.sum(0, dtype=jnp.uint8), channels.sum(1, dtype=jnp.uint8)]
    return jnp.concatenate([part.reshape(-1) for part in parts])


def image_features(obs: Any) -> jax.Array:
    """What a MiniGrid agent sees at this step: the channels of `map_features` for each cell, and the direction.

    Args:
        obs: an observation with an image uint8[V, V, 3], a direction int32[] and a mission int32[M].

    Returns:
        uint8[V * V * (13 + 2 * M) + 4].
    """
    channels = _map_channels(obs.image, obs.mission).reshape(-1)
    return jnp.concatenate([channels, (obs.direction == np.arange(4, dtype=np.int32)).astype(jnp.uint8)])


def _map_channels(cells: jax.Array, mission: jax.Array) -> jax.Array:
    """uint8[..., 13 + 2 * M], zeros and ones for cells uint8[..., 3]."""
    kind, color, state = (cells[..., i] for i in range(3))
    asked = jnp.expand_dims(mission, tuple(range(kind.ndim)))
    color_bits = np.array([1, 2, 4], np.uint8, ndmin=cells.ndim)
    colored = (kind == DOOR) | (kind == KEY) | (kind == BALL) | (kind == BOX)
    groups = [
        _bits(kind, (UNSEEN, WALL, KEY, BALL, BOX, GOAL, LAVA)),
        _bits(state, (OPEN, CLOSED, LOCKED)) & (kind == DOOR)[..., None],
        (color[..., None] & color_bits != 0) & colored[..., None],
        (color[..., None].astype(jnp.int32) == asked) & colored[..., None],
        (kind[..., None].astype(jnp.int32) == asked) & colored[..., None],
    ]
    return jnp.concatenate(groups, -1).astype(jnp.uint8)


def _bits(codes: jax.Array, known: Sequence[int]) -> jax.Array:
    """bool[..., len(known)], which of the known codes each is."""
    return codes[..., None] == np.array(known, np.uint8, ndmin=codes.ndim + 1)


def _frame_features(
    channels: jax.Array, is_agent: jax.Array, x: jax.Array, y: jax.Array, direction: jax.Array
) -> jax.Array:
    others = jnp.where(is_agent, jnp.uint8(0), channels)
    along_x = _centred(others.sum(2, dtype=jnp.uint8), x)
    along_y = _centred(others.sum(1, dtype=jnp.uint8), y)
    flipped_x, flipped_y = along_x[:, ::-1], along_y[:, ::-1]
    # Ahead of an agent that looks east are larger x, to its right larger y, and so on around.
    ahead = pick(jnp.stack([along_x, along_y, flipped_x, flipped_y]), direction)
    right = pick(jnp.stack([along_y, flipped_x, flipped_y, along_x]), direction)
    padded = jnp.pad(channels, ((0, 0), (NEAR, NEAR), (NEAR, NEAR)))
    near = jax.lax.dynamic_slice(padded, (jnp.int32(0), x, y), (channels.shape[0], 2 * NEAR + 1, 2 * NEAR + 1))
    turned = jnp.stack([jnp.rot90(near, -turn, (1, 2)) for turn in range(4)])
    return jnp.concatenate([pick(turned, direction).reshape(-1), ahead.reshape(-1), right.reshape(-1)])


def _channels(words: jax.Array, boxes: bool) -> jax.Array:
    """uint8[11, W, H], 0 or 1; with boxes uint8[12, W, H]."""
    kind, color = words & 0xFF, (words >> 8) & 0xFF
    kinds = [kind == UNSEEN, kind == WALL, kind == DOOR, kind == KEY, kind == LAVA]
    bits = [(kind == object_type) & ((color >> bit) & 1 == 1) for object_type in (KEY, DOOR) for bit in range(3)]
    return jnp.stack(kinds + bits + [kind == BOX] * boxes).astype(jnp.uint8)


def _centred(line: jax.Array, place: jax.Array) -> jax.Array:
    """uint8[C, 2 * W - 1], the line uint8[C, W] with `place` in the middle."""
    size = line.shape[1]
    padded = jnp.pad(line, ((0, 0), (size - 1, size - 1)))
    return jax.lax.dynamic_slice(padded, (jnp.int32(0), place), (line.shape[0], 2 * size - 1))
