"""What matters in each of MiniGrid's worlds: the objects in its captions, and what its mission says."""

from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp

from envs_jax.grid.constants import (
    BALL,
    BOX,
    CLOSED,
    COLOR_TO_IDX,
    DOOR,
    EMPTY,
    FLOOR,
    GOAL,
    KEY,
    LOCKED,
    NUM_COLORS,
    OPEN,
    UNSEEN,
)
from envs_jax.minigrid import MiniGridEnv
from envs_jax.minigrid.doorkey import DoorKey, RedBlueDoors
from envs_jax.minigrid.empty import DistShift, Empty, FourRooms, LavaCrossing, LavaGap
from envs_jax.minigrid.mazes import ObstructedMaze
from envs_jax.minigrid.multi_room import MultiRoom
from envs_jax.minigrid.objects import Fetch, GoToDoor, GoToObject, PutNear
from envs_jax.minigrid.obstacles import DynamicObstacles
from envs_jax.minigrid.rooms import BlockedUnlockPickup, KeyCorridor, Unlock, UnlockPickup
from envs_jax.small_gather import pick
from jaxteach.teacher.plans import SKILLS
from jaxteach.teacher.tasks.minigrid import MiniGridDomain
from jaxteach.teacher.tasks.minigrid_captions import KnownWorld, MiniGridCaptions, NamedObject


def near(cells: jax.Array) -> jax.Array:
    """bool[W, H], the cells bool[W, H] and the four next to each of them, on the map's torus."""
    return cells | jnp.roll(cells, 1, 0) | jnp.roll(cells, -1, 0) | jnp.roll(cells, 1, 1) | jnp.roll(cells, -1, 1)


def of_color(known: KnownWorld, colors: jax.Array) -> jax.Array:
    """bool[W, H], the cells with one of the colours bool[colours]."""
    return pick(colors, known.color)


def doors(known: KnownWorld, state: int) -> jax.Array:
    """bool[W, H], the doors in a state."""
    return (known.kind == DOOR) & (known.state == state)


def useful_keys(known: KnownWorld) -> jax.Array:
    """bool[W, H], the keys of colours of which the agent knows a locked door, or has not unlocked one."""
    return (known.kind == KEY) & of_color(known, ~known.unlocked | _locked_colors(known))


def holds_used_key(known: KnownWorld) -> jax.Array:
    """bool[], whether the agent holds a key that has opened its door."""
    used = known.unlocked & ~_locked_colors(known)
    return (known.held_kind == KEY) & pick(used, known.held_color)


def _locked_colors(known: KnownWorld) -> jax.Array:
    """bool[colours], those of which the agent knows a locked door."""
    return jnp.stack([(doors(known, LOCKED) & (known.color == color)).any() for color in range(NUM_COLORS)])


def unopened_doors(known: KnownWorld) -> jax.Array:
    """bool[W, H], the closed doors with something unseen behind them."""
    return doors(known, CLOSED) & near(known.kind == UNSEEN)


def blocking_cells(known: KnownWorld) -> jax.Array:
    """bool[W, H], where an object may block a path: next to a door or free cell that the agent knows no way to."""
    free = (known.kind == EMPTY) | (known.kind == FLOOR) | (known.kind == GOAL) | (known.kind == DOOR)
    return near(free & ~known.within_reach)


def blocking_used_keys(known: KnownWorld) -> jax.Array:
    """bool[W, H], the keys on the ground that have opened their doors and may block a path."""
    return (known.kind == KEY) & ~useful_keys(known) & blocking_cells(known)


def blocking_balls(known: KnownWorld) -> jax.Array:
    """bool[W, H], the balls that may block a path, without the one that the mission asks for."""
    return (known.kind == BALL) & blocking_cells(known) & ~mission_object(known)


def mission_object(known: KnownWorld) -> jax.Array:
    """bool[W, H], the objects that the mission names last: its last two numbers are their colour and type."""
    return (known.color == known.mission[-2]) & (known.kind == known.mission[-1])


def _held(kind: int) -> Callable[[KnownWorld], jax.Array]:
    return lambda known: known.held_kind == kind


def _colored_door(color: str, state: int) -> Callable[[KnownWorld], jax.Array]:
    return lambda known: doors(known, state) & (known.color == COLOR_TO_IDX[color])


def _mission_door(known: KnownWorld) -> jax.Array:
    return (known.kind == DOOR) & (known.color == known.mission[0])


def _first_object(known: KnownWorld) -> jax.Array:
    return (known.color == known.mission[0]) & (known.kind == known.mission[1])


def _holds_first_object(known: KnownWorld) -> jax.Array:
    return (known.held_color == known.mission[0]) & (known.held_kind == known.mission[1])


