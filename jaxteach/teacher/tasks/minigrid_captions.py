"""The captions of MiniGrid's worlds: what an agent knows of the objects that matter for its mission."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.small_gather import pick
from jaxteach.teacher.domain import NO_CAPTION, caption_text
from jaxteach.teacher.plans import BASIC_SKILLS


class KnownWorld(NamedTuple):
    """What an agent knows of its world; W x H is the size of its map, a torus on which the world may lie anywhere."""

    kind: jax.Array  # int32[W, H], object ids, `UNSEEN` where nothing was seen
    color: jax.Array  # int32[W, H]
    state: jax.Array  # int32[W, H], `OPEN`, `CLOSED` or `LOCKED` for doors
    held_kind: jax.Array  # int32[], the object id of what the agent carries, `EMPTY` for nothing
    held_color: jax.Array  # int32[]
    mission: jax.Array  # int32[M], the mission's numbers, see the world
    unlocked: jax.Array  # bool[colours], those of which the agent has unlocked a door
    within_reach: jax.Array  # bool[W, H], the cells that the agent can walk to, and those next to these
    here: jax.Array  # bool[W, H], the agent's own cell


@dataclass(frozen=True)
class NamedObject:
    """An object that captions name, or several of a kind.

    A "used key" is a "key" with words before it: captions say which it is, and plans name both "key".

    Attributes:
        name: the name in captions.
        cells: `(KnownWorld) -> bool[W, H]`, where such objects are; None for one that is named only when held.
        held: `(KnownWorld) -> bool[]`, whether the agent holds one; None for one that is never held.
        by_sight: a caption names it as soon as the agent has seen it, not only while the agent knows a way to it.
        enter: *go to* enters its cell instead of stopping in front of it.
        note: what a prompt says about it.
    """

    name: str
    cells: Callable[[KnownWorld], jax.Array] | None = None
    held: Callable[[KnownWorld], jax.Array] | None = None
    by_sight: bool = False
    enter: bool = False
    note: str = ""

    def is_a(self, other: "NamedObject") -> bool:
        """Whether this is the other object, perhaps with words before its name."""
        return f" {self.name}".endswith(f" {other.name}")


@dataclass(frozen=True)
class MiniGridCaptions:
    """The captions of a world: every combination of objects as seen, each with nothing or one object as held.

    Attributes:
        objects: what matters for the mission, in the order in which captions name it.
        mission: what a prompt says about the mission.
        unique: the world has at most one object of each name that plans use, so that no caption names it twice, say as
            seen and as held.
        skills: those that plans may use, of `jaxteach.teacher.plans.SKILLS`.
    """

    objects: tuple[NamedObject, ...]
    mission: str = ""
    unique: bool = False
    skills: tuple[str, ...] = BASIC_SKILLS

    @cached_property
    def seen_objects(self) -> list[NamedObject]:
        """The objects that can be seen."""
        return [thing for thing in self.objects if thing.cells is not None]

    @cached_property
    def held_objects(self) -> list[NamedObject]:
        """The objects that can be held; if several are, the first one is named."""
        return [thing for thing in self.objects if thing.held is not None]

    @cached_property
    def plan_objects(self) -> list[NamedObject]:
        """The objects that plans may name: all that are not another one with words before its name."""
        things = self.objects
        return [thing for thing in things if not any(thing.is_a(other) for other in things if other is not thing)]

    @cached_property
    def object_names(self) -> list[str]:
        return [thing.name for thing in self.plan_objects]

    @cached_property
    def _codes(self) -> list[tuple[tuple[bool, ...], int]]:
        """For each caption, whether it names each of `seen_objects`, and 1 + the index of the held object or 0."""
        selections = product((False, True), repeat=len(self.seen_objects))
        codes = product(selections, range(len(self.held_objects) + 1))
        return [code for code in codes if self._can_occur(*code)]

    def _can_occur(self, seen: tuple[bool, ...], held: int) -> bool:
        named = [thing for thing, is_seen in zip(self.seen_objects, seen) if is_seen]
        named += self.held_objects[held - 1 : held] if held else []
        return not self.unique or all(sum(thing.is_a(other) for thing in named) < 2 for other in self.plan_objects)

    @cached_property
    def _code_to_id(self) -> np.ndarray:
        """int32[2**seen * (held + 1)], the caption of each code, -1 for what can't occur."""
        table = np.full((2 ** len(self.seen_objects), len(self.held_objects) + 1), NO_CAPTION, np.int32)
        for i, (seen, held) in enumerate(self._codes):
            table[sum(is_seen << k for k, is_seen in enumerate(seen)), held] = i
        return table.reshape(-1)

    @cached_property
    def sees(self) -> list[list[str]]:
        return [[thing.name for thing, is_seen in zip(self.seen_objects, seen) if is_seen] for seen, _ in self._codes]

    @cached_property
    def holds(self) -> list[str | None]:
        names = [None, *(thing.name for thing in self.held_objects)]
        return [names[held] for _, held in self._codes]

    @cached_property
    def texts(self) -> list[str]:
        return [caption_text(sees, holds) for sees, holds in zip(self.sees, self.holds)]

    @property
    def prompt_parts(self) -> dict[str, str]:
        """What a prompt says about the world, by the placeholders `mission` and `notes`."""
        notes = [f"- <{thing.name}>: {thing.note}" for thing in self.objects if thing.note]
        return {"mission": self.mission, "notes": "\n".join(notes)}

    def number(self, seen: jax.Array, held: jax.Array) -> jax.Array:
        """int32[], the caption that names the `seen_objects` bool[seen], and the `held_object` int32[]."""
        bits = np.left_shift(1, np.arange(len(self.seen_objects), dtype=np.int32)).astype(np.int32)
        code = jnp.where(seen, bits, 0).sum(dtype=jnp.int32)
        return pick(self._code_to_id, code * (len(self.held_objects) + 1) + held)

    def held_object(self, known: KnownWorld) -> jax.Array:
        """int32[], 1 + the index in `held_objects` of what is held; 0 for nothing, or nothing with a name."""
        held = jnp.int32(0)
        for i in reversed(range(len(self.held_objects))):
            held = jnp.where(_call(self.held_objects[i].held, known), i + 1, held)
        return held

    @cached_property
    def held_as(self) -> np.ndarray:
        """bool[held + 1, P], by `held_object`, whether that is each of the P `plan_objects`."""
        held = [[thing.is_a(other) for other in self.plan_objects] for thing in self.held_objects]
        return np.array([[False] * len(self.plan_objects), *held], bool)

    @cached_property
    def seen_as(self) -> np.ndarray:
        """bool[P, seen], for each of the P `plan_objects`, which of the `seen_objects` are that."""
        seen = [[thing.is_a(other) for thing in self.seen_objects] for other in self.plan_objects]
        return np.array(seen, bool).reshape(len(self.plan_objects), len(self.seen_objects))

    def cells(self, known: KnownWorld) -> jax.Array:
        """bool[seen, W, H], where the `seen_objects` are."""
        if not self.seen_objects:
            return jnp.zeros((0, *known.kind.shape), bool)
        return jnp.stack([_call(thing.cells, known) for thing in self.seen_objects])


def _call(function: Callable[[KnownWorld], Any] | None, known: KnownWorld) -> jax.Array:
    assert function is not None
    return jnp.asarray(function(known), bool)
