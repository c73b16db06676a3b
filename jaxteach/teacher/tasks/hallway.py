"""The locked hallway as the teacher knows it: captions about keys and doors, skills on each agent's own map."""

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import CLOSED, LOCKED, NUM_ACTIONS, NUM_COLORS, Actions
from envs_jax.grid.hallway import lay_out
from envs_jax.locked_hallway import LockedHallway, Observation
from envs_jax.small_gather import pick
from jaxteach.teacher.domain import caption_text
from jaxteach.teacher.navigation import FINISHED, MAX_HEIGHT, STUCK, Pose, approach, neighbourhood, reachable
from jaxteach.teacher.plans import BASIC_SKILLS
from jaxteach.teacher.table import EXPLORE, FIRST_OBJECT_SKILL, OBJECT_SKILLS
from jaxteach.teacher.tasks.hallway_map import (
    NOTHING,
    STRIDE,
    HallwayMemory,
    Scene,
    ahead,
    cell_set,
    doors_in_state,
    empty_memory,
    free_cells,
    has_cells,
    read_view,
    take_in,
)

USED_KEY: Final = "used key"
EMPTY_HANDS, HOLDS_FITTING, HOLDS_UNPAIRED, HOLDS_USED = range(4)
# What a name in a caption can stand for, in the order of `_cells`, then the object in hand.
PAIRED_KEY, UNPAIRED_KEY, PAIRED_DOOR, HELD_DOOR, OTHER_DOOR, HAND = range(6)


class Context(NamedTuple):
    """What a caption contains; colours are -1 for none, and int32[] each."""

    paired: jax.Array  # the nearest key within reach whose door is known and locked
    unpaired: jax.Array  # the nearest key within reach whose door is not known
    other: jax.Array  # the nearest locked door whose key is neither known on the ground nor in hand
    held: jax.Array  # the key in hand
    held_kind: jax.Array  # one of the four kinds above, not a colour


@dataclass(frozen=True)
class HallwayCaptions:
    """The captions of one agent in a locked hallway, 32 of them.

    A caption contains, of all that the agent has seen in the episode, what it can act on:

    - the nearest key that it knows a way to and whose locked door it knows, and that door;
    - the nearest key that it knows a way to, but whose door it doesn't know;
    - the nearest locked door whose key it doesn't know;
    - what it holds: nothing, a key to a locked door it knows (then also that door), a
      key to a door it doesn't know, or a `used key`, whose door is unlocked already.

    Each of these may be missing. Keys come before doors, and colours are numbered in
    the order in which the caption names them: `color1 key`, `color1 door`. Keys on the ground
    whose doors are unlocked, and these doors, don't matter any more. Near is what few steps in x
    and y are apart, whatever stands between.
    """

    skills = BASIC_SKILLS

    @cached_property
    def _codes(self) -> list[tuple[bool, bool, bool, int]]:
        """(paired key, unpaired key, other door, what is held) of every caption."""
        return list(product((False, True), (False, True), (False, True), range(4)))

    @cached_property
    def meanings(self) -> list[dict[str, int]]:
        """For each caption what the names in it stand for, in its order; the held object is HAND."""
        return [_meanings(*code) for code in self._codes]

    @cached_property
    def sees(self) -> list[list[str]]:
        return [[name for name, place in entry.items() if place != HAND] for entry in self.meanings]

    @cached_property
    def holds(self) -> list[str | None]:
        return [next((name for name, place in entry.items() if place == HAND), None) for entry in self.meanings]

    @cached_property
    def texts(self) -> list[str]:
        return [caption_text(sees, holds) for sees, holds in zip(self.sees, self.holds)]

    @cached_property
    def object_names(self) -> list[str]:
        return [f"color{i} {kind}" for kind in ("key", "door") for i in range(1, 5)] + [USED_KEY]

    @cached_property
    def places(self) -> np.ndarray:
        """int32[captions, names], what each name stands for in each caption, -1: nothing."""
        rows = [[entry.get(name, NOTHING) for name in self.object_names] for entry in self.meanings]
        return np.array(rows, np.int32)

    def number(self, context: Context) -> jax.Array:
        """int32[], the caption with this content."""
        paired, unpaired, other = (
            (c >= 0).astype(jnp.int32) for c in (context.paired, context.unpaired, context.other)
        )
        return (paired * 4 + unpaired * 2 + other) * 4 + context.held_kind


