"""Hint: the student observes what the teacher would do, less and less often."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Advice, Guidance


class Hint(Guidance):
    """The teacher's distribution is part of the student's observation, dropped out with a probability that rises to 1.

    After arXiv 2510.08779, whose students always observe a recommended action. Here the student has to act without
    hints in the end, so half of the samples that it learns from have none. It is evaluated and used with zeros in place
    of the hint.
    """

    before_acting = True
    hinted = True

    def hint(self, advice: Advice, key: jax.Array) -> jax.Array:
        shown = jax.random.bernoulli(key, advice.fade, advice.captions.shape)
        return jnp.where(shown[..., None], advice.probs, 0)

    def drop_hints(self, inputs: jax.Array, num_actions: int, key: jax.Array) -> jax.Array:
        dropped = jax.random.bernoulli(key, jnp.float32(0.5), (*inputs.shape[:-1], 1))
        return jnp.where(dropped, inputs.at[..., -num_actions:].set(0), inputs)
