"""MiniGrid's ids for objects, colours, door states, directions and actions."""

from enum import IntEnum
from typing import Final

import numpy as np

OBJECT_TO_IDX: Final[dict[str, int]] = {
    "unseen": 0,
    "empty": 1,
    "wall": 2,
    "floor": 3,
    "door": 4,
    "key": 5,
    "ball": 6,
    "box": 7,
    "goal": 8,
    "lava": 9,
    "agent": 10,
}
COLOR_TO_IDX: Final[dict[str, int]] = {
    "red": 0,
    "green": 1,
    "blue": 2,
    "purple": 3,
    "yellow": 4,
    "grey": 5,
}
STATE_TO_IDX: Final[dict[str, int]] = {"open": 0, "closed": 1, "locked": 2}
IDX_TO_OBJECT: Final = {index: name for name, index in OBJECT_TO_IDX.items()}
IDX_TO_COLOR: Final = {index: name for name, index in COLOR_TO_IDX.items()}
NUM_COLORS: Final = len(COLOR_TO_IDX)

UNSEEN, EMPTY, WALL, FLOOR = 0, 1, 2, 3
DOOR, KEY, BALL, BOX, GOAL, LAVA, AGENT = 4, 5, 6, 7, 8, 9, 10
OPEN, CLOSED, LOCKED = 0, 1, 2
GREY: Final = COLOR_TO_IDX["grey"]

EAST, SOUTH, WEST, NORTH = 0, 1, 2, 3
NO_DIRECTION: Final = 4
DIR_TO_VEC: Final = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)], np.int32)


class Actions(IntEnum):
    """MiniGrid's actions."""

    left = 0
    right = 1
    forward = 2
    pickup = 3
    drop = 4
    toggle = 5
    done = 6


NUM_ACTIONS: Final = len(Actions)
