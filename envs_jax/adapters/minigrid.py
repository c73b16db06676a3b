"""Observations of MiniGrid's worlds as those of the package `minigrid`, with missions as texts."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium import spaces
from jumanji.env import Environment

from envs_jax.minigrid import MiniGridEnv
from envs_jax.minigrid.environment import Observation


class MissionSpace(spaces.Space[str]):
    """The texts of a world's missions, as the space of this name in `minigrid`.

    Gymnasium's own `Text` can't be used: `AsyncVectorEnv` reads it from shared memory only once, before the first
    reset.

    Args:
        texts: all that the world can have.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        super().__init__(dtype=str)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  texts have no masks
        return self.texts[self.np_random.integers(len(self.texts))]

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and x in self.texts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MissionSpace) and self.texts == other.texts

    def __hash__(self) -> int:
        return hash(self.texts)

    def __repr__(self) -> str:
        return f"MissionSpace({list(self.texts)})"


def minigrid_world(env: Environment[Any, Any, Any]) -> MiniGridEnv | None:
    """The MiniGrid world in an environment, wrapped or not; None if there is none."""
    world = env.unwrapped
    return world if isinstance(world, MiniGridEnv) else None


def has_mission(space: spaces.Space[Any]) -> bool:
    """Whether observations have MiniGrid's parts; those of DoorKey tasks, for example, do not."""
    return isinstance(space, spaces.Dict) and set(Observation._fields) <= set(space)


def to_minigrid_space(space: Any, world: MiniGridEnv) -> spaces.Dict:
    """The space of observations with MiniGrid's parts, with the bounds of `minigrid` and missions as texts."""
    image = spaces.Box(0, 255, space["image"].shape, np.uint8)
    parts = {"image": image, "direction": spaces.Discrete(4), "mission": MissionSpace(world.missions())}
    return spaces.Dict({**space.spaces, **parts})


def to_minigrid_values(values: dict[str, Any], observation: Any, world: MiniGridEnv) -> dict[str, Any]:
    """The values of an observation in `to_minigrid_space`."""
    return {**values, "direction": int(values["direction"]), "mission": world.mission(observation)}
