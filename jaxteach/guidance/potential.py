"""Potential: rewards for captions that a language model values more, which leave the optimal policies optimal."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp

from jaxteach.config import PPOConfig
from jaxteach.errors import UserError
from jaxteach.guidance.base import Advice, Guidance, Steps
from jaxteach.teacher.plans import caption_parts


@dataclass(frozen=True)
class Potential(Guidance):
    """Potential-based shaping: gamma * value(next caption) - value(caption), times `potential_coef`.

    After Ng, Harada and Russell (1999); as in arXiv 2310.00166, a language model judges captions, here by a value each.
    The bonus does not fade, since the optimal policies stay the same. gamma is the discount of the learner times that
    of the world, so that nothing counts where nothing follows. Captions without a value have the value 0. Where an
    episode is truncated, the next caption counts as the same, since the one that follows belongs to another episode.

    Attributes:
        values: of each caption, from 0 to 1, from the plan file.
    """

    values: tuple[float, ...] = ()
    needs_captions: ClassVar[bool] = True

    @classmethod
    def of(cls, config: PPOConfig, max_steps: int, teacher: Any) -> Self:
        return cls(config, max_steps, caption_values(teacher))

    def active(self, coefficient: jax.Array, fade: jax.Array) -> jax.Array:
        del coefficient, fade
        return jnp.bool_(True)

    def bonus(self, steps: Steps, advice: Advice) -> jax.Array:
        values = jnp.asarray((*self.values, 0.0), jnp.float32)

        def value_of(captions: jax.Array) -> jax.Array:
            return values[jnp.where((captions >= 0) & (captions < len(self.values)), captions, len(self.values))]

        here = value_of(advice.captions)
        following = jnp.where(steps.last, here, value_of(steps.next_captions))
        return self.config.potential_coef * (self.config.gamma * steps.discount * following - here)


def caption_values(teacher: Any) -> tuple[float, ...]:
    """The value of each of a teacher's captions, 0 where its plans have none.

    Raises:
        UserError: they have none at all.
    """
    plans = getattr(teacher, "plans", None)
    entries = () if plans is None else plans.captions
    values = {entry.caption: entry.value for entry in entries if entry.value is not None}
    if not values:
        raise UserError(
            "the plans have no values of situations, which --guidance potential needs; make some with "
            "python -m jaxteach.teach --values scores"
        )
    return tuple(values.get(caption, 0.0) for caption in caption_parts(teacher.vocabulary))
