"""Agreement: a reward for acting as the teacher would."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Advice, Guidance, Steps


class Agreement(Guidance):
    """An action gains `agreement_coef` times the teacher's probability of it less what the student expects, fading.

    After arXiv 2410.03997, which rewards agreement with a language model. Without the expectation, some students agree
    for ever where the teacher turns or waits, and never succeed. With it the mean gain of a policy is 0, so that the
    student only learns which action agrees. The reward fades, since a student that only agrees is no better than its
    teacher.
    """

    def bonus(self, steps: Steps, advice: Advice) -> jax.Array:
        agreed = jnp.take_along_axis(advice.probs, steps.action[..., None], -1)[..., 0]
        expected = (steps.policy * advice.probs).sum(-1)
        return self.config.agreement_coef * advice.fade * (agreed - expected)
