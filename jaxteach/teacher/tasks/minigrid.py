"""The teacher's memory and skills for MiniGrid's worlds, on the map of what an agent has seen."""

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
from envs_jax.minigrid.map_memory import (
    MapWrapper,
    SeenMap,
    cell_of,
    empty_map,
    front_position,
    has_minigrid_observation,
    map_size,
    move_agent,
    update_map,
)
from envs_jax.small_gather import pick
from jaxteach.errors import UserError
from jaxteach.teacher.navigation import (
    FINISHED,
    MAX_HEIGHT,
    STUCK,
    Pose,
    ahead_rows,
    approach,
    mask_rows,
    neighbourhood,
    reachable,
)
from jaxteach.teacher.table import EXPLORE, FIRST_OBJECT_SKILL, OBJECT_SKILLS
from jaxteach.teacher.tasks.minigrid_captions import KnownWorld, MiniGridCaptions, checked_flags


class MiniGridMemory(NamedTuple):
    """What an agent keeps from step to step."""

    seen: SeenMap
    unlocked: jax.Array  # bool[colours], those of which it has unlocked a door


class Context(NamedTuple):
    """What the skills need; uint32[W] is a set of cells, bit y of word x. P: objects that plans may name."""

    objects: jax.Array  # uint32[P, W], where each object is, if the caption names it
    in_hand: jax.Array  # bool[P], whether the agent holds the object
    passable: jax.Array  # uint32[W], see `MiniGridDomain._passable`, and the agent's own cell
    explore_targets: jax.Array  # uint32[W], the cells to face in order to see more
    drop_targets: jax.Array  # uint32[W], the cells where *drop* puts things
    empty: jax.Array  # uint32[W], the empty cells, without the agent's own
    door_ahead: jax.Array  # bool[], whether a closed door is in front of the agent
    hands_full: jax.Array  # bool[], whether the agent holds anything


