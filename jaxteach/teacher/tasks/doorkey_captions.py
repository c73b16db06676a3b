"""The captions of DoorKey tasks: the objects that an observation shows, in a finite list."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import BOX, DOOR, KEY, NO_DIRECTION, NUM_COLORS
from envs_jax.small_gather import pick
from jaxteach.teacher.domain import NO_CAPTION, caption_text
from jaxteach.teacher.plans import BASIC_SKILLS

NOWHERE = -1


class Scene(NamedTuple):
    """The objects that one observation shows; cells are numbers `x * H + y`, -1: nothing."""

    agent_cell: jax.Array  # int32[]
    agent_dir: jax.Array  # int32[]
    held_color: jax.Array  # int32[], colour of the key in the agent's hand, -1: no key
    key_cells: jax.Array  # int32[K], row-major, those on the ground
    key_colors: jax.Array  # int32[K]
    door_cells: jax.Array  # int32[D], row-major
    door_colors: jax.Array  # int32[D]
    box_cell: jax.Array | int = NOWHERE  # int32[], the agent's own for a box in its hand


class Objects(NamedTuple):
    """Where the objects that plans may name are, as far as the teacher remembers."""

    targets: jax.Array  # int32[K + B + D], cells of the keys, boxes and doors by their names in the caption
    known: jax.Array  # bool[number of object names], the name stands for something remembered


@dataclass(frozen=True)
class Captions:
    """The captions of a DoorKey task: which keys, boxes and doors are seen, and which key is held.

    Without colours the objects are `key`, `box` and `door` (`door1`, `door2` where there are two, in
    row-major order among those seen). With colours they are `color1 key`, `color1 door` and so
    on: colours are numbered in the order in which a caption names them. A box in the hand is seen, not held.

    Attributes:
        num_keys: keys in the world (K), of different colours.
        num_doors: doors in the world (D).
        colored: whether captions contain colours.
        num_boxes: boxes in the world (B), 1 at most, and none in worlds with colours in their captions.
        boxed_key: whether the key is in the box until the box is opened, so that there is one of the two at a time.
    """

    num_keys: int
    num_doors: int
    colored: bool
    num_boxes: int = 0
    boxed_key: bool = False
    skills = BASIC_SKILLS

    @cached_property
    def _codes(self) -> list[tuple[int, int, int, int]]:
        """(keys seen, boxes seen, door code, held code) of every caption that can occur.

        The door code is the number of doors seen or, with colours, the door's colour number;
        the held code is 1 for a key or, with colours, its colour number; 0 is nothing.
        """
        return [code for keys in range(self.num_keys + 1) for code in self._codes_with(keys)]

    def _codes_with(self, keys: int) -> Iterator[tuple[int, int, int, int]]:
        hidden = self.num_keys - keys
        if not self.colored:
            for boxes, doors, held in product(range(self.num_boxes + 1), range(self.num_doors + 1), range(2)):
                if held <= hidden and not (self.boxed_key and boxes and keys + held):
                    yield keys, boxes, doors, held
            return
        for door in range(keys + 1 + (hidden > 0)):
            held = [0]
            if hidden > 0:
                held.append(keys + 1)
            if hidden > 1 and door == keys + 1:
                held.append(keys + 2)
            yield from ((keys, 0, door, color) for color in held)

    @cached_property
    def _code_to_id(self) -> np.ndarray:
        """int32[K + 1, B + 1, door codes, held codes], -1 for what can't occur."""
        table = np.full(np.max(self._codes, axis=0) + 1, NO_CAPTION, np.int32)
        table[tuple(np.transpose(self._codes))] = np.arange(len(self._codes))
        return table

    @cached_property
    def sees(self) -> list[list[str]]:
        """The objects that each caption names as seen, in its order."""
        return [self._seen_names(*seen) for *seen, _ in self._codes]

    @cached_property
    def holds(self) -> list[str | None]:
        """The object that each caption names as held."""
        return [self._key_name(held) if held else None for *_, held in self._codes]

    @cached_property
    def texts(self) -> list[str]:
        """The captions as the reference words them."""
        return [caption_text(sees, holds) for sees, holds in zip(self.sees, self.holds)]

    @cached_property
    def object_names(self) -> list[str]:
        """The names that plans may use, in the order of `Objects.known`."""
        colors = range(1, self.num_keys + 1)
        if self.colored:
            return [f"color{i} key" for i in colors] + [f"color{i} door" for i in colors]
        return ["key", *self._box_names, *self._door_names]

    @cached_property
    def object_targets(self) -> np.ndarray:
        """int32[names], which entry of `Objects.targets` a name stands for."""
        if not self.colored:
            return np.arange(len(self.object_names), dtype=np.int32)
        return np.array([*range(self.num_keys), *[self.num_keys] * self.num_keys], np.int32)

    @property
    def memory_size(self) -> int:
        """Keys and boxes are remembered by their names: keys by colour, or as the one `key`."""
        return NUM_COLORS if self.colored else 1 + self.num_boxes

    def read(self, words: jax.Array) -> Scene:
        """The objects in one painted frame, uint32[W * H], laid out as observations are."""
        cells = np.arange(words.shape[0], dtype=np.int32)
        direction = (words >> 24).astype(jnp.int32)
        is_agent = direction != NO_DIRECTION
        kind = (words & 0xFF).astype(jnp.int32)
        color = ((words >> 8) & 0xFF).astype(jnp.int32)
        agent = jnp.max(jnp.where(is_agent, (cells << 16) | (direction << 12) | (kind << 4) | color, 0))
        key_cells, key_colors = _first_cells((kind == KEY) & ~is_agent, cells, color, self.num_keys)
        door_cells, door_colors = _first_cells(kind == DOOR, cells, color, self.num_doors)
        return Scene(
            agent_cell=agent >> 16,
            agent_dir=(agent >> 12) & 0xF,
            held_color=jnp.where((agent >> 4) & 0xFF == KEY, agent & 0xF, NOWHERE),
            key_cells=key_cells,
            key_colors=key_colors,
            door_cells=door_cells,
            door_colors=door_colors,
            box_cell=jnp.max(jnp.where(kind == BOX, cells, NOWHERE)) if self.num_boxes else NOWHERE,
        )

    def remember(self, memory: jax.Array, scene: Scene) -> jax.Array:
        """The memory after a scene: int32[memory_size], the last cells of keys seen on the ground, then of the box.

        Doors need none: what was seen once stays in the observation, and doors don't move.
        """
        if not self.colored:
            seen = jnp.append(scene.key_cells[:1], scene.box_cell)[: self.memory_size]
            return jnp.where(seen >= 0, seen, memory)
        colors = np.arange(NUM_COLORS, dtype=np.int32)
        for i in range(self.num_keys):
            seen = (scene.key_cells[i] >= 0) & (colors == scene.key_colors[i])
            memory = jnp.where(seen, scene.key_cells[i], memory)
        return memory

    def caption_id(self, scene: Scene) -> jax.Array:
        """int32[], the caption's place in `texts`; -1 for a scene that no world of the task shows."""
        keys_seen = (scene.key_cells >= 0).sum(dtype=jnp.int32)
        holds = (scene.held_color >= 0).astype(jnp.int32)
        doors_seen = (scene.door_cells >= 0).sum(dtype=jnp.int32)
        if not self.colored:
            boxes_seen = jnp.int32(scene.box_cell >= 0)
            return self._lookup(jnp.minimum(keys_seen, self.num_keys), boxes_seen, doors_seen, holds)
        named = self._named_colors(scene)
        door = jnp.where(doors_seen > 0, 1 + _place(named, scene.door_colors[0]), 0)
        held = jnp.where(holds > 0, 1 + _place(named, scene.held_color), 0)
        return self._lookup(keys_seen, jnp.int32(0), door, held)

    def locate(self, memory: jax.Array, scene: Scene) -> Objects:
        """Where the named objects are, for a memory that has taken the scene in.

        A key that was not seen yet is looked for where the box is.
        """
        if not self.colored:
            key = jnp.where(memory[:1] >= 0, memory[:1], memory[-1:])
            targets = jnp.concatenate([key, memory[1:], scene.door_cells])
            return Objects(targets, targets >= 0)
        named = self._named_colors(scene)[: self.num_keys]
        keys = jnp.where(named >= 0, pick(memory, named), NOWHERE)
        door_known = (scene.door_cells[0] >= 0) & (named == scene.door_colors[0])
        return Objects(jnp.append(keys, scene.door_cells[0]), jnp.concatenate([keys >= 0, door_known]))

    def _named_colors(self, scene: Scene) -> jax.Array:
        """int32[K + 2]: the colours in the order in which the caption names them, -1 after the last."""
        mentions = [*scene.key_colors, jnp.where(scene.door_cells[0] >= 0, scene.door_colors[0], NOWHERE)]
        mentions.append(scene.held_color)
        places = np.arange(self.num_keys + 2, dtype=np.int32)
        named, count = jnp.full(self.num_keys + 2, NOWHERE, jnp.int32), jnp.int32(0)
        for color in mentions:
            is_new = (color >= 0) & (named != color).all()
            named = jnp.where(is_new & (places == count), color, named)
            count += is_new.astype(jnp.int32)
        return named

    def _lookup(self, *code: jax.Array) -> jax.Array:
        shape = self._code_to_id.shape
        inside = jnp.stack([part < size for part, size in zip(code, shape)]).all()
        place = jnp.ravel_multi_index(code, shape, mode="clip")
        flat = self._code_to_id.reshape(-1)
        return jnp.where(inside, pick(flat, place), NO_CAPTION)

    @property
    def _box_names(self) -> list[str]:
        return ["box"] * self.num_boxes

    @property
    def _door_names(self) -> list[str]:
        return ["door"] if self.num_doors == 1 else [f"door{i + 1}" for i in range(self.num_doors)]

    def _seen_names(self, keys: int, boxes: int, door: int) -> list[str]:
        key_names = [self._key_name(i + 1) for i in range(keys)]
        if self.colored:
            return key_names + ([f"color{door} door"] if door else [])
        return key_names + self._box_names[:boxes] + self._door_names[:door]

    def _key_name(self, number: int) -> str:
        return f"color{number} key" if self.colored else "key"


def _first_cells(mask: jax.Array, cells: np.ndarray, color: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The first `count` cells of `mask` in row-major order and their colours, -1 where there are fewer."""
    nothing = np.int32(2**31 - 1)
    packed = jnp.where(mask, (cells << 8) | color, nothing)
    found, last = [], jnp.int32(-1)
    for _ in range(count):
        last = jnp.min(jnp.where(packed > last, packed, nothing))
        found.append(last)
    first = jnp.stack(found)
    return jnp.where(first == nothing, NOWHERE, first >> 8), jnp.where(first == nothing, NOWHERE, first & 0xFF)


def _place(numbers: jax.Array, number: jax.Array) -> jax.Array:
    """int32[], where a number stands among different numbers that hold it."""
    return jnp.max(jnp.where(numbers == number, np.arange(numbers.shape[0], dtype=np.int32), 0))
