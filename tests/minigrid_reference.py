"""MiniGrid's own worlds as states of ours, and as the features of layouts."""

import warnings

import gymnasium
import minigrid  # noqa: F401 - registers its worlds
import numpy as np


def make_reference(name):
    """MiniGrid's own environment; it warns of old versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make(name).unwrapped


def contents_of(reference):
    """uint8[W, H, 2], what the boxes hold."""
    contents = np.zeros((reference.width, reference.height, 2), np.uint8)
    for index, thing in enumerate(reference.grid.grid):
        if thing is not None and thing.type == "box" and thing.contains is not None:
            contents[index % reference.width, index // reference.width] = thing.contains.encode()[:2]
    return contents


def carrying_of(reference):
    """(object id, colour) of what is carried."""
    return (0, 0) if reference.carrying is None else reference.carrying.encode()[:2]


def moves(reference):
    """Whether there are obstacles that move."""
    return type(reference).__name__ == "DynamicObstaclesEnv"


def facts_of(reference):
    """What our rules need beside the grid, from the attributes in which MiniGrid keeps it."""
    kind = type(reference).__name__
    if moves(reference):
        return [_cell(reference, ball.cur_pos) for ball in reference.obstacles]
    names = {
        "UnlockEnv": lambda: [reference.door.cur_pos],
        "RedBlueDoorEnv": lambda: [_door_of(reference, color) for color in ("red", "blue")],
        "MemoryEnv": lambda: [reference.success_pos, reference.failure_pos],
        **dict.fromkeys(("GoToDoorEnv", "GoToObjectEnv", "PutNearEnv"), lambda: [reference.target_pos]),
    }
    return [_cell(reference, place) for place in names.get(kind, list)()]


def state_of(env, reference):
    """The state of a world of ours that is the same as MiniGrid's."""
    return env.make_state(
        grid=reference.grid.encode(),
        contents=contents_of(reference),
        agent_pos=[int(place) for place in reference.agent_pos],
        agent_dir=int(reference.agent_dir),
        carrying=carrying_of(reference),
        step_count=reference.step_count,
        mission=reference.mission,
        # The order in which obstacles move is seen nowhere else.
        facts=facts_of(reference) if moves(reference) else None,
    )


def _cell(reference, place):
    return int(place[0]) * reference.height + int(place[1])


def _door_of(reference, color):
    (place,) = (
        (index % reference.width, index // reference.width)
        for index, thing in enumerate(reference.grid.grid)
        if thing is not None and thing.type == "door" and thing.color == color
    )
    return place
