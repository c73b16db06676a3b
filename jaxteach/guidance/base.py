"""What every way of guidance can do: hooks that the learner calls, each of which changes nothing by default."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from jaxteach.config import PPOConfig


class Asked(NamedTuple):
    """What the teacher says, and what is known when it says so."""

    probs: jax.Array  # float32[..., A, actions], a row of zeros where the teacher has no plans
    captions: jax.Array  # int32[..., A], -1 for none
    fade: jax.Array  # float32[], the schedule, from 1 at the beginning to 0


class Steps(NamedTuple):
    """Finished steps, [T, N, A] each."""

    action: jax.Array  # int32
    policy: jax.Array  # float32[T, N, A, actions], by which the student acted
    discount: jax.Array  # float32, 0 where nothing follows
    last: jax.Array  # bool, the episode ended with this step
    next_captions: jax.Array  # int32, of the observations after the steps


@dataclass(frozen=True)
class Guidance:
    """A way in which the teacher's distribution guides the student; subclasses override some of the hooks.

    Attributes:
        config: the hyper-parameters; numbers may be traced.
        max_steps: of the world's episodes.
    """

    config: PPOConfig
    max_steps: int
    before_acting: ClassVar[bool] = False
    """The teacher is asked at every step of the rollout, before the action, and not along finished trajectories."""
    needs_captions: ClassVar[bool] = False
    """It looks at the captions of observations, those after the last step among them."""
    learns_from_demonstrations: ClassVar[bool] = False
    """PPO's policy loss has the steps in which the teacher acted, too, with ratios to the teacher's probabilities."""
    hinted: ClassVar[bool] = False
    """The student's observation has a place for the teacher's distribution."""

    def active(self, coefficient: jax.Array, fade: jax.Array) -> jax.Array:
        """bool[], whether the teacher is still asked."""
        del coefficient
        return fade > 0

    def joint_logits(self, logits: jax.Array, probs: jax.Array, fade: jax.Array) -> jax.Array:
        """The logits of the policy that acts and is improved, from the student's; float32[..., A, actions] each."""
        del probs, fade
        return logits

    def takes_over(self, elapsed: jax.Array, asked: Asked, key: jax.Array) -> jax.Array:
        """bool[N, A], where the teacher acts in place of the student, `elapsed` int32[N] steps into the episodes."""
        del elapsed, key
        return jnp.zeros(asked.captions.shape, bool)

    def hint(self, asked: Asked, key: jax.Array) -> jax.Array:
        """float32[N, A, actions], what the student observes of the teacher's distribution."""
        del key
        return jnp.zeros_like(asked.probs)

    def drop_hints(self, inputs: jax.Array, num_actions: int, key: jax.Array) -> jax.Array:
        """The inputs [T, N, A, ...] that the student learns from, whose last `num_actions` are hints."""
        del num_actions, key
        return inputs

    def bonus(self, steps: Steps, asked: Asked) -> jax.Array:
        """float32[T, N, A], what is added to the rewards."""
        del steps
        return jnp.zeros(asked.captions.shape, jnp.float32)

    def gate(self, asked: Asked, samples: jax.Array) -> jax.Array:
        """float32[...], the weight of the teacher's labels, after `samples` float32[] labelled samples in the run."""
        del samples
        return jnp.ones(asked.captions.shape, jnp.float32)

    def imitation_coef(self, coefficient: jax.Array) -> jax.Array:
        """float32[], the weight of the cross-entropy to the teacher, where `coefficient` is the schedule's."""
        return jnp.zeros_like(coefficient)

    def policy_coef(self, fade: jax.Array) -> jax.Array:
        """float32[], the weight of PPO's own policy loss."""
        return jnp.ones_like(fade)


def labelled(probs: jax.Array) -> Any:
    """bool[...], where the teacher has plans."""
    return probs.sum(-1) > 0
