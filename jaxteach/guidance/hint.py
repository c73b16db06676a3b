"""Hint: the student observes what the teacher would do, ever less often."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Asked, Guidance


class Hint(Guidance):
    """The teacher's distribution is part of the student's observation, dropped out with a probability that rises to 1.

    After arXiv 2510.08779, where a recommended action and whether there is one are observed, and stay. So that the
    student does without in the end, it learns from half of the samples as if it had seen no hint there. It is
    evaluated, and used, with zeros in place of the hint.
    """

    before_acting = True
    hinted = True

    def hint(self, asked: Asked, key: jax.Array) -> jax.Array:
        shown = jax.random.bernoulli(key, asked.fade, asked.captions.shape)
        return jnp.where(shown[..., None], asked.probs, 0)

    def drop_hints(self, inputs: jax.Array, num_actions: int, key: jax.Array) -> jax.Array:
        dropped = jax.random.bernoulli(key, 0.5, (*inputs.shape[:-1], 1))
        return jnp.where(dropped, inputs.at[..., -num_actions:].set(0), inputs)
