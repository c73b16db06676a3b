"""The captions of DoorKey tasks: the objects that an observation shows, in a finite list."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import DOOR, KEY, NO_DIRECTION, NUM_COLORS
from envs_jax.small_gather import pick
from jaxteach.teacher.domain import NO_CAPTION, caption_text
from jaxteach.teacher.plans import SKILLS

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


class Objects(NamedTuple):
    """Where the objects that plans may name are, as far as the teacher remembers."""

    targets: jax.Array  # int32[K + D], cells of the keys and doors by their names in the caption
    known: jax.Array  # bool[number of object names], the name stands for something remembered


@dataclass(frozen=True)
class Captions:
    """The captions of a DoorKey task: which keys and doors are seen, and what is held.

    Without colours the objects are `key` and `door` (`door1`, `door2` where there are two, in
    row-major order among those seen). With colours they are `color1 key`, `color1 door` and so
    on: colours are numbered in the order in which a caption names them.

    Attributes:
        num_keys: keys in the world (K), of different colours.
        num_doors: doors in the world (D).
        colored: whether captions contain colours.
    """

    num_keys: int
    num_doors: int
    colored: bool
    skills = SKILLS

    @cached_property
    def _codes(self) -> list[tuple[int, int, int]]:
        """(keys seen, door code, held code) of every caption that can occur.

        The door code is the number of doors seen or, with colours, the door's colour number;
        the held code is 1 for a key or, with colours, its colour number; 0 is nothing.
        """
        return [code for keys in range(self.num_keys + 1) for code in self._codes_with(keys)]

    def _codes_with(self, keys: int) -> Iterator[tuple[int, int, int]]:
        hidden = self.num_keys - keys
        if not self.colored:
            for doors in range(self.num_doors + 1):
                yield from ((keys, doors, held) for held in range(2 if hidden else 1))
            return
        for door in range(keys + 1 + (hidden > 0)):
            held = [0]
            if hidden > 0:
                held.append(keys + 1)
            if hidden > 1 and door == keys + 1:
                held.append(keys + 2)
            yield from ((keys, door, color) for color in held)

    @cached_property
    def _code_to_id(self) -> np.ndarray:
        """int32[K + 1, door codes, held codes], -1 for what can't occur."""
        table = np.full(np.max(self._codes, axis=0) + 1, NO_CAPTION, np.int32)
        table[tuple(np.transpose(self._codes))] = np.arange(len(self._codes))
        return table

    @cached_property
    def sees(self) -> list[list[str]]:
        """The objects that each caption names as seen, in its order."""
        return [self._seen_names(keys, door) for keys, door, _ in self._codes]

    @cached_property
    def holds(self) -> list[str | None]:
        """The object that each caption names as held."""
        return [self._key_name(held) if held else None for _, _, held in self._codes]

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
        doors = ["door"] if self.num_doors == 1 else [f"door{i + 1}" for i in range(self.num_doors)]
        return ["key", *doors]

    @cached_property
    def object_targets(self) -> np.ndarray:
        """int32[names], which entry of `Objects.targets` a name stands for."""
        keys = list(range(self.num_keys))
        doors = [self.num_keys] * self.num_keys if self.colored else [1 + i for i in range(self.num_doors)]
        return np.array(keys + doors, np.int32)

    @property
    def memory_size(self) -> int:
        """Keys are remembered by their names: by colour, or as the one `key`."""
        return NUM_COLORS if self.colored else 1

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
        )

    def remember(self, memory: jax.Array, scene: Scene) -> jax.Array:
        """The memory after a scene: int32[memory_size], the last cells of keys seen on the ground.

        Doors need none: what was seen once stays in the observation, and doors don't move.
        """
        if not self.colored:
            return jnp.where(scene.key_cells[:1] >= 0, scene.key_cells[:1], memory)
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
            return self._lookup(jnp.minimum(keys_seen, self.num_keys), doors_seen, holds)
        named = self._named_colors(scene)
        door = jnp.where(doors_seen > 0, 1 + _place(named, scene.door_colors[0]), 0)
        held = jnp.where(holds > 0, 1 + _place(named, scene.held_color), 0)
        return self._lookup(keys_seen, door, held)

    def locate(self, memory: jax.Array, scene: Scene) -> Objects:
        """Where the named objects are, for a memory that has taken the scene in."""
        if not self.colored:
            targets = jnp.concatenate([memory, scene.door_cells])
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

    def _seen_names(self, keys: int, door: int) -> list[str]:
        key_names = [self._key_name(i + 1) for i in range(keys)]
        if self.colored:
            return key_names + ([f"color{door} door"] if door else [])
        return key_names + self.object_names[1 : 1 + door]

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
