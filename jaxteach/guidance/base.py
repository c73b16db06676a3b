"""What every way of guidance can do: hooks that the learner calls, each of which changes nothing by default."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp

from jaxteach.config import PPOConfig


class Advice(NamedTuple):
    """What the teacher says of observations."""

    probs: jax.Array  # float32[..., A, actions], its distributions; a row of zeros where it has no plans
    captions: jax.Array  # int32[..., A], -1 for none
    fade: jax.Array  # float32[], the schedule, from 1 at the beginning of the run to 0


class Steps(NamedTuple):
    """T finished steps of N environments with A agents each."""

    action: jax.Array  # int32[T, N, A]
    policy: jax.Array  # float32[T, N, A, actions], the probabilities by which the student acted
    discount: jax.Array  # float32[T, N, A], the world's, 0 where nothing follows
    last: jax.Array  # bool[T, N, A], the episode ended with this step
    next_captions: jax.Array  # int32[T, N, A], of the observations after the steps, -1 for none


@dataclass(frozen=True)
class Guidance:
    """A way in which the teacher guides the student; subclasses override some of the hooks.

    Attributes:
        config: the hyper-parameters; numbers may be traced.
        max_steps: steps until an episode of the world is truncated.
    """

    config: PPOConfig
    max_steps: int
    before_acting: ClassVar[bool] = False
    """Whether the teacher is queried in each step of the rollout, before the action, and not along trajectories."""
    needs_captions: ClassVar[bool] = False
    """Whether `bonus` reads captions."""
    learns_from_demonstrations: ClassVar[bool] = False
    """Whether the policy loss has the teacher's steps too, with ratios to the teacher's probabilities."""
    hinted: ClassVar[bool] = False
    """Whether the student's observation has a place for the teacher's distribution."""

    @classmethod
    def of(cls, config: PPOConfig, max_steps: int, teacher: Any) -> Self:
        """The method for a teacher.

        Raises:
            UserError: the teacher lacks what the method needs.
        """
        del teacher
        return cls(config, max_steps)

    def active(self, coefficient: jax.Array, fade: jax.Array) -> jax.Array:
        """bool[], whether the method still needs the teacher, where the schedule's weights are float32[] each."""
        del coefficient
        return fade > 0

    def policy_logits(self, logits: jax.Array, probs: jax.Array, fade: jax.Array) -> jax.Array:
        """The logits of the policy that acts and is improved, float32[..., A, actions].

        Args:
            logits: the student's, of the same shape.
            probs: the teacher's, of the same shape.
            fade: float32[], the schedule.
        """
        del probs, fade
        return logits

    def takes_over(self, elapsed: jax.Array, advice: Advice, key: jax.Array) -> jax.Array:
        """bool[N, A], where the teacher acts in place of the student, int32[N] `elapsed` steps into the episodes."""
        del elapsed, key
        return jnp.zeros(advice.captions.shape, bool)

    def hint(self, advice: Advice, key: jax.Array) -> jax.Array:
        """float32[N, A, actions], what the student observes of the teacher's distribution."""
        del key
        return jnp.zeros_like(advice.probs)

    def drop_hints(self, inputs: jax.Array, num_actions: int, key: jax.Array) -> jax.Array:
        """The inputs [T, N, A, features] that the student learns from; their last `num_actions` features are hints."""
        del num_actions, key
        return inputs

    def bonus(self, steps: Steps, advice: Advice) -> jax.Array:
        """float32[T, N, A], what is added to the rewards."""
        del steps
        return jnp.zeros(advice.captions.shape, jnp.float32)

    def gate(self, advice: Advice, samples: jax.Array) -> jax.Array:
        """float32[..., A], the weight of the labels after `samples` float32[] samples of the run had labels."""
        del samples
        return jnp.ones(advice.captions.shape, jnp.float32)

    def imitation_coef(self, coefficient: jax.Array) -> jax.Array:
        """float32[], the weight of the cross-entropy to the teacher, where `coefficient` is the schedule's."""
        return jnp.zeros_like(coefficient)

    def policy_coef(self, fade: jax.Array) -> jax.Array:
        """float32[], the weight of PPO's policy loss."""
        return jnp.ones_like(fade)


def has_plans(probs: jax.Array) -> jax.Array:
    """bool[...], where the teacher's distributions float32[..., actions] are not rows of zeros."""
    return probs.sum(-1) > 0
