"""DAgger: the teacher acts with a probability that fades, and labels every state."""

import jax

from jaxteach.guidance.base import Advice, Guidance, has_plans


class Dagger(Guidance):
    """The teacher acts with a probability that fades from 1; the loss has a cross-entropy to it in every state.

    After arXiv 1011.0686, which trains anew on the states of all iterations. Here an iteration learns from its own
    states alone, PPO learns from the student's own actions, and the cross-entropy fades, so that the student can become
    better than the teacher.
    """

    before_acting = True

    def takes_over(self, elapsed: jax.Array, advice: Advice, key: jax.Array) -> jax.Array:
        del elapsed
        return jax.random.bernoulli(key, advice.fade, advice.captions.shape) & has_plans(advice.probs)

    def imitation_coef(self, coefficient: jax.Array) -> jax.Array:
        return coefficient
