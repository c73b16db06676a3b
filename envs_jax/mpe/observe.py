"""Pieces of observations: who is where as seen by each agent."""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.mpe.world import norm


def others(viewers: Iterable[int], seen: Iterable[int]) -> np.ndarray:
    """int32[n, m], for each of n viewers the seen agents other than itself."""
    seen = list(seen)
    rows = [[agent for agent in seen if agent != viewer] for viewer in viewers]
    return np.array(rows, np.int32).reshape(len(rows), -1)


def agent_offsets(p_pos: jax.Array, viewers: slice, seen: np.ndarray, nearest: int | None = None) -> jax.Array:
    """float32[n, m, 2], the agents `seen` int32[n, m] relative to their viewers, or the nearest of them."""
    return keep_nearest(nearest, p_pos[seen] - p_pos[viewers, None])[0]


def landmark_offsets(p_pos: jax.Array, viewers: slice, num_agents: int, nearest: int | None = None) -> jax.Array:
    """float32[n, L, 2], all landmarks relative to the viewers, or the nearest of them."""
    return keep_nearest(nearest, p_pos[None, num_agents:] - p_pos[viewers, None])[0]


def keep_nearest(count: int | None, offsets: jax.Array, *features: jax.Array) -> tuple[jax.Array, ...]:
    """The `count` nearest of each viewer, nearest first, zeros where there are fewer; all if None.

    Args:
        count: how many are kept.
        offsets: float32[n, m, 2], what is seen, relative to the viewer.
        *features: float32[n, m, k], what else is seen of them, kept in the same order.
    """
    if count is None:
        return offsets, *features
    order = jnp.argsort(norm(offsets), axis=-1)[:, :count]
    padding = ((0, 0), (0, count - order.shape[1]), (0, 0))
    kept = (jnp.take_along_axis(values, order[..., None], axis=1) for values in (offsets, *features))
    return tuple(jnp.pad(values, padding) for values in kept)


def join(*parts: jax.Array) -> jax.Array:
    """float32[n, k], the parts float32[n, ...] of the viewers' observations side by side."""
    return jnp.concatenate([part.reshape(len(part), np.prod(part.shape[1:], dtype=int)) for part in parts], axis=1)


def stack_padded(blocks: Sequence[jax.Array]) -> jax.Array:
    """float32[sum n, max k], blocks float32[n, k] below each other, zeros where one is narrower."""
    width = max(block.shape[1] for block in blocks)
    return jnp.concatenate([jnp.pad(block, ((0, 0), (0, width - block.shape[1]))) for block in blocks])
