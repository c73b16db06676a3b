"""For users' tasks: a vocabulary of plain words, and a `Domain` without a memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from envs_jax.small_gather import pick
from jaxteach.errors import UserError
from jaxteach.teacher.names import check_vocabulary
from jaxteach.teacher.navigation import FINISHED
from jaxteach.teacher.table import EXPLORE, FIRST_OBJECT_SKILL, OBJECT_SKILLS, WAIT


@dataclass(frozen=True)
class Words:
    """A `Vocabulary` of what is seen: each caption in `sees` is a list of the names of the objects in it.

    Names are letters, digits, - and _, with single blanks between; upper and lower case don't
    make two names. A caption names an object, perhaps with words before its name, such
    as "lit red switch" for a "red switch".

    Attributes:
        sees: the captions, all different.
        object_names: the names that plans may use.
        skills: those that plans may use, of `explore`, `goto`, `pickup`, `drop`, `toggle`, `wait`.

    Raises:
        ValueError: a name is not allowed or stands there twice, or a caption names something that is not an object.
    """

    sees: list[list[str]]
    object_names: list[str]
    skills: tuple[str, ...] = ("goto", "toggle")

    def __post_init__(self) -> None:
        words: Any = self
        check_vocabulary(words)

    @cached_property
    def holds(self) -> list[str | None]:
        return [None] * len(self.sees)

    @cached_property
    def texts(self) -> list[str]:
        return [f"Agent sees {', '.join(f'<{name}>' for name in sees) or 'nothing'}." for sees in self.sees]


@dataclass(frozen=True)
class PlainDomain:
    """A `Domain` of one agent without a memory: captions and actions follow from the observation alone.

    Attributes:
        vocabulary: the words.
        num_actions: how many actions there are.
        caption: the observation's caption, its place in the vocabulary, int32[].
        actions: for each skill and object of a plan the action, int32[], or `FINISHED` where it is done.
        idle: the action that does nothing.
    """

    vocabulary: Words
    num_actions: int
    caption: Callable[[Any], jax.Array]
    actions: Callable[[Any], dict[tuple[str, str | None], jax.Array]]
    noop: int = 0
    num_agents = None

    def reset(self) -> jax.Array:
        return jnp.zeros(0, jnp.float32)

    def read(self, obs: Any) -> Any:
        return obs

    def remember(self, memory: jax.Array, scene: Any) -> jax.Array:
        del scene
        return memory

    def advance(self, memory: jax.Array, action: jax.Array) -> jax.Array:
        del action
        return memory

    def caption_id(self, memory: jax.Array, scene: Any) -> tuple[jax.Array, None]:
        del memory
        return jnp.asarray(self.caption(scene), jnp.int32), None

    def object_ids(self, scene: Any, context: None) -> jax.Array:
        del scene, context
        return jnp.full(len(self.vocabulary.object_names), -1, jnp.int32)

    def skill_actions(self, memory: jax.Array, scene: Any, context: None, skills: jax.Array) -> jax.Array:
        """A skill that `actions` does not give is finished; `wait` is the `noop` action."""
        del memory, context
        names = self.vocabulary.object_names
        results = [jnp.int32(FINISHED)] * (FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * len(names))
        results[WAIT] = jnp.int32(self.noop)
        for (skill, name), action in self.actions(scene).items():
            place = {"explore": EXPLORE, "wait": WAIT}.get(skill)
            if place is None and (skill not in OBJECT_SKILLS or name not in names):
                raise UserError(
                    f"the domain's actions are of {skill!r}, {name!r}, which are not among its skills and objects"
                )
            if place is None:
                place = FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * names.index(str(name)) + OBJECT_SKILLS.index(skill)
            if isinstance(action, int) and action != FINISHED and not 0 <= action < self.num_actions:
                raise UserError(f"the domain's action of {skill!r}, {name!r} is {action}: it has {self.num_actions}")
            results[place] = jnp.asarray(action, jnp.int32)
        return pick(jnp.stack(results), skills)
