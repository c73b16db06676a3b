"""MiniGrid's worlds by its own ids and its observation wrappers, and LLM4RL's two worlds with boxes."""

from typing import Any

from envs_jax.minigrid.doorkey import DoorKey, RedBlueDoors
from envs_jax.minigrid.empty import DistShift, Empty, FourRooms, LavaCrossing, LavaGap, SimpleCrossing
from envs_jax.minigrid.environment import COLORS, MiniGridEnv, Outcome
from envs_jax.minigrid.locked_room import LockedRoom
from envs_jax.minigrid.mazes import ObstructedMaze
from envs_jax.minigrid.memory import Memory
from envs_jax.minigrid.multi_room import MultiRoom
from envs_jax.minigrid.objects import Fetch, GoToDoor, GoToObject, Playground, PutNear
from envs_jax.minigrid.obstacles import DynamicObstacles
from envs_jax.minigrid.rooms import BlockedUnlockPickup, KeyCorridor, Unlock, UnlockPickup
from envs_jax.minigrid.wrappers import DirectionObsWrapper, FullyObsWrapper, RGBImgObsWrapper, RGBImgPartialObsWrapper

__all__ = [
    "COLORS",
    "WORLDS",
    "DirectionObsWrapper",
    "FullyObsWrapper",
    "MiniGridEnv",
    "Outcome",
    "RGBImgObsWrapper",
    "RGBImgPartialObsWrapper",
]

_CROSSINGS = (("S9N1", 9, 1), ("S9N2", 9, 2), ("S9N3", 9, 3), ("S11N5", 11, 5))
_CORRIDORS = (("S3R1", 3, 1), ("S3R2", 3, 2), ("S3R3", 3, 3), ("S4R3", 4, 3), ("S5R3", 5, 3), ("S6R3", 6, 3))
_OBSTACLES: dict[str, dict[str, Any]] = {
    "": {"key_in_box": False, "blocked": False},
    "h": {"blocked": False},
    "hb": {},
}
_MAZES: dict[str, dict[str, Any]] = {
    **{
        f"1Dl{suffix}-v0": {"num_quarters": 0, "agent_room": (0, 0), "max_steps": 288, **options}
        for suffix, options in _OBSTACLES.items()
    },
    **{
        f"2Dl{suffix}-v0": {"num_quarters": 1, "agent_room": (2, 1), "max_steps": 576, **options}
        for suffix, options in _OBSTACLES.items()
    },
    "2Dlhb-v1": {"num_quarters": 1, "agent_room": (2, 1), "max_steps": 576, "keys_last": True},
    **{
        f"{name}-v{version}": {"keys_last": version == 1, **options}
        for version in (0, 1)
        for name, options in {
            "1Q": {"num_quarters": 1, "max_steps": 720},
            "2Q": {"num_quarters": 2, "agent_room": (2, 1), "max_steps": 1584},
            "Full": {},
        }.items()
    },
}

WORLDS: dict[str, tuple[type[MiniGridEnv], dict[str, Any]]] = {
    **{f"MiniGrid-Empty-{size}x{size}-v0": (Empty, {"size": size}) for size in (5, 6, 8, 16)},
    **{f"MiniGrid-Empty-Random-{size}x{size}-v0": (Empty, {"size": size, "random_start": True}) for size in (5, 6)},
    "MiniGrid-FourRooms-v0": (FourRooms, {}),
    "MiniGrid-DistShift1-v0": (DistShift, {"strip2_row": 2}),
    "MiniGrid-DistShift2-v0": (DistShift, {"strip2_row": 5}),
    **{f"MiniGrid-LavaGapS{size}-v0": (LavaGap, {"size": size}) for size in (5, 6, 7)},
    **{f"MiniGrid-LavaCrossing{n}-v0": (LavaCrossing, {"size": s, "num_crossings": c}) for n, s, c in _CROSSINGS},
    **{f"MiniGrid-SimpleCrossing{n}-v0": (SimpleCrossing, {"size": s, "num_crossings": c}) for n, s, c in _CROSSINGS},
    **{f"MiniGrid-DoorKey-{size}x{size}-v0": (DoorKey, {"size": size}) for size in (5, 6, 8, 16)},
    **{f"MiniGrid-RedBlueDoors-{size}x{size}-v0": (RedBlueDoors, {"size": size}) for size in (6, 8)},
    "MiniGrid-Unlock-v0": (Unlock, {}),
    "MiniGrid-UnlockPickup-v0": (UnlockPickup, {}),
    "MiniGrid-BlockedUnlockPickup-v0": (BlockedUnlockPickup, {}),
    **{f"MiniGrid-KeyCorridor{n}-v0": (KeyCorridor, {"room_size": s, "num_rows": r}) for n, s, r in _CORRIDORS},
    **{f"MiniGrid-Fetch-{s}x{s}-N{n}-v0": (Fetch, {"size": s, "num_objects": n}) for s, n in ((5, 2), (6, 2), (8, 3))},
    **{f"MiniGrid-GoToDoor-{size}x{size}-v0": (GoToDoor, {"size": size}) for size in (5, 6, 8)},
    **{f"MiniGrid-GoToObject-{size}x{size}-N2-v0": (GoToObject, {"size": size}) for size in (6, 8)},
    "MiniGrid-PutNear-6x6-N2-v0": (PutNear, {"size": 6, "num_objects": 2}),
    "MiniGrid-PutNear-8x8-N3-v0": (PutNear, {"size": 8, "num_objects": 3}),
    "MiniGrid-Playground-v0": (Playground, {}),
    **{f"MiniGrid-MemoryS{size}-v0": (Memory, {"size": size}) for size in (7, 9, 11, 13)},
    **{f"MiniGrid-MemoryS{size}Random-v0": (Memory, {"size": size, "random_length": True}) for size in (13, 17)},
    "MiniGrid-LockedRoom-v0": (LockedRoom, {}),
    **{f"MiniGrid-ObstructedMaze-{name}": (ObstructedMaze, options) for name, options in _MAZES.items()},
    **{
        f"MiniGrid-Dynamic-Obstacles-{size}x{size}-v0": (DynamicObstacles, {"size": size, "num_obstacles": count})
        for size, count in ((5, 2), (6, 3), (8, 4), (16, 8))
    },
    **{
        f"MiniGrid-Dynamic-Obstacles-Random-{size}x{size}-v0": (
            DynamicObstacles,
            {"size": size, "num_obstacles": count, "random_start": True},
        )
        for size, count in ((5, 2), (6, 3))
    },
    "MiniGrid-MultiRoom-N2-S4-v0": (MultiRoom, {"num_rooms": 2, "max_room_size": 4}),
    "MiniGrid-MultiRoom-N4-S5-v0": (MultiRoom, {"num_rooms": 6, "max_room_size": 5}),
    "MiniGrid-MultiRoom-N4-S5-v1": (MultiRoom, {"num_rooms": 4, "max_room_size": 5}),
    "MiniGrid-MultiRoom-N6-v0": (MultiRoom, {"num_rooms": 6}),
}
"""The class of each world, and its parameters."""
