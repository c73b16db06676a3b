"""Guide: the teacher is the guide policy of Jump-Start RL, which plays the first part of each episode."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Advice, Guidance, has_plans


class Guide(Guidance):
    """The teacher plays the first part of each episode, and the student the rest.

    After Jump-Start RL (arXiv 2204.02372), whose guided part gets shorter as the student improves, or has a random
    length. Here environment i of N is guided for fade * max_steps * ((i + 1/2) / N)^3 steps, so that most guided parts
    are short, and all of them fade. As there, the student learns from the teacher's steps, too: here PPO's policy loss
    has them with ratios to the teacher's probabilities.
    """

    before_acting = True
    learns_from_demonstrations = True

    def takes_over(self, elapsed: jax.Array, advice: Advice, key: jax.Array) -> jax.Array:
        del key
        share = (jnp.arange(elapsed.shape[0], dtype=jnp.float32) + 0.5) / elapsed.shape[0]
        guided = elapsed.astype(jnp.float32) < advice.fade * self.max_steps * share**3
        return guided[:, None] & has_plans(advice.probs)
