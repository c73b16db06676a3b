"""MiniGrid's worlds as the teacher knows them: captions about what matters, skills on the map of what was seen."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.cells import color_of, kind_of, state_of
from envs_jax.grid.constants import (
    BALL,
    BOX,
    CLOSED,
    DOOR,
    EMPTY,
    FLOOR,
    GOAL,
    KEY,
    LAVA,
    LOCKED,
    NUM_ACTIONS,
    NUM_COLORS,
    OPEN,
    UNSEEN,
    Actions,
)
from envs_jax.minigrid import MiniGridEnv
from envs_jax.minigrid.environment import Observation
from envs_jax.minigrid.map_memory import SeenMap, ahead_of, cell_of, empty_map, map_size, move, take_in
from envs_jax.small_gather import pick
from jaxteach.teacher.navigation import FINISHED, STUCK, Pose, ahead_rows, approach, neighbourhood, reachable
from jaxteach.teacher.table import EXPLORE, FIRST_OBJECT_SKILL, OBJECT_SKILLS
from jaxteach.teacher.tasks.minigrid_captions import Known, MiniGridCaptions


class MiniGridMemory(NamedTuple):
    """What an agent keeps."""

    seen: SeenMap
    unlocked: jax.Array  # bool[colours], of which it has seen a locked door open


class Context(NamedTuple):
    """What the skills need; uint32[W] are sets of cells, bit y of word x."""

    objects: jax.Array  # uint32[objects, W], where the objects are that plans name, in this caption
    in_hand: jax.Array  # bool[objects]
    passable: jax.Array  # uint32[W]
    hidden: jax.Array  # uint32[W], what to face in order to see more
    good_places: jax.Array  # uint32[W], where to drop things
    empty: jax.Array  # uint32[W], empty cells but the agent's own
    shut: jax.Array  # bool[], a closed door is in front
    hands_full: jax.Array  # bool[]


@dataclass(frozen=True)
class MiniGridDomain:
    """A `Domain` of MiniGrid worlds, whose observations have `image`, `direction` and `mission`.

    The skills:

    - *explore* goes to the nearest cell that was not seen yet, next to one that can be walked to, or to the nearest
      object with something unseen beside it; it is finished when there is neither. Closed doors with something unseen
      behind them are not opened.
    - *go to* walks a shortest path over what was seen, to any of the objects that the name stands for, opens other
      closed doors in its way, and is finished in front of the object; a goal's cell is entered.
    - *pick up* and *toggle* are one action each; picking up what is in hand is finished.
    - *drop* takes what is in hand to the nearest free cell where it blocks no way, see `drop_cells`, and drops it; with
      something else in hand it is finished.
    - *put next to* drops what is in hand beside an object; with empty hands it is finished.

    A name that stands for nothing in the caption makes the agent wait, as do targets without a way.

    Attributes:
        vocabulary: the captions.
        size: of the map, see `envs_jax.minigrid.map_memory.map_size`.
        avoid_lava: whether paths lead around lava.
    """

    vocabulary: MiniGridCaptions
    size: tuple[int, int]
    avoid_lava: bool = True
    num_agents = None
    num_actions = NUM_ACTIONS
    noop = int(Actions.done)

    @classmethod
    def of(cls, env: MiniGridEnv, vocabulary: MiniGridCaptions, avoid_lava: bool = True) -> "MiniGridDomain":
        """The domain of a world."""
        return cls(vocabulary, map_size(env), avoid_lava)

    def reset(self) -> MiniGridMemory:
        return MiniGridMemory(empty_map(self.size), jnp.zeros(NUM_COLORS, bool))

    def read(self, obs: Any) -> Observation:
        return Observation(obs.image, obs.direction, obs.mission)

    def remember(self, memory: MiniGridMemory, scene: Observation) -> MiniGridMemory:
        before = memory.seen.words
        seen = take_in(memory.seen, scene.image, scene.direction, self.size)
        # Only what is in front of the agent changes.
        front = cell_of(ahead_of(seen), self.size)
        was_locked = (kind_of(before[front]) == DOOR) & (state_of(before[front]) == LOCKED)
        opened = was_locked & (state_of(seen.words[front]) != LOCKED)
        colors = np.arange(NUM_COLORS, dtype=np.int32)
        return MiniGridMemory(seen, memory.unlocked | (opened & (colors == color_of(before[front]))))

    def advance(self, memory: MiniGridMemory, action: jax.Array) -> MiniGridMemory:
        return memory._replace(seen=move(memory.seen, action, self.size))

    def _known(self, memory: MiniGridMemory, scene: Observation) -> Known:
        """What the agent knows, but for what is within reach."""
        words = memory.seen.words.reshape(self.size)
        view_size = scene.image.shape[0]
        hand = scene.image[view_size // 2, view_size - 1].astype(jnp.int32)
        return Known(
            kind=kind_of(words),
            color=color_of(words),
            state=state_of(words),
            held_kind=hand[0],
            held_color=hand[1],
            mission=scene.mission,
            unlocked=memory.unlocked,
            within_reach=jnp.zeros(self.size, bool),
            here=self._cell(memory.seen.position),
        )

    def drop_cells(self, known: Known) -> jax.Array:
        """bool[W, H], where *drop* may put things; the nearest of these cells that is empty is taken.

        They are the cells where a thing blocks no way: in the open, else in a dead end, else all empty ones. A subclass
        may give *drop* another meaning; an agent that knows no such cell waits.
        """
        empty, touched = self._rows((known.kind == EMPTY) & ~known.here), self._rows(known.within_reach)
        blocked = ~self._passable(known) & np.uint32((1 << self.size[1]) - 1)
        east, south, west, north = (ahead_rows(blocked, side, self.size[1], True) for side in range(4))
        crowded = self._near(self._near(self._items(known))) | self._near(self._rows(known.kind == DOOR))
        in_the_open = empty & touched & ~crowded & ~(east & west) & ~(north & south)
        dead_ends = empty & touched & (east & west & (north | south) | north & south & (east | west))
        return self._cells(_first_of(in_the_open, dead_ends, empty))

    def caption_id(self, memory: MiniGridMemory, scene: Observation) -> tuple[jax.Array, Context]:
        known, words = self._known(memory, scene), self.vocabulary
        own = self._rows(known.here)
        passable = self._passable(known) | own
        touched = reachable(passable, own, self.size[1], True)
        known = known._replace(within_reach=self._cells(touched))
        places = self._rows(words.cells(known))
        by_sight = np.array([name.by_sight for name in words.seen_names], bool).reshape(-1, 1)
        named = ((places & jnp.where(by_sight, places, touched[None])) != 0).any(1)
        held = words.held_place(known)
        shown = jnp.where(words.in_sight[:, :, None] & named[None, :, None], places[None], np.uint32(0))
        objects = jax.lax.reduce(shown, np.uint32(0), jax.lax.bitwise_or, (1,))
        context = self._context(known, memory, passable, touched)
        return words.number(named, held), context._replace(objects=objects, in_hand=pick(words.in_hand, held))

    def object_ids(self, scene: Observation, context: Context) -> jax.Array:
        """Nothing: there is nobody to take it from."""
        del scene, context
        return jnp.full(len(self.vocabulary.object_names), -1, jnp.int32)

    def skill_actions(
        self, memory: MiniGridMemory, scene: Observation, context: Context, skills: jax.Array
    ) -> jax.Array:
        del scene
        on_object = skills >= FIRST_OBJECT_SKILL
        number = jnp.maximum(skills - FIRST_OBJECT_SKILL, 0)
        name, verb = number // len(OBJECT_SKILLS), number % len(OBJECT_SKILLS)
        goes, picks, drops, toggles, puts = (on_object & (verb == i) for i in range(len(OBJECT_SKILLS)))
        explores = skills == EXPLORE
        objects, in_hand = pick(context.objects, name), pick(context.in_hand, name)
        targets = jnp.where(explores[:, None], context.hidden[None], objects)
        targets = jnp.where(drops[:, None], context.good_places[None], targets)
        targets = jnp.where(puts[:, None], self._beside(objects) & context.empty[None], targets)
        walk = self._walk(memory.seen, context, targets)
        known = (objects != 0).any(1)
        enters = pick(np.array([name.enter for name in self.vocabulary.objects], bool), name)
        waiting = jnp.where(walk == STUCK, Actions.done, walk)
        action = jnp.where(explores, jnp.where(walk == STUCK, FINISHED, walk), Actions.done)
        arrived = jnp.where(enters & (walk == FINISHED), Actions.forward, waiting)
        action = jnp.where(goes, jnp.where(in_hand, FINISHED, jnp.where(known, arrived, Actions.done)), action)
        taking = jnp.where(known, Actions.pickup, Actions.done)
        action = jnp.where(picks, jnp.where(in_hand, FINISHED, taking), action)
        dropping = jnp.where(walk == FINISHED, Actions.drop, waiting)
        action = jnp.where(drops, jnp.where(in_hand, dropping, FINISHED), action)
        action = jnp.where(puts, jnp.where(context.hands_full, dropping, FINISHED), action)
        return jnp.where(toggles & known, Actions.toggle, action).astype(jnp.int32)

    def _context(self, known: Known, memory: MiniGridMemory, passable: jax.Array, touched: jax.Array) -> Context:
        empty = self._rows((known.kind == EMPTY) & ~known.here)
        unseen = self._rows(known.kind == UNSEEN)
        front = cell_of(ahead_of(memory.seen), self.size)
        ahead = memory.seen.words[front]
        return Context(
            objects=empty[None],
            in_hand=jnp.zeros(1, bool),
            passable=passable,
            hidden=jnp.where((unseen & touched).any(), unseen, self._items(known) & self._near(unseen)),
            good_places=self._rows(self.drop_cells(known)) & empty,
            empty=empty,
            shut=(kind_of(ahead) == DOOR) & (state_of(ahead) == CLOSED),
            hands_full=known.held_kind != EMPTY,
        )

    def _items(self, known: Known) -> jax.Array:
        """uint32[W], what may be picked up."""
        return self._rows((known.kind == KEY) | (known.kind == BALL) | (known.kind == BOX))

    def _passable(self, known: Known) -> jax.Array:
        """uint32[W], the cells that can be walked through; closed doors count once both sides were seen."""
        free = (known.kind == EMPTY) | (known.kind == FLOOR) | (known.kind == GOAL)
        if not self.avoid_lava:
            free |= known.kind == LAVA
        doors = known.kind == DOOR
        closed = self._rows(doors & (known.state == CLOSED)) & ~self._near(self._rows(known.kind == UNSEEN))
        return self._rows(free | (doors & (known.state == OPEN))) | closed

    def _walk(self, seen: SeenMap, context: Context, targets: jax.Array) -> jax.Array:
        """int32[M], the first action on the way to each of the targets uint32[M, W], `FINISHED` or `STUCK`."""
        x, y = (seen.position[i] % self.size[i] for i in range(2))
        search = jax.vmap(approach, in_axes=(None, None, 0, None, None))
        walks = search(context.passable, Pose(x, y, seen.direction), targets, self.size[1], True)
        return jnp.where((walks == Actions.forward) & context.shut, Actions.toggle, walks)

    def _near(self, rows: jax.Array) -> jax.Array:
        return neighbourhood(rows, self.size[1], True)

    def _beside(self, rows: jax.Array) -> jax.Array:
        """uint32[M, W], the eight cells around each of the sets uint32[M, W]."""

        def around(rows: jax.Array) -> jax.Array:
            column = rows | ahead_rows(rows, 1, self.size[1], True) | ahead_rows(rows, 3, self.size[1], True)
            return column | ahead_rows(column, 0, self.size[1], True) | ahead_rows(column, 2, self.size[1], True)

        return jax.vmap(around)(rows)

    def _cell(self, position: jax.Array) -> jax.Array:
        """bool[W, H], one cell."""
        cells = np.arange(self.size[0] * self.size[1], dtype=np.int32).reshape(self.size)
        return cells == cell_of(position, self.size)

    def _cells(self, rows: jax.Array) -> jax.Array:
        """bool[W, H], bits uint32[W] as cells."""
        return (rows[:, None] >> np.arange(self.size[1], dtype=np.uint32)[None]) & 1 == 1

    def _rows(self, cells: jax.Array) -> jax.Array:
        """uint32[..., W], cells bool[..., W, H] as bits."""
        bits = np.uint32(1) << np.arange(self.size[1], dtype=np.uint32)
        bits = np.array(bits, ndmin=cells.ndim)
        return jnp.where(cells, bits, np.uint32(0)).sum(-1, dtype=jnp.uint32)


def _first_of(*sets: jax.Array) -> jax.Array:
    """uint32[W], the first of the sets uint32[W] that has a cell, or the last."""
    found = sets[-1]
    for cells in reversed(sets[:-1]):
        found = jnp.where((cells != 0).any(), cells, found)
    return found
