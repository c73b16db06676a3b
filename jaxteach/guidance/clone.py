"""Clone: behaviour cloning first, then plain PPO."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Advice, Guidance, has_plans


class Clone(Guidance):
    """While the schedule is above `clone_until` the teacher acts and is imitated; then PPO trains alone.

    After arXiv 2505.10861, behaviour cloning before reinforcement learning. Here the value function learns from the
    teacher's episodes in the first phase, so that PPO does not begin with an untrained one.
    """

    before_acting = True

    def _cloning(self, fade: jax.Array) -> jax.Array:
        return fade > self.config.clone_until

    def takes_over(self, elapsed: jax.Array, advice: Advice, key: jax.Array) -> jax.Array:
        del elapsed, key
        return self._cloning(advice.fade) & has_plans(advice.probs)

    def imitation_coef(self, coefficient: jax.Array) -> jax.Array:
        return jnp.where(coefficient > self.config.clone_until * self.config.distill_coef, self.config.distill_coef, 0)

    def policy_coef(self, fade: jax.Array) -> jax.Array:
        return jnp.where(self._cloning(fade), 0, jnp.ones_like(fade))
