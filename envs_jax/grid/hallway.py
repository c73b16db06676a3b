"""The layout of a hallway with locked rooms: what is the same in every episode."""

from typing import NamedTuple

import numpy as np


class FloorPlan(NamedTuple):
    """Walls and doors. Doors and rooms are numbered in the order of their doors' cells."""

    width: int
    height: int
    walls: np.ndarray  # bool[width * height]
    door_cell: np.ndarray  # int32[D]
    room_corner: np.ndarray  # int32[D], the first cell inside each room
    hall_corner: int  # the first cell of the hallway
    hall_size: tuple[int, int]  # columns and rows inside the hallway's walls
    centre: int  # where the agents stand while a fresh world is furnished


def lay_out(num_rooms: int, room_size: int) -> FloorPlan:
    """Half of the rooms left, half right of the hallway, each door in the middle of its room's wall."""
    pitch, rows = room_size - 1, num_rooms // 2
    width, height = 3 * pitch + 1, rows * pitch + 1
    x, y = np.indices((width, height), np.int32)
    hall = (x > pitch) & (x < 2 * pitch)
    walls = (x % pitch == 0) | ((y % pitch == 0) & ~hall) | (y == 0) | (y == height - 1)
    tops = np.arange(rows, dtype=np.int32) * pitch
    middle = tops + pitch // 2
    door_cell = np.append(pitch * height + middle, 2 * pitch * height + middle)
    walls.reshape(-1)[door_cell] = False
    return FloorPlan(
        width=width,
        height=height,
        walls=walls.reshape(-1),
        door_cell=door_cell,
        room_corner=np.append(height + tops + 1, (2 * pitch + 1) * height + tops + 1),
        hall_corner=(pitch + 1) * height + 1,
        hall_size=(room_size - 2, height - 2),
        centre=(pitch + room_size // 2) * height + rows // 2 * pitch + room_size // 2,
    )
