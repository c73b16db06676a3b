"""Agreement: a reward for acting as the teacher would."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Asked, Guidance, Steps


class Agreement(Guidance):
    """Each action costs `agreement_coef` times the probability that the teacher would not take it, fading.

    After arXiv 2410.03997, a reward for agreement with a language model. As a gain it makes long episodes better than
    successful ones; as a cost of disagreement, the same less a constant a step, it leaves success the best. It fades,
    since a student that only agrees is no better than its teacher. Where the teacher has no plans nothing is lost.
    """

    def bonus(self, steps: Steps, asked: Asked) -> jax.Array:
        agreed = jnp.take_along_axis(asked.probs, steps.action[..., None], -1)[..., 0]
        return self.config.agreement_coef * asked.fade * (agreed - asked.probs.sum(-1))
