"""Agreement: a reward for acting as the teacher would."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Asked, Guidance, Steps


class Agreement(Guidance):
    """Each action costs `agreement_coef` times the probability that the teacher would not take it, fading.

    After arXiv 2410.03997, where an action that agrees with a language model's proposal gains a constant reward. As a
    gain it makes long episodes better than successful ones; as a cost of disagreement it is the same less a constant a
    step, and success stays best. Where the teacher has no plans nothing is lost.
    """

    def bonus(self, steps: Steps, asked: Asked) -> jax.Array:
        agreed = jnp.take_along_axis(asked.probs, steps.action[..., None], -1)[..., 0]
        return self.config.agreement_coef * asked.fade * (agreed - asked.probs.sum(-1))
