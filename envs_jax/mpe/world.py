"""The physics of the particle worlds: discs that push themselves, push each other and slow down.

Source: `mpe2`'s `core.World`. Every disc weighs 1, and no landmark of these worlds moves.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TIME_STEP: Final = 0.1
DAMPING: Final = 0.25
CONTACT_FORCE: Final = 100.0
CONTACT_MARGIN: Final = 1e-3
NO_LIMIT: Final = float(np.finfo(np.float32).max)
COINCIDING: Final = 1e-12  # centres closer than this have no direction to be pushed in


class Agent(NamedTuple):
    """The fixed properties of an agent."""

    name: str
    size: float = 0.05  # radius
    collides: bool = True
    moves: bool = True
    speaks: bool = False
    accel: float = 5.0  # the force of a full push
    max_speed: float = NO_LIMIT


class Landmark(NamedTuple):
    """The fixed properties of a landmark."""

    size: float = 0.05  # radius
    collides: bool = False
    spread: float = 1.0  # a fresh one lies in [-spread, spread) on both axes


class World:
    """Who is in a world, as NumPy arrays: A agents first, then L landmarks, E together.

    Args:
        agents: the agents, in the order of actions, observations and rewards.
        landmarks: the landmarks, in the order of their positions.
        dim_c: length of what an agent says.
    """

    def __init__(self, agents: Sequence[Agent], landmarks: Sequence[Landmark], dim_c: int) -> None:
        entities = [*agents, *landmarks]
        self.names = tuple(agent.name for agent in agents)
        self.num_agents, self.num_landmarks, self.dim_c = len(agents), len(landmarks), dim_c
        self.size = np.array([entity.size for entity in entities], np.float32)
        self.spread = np.array([1.0] * len(agents) + [landmark.spread for landmark in landmarks], np.float32)
        self.moves = np.array([agent.moves for agent in agents])
        self.speaks = np.array([agent.speaks for agent in agents])
        self.accel = np.array([agent.accel for agent in agents], np.float32)
        self.max_speed = np.array([agent.max_speed for agent in agents], np.float32)
        self.contacts = _contact_matrix(self.moves, np.array([entity.collides for entity in entities]))
        self.reach = np.abs(self.contacts) @ self.size


def _contact_matrix(moves: np.ndarray, collides: np.ndarray) -> np.ndarray:
    """float32[P, E], a row for each pair whose contact moves an agent: 1 for the first, -1 for the second."""
    first, second = np.triu_indices(len(collides), 1)
    movable = np.concatenate([moves, np.zeros(len(collides) - len(moves), bool)])
    felt = collides[first] & collides[second] & (movable[first] | movable[second])
    unit = np.eye(len(collides), dtype=np.float32)
    return unit[first[felt]] - unit[second[felt]]


def advance(world: World, p_pos: jax.Array, p_vel: jax.Array, push: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positions float32[E, 2] and velocities float32[A, 2] one time step later.

    Positions follow the velocities from before the step, as in the reference.

    Args:
        p_pos: float32[E, 2], positions.
        p_vel: float32[A, 2], the agents' velocities.
        push: float32[A, 2], the forces of the agents' own actions.
    """
    if not world.moves.any():
        return p_pos, p_vel
    moves = world.moves[:, None].astype(np.float32)
    force = moves * (push + contact_forces(world, p_pos))
    moved = p_pos[: world.num_agents] + p_vel * (moves * TIME_STEP)
    velocity = p_vel * (1 - DAMPING * moves) + force * TIME_STEP
    return jnp.concatenate([moved, p_pos[world.num_agents :]]), _limit_speed(world, velocity)


def contact_forces(world: World, p_pos: jax.Array) -> jax.Array:
    """float32[A, 2], the sum of contact forces on each agent; none between coinciding centres."""
    if len(world.contacts) == 0:
        return jnp.zeros((world.num_agents, 2), jnp.float32)
    # A product with the matrix of pairs for each axis lets XLA vectorise the lines between over a batch.
    exact = jax.lax.Precision.HIGHEST
    apart = [jnp.dot(world.contacts, p_pos[:, axis], precision=exact) for axis in range(2)]
    distance = _length(*apart)
    overlap = (world.reach - distance) / CONTACT_MARGIN
    # `jax.nn.softplus` also selects NaNs, which makes this five times slower on a CPU.
    soft_overlap = CONTACT_MARGIN * (jnp.maximum(overlap, 0) + jnp.log1p(jnp.exp(-jnp.abs(overlap))))
    strength = jnp.where(distance > 0, CONTACT_FORCE * soft_overlap / jnp.maximum(distance, COINCIDING), 0)
    received = world.contacts[:, : world.num_agents].T
    return jnp.stack([jnp.dot(received, strength * part, precision=exact) for part in apart], axis=-1)


def _limit_speed(world: World, p_vel: jax.Array) -> jax.Array:
    if (world.max_speed == NO_LIMIT).all():
        return p_vel
    return p_vel * (world.max_speed / jnp.maximum(norm(p_vel), world.max_speed))[:, None]


def norm(vectors: jax.Array) -> jax.Array:
    """The lengths of vectors float32[..., 2]."""
    return _length(vectors[..., 0], vectors[..., 1])


def distances(first: jax.Array, second: jax.Array) -> jax.Array:
    """float32[n, m], the distances from n points to m points."""
    return _length(*(first[:, None, axis] - second[None, :, axis] for axis in range(2)))


@jax.custom_jvp
def _length(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.square(x) + jnp.square(y))


@_length.defjvp
def _length_jvp(point: tuple[jax.Array, ...], way: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    """The derivative, 0 at 0, where the root has none: steps are then differentiable everywhere."""
    length = _length(*point)
    return length, (point[0] * way[0] + point[1] * way[1]) / jnp.where(length > 0, length, 1)


def touches(world: World, p_pos: jax.Array, first: slice, second: slice) -> jax.Array:
    """bool[n, m], which of n entities overlap which of m entities."""
    reach = world.size[first, None] + world.size[None, second]
    return distances(p_pos[first], p_pos[second]) < reach


def fold(combine: Callable[[jax.Array, jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
    """The rows of [n, ...] combined; unrolled, as XLA does not vectorise sums and minima of short axes on a CPU."""
    return reduce(combine, [rows[i] for i in range(len(rows))])


def total(rows: jax.Array) -> jax.Array:
    """The sum of the rows of [n, ...], zeros without rows; unrolled as `fold` is."""
    return fold(jnp.add, rows) if len(rows) else jnp.zeros(rows.shape[1:], rows.dtype)
