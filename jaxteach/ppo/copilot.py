"""The teacher in the rollout, for the ways of guidance that need it before the student acts."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from envs_jax.vector import select_copies
from jaxteach.guidance import Asked, Together
from jaxteach.ppo.distillation import merge_agents
from jaxteach.teacher import Teacher


@dataclass(frozen=True)
class Copilot:
    """A teacher that is asked at every step of N environments.

    Attributes:
        teacher: of all agents of an environment.
        guidance: what becomes of its answers.
        fade: float32[], the schedule.
        active: bool[], whether it is still asked; else all its answers are zeros, and all captions -1.
    """

    teacher: Teacher
    guidance: Together
    fade: jax.Array
    active: jax.Array

    def ask(self, memory: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, Asked]:
        """The memory with the observations in it, and the answers for all environments and agents.

        Args:
            memory: leaves [N, ...], after the actions before.
            obs: leaves [N, A, ...].
            first: bool[N], an episode begins.
            key: of the hard teacher.
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
        return memory, Asked(probs.reshape(count, -1, probs.shape[-1]), captions.reshape(count, -1), self.fade)

    def hinted(self, inputs: jax.Array, asked: Asked, key: jax.Array) -> jax.Array:
        """The network's inputs [N, A, ...] with the hint in its place, where there is one."""
        if not self.guidance.hinted:
            return inputs
        hint = self.guidance.hint(asked, key)
        return inputs.at[..., -hint.shape[-1] :].set(hint.astype(inputs.dtype))

    def joint_logits(self, logits: jax.Array, asked: Asked) -> jax.Array:
        """The logits float32[N, A, actions] of the policy that acts."""
        return self.guidance.joint_logits(logits, asked.probs, asked.fade)

    def take_turns(
        self, action: jax.Array, log_probs: jax.Array, elapsed: jax.Array, asked: Asked, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The teacher acts where it takes over.

        Args:
            action: the student's, int32[N, A].
            log_probs: which it was drawn by, float32[N, A, actions].
            elapsed: int32[N], steps into the episodes.
            asked: what the teacher says.
            key: draws who acts, and the teacher's actions.

        Returns:
            The actions, the log-probabilities that they were drawn by, and which are the student's own, bool[N, A].
        """
        turn_key, action_key = jax.random.split(key)
        taken, shown_log_probs = self.guidance.takes_over(elapsed, asked, turn_key), jnp.log(asked.probs)
        shown = jax.random.categorical(action_key, shown_log_probs).astype(jnp.int32)
        log_probs = jnp.where(taken[..., None], shown_log_probs, log_probs)
        return jnp.where(taken, shown, action), log_probs, ~taken

    def advance(self, memory: Any, action: jax.Array) -> Any:
        """The memory after the actions int32[N, A]."""
        return jax.vmap(self.teacher.advance)(memory, merge_agents(self.teacher, action))
