"""Prior: the student acts by its own policy times the teacher's."""

from typing import Final

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Guidance, has_plans

MIN_PROBABILITY: Final = 1e-2
"""The least probability of an action by the teacher, whose plans are often certain and would rule actions out."""


class Prior(Guidance):
    """The policy that acts is the student's times the teacher's to the power of `prior_beta`, normalised, fading.

    After arXiv 2410.07927, where a language model is the prior of the policy, and the divergence from it is penalised.
    Here the policies are multiplied, and PPO's ratio is that of their product. The teacher's probabilities are at least
    0.01 each before they are multiplied.
    """

    before_acting = True

    def policy_logits(self, logits: jax.Array, probs: jax.Array, fade: jax.Array) -> jax.Array:
        beta = jnp.where(has_plans(probs), self.config.prior_beta * fade, 0)
        return logits + beta[..., None] * jnp.log(jnp.maximum(probs, MIN_PROBABILITY))