@dataclass(frozen=True)
class MiniGridDomain:
    """A `Domain` of MiniGrid worlds, whose observations have `image`, `direction` and `mission`.

    The skills:

    - *explore* goes to the nearest unseen cell beside one that can be reached or, without such a cell, to the nearest
      object beside something unseen; it is finished when there is neither. It opens no door with something unseen
      behind it.
    - *go to* walks a shortest path over seen cells to the nearest object of the name, opens closed doors on the way if
      both sides were seen, and is finished in front of the object; a cell to `enter`, such as the goal, is entered. It
      is finished at once if the object is in hand.
    - *pick up* and *toggle* are one action each; *pick up* is finished if the object is in hand.
    - *drop* takes the object in hand to the nearest of the `drop_cells` and drops it; it is finished if the object is
      not in hand.
    - *put next to* drops whatever is in hand into one of the eight cells around an object; it is finished with empty
      hands.

    The agent waits if the caption does not name the object, or if no path leads to it.

    Attributes:
        vocabulary: the captions.
        size: (W, H) of the map, see `envs_jax.minigrid.map_memory.map_size`; H is at most 32.
        avoid_lava: whether paths lead around lava.
        mission_length: how many numbers the mission of an observation has; None for any number.
    """

    vocabulary: MiniGridCaptions
    size: tuple[int, int]
    avoid_lava: bool = True
    mission_length: int | None = None
    num_agents = None
    num_actions = NUM_ACTIONS
    noop = int(Actions.done)

    @classmethod
    def of(cls, env: MiniGridEnv, vocabulary: MiniGridCaptions, avoid_lava: bool = True) -> "MiniGridDomain":
        """The domain for a world, with a map of its size.

        Raises:
            UserError: `env` is not a `MiniGridEnv` with MiniGrid's own observation, plain or in a `MapWrapper`; or it
                needs a map of more than 32 rows; or `vocabulary` is not a `MiniGridCaptions`.
        """
        world = env.unwrapped if isinstance(env, MapWrapper) else env
        if not has_minigrid_observation(world):
            raise UserError(
                f"MiniGridDomain.of takes a MiniGridEnv with MiniGrid's own observation, not {env!r:.200}; give the "
                "world itself, without a wrapper"
            )
        if not isinstance(vocabulary, MiniGridCaptions):
            raise UserError(f"the vocabulary of a MiniGridDomain must be MiniGridCaptions, not {vocabulary!r:.200}")
        size = map_size(world)
        if size[1] > MAX_HEIGHT:
            needs = f"{type(world).__name__} needs {size[1]}"
            raise UserError(
                f"a MiniGrid teacher's map has at most {MAX_HEIGHT} rows, and {needs}; make the world smaller"
            )
        return cls(vocabulary, size, avoid_lava, len(world.mission_placeholders))

    def reset(self) -> MiniGridMemory:
        return MiniGridMemory(empty_map(self.size), jnp.zeros(NUM_COLORS, bool))

    def read(self, obs: Any) -> Observation:
        """The observation without what other parts it has, such as a map.

        Raises:
            ValueError: it is not one observation of MiniGrid's, or has a mission of another length.
        """
        if not all(hasattr(obs, name) for name in Observation._fields):
            raise UserError(
                f"a MiniGrid teacher reads observations with image, direction and mission, not {type(obs).__name__}"
            )
        scene = Observation(obs.image, obs.direction, obs.mission)
        image, direction, mission = map(jnp.shape, scene)
        if (len(image), len(direction), len(mission)) == (4, 1, 2):
            raise UserError("a MiniGrid teacher takes one observation; for a batch use jax.vmap(teacher)")
        length = "M" if self.mission_length is None else self.mission_length
        square = len(image) == 3 and image[0] == image[1] and image[2] == 3
        if not square or direction or len(mission) != 1 or length not in ("M", *mission):
            raise UserError(
                f"this teacher reads observations with image [V, V, 3], direction [] and mission [{length}], not "
                f"{list(image)}, {list(direction)} and {list(mission)}; make it for the world that it is used in"
            )
        return scene

    def remember(self, memory: MiniGridMemory, scene: Observation) -> MiniGridMemory:
        before = memory.seen.words
        seen = update_map(memory.seen, scene.image, scene.direction, self.size)
        # The agent changes only the cell in front of it.
        front = cell_of(front_position(seen), self.size)
        was_locked = (kind_of(before[front]) == DOOR) & (state_of(before[front]) == LOCKED)
        opened = was_locked & (state_of(seen.words[front]) != LOCKED)
        colors = np.arange(NUM_COLORS, dtype=np.int32)
        return MiniGridMemory(seen, memory.unlocked | (opened & (colors == color_of(before[front]))))

    def advance(self, memory: MiniGridMemory, action: jax.Array) -> MiniGridMemory:
        return memory._replace(seen=move_agent(memory.seen, action, self.size))

    def _known(self, memory: MiniGridMemory, scene: Observation) -> KnownWorld:
        """What the agent knows; `within_reach` is left empty."""
        words = memory.seen.words.reshape(self.size)
        view_size = scene.image.shape[0]
        hand = scene.image[view_size // 2, view_size - 1].astype(jnp.int32)
        return KnownWorld(
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

    def drop_cells(self, known: KnownWorld) -> jax.Array:
        """bool[W, H], where *drop* may put things; it takes the nearest of these cells that is empty.

        By default these are cells where an object blocks no path: cells in the open, or else dead ends, or else all
        empty cells. A subclass may override this. An agent that knows no such cell waits.
        """
        empty, reach = mask_rows((known.kind == EMPTY) & ~known.here), mask_rows(known.within_reach)
        blocked = ~self._passable(known) & np.uint32((1 << self.size[1]) - 1)
        east, south, west, north = (ahead_rows(blocked, side, self.size[1], True) for side in range(4))
        crowded = self._near(self._near(self._items(known))) | self._near(mask_rows(known.kind == DOOR))
        in_the_open = empty & reach & ~crowded & ~(east & west) & ~(north & south)
        dead_ends = empty & reach & (east & west & (north | south) | north & south & (east | west))
        return self._cells(_first_of(in_the_open, dead_ends, empty))

    def _checked_drop_cells(self, known: KnownWorld) -> jax.Array:
        return checked_flags(f"drop_cells of {type(self).__name__}", self.drop_cells(known), self.size)

    def caption_id(self, memory: MiniGridMemory, scene: Observation) -> tuple[jax.Array, Context]:
        known, words = self._known(memory, scene), self.vocabulary
        own = mask_rows(known.here)
        passable = self._passable(known) | own
        reach = reachable(passable, own, self.size[1], True)
        known = known._replace(within_reach=self._cells(reach))
        places = mask_rows(words.cells(known))
        by_sight = np.array([thing.by_sight for thing in words.seen_objects], bool).reshape(-1, 1)
        named = ((places & jnp.where(by_sight, places, reach[None])) != 0).any(1)
        held = words.held_object(known)
        shown = jnp.where(words.seen_as[:, :, None] & named[None, :, None], places[None], np.uint32(0))
        empty, unseen = mask_rows((known.kind == EMPTY) & ~known.here), mask_rows(known.kind == UNSEEN)
        front = memory.seen.words[cell_of(front_position(memory.seen), self.size)]
        return words.number(named, held), Context(
            objects=jax.lax.reduce(shown, np.uint32(0), jax.lax.bitwise_or, (1,)),
            in_hand=pick(words.held_as, held),
            passable=passable,
            explore_targets=jnp.where((unseen & reach).any(), unseen, self._items(known) & self._near(unseen)),
            drop_targets=mask_rows(self._checked_drop_cells(known)) & empty,
            empty=empty,
            door_ahead=(kind_of(front) == DOOR) & (state_of(front) == CLOSED),
            hands_full=known.held_kind != EMPTY,
        )

    def object_ids(self, scene: Observation, context: Context) -> jax.Array:
        """All -1: there is no other agent to take an object from."""
        del scene, context
        return jnp.full(len(self.vocabulary.object_names), -1, jnp.int32)

    def skill_actions(
        self, memory: MiniGridMemory, scene: Observation, context: Context, skills: jax.Array
    ) -> jax.Array:
        del scene
        on_object = skills >= FIRST_OBJECT_SKILL
        number = jnp.maximum(skills - FIRST_OBJECT_SKILL, 0)
        place, verb = number // len(OBJECT_SKILLS), number % len(OBJECT_SKILLS)
        goes, picks, drops, toggles, puts = (on_object & (verb == i) for i in range(len(OBJECT_SKILLS)))
        explores = skills == EXPLORE
        objects, in_hand = pick(context.objects, place), pick(context.in_hand, place)
        enters = pick(np.array([thing.enter for thing in self.vocabulary.plan_objects], bool), place)
        known = (objects != 0).any(1)

        targets = jnp.where(explores[:, None], context.explore_targets[None], objects)
        targets = jnp.where(drops[:, None], context.drop_targets[None], targets)
        targets = jnp.where(puts[:, None], self._beside(objects) & context.empty[None], targets)
        walk = self._walk(memory.seen, context, targets)
        arrived, walk_or_wait = walk == FINISHED, jnp.where(walk == STUCK, Actions.done, walk)
        going = jnp.where(known, jnp.where(enters & arrived, Actions.forward, walk_or_wait), Actions.done)
        taking = jnp.where(known, Actions.pickup, Actions.done)
        dropping = jnp.where(arrived, Actions.drop, walk_or_wait)

        action = jnp.where(explores, jnp.where(walk == STUCK, FINISHED, walk), Actions.done)
        action = jnp.where(goes, jnp.where(in_hand, FINISHED, going), action)
        action = jnp.where(picks, jnp.where(in_hand, FINISHED, taking), action)
        action = jnp.where(drops, jnp.where(in_hand, dropping, FINISHED), action)
        action = jnp.where(puts, jnp.where(context.hands_full, dropping, FINISHED), action)
        return jnp.where(toggles & known, Actions.toggle, action).astype(jnp.int32)

    def _items(self, known: KnownWorld) -> jax.Array:
        """uint32[W], the cells with an object that can be picked up."""
        return mask_rows((known.kind == KEY) | (known.kind == BALL) | (known.kind == BOX))

    def _passable(self, known: KnownWorld) -> jax.Array:
        """uint32[W], the cells that can be walked through; a closed door is one if nothing beside it is unseen."""
        free = (known.kind == EMPTY) | (known.kind == FLOOR) | (known.kind == GOAL)
        if not self.avoid_lava:
            free |= known.kind == LAVA
        doors = known.kind == DOOR
        closed = mask_rows(doors & (known.state == CLOSED)) & ~self._near(mask_rows(known.kind == UNSEEN))
        return mask_rows(free | (doors & (known.state == OPEN))) | closed

    def _walk(self, seen: SeenMap, context: Context, targets: jax.Array) -> jax.Array:
        """int32[M], the first action on the way to each of the targets uint32[M, W], `FINISHED` or `STUCK`."""
        x, y = (seen.position[i] % self.size[i] for i in range(2))
        search = jax.vmap(approach, in_axes=(None, None, 0, None, None))
        walks = search(context.passable, Pose(x, y, seen.direction), targets, self.size[1], True)
        return jnp.where((walks == Actions.forward) & context.door_ahead, Actions.toggle, walks)

    def _near(self, rows: jax.Array) -> jax.Array:
        """uint32[W], the cells of a set uint32[W] and those next to them."""
        return neighbourhood(rows, self.size[1], True)

    def _beside(self, rows: jax.Array) -> jax.Array:
        """uint32[M, W], the eight cells around each of the sets uint32[M, W]."""

        def around(rows: jax.Array) -> jax.Array:
            column = rows | ahead_rows(rows, 1, self.size[1], True) | ahead_rows(rows, 3, self.size[1], True)
            return column | ahead_rows(column, 0, self.size[1], True) | ahead_rows(column, 2, self.size[1], True)

        return jax.vmap(around)(rows)

    def _cell(self, position: jax.Array) -> jax.Array:
        """bool[W, H], the cell of a position int32[2]."""
        cells = np.arange(self.size[0] * self.size[1], dtype=np.int32).reshape(self.size)
        return cells == cell_of(position, self.size)

    def _cells(self, rows: jax.Array) -> jax.Array:
        """bool[W, H], the cells of a set uint32[W]."""
        return (rows[:, None] >> np.arange(self.size[1], dtype=np.uint32)[None]) & 1 == 1


def _first_of(*sets: jax.Array) -> jax.Array:
    """uint32[W], the first of the sets uint32[W] that is not empty; the last if all are."""
    found = sets[-1]
    for cells in reversed(sets[:-1]):
        found = jnp.where((cells != 0).any(), cells, found)
    return found