def _meanings(paired: bool, unpaired: bool, other: bool, held: int) -> dict[str, int]:
    fitting = held == HOLDS_FITTING
    keys = ["paired"] * paired + ["unpaired"] * unpaired
    doors = ["paired"] * paired + ["held"] * fitting + ["other"] * other
    mentions = keys + doors + ["held"] * (held in (HOLDS_FITTING, HOLDS_UNPAIRED))
    numbers = {color: f"color{i + 1}" for i, color in enumerate(dict.fromkeys(mentions))}
    key_places = {"paired": PAIRED_KEY, "unpaired": UNPAIRED_KEY}
    door_places = {"paired": PAIRED_DOOR, "held": HELD_DOOR, "other": OTHER_DOOR}
    names = {f"{numbers[color]} key": key_places[color] for color in keys}
    names |= {f"{numbers[color]} door": door_places[color] for color in doors}
    if held != EMPTY_HANDS:
        names[USED_KEY if held == HOLDS_USED else f"{numbers['held']} key"] = HAND
    return names


@dataclass(frozen=True)
class HallwayDomain:
    """A `Domain` whose observations are an agent's part of `Observation`, on a map of its own.

    The skills:

    - *go to* walks a shortest path over what is known and opens closed doors in its way; in front
      of its target it is finished.
    - *pick up* and *toggle* are one action each; picking up what is in hand is finished.
    - *drop* takes what is in hand to the nearest free cell that is not next to a door, where it
      blocks no way, and drops it; with something else in hand it is finished.
    - *explore* goes, in the same way, to the nearest cell that is not yet seen but next to one
      that can be reached: in front of it the agent sees it. It is finished when there is none.

    A name that stands for nothing in the caption makes the agent wait, as do targets without a way.
    Where agents may not overlap, the others in view are in the way, also one that waits for good:
    the scripted plans, by which an agent without a key watches a locked door, are not for such worlds.
    """

    num_agents: int
    size: tuple[int, int]
    overlap: bool
    vocabulary: HallwayCaptions = HallwayCaptions()
    num_actions = NUM_ACTIONS
    noop = int(Actions.done)

    def reset(self) -> HallwayMemory:
        return empty_memory(self.size[0])

    def read(self, obs: Observation) -> Scene:
        return read_view(obs.view, obs.direction)

    def remember(self, memory: HallwayMemory, scene: Scene) -> HallwayMemory:
        return take_in(memory, scene, self.size[1], self.overlap)

    def advance(self, memory: HallwayMemory, action: jax.Array) -> HallwayMemory:
        return memory._replace(action=action.astype(jnp.int32))

    def caption_id(self, memory: HallwayMemory, scene: Scene) -> tuple[jax.Array, Context]:
        del scene
        within_reach = reachable(self._passable(memory), self._cell_set(memory.cell), self.size[1], True)
        context = _context(memory, has_cells(within_reach, memory.key_cell, self.size[1]))
        return self.vocabulary.number(context), context

    def object_ids(self, scene: Scene, context: Context) -> jax.Array:
        """The colours of the keys on the ground."""
        del scene
        place = pick(self.vocabulary.places, self.vocabulary.number(context))
        return jnp.where(
            place == PAIRED_KEY, context.paired, jnp.where(place == UNPAIRED_KEY, context.unpaired, NOTHING)
        )

    def skill_actions(self, memory: HallwayMemory, scene: Scene, context: Context, skills: jax.Array) -> jax.Array:
        del scene
        name, verb = (
            (skills - FIRST_OBJECT_SKILL) // len(OBJECT_SKILLS),
            (skills - FIRST_OBJECT_SKILL) % len(OBJECT_SKILLS),
        )
        on_object = skills >= FIRST_OBJECT_SKILL
        place = pick(pick(self.vocabulary.places, self.vocabulary.number(context)), name)
        explores = skills == EXPLORE
        goes, picks, drops, toggles, _ = (on_object & (place >= 0) & (verb == i) for i in range(len(OBJECT_SKILLS)))
        cells = jnp.where(goes, pick(_cells(memory, context), place), NOTHING)
        targets = jnp.where(drops[:, None], self._room(memory), jax.vmap(self._cell_set)(cells))
        unseen = ~memory.seen & np.uint32((1 << self.size[1]) - 1)
        walk = self._walk(memory, jnp.where(explores[:, None], unseen, targets))
        in_hand = place == HAND
        action = jnp.where(explores, jnp.where(walk == STUCK, FINISHED, walk), Actions.done)
        action = jnp.where(goes, jnp.where(in_hand, FINISHED, jnp.where(walk == STUCK, Actions.done, walk)), action)
        action = jnp.where(picks, jnp.where(in_hand, FINISHED, Actions.pickup), action)
        # At a good place, or where no good place can be reached, it is dropped.
        action = jnp.where(drops, jnp.where(in_hand, jnp.where(walk < 0, Actions.drop, walk), FINISHED), action)
        return jnp.where(toggles, Actions.toggle, action).astype(jnp.int32)

    def _room(self, memory: HallwayMemory) -> jax.Array:
        """uint32[W], the cells where a key blocks no way."""
        near = partial(neighbourhood, height=self.size[1], wraps=True)
        keys, doors = self._cell_set(memory.key_cell), self._cell_set(memory.door_cell)
        # Keys that touch, if only by their corners, could make a wall.
        crowded = near(near(keys)) | near(doors) | self._cell_set(memory.cell)
        return free_cells(memory, self.size[1], overlap=False) & ~crowded

    def _walk(self, memory: HallwayMemory, targets: jax.Array) -> jax.Array:
        """int32[M], the first action on the way to each of the targets uint32[M, W], `FINISHED` or `STUCK`."""
        (width, height), own = self.size, memory.cell
        pose = Pose(own // STRIDE % width, own % STRIDE % height, memory.direction)
        search = jax.vmap(approach, in_axes=(None, None, 0, None, None))
        walks = search(self._passable(memory), pose, targets, height, True)
        shut = has_cells(doors_in_state(memory, CLOSED, height), ahead(own, memory.direction), height)
        return jnp.where((walks == Actions.forward) & shut, Actions.toggle, walks)

    def _passable(self, memory: HallwayMemory) -> jax.Array:
        """uint32[W], the cells known that can be walked through, if only by opening a door."""
        closed = doors_in_state(memory, CLOSED, self.size[1])
        return free_cells(memory, self.size[1], self.overlap) | closed | self._cell_set(memory.cell)

    def _cell_set(self, cells: jax.Array) -> jax.Array:
        return cell_set(cells, self.size)


def hallway_domain(task: str, env: LockedHallway) -> HallwayDomain:
    """The domain of a hallway.

    Raises:
        ValueError: a world that doesn't fit the map.
    """
    # Through walls an agent sees cells outside the world, which then need places on the map.
    margin = env.agent_view_size if env.see_through_walls else 0
    layout = lay_out(env.num_rooms, env.room_size)
    size = (layout.width + margin, layout.height + margin)
    if size[1] > MAX_HEIGHT:
        raise ValueError(
            f"the teacher of {task} has no room on its map for views through the walls of a world so large"
        )
    return HallwayDomain(env.num_agents, size, env.allow_agent_overlap)


def _context(memory: HallwayMemory, within_reach: jax.Array) -> Context:
    """The content of a caption, given which keys can be walked to, bool[colours]."""
    lying, door_known = memory.key_cell >= 0, memory.door_cell >= 0
    locked = door_known & (memory.door_state == LOCKED)
    in_hand = np.arange(NUM_COLORS, dtype=np.int32) == memory.held
    held_kind = jnp.where((in_hand & locked).any(), HOLDS_FITTING, HOLDS_USED)
    held_kind = jnp.where((in_hand & ~door_known).any(), HOLDS_UNPAIRED, held_kind)
    return Context(
        paired=_nearest(memory.cell, memory.key_cell, within_reach & locked),
        unpaired=_nearest(memory.cell, memory.key_cell, within_reach & ~door_known),
        other=_nearest(memory.cell, memory.door_cell, locked & ~lying & ~in_hand),
        held=memory.held,
        held_kind=jnp.where(memory.held >= 0, held_kind, EMPTY_HANDS).astype(jnp.int32),
    )


def _nearest(own: jax.Array, cells: jax.Array, among: jax.Array) -> jax.Array:
    """int32[], which of the cells int32[n] marked by bool[n] is nearest, the first of equals; -1: none is marked."""
    steps = jnp.abs(cells // STRIDE - own // STRIDE) + jnp.abs(cells % STRIDE - own % STRIDE)
    numbered = steps * NUM_COLORS + np.arange(NUM_COLORS, dtype=np.int32)
    least = jnp.where(among, numbered, np.iinfo(np.int32).max).min()
    return jnp.where(among.any(), least % NUM_COLORS, NOTHING)


def _cells(memory: HallwayMemory, context: Context) -> jax.Array:
    """int32[HAND], where the objects are that names can stand for, -1: nowhere."""
    keys = [_of(memory.key_cell, color) for color in (context.paired, context.unpaired)]
    doors = [_of(memory.door_cell, color) for color in (context.paired, context.held, context.other)]
    return jnp.stack(keys + doors)


def _of(cells: jax.Array, color: jax.Array) -> jax.Array:
    """int32[], the cell of a colour; -1 for no colour."""
    return jnp.where(np.arange(NUM_COLORS, dtype=np.int32) == color, cells, NOTHING).max()