GOAL_CELL: Final = NamedObject(
    "goal", lambda known: known.kind == GOAL, enter=True, note="the cell to reach; go to enters it"
)
TARGET: Final = NamedObject("target", mission_object, note="the object that the mission asks for")
KEYS: Final = (
    NamedObject(
        "used key",
        blocking_used_keys,
        holds_used_key,
        note="a key that has opened its door; it is of no more use, but may be in the way",
    ),
    NamedObject("key", useful_keys, _held(KEY), note="opens the locked door of its color"),
)
LOCKED_DOOR: Final = NamedObject(
    "locked door",
    lambda known: doors(known, LOCKED),
    by_sight=True,
    note="toggle opens it for an agent that holds its key",
)
UNOPENED_DOOR: Final = NamedObject(
    "closed door", unopened_doors, note="a door that is not locked and was not opened yet; toggle opens it"
)
BLOCKING_BALL: Final = NamedObject(
    "ball", blocking_balls, _held(BALL), note="a ball that is in the way until it is put elsewhere"
)
CLOSED_BOX: Final = NamedObject(
    "box", lambda known: known.kind == BOX, _held(BOX), note="toggle opens it; something may be in it"
)

REACH: Final = "The agent has to reach the goal."
PICK_UP: Final = "The agent has to pick up the target."
CAPTIONS: Final[dict[type[MiniGridEnv], MiniGridCaptions]] = {
    Empty: MiniGridCaptions((GOAL_CELL,), REACH),
    FourRooms: MiniGridCaptions((GOAL_CELL,), f"There are four rooms with openings between them. {REACH}"),
    DistShift: MiniGridCaptions((GOAL_CELL,), f"Lava ends the episode. {REACH}"),
    LavaGap: MiniGridCaptions((GOAL_CELL,), f"Lava ends the episode. {REACH}"),
    LavaCrossing: MiniGridCaptions((GOAL_CELL,), f"Lava or walls with openings lie in the way. {REACH}"),
    MultiRoom: MiniGridCaptions((UNOPENED_DOOR, GOAL_CELL), f"Rooms are joined by closed doors. {REACH}"),
    DoorKey: MiniGridCaptions(
        (*KEYS, LOCKED_DOOR, GOAL_CELL), f"A locked door leads to the room with the goal. {REACH}", unique=True
    ),
    Unlock: MiniGridCaptions((*KEYS, LOCKED_DOOR), "The agent has to open the locked door.", unique=True),
    UnlockPickup: MiniGridCaptions(
        (TARGET, *KEYS, LOCKED_DOOR), f"A locked door leads to the room with the target. {PICK_UP}", unique=True
    ),
    BlockedUnlockPickup: MiniGridCaptions(
        (TARGET, *KEYS, LOCKED_DOOR, BLOCKING_BALL),
        f"A locked door, with a ball before it, leads to the room with the target. {PICK_UP}",
        unique=True,
    ),
    KeyCorridor: MiniGridCaptions(
        (TARGET, *KEYS, LOCKED_DOOR, UNOPENED_DOOR),
        f"Rooms lie along a corridor; the target is in the locked one, the key in another. {PICK_UP}",
        unique=True,
    ),
    ObstructedMaze: MiniGridCaptions(
        (TARGET, *KEYS, LOCKED_DOOR, CLOSED_BOX, BLOCKING_BALL),
        f"A locked door leads to the room with the target; the key may be in a box. {PICK_UP}",
        unique=True,
    ),
    RedBlueDoors: MiniGridCaptions(
        (
            NamedObject("open red door", _colored_door("red", OPEN)),
            NamedObject("red door", _colored_door("red", CLOSED), note="to be opened first; toggle opens it"),
            NamedObject("blue door", _colored_door("blue", CLOSED), note="to be opened while the red one is open"),
        ),
        "The agent has to open the red door, and then the blue one.",
        unique=True,
    ),
    Fetch: MiniGridCaptions((TARGET,), f"Picking up something else ends the episode. {PICK_UP}"),
    GoToDoor: MiniGridCaptions(
        (NamedObject("target", _mission_door, note=TARGET.note),),
        "The agent has to go to the target, a door, and wait there.",
    ),
    GoToObject: MiniGridCaptions((TARGET,), "The agent has to go to the target and wait there."),
    PutNear: MiniGridCaptions(
        (
            NamedObject("target", _first_object, _holds_first_object, note="the object to move"),
            NamedObject("destination", mission_object, note="the object beside which the target has to be put"),
        ),
        "The agent has to put the target next to the destination. Picking up something else ends the episode.",
        skills=SKILLS,
    ),
}
"""The captions of each class of worlds, and of those that inherit from it."""


def minigrid_domain(task: str, env: Any) -> MiniGridDomain:
    """The domain of one of MiniGrid's worlds.

    Raises:
        ValueError: there are no captions for it, or as `MiniGridDomain.of`.
    """
    world = next((base for base in type(env).__mro__ if base in CAPTIONS), None)
    larger_maze = isinstance(env, ObstructedMaze) and env.num_quarters > 0
    if world is None or larger_maze or isinstance(env, DynamicObstacles):
        raise ValueError(f"{task} has no captions")
    return MiniGridDomain.of(env, CAPTIONS[world])
