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


class Known(NamedTuple):
    """What an agent knows of its world; cells are on its map, W x H."""

    kind: jax.Array  # int32[W, H], object ids, 0: unseen
    color: jax.Array  # int32[W, H]
    state: jax.Array  # int32[W, H], of doors
    held_kind: jax.Array  # int32[], what the agent carries, `EMPTY` for nothing
    held_color: jax.Array  # int32[]
    mission: jax.Array  # int32[M], see the world
    unlocked: jax.Array  # bool[colours], of which the agent has seen a locked door open
    within_reach: jax.Array  # bool[W, H], the cells that the agent can walk to, and those next to these
    here: jax.Array  # bool[W, H], the agent's own cell


@dataclass(frozen=True)
class Name:
    """A name in captions, and what it stands for.

    A name such as "used key" qualifies the object "key": plans name the object.

    Attributes:
        text: the name.
        cells: bool[W, H] of a `Known`, where such objects are; None for a name of what is held alone.
        held: bool[] of a `Known`, whether the agent holds one; None for what it never holds.
        by_sight: a caption names it as soon as the agent has seen it, not only while it knows a way to it.
        enter: *go to* enters its cell instead of stopping before it.
        about: what a prompt says about it.
    """

    text: str
    cells: Callable[[Known], jax.Array] | None = None
    held: Callable[[Known], jax.Array] | None = None
    by_sight: bool = False
    enter: bool = False
    about: str = ""

    def stands_for(self, other: "Name") -> bool:
        """Whether this names, perhaps with words before it, another name's object."""
        return f" {self.text}".endswith(f" {other.text}")


@dataclass(frozen=True)
class MiniGridCaptions:
    """The captions of a world: every selection of its names as seen, with each that can be held or nothing.

    Attributes:
        names: of what matters for the mission, in the order in which captions name them.
        mission: what a prompt says about the mission.
        single: the world has one object of each kind at most, so that no caption names it twice.
        skills: those that plans may use.
    """

    names: tuple[Name, ...]
    mission: str = ""
    single: bool = False
    skills: tuple[str, ...] = BASIC_SKILLS

    @cached_property
    def seen_names(self) -> list[Name]:
        """The names of what can be seen."""
        return [name for name in self.names if name.cells is not None]

    @cached_property
    def held_names(self) -> list[Name]:
        """The names of what can be held; the first that holds is named."""
        return [name for name in self.names if name.held is not None]

    @cached_property
    def objects(self) -> list[Name]:
        """The names that plans may use."""
        return [
            name for name in self.names if not any(name.stands_for(other) for other in self.names if other is not name)
        ]

    @cached_property
    def object_names(self) -> list[str]:
        return [name.text for name in self.objects]

    @cached_property
    def _codes(self) -> list[tuple[tuple[bool, ...], int]]:
        """Which names a caption has as seen, and the place of the held one, after 0 for nothing."""
        selections = product((False, True), repeat=len(self.seen_names))
        codes = product(selections, range(len(self.held_names) + 1))
        return [code for code in codes if self._can_occur(*code)]

    def _can_occur(self, seen: tuple[bool, ...], held: int) -> bool:
        named = [name for name, here in zip(self.seen_names, seen) if here]
        named += self.held_names[held - 1 : held] if held else []
        return not self.single or all(sum(name.stands_for(thing) for name in named) < 2 for thing in self.objects)

    @cached_property
    def _numbers(self) -> np.ndarray:
        """int32[2**seen * (held + 1)], the caption of each code, -1 for what can't occur."""
        numbers = np.full((2 ** len(self.seen_names), len(self.held_names) + 1), NO_CAPTION, np.int32)
        for i, (seen, held) in enumerate(self._codes):
            numbers[sum(here << k for k, here in enumerate(seen)), held] = i
        return numbers.reshape(-1)

    @cached_property
    def sees(self) -> list[list[str]]:
        return [[name.text for name, here in zip(self.seen_names, seen) if here] for seen, _ in self._codes]

    @cached_property
    def holds(self) -> list[str | None]:
        texts = [None, *(name.text for name in self.held_names)]
        return [texts[held] for _, held in self._codes]

    @cached_property
    def texts(self) -> list[str]:
        return [caption_text(sees, holds) for sees, holds in zip(self.sees, self.holds)]

    @property
    def prompt_parts(self) -> dict[str, str]:
        """What a prompt says about the world, by the names of its gaps."""
        notes = [f"- <{name.text}>: {name.about}" for name in self.names if name.about]
        return {"mission": self.mission, "notes": "\n".join(notes)}

    def number(self, seen: jax.Array, held: jax.Array) -> jax.Array:
        """int32[], the caption with the names bool[seen] and the held one int32[], 0 for nothing."""
        bits = np.left_shift(1, np.arange(len(self.seen_names), dtype=np.int32)).astype(np.int32)
        code = jnp.where(seen, bits, 0).sum(dtype=jnp.int32)
        return pick(self._numbers, code * (len(self.held_names) + 1) + held)

    def held_place(self, known: Known) -> jax.Array:
        """int32[], the place of what is held among the held names, after 0 for nothing that has a name."""
        place = jnp.int32(0)
        for i in reversed(range(len(self.held_names))):
            place = jnp.where(_call(self.held_names[i].held, known), i + 1, place)
        return place

    @cached_property
    def in_hand(self) -> np.ndarray:
        """bool[held + 1, objects], whether what is held is an object that plans name."""
        held = [[name.stands_for(thing) for thing in self.objects] for name in self.held_names]
        return np.array([[False] * len(self.objects), *held], bool)

    @cached_property
    def in_sight(self) -> np.ndarray:
        """bool[objects, seen], which names of what is seen stand for an object that plans name."""
        seen = [[name.stands_for(thing) for name in self.seen_names] for thing in self.objects]
        return np.array(seen, bool).reshape(len(self.objects), len(self.seen_names))

    def cells(self, known: Known) -> jax.Array:
        """bool[seen, W, H], where the named objects are."""
        if not self.seen_names:
            return jnp.zeros((0, *known.kind.shape), bool)
        return jnp.stack([_call(name.cells, known) for name in self.seen_names])


def _call(function: Callable[[Known], Any] | None, known: Known) -> jax.Array:
    assert function is not None
    return jnp.asarray(function(known), bool)
