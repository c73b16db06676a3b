"""DAgger: the teacher acts now and then, and labels every state."""

import jax

from jaxteach.guidance.base import Asked, Guidance, labelled


class Dagger(Guidance):
    """The teacher acts with a probability that fades from 1; a cross-entropy to it is learnt in every state.

    After arXiv 1011.0686, which imitates all collected states from the start anew; here each iteration's states are
    learnt once, beside PPO on the student's own actions, and the cross-entropy fades, so that the student can become
    better than the teacher.
    """

    before_acting = True

    def takes_over(self, elapsed: jax.Array, asked: Asked, key: jax.Array) -> jax.Array:
        del elapsed
        return jax.random.bernoulli(key, asked.fade, asked.captions.shape) & labelled(asked.probs)

    def imitation_coef(self, coefficient: jax.Array) -> jax.Array:
        return coefficient
