"""Gate: the teacher's labels count as much as it is certain, until a budget is spent."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Advice, Guidance


class Gate(Guidance):
    """The other methods' labels are weighted by 1 - H(teacher) / log(actions), for the first `label_budget` samples.

    After arXiv 2606.06673. It changes `kickstart`, `agreement`, `dagger` and `clone`, and does nothing alone. The
    budget counts the samples of whole iterations.
    """

    def active(self, coefficient: jax.Array, fade: jax.Array) -> jax.Array:
        del coefficient, fade
        return jnp.bool_(False)

    def gate(self, advice: Advice, samples: jax.Array) -> jax.Array:
        logs = jnp.log(jnp.where(advice.probs > 0, advice.probs, 1))
        entropy = -(advice.probs * logs).sum(-1)
        # With a single action the teacher is certain, and 0 / 0 is NaN.
        certainty = 1 - entropy / jnp.log(jnp.float32(max(advice.probs.shape[-1], 2)))
        return jnp.where(samples < self.config.label_budget, certainty, 0)
