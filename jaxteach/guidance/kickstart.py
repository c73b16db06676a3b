"""Kickstarting: the student is pulled towards the teacher by a cross-entropy that fades."""

import jax

from jaxteach.guidance.base import Guidance


class Kickstart(Guidance):
    """A cross-entropy to the teacher, with weight `distill_coef`, fading (arXiv 1803.03835, 2311.13373).

    Kickstarting tunes the weight by population-based training; here it follows a schedule, as in LLM4Teach.
    """

    def active(self, coefficient: jax.Array, fade: jax.Array) -> jax.Array:
        del fade
        return coefficient > 0

    def imitation_coef(self, coefficient: jax.Array) -> jax.Array:
        return coefficient
