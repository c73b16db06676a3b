"""simple_spread as the teacher knows it: which landmarks are near and free, and how to stop at one."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.mpe.environment import MOVES, NUM_MOVES
from envs_jax.mpe.simple_spread import SimpleSpread
from envs_jax.mpe.world import DAMPING, TIME_STEP
from envs_jax.small_gather import pick
from jaxteach.teacher.table import FIRST_OBJECT_SKILL, OBJECT_SKILLS

ORDINALS: Final = ("nearest", "second", "third", "fourth", "fifth", "sixth", "seventh")
TAKEN: Final = "taken "
SPREAD_SKILLS: Final = ("goto", "wait")
FORESIGHT: Final = 3
"""Steps ahead at which pushes are compared; with more, an agent stops half a push's length from its target."""


class Scene(NamedTuple):
    """What an agent observes, the landmarks nearest first."""

    velocity: jax.Array  # float32[2]
    offsets: jax.Array  # float32[N, 2], the ways to the landmarks
    taken: jax.Array  # bool[N]
    numbers: jax.Array  # int32[N], the landmarks' own


@dataclass(frozen=True)
class SpreadCaptions:
    """The captions of one of N agents: for each landmark, from the nearest to the farthest, whether it is taken.

    A landmark is taken if another agent is nearer to it and has none nearer itself. The others
    are N - 1, so one landmark is always free: there are 2^N - 1 captions. Plans name landmarks
    by their rank, without `taken`: `nearest landmark`, `second landmark` and so on.
    """

    num_landmarks: int
    skills = SPREAD_SKILLS

    @cached_property
    def object_names(self) -> list[str]:
        return [f"{ordinal} landmark" for ordinal in ORDINALS[: self.num_landmarks]]

    @cached_property
    def sees(self) -> list[list[str]]:
        """A caption's number in binary is which landmarks are taken, the nearest on the lowest bit."""
        numbers = range(2**self.num_landmarks - 1)
        return [[TAKEN * (number >> i & 1) + name for i, name in enumerate(self.object_names)] for number in numbers]

    @cached_property
    def holds(self) -> list[str | None]:
        return [None] * len(self.sees)

    @cached_property
    def texts(self) -> list[str]:
        return [f"Agent sees {', '.join(f'<{name}>' for name in sees)}." for sees in self.sees]


@dataclass(frozen=True)
class SpreadDomain:
    """A `Domain` whose observations are float32[6 N], an agent's row; it needs no memory.

    *Go to* a landmark flies there, brakes and stays: it is never finished. A push changes the
    velocity lastingly, up to the damping, so the push is chosen that would bring the agent nearest
    `FORESIGHT` steps later without another push.
    """

    vocabulary: SpreadCaptions
    accel: float
    num_actions = NUM_MOVES
    noop = 0

    @property
    def num_agents(self) -> int:
        return self.vocabulary.num_landmarks

    def reset(self) -> jax.Array:
        return jnp.zeros(0, jnp.float32)

    def read(self, obs: jax.Array) -> Scene:
        count = self.num_agents
        landmarks, others = obs[4 : 4 + 2 * count].reshape(-1, 2), obs[4 + 2 * count : 2 + 4 * count].reshape(-1, 2)
        own = _squares(landmarks)
        theirs = _squares(landmarks[None] - others[:, None])
        numbers = np.arange(count, dtype=np.int32)
        heads_for = theirs.argmin(1).astype(jnp.int32)[:, None] == numbers[None]
        taken = (heads_for & (theirs < own[None])).any(0)
        nearer = (own[:, None] > own[None]) | ((own[:, None] == own[None]) & (numbers[:, None] > numbers[None]))
        ranked = nearer.sum(1, dtype=jnp.int32)[None] == numbers[:, None]
        offsets = jnp.where(ranked[..., None], landmarks, 0).sum(1)
        return Scene(
            obs[:2], offsets, (ranked & taken[None]).any(1), jnp.where(ranked, numbers, 0).sum(1, dtype=jnp.int32)
        )

    def remember(self, memory: jax.Array, scene: Scene) -> jax.Array:
        del scene
        return memory

    def advance(self, memory: jax.Array, action: jax.Array) -> jax.Array:
        del action
        return memory

    def caption_id(self, memory: jax.Array, scene: Scene) -> tuple[jax.Array, None]:
        del memory
        bits = 1 << np.arange(self.num_agents, dtype=np.int32)
        return jnp.where(scene.taken, bits, 0).sum(dtype=jnp.int32), None

    def object_ids(self, scene: Scene, context: None) -> jax.Array:
        """The landmarks."""
        del context
        return scene.numbers

    def skill_actions(self, memory: jax.Array, scene: Scene, context: None, skills: jax.Array) -> jax.Array:
        del memory, context
        flights = jnp.stack([fly_to(offset, scene.velocity, self.accel) for offset in scene.offsets])
        flight = pick(flights, (skills - FIRST_OBJECT_SKILL) // len(OBJECT_SKILLS))
        return jnp.where(skills < FIRST_OBJECT_SKILL, self.noop, flight)


def fly_to(offset: jax.Array, velocity: jax.Array, accel: float) -> jax.Array:
    """The push that brings an agent to a place and keeps it there, int32[].

    Args:
        offset: float32[2], the way to the place.
        velocity: float32[2].
        accel: the force of a push.
    """
    kept = 1 - DAMPING
    # A velocity v carries the agent on by v * TIME_STEP in this step, by `kept` times that in the next, and so on.
    way = TIME_STEP * (1 - kept**FORESIGHT) / DAMPING
    way_of_push = TIME_STEP * (1 - kept ** (FORESIGHT - 1)) / DAMPING * TIME_STEP * accel
    missed = (offset - way * velocity)[None] - way_of_push * MOVES
    return jnp.argmin(_squares(missed)).astype(jnp.int32)


def spread_domain(task: str, env: SimpleSpread) -> SpreadDomain:
    """The domain of simple_spread.

    Raises:
        ValueError: a variant that the teacher can't deal with.
    """
    if env.continuous_actions:
        raise ValueError(f"the teacher of {task} is for discrete actions; leave continuous_actions off")
    if env.num_agent_neighbors is not None or env.num_landmark_neighbors is not None:
        raise ValueError(f"the teacher of {task} needs to see all agents and landmarks; leave the neighbors at None")
    if env.num_agents > len(ORDINALS):
        raise ValueError(f"the teacher of {task} has words for at most {len(ORDINALS)} landmarks, not {env.num_agents}")
    return SpreadDomain(SpreadCaptions(env.num_agents), float(env.world.accel[0]))


def _squares(vectors: jax.Array) -> jax.Array:
    """float32[...], the squared lengths of vectors float32[..., 2]."""
    return jnp.square(vectors).sum(-1)
