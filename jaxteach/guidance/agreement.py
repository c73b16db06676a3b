"""Agreement: a reward for acting as the teacher would."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Asked, Guidance, Steps


class Agreement(Guidance):
    """Each action gains `agreement_coef` times the teacher's probability of it, less the student's expectation, fading.

    After arXiv 2410.03997, a reward for agreement with a language model. Without the expectation, students were found
    that agree for ever where the teacher turns or waits, and never succeed; with it a policy gains nothing in the mean,
    and only learns which action agrees. It fades, since a student that only agrees is no better than its teacher.
    """

    def bonus(self, steps: Steps, asked: Asked) -> jax.Array:
        agreed = jnp.take_along_axis(asked.probs, steps.action[..., None], -1)[..., 0]
        expected = (steps.policy * asked.probs).sum(-1)
        return self.config.agreement_coef * asked.fade * (agreed - expected)
