"""The ways in which a teacher can guide a student, one file each."""

from dataclasses import dataclass
from functools import reduce
from operator import add, mul, or_
from typing import Any, Final

import jax
import jax.numpy as jnp

from jaxteach.config import PPOConfig
from jaxteach.errors import UserError
from jaxteach.guidance.agreement import Agreement
from jaxteach.guidance.base import Asked, Guidance, Steps
from jaxteach.guidance.clone import Clone
from jaxteach.guidance.dagger import Dagger
from jaxteach.guidance.gate import Gate
from jaxteach.guidance.guide import Guide
from jaxteach.guidance.hint import Hint
from jaxteach.guidance.kickstart import Kickstart
from jaxteach.guidance.potential import Potential, caption_values
from jaxteach.guidance.prior import Prior
from jaxteach.teacher import Teacher

__all__ = ["METHODS", "Asked", "Guidance", "Steps", "Together"]

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


@dataclass(frozen=True)
class Together:
    """Several methods as one: `Guidance` whose hooks are those of all.

    Bonuses are added, gates and weights multiplied, joint policies applied one after the other; of the weights of
    imitation the largest counts.
    """

    parts: tuple[Guidance, ...]

    @classmethod
    def of(cls, config: PPOConfig, max_steps: int, teacher: Any) -> "Together":
        """The methods that the options name.

        Args:
            config: the options.
            max_steps: of the world's episodes.
            teacher: a `Teacher`, or another one for the methods that only need labels.

        Raises:
            UserError: the teacher has not what a method needs.
        """
        parts: list[Guidance] = []
        for name in config.methods:
            method = METHODS[name]
            if (method.before_acting or method.needs_captions) and not isinstance(teacher, Teacher):
                raise UserError(f"--guidance {name} needs a jaxteach.Teacher, not {type(teacher).__name__}")
            if method is Potential:
                parts.append(Potential(config, max_steps, caption_values(teacher)))
            else:
                parts.append(method(config, max_steps))
        return cls(tuple(parts))

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
        """Whether a method overrides a hook, by its name: a hook that none uses costs nothing."""
        return any(getattr(type(part), hook) is not getattr(Guidance, hook) for part in self.parts)

    def active(self, coefficient: jax.Array, fade: jax.Array) -> jax.Array:
        return reduce(or_, (part.active(coefficient, fade) for part in self.parts if type(part) is not Gate))

    def joint_logits(self, logits: jax.Array, probs: jax.Array, fade: jax.Array) -> jax.Array:
        return reduce(lambda logits, part: part.joint_logits(logits, probs, fade), self.parts, logits)

    def takes_over(self, elapsed: jax.Array, asked: Asked, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(self.parts))
        return reduce(or_, (part.takes_over(elapsed, asked, key) for part, key in zip(self.parts, keys)))

    def hint(self, asked: Asked, key: jax.Array) -> jax.Array:
        (part,) = (part for part in self.parts if part.hinted)
        return part.hint(asked, key)

    def drop_hints(self, inputs: jax.Array, num_actions: int, key: jax.Array) -> jax.Array:
        (part,) = (part for part in self.parts if part.hinted)
        return part.drop_hints(inputs, num_actions, key)

    def bonus(self, steps: Steps, asked: Asked) -> jax.Array:
        return reduce(add, (part.bonus(steps, asked) for part in self.parts))

    def gate(self, asked: Asked, samples: jax.Array) -> jax.Array:
        return reduce(mul, (part.gate(asked, samples) for part in self.parts))

    def imitation_coef(self, coefficient: jax.Array) -> jax.Array:
        return reduce(jnp.maximum, (part.imitation_coef(coefficient) for part in self.parts))

    def policy_coef(self, fade: jax.Array) -> jax.Array:
        return reduce(mul, (part.policy_coef(fade) for part in self.parts))
