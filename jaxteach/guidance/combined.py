"""The methods of guidance by their names, and several of them as one."""

from dataclasses import dataclass
from functools import reduce
from operator import add, mul, or_
from typing import Any, Final

import jax
import jax.numpy as jnp

from jaxteach.config import PPOConfig
from jaxteach.errors import UserError
from jaxteach.guidance.agreement import Agreement
from jaxteach.guidance.base import Advice, Guidance, Steps
from jaxteach.guidance.clone import Clone
from jaxteach.guidance.dagger import Dagger
from jaxteach.guidance.gate import Gate
from jaxteach.guidance.guide import Guide
from jaxteach.guidance.hint import Hint
from jaxteach.guidance.kickstart import Kickstart
from jaxteach.guidance.potential import Potential
from jaxteach.guidance.prior import Prior
from jaxteach.teacher import Teacher

METHODS: Final[dict[str, type[Guidance]]] = {
    "kickstart": Kickstart,
    "agreement": Agreement,
    "potential": Potential,
    "prior": Prior,
    "guide": Guide,
    "dagger": Dagger,
    "clone": Clone,
    "hint": Hint,
    "gate": Gate,
}
"""The methods by their names in `--guidance`."""


@dataclass(frozen=True)
class CombinedGuidance:
    """Several methods with the hooks of one `Guidance`.

    Bonuses are added; gates and weights of the policy loss are multiplied; the changes of the policy are applied one
    after the other; of the weights of imitation the largest counts; the teacher acts where one of them says so.

    Attributes:
        parts: the methods, at most one of them `hinted`.
    """

    parts: tuple[Guidance, ...]

    @classmethod
    def of(cls, config: PPOConfig, max_steps: int, teacher: Any) -> "CombinedGuidance":
        """The methods that the options name.

        Args:
            config: the options.
            max_steps: steps until an episode of the world is truncated.
            teacher: a `Teacher`, or for methods that only need labels a `TeamTeacher`; None for no methods.

        Raises:
            UserError: the teacher lacks what a method needs.
        """
        if teacher is None:
            return cls(())
        for name in config.methods:
            method = METHODS[name]
            if (method.before_acting or method.needs_captions) and not isinstance(teacher, Teacher):
                raise UserError(f"--guidance {name} needs a jaxteach.Teacher, not {type(teacher).__name__}")
        return cls(tuple(METHODS[name].of(config, max_steps, teacher) for name in config.methods))

    @property
    def before_acting(self) -> bool:
        return any(part.before_acting for part in self.parts)

    @property
    def needs_captions(self) -> bool:
        return any(part.needs_captions for part in self.parts)

    @property
    def learns_from_demonstrations(self) -> bool:
        return any(part.learns_from_demonstrations for part in self.parts)

    @property
    def hinted(self) -> bool:
        return any(part.hinted for part in self.parts)

    def uses(self, hook: str) -> bool:
        """Whether a method overrides the hook of this name; the learner skips a hook that none overrides."""
        return any(getattr(type(part), hook) is not getattr(Guidance, hook) for part in self.parts)

    def active(self, coefficient: jax.Array, fade: jax.Array) -> jax.Array:
        return reduce(or_, (part.active(coefficient, fade) for part in self.parts))

    def policy_logits(self, logits: jax.Array, probs: jax.Array, fade: jax.Array) -> jax.Array:
        return reduce(lambda logits, part: part.policy_logits(logits, probs, fade), self.parts, logits)

    def takes_over(self, elapsed: jax.Array, advice: Advice, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(self.parts))
        return reduce(or_, (part.takes_over(elapsed, advice, key) for part, key in zip(self.parts, keys)))

    def hint(self, advice: Advice, key: jax.Array) -> jax.Array:
        (part,) = (part for part in self.parts if part.hinted)
        return part.hint(advice, key)

    def drop_hints(self, inputs: jax.Array, num_actions: int, key: jax.Array) -> jax.Array:
        (part,) = (part for part in self.parts if part.hinted)
        return part.drop_hints(inputs, num_actions, key)

    def bonus(self, steps: Steps, advice: Advice) -> jax.Array:
        return reduce(add, (part.bonus(steps, advice) for part in self.parts))

    def gate(self, advice: Advice, samples: jax.Array) -> jax.Array:
        return reduce(mul, (part.gate(advice, samples) for part in self.parts))

    def imitation_coef(self, coefficient: jax.Array) -> jax.Array:
        return reduce(jnp.maximum, (part.imitation_coef(coefficient) for part in self.parts))

    def policy_coef(self, fade: jax.Array) -> jax.Array:
        return reduce(mul, (part.policy_coef(fade) for part in self.parts))
