"""Prior: the student acts together with the teacher."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Guidance, labelled

FLOOR = 1e-2
"""Least probability of the teacher's: its plans are often certain, and would rule actions out."""


class Prior(Guidance):
    """Acts from the student's policy times the teacher's to the power of `prior_beta`, fading.

    After arXiv 2410.07927, where a language model is the prior of the policy and a divergence from it is penalised;
    here the policies are multiplied, and PPO's ratio is that of the joint policy. The teacher's probabilities are at
    least 0.01 each before they are multiplied.
    """

    before_acting = True

    def joint_logits(self, logits: jax.Array, probs: jax.Array, fade: jax.Array) -> jax.Array:
        beta = jnp.where(labelled(probs), self.config.prior_beta * fade, 0)
        return logits + beta[..., None] * jnp.log(jnp.maximum(probs, FLOOR))
