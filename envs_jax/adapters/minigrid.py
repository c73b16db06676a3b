"""MiniGrid's worlds as the package `minigrid` shows them to Gymnasium: missions as texts, and both ends at once."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium import spaces
from jumanji.env import Environment

from envs_jax.minigrid import MiniGridEnv
from envs_jax.minigrid.environment import Observation


class MissionSpace(spaces.Space[str]):
    """The texts of a world's missions, as the package's space of this name.

    It is not Gymnasium's `Text`, which `AsyncVectorEnv` reads from shared memory only once, before the first reset.
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
    """The world of MiniGrid that an environment is, wrapped or not; None, if it is another one."""
    world = env.unwrapped
    return world if isinstance(world, MiniGridEnv) else None


def has_mission(space: spaces.Space[Any]) -> bool:
    """Whether observations have MiniGrid's parts; DoorKey tasks, for example, have others."""
    return isinstance(space, spaces.Dict) and set(Observation._fields) <= set(space)


def text_space(space: Any, world: MiniGridEnv) -> spaces.Dict:
    """The space of observations with MiniGrid's parts, with bounds as in `minigrid` and the mission as a text."""
    image = spaces.Box(0, 255, space["image"].shape, np.uint8)
    told = {"image": image, "direction": spaces.Discrete(4), "mission": MissionSpace(world.missions())}
    return spaces.Dict({**space.spaces, **told})


def text_values(values: dict[str, Any], observation: Any, world: MiniGridEnv) -> dict[str, Any]:
    """The values of an observation in `text_space`."""
    return {**values, "direction": int(values["direction"]), "mission": world.mission(observation)}
