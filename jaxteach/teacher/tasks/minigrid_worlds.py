"""What matters in each of MiniGrid's worlds: the names in captions, and what the mission says."""

from collections.abc import Callable
from functools import cache
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
from envs_jax.minigrid.map_memory import MapWrapper, map_size
from envs_jax.minigrid.mazes import ObstructedMaze
from envs_jax.minigrid.multi_room import MultiRoom
from envs_jax.minigrid.objects import Fetch, GoToDoor, GoToObject, PutNear
from envs_jax.minigrid.obstacles import DynamicObstacles
from envs_jax.minigrid.rooms import BlockedUnlockPickup, KeyCorridor, Unlock, UnlockPickup
from envs_jax.small_gather import pick
from jaxteach.teacher.navigation import MAX_HEIGHT
from jaxteach.teacher.plans import SKILLS
from jaxteach.teacher.tasks.minigrid import MiniGridDomain
from jaxteach.teacher.tasks.minigrid_captions import Known, MiniGridCaptions, Name


def near(cells: jax.Array) -> jax.Array:
    """bool[W, H], cells and the four next to each of them."""
    return cells | jnp.roll(cells, 1, 0) | jnp.roll(cells, -1, 0) | jnp.roll(cells, 1, 1) | jnp.roll(cells, -1, 1)


def of_color(known: Known, colors: jax.Array) -> jax.Array:
    """bool[W, H], cells whose colour is one of bool[colours]."""
    return pick(colors, known.color)


def doors(known: Known, state: int) -> jax.Array:
    """bool[W, H], the doors in a state."""
    return (known.kind == DOOR) & (known.state == state)


def useful_keys(known: Known) -> jax.Array:
    """bool[W, H], the keys whose locked door is known or was never opened."""
    return (known.kind == KEY) & of_color(known, ~known.unlocked | _locked_colors(known))


def holds_used_key(known: Known) -> jax.Array:
    """bool[], the key in hand has opened its door."""
    used = known.unlocked & ~_locked_colors(known)
    return (known.held_kind == KEY) & pick(used, known.held_color)


def _locked_colors(known: Known) -> jax.Array:
    """bool[colours], of the locked doors."""
    return jnp.stack([(doors(known, LOCKED) & (known.color == color)).any() for color in range(NUM_COLORS)])


def new_doors(known: Known) -> jax.Array:
    """bool[W, H], the closed doors with something unseen behind them."""
    return doors(known, CLOSED) & near(known.kind == UNSEEN)


def in_the_way(known: Known) -> jax.Array:
    """bool[W, H], cells next to a door or free cell that the agent knows no way to."""
    free = (known.kind == EMPTY) | (known.kind == FLOOR) | (known.kind == GOAL) | (known.kind == DOOR)
    return near(free & ~known.within_reach)


def blocking_used_keys(known: Known) -> jax.Array:
    """bool[W, H], the keys on the ground that have opened their doors, where they are in the way."""
    return (known.kind == KEY) & ~useful_keys(known) & in_the_way(known)


def blocking_balls(known: Known) -> jax.Array:
    """bool[W, H], the balls that are in the way, less the one that the mission asks for."""
    return (known.kind == BALL) & in_the_way(known) & ~mission_object(known)


def mission_object(known: Known) -> jax.Array:
    """bool[W, H], objects of the mission's colour and type, its last two numbers but for worlds with two objects."""
    return (known.color == known.mission[-2]) & (known.kind == known.mission[-1])


def _held(kind: int) -> Callable[[Known], jax.Array]:
    return lambda known: known.held_kind == kind


def _colored_door(color: str, state: int) -> Callable[[Known], jax.Array]:
    return lambda known: doors(known, state) & (known.color == COLOR_TO_IDX[color])


GOAL_CELL: Final = Name(
    "goal", lambda known: known.kind == GOAL, enter=True, about="the cell to reach; go to enters it"
)
TARGET: Final = Name("target", mission_object, about="the object that the mission asks for")
KEYS: Final = (
    Name(
        "used key",
        blocking_used_keys,
        holds_used_key,
        about="a key that has opened its door; it is of no more use, but may be in the way",
    ),
    Name("key", useful_keys, _held(KEY), about="opens the locked door of its color"),
)
LOCKED_DOOR: Final = Name(
    "locked door",
    lambda known: doors(known, LOCKED),
    by_sight=True,
    about="toggle opens it for an agent that holds its key",
)
NEW_DOOR: Final = Name(
    "closed door", new_doors, about="a door that is not locked and was not opened yet; toggle opens it"
)
BLOCKING_BALL: Final = Name(
    "ball", blocking_balls, _held(BALL), about="a ball that is in the way until it is put elsewhere"
)
CLOSED_BOX: Final = Name(
    "box", lambda known: known.kind == BOX, _held(BOX), about="toggle opens it; something may be in it"
)

