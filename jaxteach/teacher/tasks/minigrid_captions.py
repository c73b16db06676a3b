"""The captions of MiniGrid's worlds: what an agent knows of the objects that matter for its mission."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.small_gather import pick
from jaxteach.errors import UserError
from jaxteach.teacher.domain import NO_CAPTION, caption_text
from jaxteach.teacher.plans import BASIC_SKILLS

MOST_CAPTIONS: Final = 4096
MOST_COMBINATIONS: Final = 2**20
"""Of objects, also those that no caption names together: a table has an entry for each."""


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

    Raises:
        ValueError: the name is not a string, or `cells` or `held` is not a function.
    """

    name: str
    cells: Callable[[KnownWorld], jax.Array] | None = None
    held: Callable[[KnownWorld], jax.Array] | None = None
    by_sight: bool = False
    enter: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise UserError(f"an object's name must be a string, not {self.name!r}")
        for part in ("cells", "held"):
            given = getattr(self, part)
            if given is not None and not callable(given):
                raise UserError(f"{part} of the object {self.name!r} must be a function or None, not {given!r}")

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

    Raises:
        ValueError: `objects` are no `NamedObject`s, two have the same name, or there are more than 4,096 captions.
    """

    objects: tuple[NamedObject, ...]
    mission: str = ""
    unique: bool = False
    skills: tuple[str, ...] = BASIC_SKILLS

    def __post_init__(self) -> None:
        things = self.objects
        if not isinstance(things, tuple | list) or not all(isinstance(thing, NamedObject) for thing in things):
            raise UserError(f"the objects of MiniGridCaptions must be a tuple of NamedObjects, not {things!r:.200}")
        if not things:
            raise UserError("MiniGridCaptions need at least one object; give a NamedObject")
        names = [thing.name for thing in things]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"the object {twice!r} appears twice; give each a name of its own, such as 'used {twice}'")
        object.__setattr__(self, "objects", tuple(things))
        self._check_number()

    def _check_number(self) -> None:
        """Raises `UserError` for too many captions, which it counts without making them."""
        combinations = 2 ** len(self.seen_objects) * (len(self.held_objects) + 1)
        count = self._count_unique() if self.unique else combinations
        way_out = "give fewer objects" if self.unique else "give fewer objects, or unique=True if there is one of each"
        if count > MOST_CAPTIONS:
            raise UserError(f"these objects make {count:,} captions, more than {MOST_CAPTIONS:,}; {way_out}")
        if combinations > MOST_COMBINATIONS:
            raise UserError(
                f"these objects have {combinations:,} combinations, more than {MOST_COMBINATIONS:,}; give fewer objects"
            )

    def _count_unique(self) -> int:
        """How many captions name at most one object of each name that plans use."""
        ways = [1 + sum(thing.is_a(other) for thing in self.seen_objects) for other in self.plan_objects]
        seen = prod(ways)
        # What is held is not seen too, nor is another one of its name.
        pairs = product(self.held_objects, zip(self.plan_objects, ways))
        return seen + sum(seen // choices for thing, (other, choices) in pairs if thing.is_a(other))

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
            held = jnp.where(_call(self.held_objects[i], "held", known, ()), i + 1, held)
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
        return jnp.stack([_call(thing, "cells", known, known.kind.shape) for thing in self.seen_objects])


def checked_flags(what: str, given: Any, shape: tuple[int, ...]) -> jax.Array:
    """What a user's function returns, if that is bool of this shape, which is () or (W, H).

    Raises:
        UserError: it is something else.
    """
    dtype = getattr(given, "dtype", np.result_type(bool) if isinstance(given, bool) else None)
    if dtype != np.bool_ or jnp.shape(given) != shape:
        wanted = f"bool[W, H], here bool{list(shape)}" if shape else "bool[]"
        found = type(given).__name__ if dtype is None else f"{dtype}{list(jnp.shape(given))}"
        raise UserError(f"{what} must return {wanted}, not {found}")
    return jnp.asarray(given)


def _call(thing: NamedObject, part: str, known: KnownWorld, shape: tuple[int, ...]) -> jax.Array:
    """What `cells` or `held` of an object returns."""
    return checked_flags(f"{part} of the object {thing.name!r}", getattr(thing, part)(known), shape)
