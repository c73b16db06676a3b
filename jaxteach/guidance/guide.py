"""Guide: the teacher plays the first part of each episode."""

import jax
import jax.numpy as jnp

from jaxteach.guidance.base import Asked, Guidance, labelled


class Guide(Guidance):
    """The teacher plays the first part of each episode, ever shorter, and then the student goes on.

    After Jump-Start RL (arXiv 2204.02372), in its variant where the length of that part is random; here it differs from
    environment to environment, from nothing to `max_steps` steps times the schedule, mostly short, where there it falls
    when the student has become good enough. As there, the student learns from the teacher's steps too: here by PPO's
    loss with ratios to the teacher's probabilities.
    """

    before_acting = True
    learns_from_demonstrations = True

    def takes_over(self, elapsed: jax.Array, asked: Asked, key: jax.Array) -> jax.Array:
        del key
        share = (jnp.arange(elapsed.shape[0], dtype=jnp.float32) + 0.5) / elapsed.shape[0]
        guided = elapsed.astype(jnp.float32) < asked.fade * self.max_steps * share**3
        return guided[:, None] & labelled(asked.probs)
