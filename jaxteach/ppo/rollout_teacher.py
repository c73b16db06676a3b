"""The teacher in the rollout, for the ways of guidance that query it before the student acts."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from envs_jax.vector import select_copies
from jaxteach.guidance import Advice, CombinedGuidance
from jaxteach.ppo.distillation import merge_agents
from jaxteach.teacher import Teacher


@dataclass(frozen=True)
class RolloutTeacher:
    """A teacher that is queried in each step of N environments.

    Attributes:
        teacher: the teacher.
        guidance: how its advice is used.
        fade: float32[], the schedule.
        active: bool[], whether it is still queried; else all probabilities are 0, and all captions -1.
    """

    teacher: Teacher
    guidance: CombinedGuidance
    fade: jax.Array
    active: jax.Array

    def advise(self, memory: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, Advice]:
        """What the teacher says of the observations.

        Args:
            memory: leaves [N, ...], after the last actions.
            obs: leaves [N, A, ...].
            first: bool[N], the observations begin an episode.
            key: PRNG key of the hard teacher.

        Returns:
            The memory after the observations, and the advice for all environments and agents.
        """
        merged = merge_agents(self.teacher, obs)
        memory = select_copies(first, self.teacher.reset(), memory)

        def query() -> tuple[Any, jax.Array, jax.Array]:
            return jax.vmap(self.teacher.decide)(memory, merged, jax.random.split(key, len(first)))

        def skip() -> tuple[Any, jax.Array, jax.Array]:
            shapes = jax.eval_shape(query)
            return memory, jnp.zeros(shapes[1].shape, jnp.float32), jnp.full(shapes[2].shape, -1, jnp.int32)

        memory, probs, captions = jax.lax.cond(self.active, query, skip)
        count = len(first)
        return memory, Advice(probs.reshape(count, -1, probs.shape[-1]), captions.reshape(count, -1), self.fade)

    def with_hint(self, inputs: jax.Array, advice: Advice, key: jax.Array) -> jax.Array:
        """The network's inputs [N, A, ...] with the hint in its place; unchanged if no method gives hints."""
        if not self.guidance.hinted:
            return inputs
        hint = self.guidance.hint(advice, key)
        return inputs.at[..., -hint.shape[-1] :].set(hint.astype(inputs.dtype))

    def policy_logits(self, logits: jax.Array, advice: Advice) -> jax.Array:
        """The logits float32[N, A, actions] of the policy that acts."""
        return self.guidance.policy_logits(logits, advice.probs, advice.fade)

    def intervene(
        self, action: jax.Array, log_probs: jax.Array, elapsed: jax.Array, advice: Advice, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The actions with the teacher's where it takes over.

        Args:
            action: int32[N, A], the student's.
            log_probs: float32[N, A, actions], the log-probabilities by which the student draws.
            elapsed: int32[N], the steps so far in the episodes.
            advice: of the observations.
            key: draws where the teacher takes over, and its actions.

        Returns:
            The actions int32[N, A]; the log-probabilities by which each was drawn; and bool[N, A], whether it is the
            student's.
        """
        takeover_key, action_key = jax.random.split(key)
        takes_over = self.guidance.takes_over(elapsed, advice, takeover_key)
        advised_log_probs = jnp.log(advice.probs)
        advised = jax.random.categorical(action_key, advised_log_probs).astype(jnp.int32)
        log_probs = jnp.where(takes_over[..., None], advised_log_probs, log_probs)
        return jnp.where(takes_over, advised, action), log_probs, ~takes_over

    def advance(self, memory: Any, action: jax.Array) -> Any:
        """The memory after the actions int32[N, A]."""
        return jax.vmap(self.teacher.advance)(memory, merge_agents(self.teacher, action))