REACH: Final = "The agent has to reach the goal."
PICK_UP: Final = "The agent has to pick up the target."
WORLDS: Final[dict[type[MiniGridEnv], Callable[[], MiniGridCaptions]]] = {
    Empty: lambda: MiniGridCaptions((GOAL_CELL,), REACH),
    FourRooms: lambda: MiniGridCaptions((GOAL_CELL,), f"There are four rooms with openings between them. {REACH}"),
    DistShift: lambda: MiniGridCaptions((GOAL_CELL,), f"Lava ends the episode. {REACH}"),
    LavaGap: lambda: MiniGridCaptions((GOAL_CELL,), f"Lava ends the episode. {REACH}"),
    LavaCrossing: lambda: MiniGridCaptions((GOAL_CELL,), f"Lava or walls with openings lie in the way. {REACH}"),
    MultiRoom: lambda: MiniGridCaptions((NEW_DOOR, GOAL_CELL), f"Rooms are joined by closed doors. {REACH}"),
    DoorKey: lambda: MiniGridCaptions(
        (*KEYS, LOCKED_DOOR, GOAL_CELL), f"A locked door leads to the room with the goal. {REACH}", single=True
    ),
    Unlock: lambda: MiniGridCaptions((*KEYS, LOCKED_DOOR), "The agent has to open the locked door.", single=True),
    UnlockPickup: lambda: MiniGridCaptions(
        (TARGET, *KEYS, LOCKED_DOOR), f"A locked door leads to the room with the target. {PICK_UP}", single=True
    ),
    BlockedUnlockPickup: lambda: MiniGridCaptions(
        (TARGET, *KEYS, LOCKED_DOOR, BLOCKING_BALL),
        f"A locked door, with a ball before it, leads to the room with the target. {PICK_UP}",
        single=True,
    ),
    KeyCorridor: lambda: MiniGridCaptions(
        (TARGET, *KEYS, LOCKED_DOOR, NEW_DOOR),
        f"Rooms lie along a corridor; the target is in the locked one, the key in another. {PICK_UP}",
        single=True,
    ),
    ObstructedMaze: lambda: MiniGridCaptions(
        (TARGET, *KEYS, LOCKED_DOOR, CLOSED_BOX, BLOCKING_BALL),
        f"A locked door leads to the room with the target; the key may be in a box. {PICK_UP}",
        single=True,
    ),
    RedBlueDoors: lambda: MiniGridCaptions(
        (
            Name("open red door", _colored_door("red", OPEN)),
            Name("red door", _colored_door("red", CLOSED), about="to be opened first; toggle opens it"),
            Name("blue door", _colored_door("blue", CLOSED), about="to be opened while the red one is open"),
        ),
        "The agent has to open the red door, and then the blue one.",
        single=True,
    ),
    Fetch: lambda: MiniGridCaptions((TARGET,), f"Picking up something else ends the episode. {PICK_UP}"),
    GoToDoor: lambda: MiniGridCaptions(
        (Name("target", _mission_door, about=TARGET.about),),
        "The agent has to go to the target, a door, and wait there.",
    ),
    GoToObject: lambda: MiniGridCaptions((TARGET,), "The agent has to go to the target and wait there."),
    PutNear: lambda: MiniGridCaptions(
        (
            Name("target", _first_object, _holds_first_object, about="the object to move"),
            Name("destination", mission_object, about="the object beside which the target has to be put"),
        ),
        "The agent has to put the target next to the destination. Picking up something else ends the episode.",
        skills=SKILLS,
    ),
}
"""The captions of each world's class, and of those that inherit from it."""


def _mission_door(known: Known) -> jax.Array:
    return (known.kind == DOOR) & (known.color == known.mission[0])


def _first_object(known: Known) -> jax.Array:
    return (known.color == known.mission[0]) & (known.kind == known.mission[1])


def _holds_first_object(known: Known) -> jax.Array:
    return (known.held_color == known.mission[0]) & (known.held_kind == known.mission[1])


@cache
def _captions(world: type[MiniGridEnv]) -> MiniGridCaptions:
    return WORLDS[world]()


def minigrid_domain(task: str, env: Any) -> MiniGridDomain:
    """The domain of one of MiniGrid's worlds, with a map in its observations or without.

    Raises:
        ValueError: there are no captions for it, or it doesn't fit the map.
    """
    env = env.unwrapped if isinstance(env, MapWrapper) else env
    world = next((base for base in type(env).__mro__ if base in WORLDS), None)
    larger_maze = isinstance(env, ObstructedMaze) and env.num_quarters > 0
    if world is None or larger_maze or isinstance(env, DynamicObstacles):
        raise ValueError(f"{task} has no captions")
    if map_size(env)[1] > MAX_HEIGHT:
        raise ValueError(
            f"the teacher of {task} has no room on its map for views through the walls of a world so large"
        )
    return MiniGridDomain.of(env, _captions(world))
