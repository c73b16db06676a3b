"""The tasks that can be trained: one `TaskSpec` each, built in or registered.

A task's world is the one that `envs_jax` knows by the same name. What is heavy to import is named by an entry point,
"module:attribute", as Gymnasium does.
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jaxteach.errors import UserError, did_you_mean

OBJECT: Final = "object."
"""What names begin with that stand for objects, passed to `jaxteach.train` in Python: they can't be rebuilt by name."""

MINIGRID: Final = "MiniGrid-"
"""What the ids of MiniGrid's worlds begin with."""


@dataclass(frozen=True)
class TaskSpec:
    """What jaxteach knows of a task.

    Attributes:
        total_steps: environment steps of a run by default.
        options: the task's other default options, by their names on the command line.
        domain: `(task, env) -> Domain`, what the teacher knows of the task in one of its worlds, which no wrapper has
            changed; or an entry point; None without a teacher.
        prompt: the text file with which a language model is asked, or the name of one that ships, which several tasks
            may share; None for none.
    """

    total_steps: int
    options: Mapping[str, Any] = field(default_factory=dict)
    domain: Callable[[str, Any], Any] | str | None = None
    prompt: Path | str | None = None

    def make_domain(self, task: str, env: Any) -> Any:
        """The `Domain` of the task in one of its worlds."""
        make = pkgutil.resolve_name(self.domain) if isinstance(self.domain, str) else self.domain
        assert make is not None
        return make(task, env)


_DOORKEY: Final = "jaxteach.teacher.tasks.doorkey:doorkey_domain"
_BOXED: Final = "jaxteach.teacher.tasks.doorkey:boxed_key_domain"
_COLORED: Final = "jaxteach.teacher.tasks.doorkey:colored_doorkey_domain"
_MINIGRID: Final = "jaxteach.teacher.tasks.minigrid_worlds:minigrid_domain"
_HALLWAY: Final = "jaxteach.teacher.tasks.hallway:hallway_domain"
_SPREAD: Final = "jaxteach.teacher.tasks.spread:spread_domain"

# Episodes are long, or iterations many: evaluations at DoorKey's pace would cost more than training.
_HALLWAY_OPTIONS: Final = {
    "network": "mlp",
    "eval_interval": 25,
    "entropy_coef": 0.01,
    "normalize_values": True,
    "value_coef": 0.25,
}
# Every step is rewarded for where the agents are: a short horizon learns faster.
_PARTICLE_OPTIONS: Final = {
    "network": "mlp",
    "eval_interval": 25,
    "rollout_length": 25,
    "epochs": 10,
    "batch_size": 800,
    "learning_rate": 3e-3,
    "gamma": 0.95,
    "lam": 0.9,
    "entropy_coef": 0.02,
    "normalize_values": True,
}


def _minigrid(total_steps: int, *names: str, taught: bool = True) -> dict[str, TaskSpec]:
    """MiniGrid's worlds, by their ids without "MiniGrid-" and, for version 0, without "-v0"."""
    spec = TaskSpec(total_steps, {}, _MINIGRID, "MiniGrid") if taught else TaskSpec(total_steps)
    return {f"{MINIGRID}{name}{'' if name[-3:-1] == '-v' else '-v0'}": spec for name in names}


TASKS: Final[dict[str, TaskSpec]] = {
    "SimpleDoorKey": TaskSpec(150_000, {}, _DOORKEY, "SimpleDoorKey"),
    "LavaDoorKey": TaskSpec(400_000, {}, _DOORKEY, "LavaDoorKey"),
    "ColoredDoorKey": TaskSpec(500_000, {}, _COLORED, "ColoredDoorKey"),
    "TwoDoor": TaskSpec(600_000, {}, _DOORKEY, "TwoDoor"),
    "KeyInBox": TaskSpec(200_000, {}, _BOXED, "BoxKey"),
    "RandomBoxKey": TaskSpec(300_000, {}, _DOORKEY, "BoxKey"),
    "LockedHallway-2Rooms": TaskSpec(500_000, _HALLWAY_OPTIONS, _HALLWAY, "LockedHallway"),
    "LockedHallway-4Rooms": TaskSpec(1_000_000, _HALLWAY_OPTIONS, _HALLWAY, "LockedHallway"),
    "LockedHallway-6Rooms": TaskSpec(1_000_000, _HALLWAY_OPTIONS, _HALLWAY, "LockedHallway"),
    "simple": TaskSpec(500_000, _PARTICLE_OPTIONS),
    "simple_adversary": TaskSpec(1_000_000, _PARTICLE_OPTIONS),
    "simple_crypto": TaskSpec(1_000_000, _PARTICLE_OPTIONS),
    "simple_push": TaskSpec(1_000_000, _PARTICLE_OPTIONS),
    "simple_reference": TaskSpec(1_000_000, _PARTICLE_OPTIONS),
    "simple_speaker_listener": TaskSpec(1_000_000, _PARTICLE_OPTIONS),
    "simple_spread": TaskSpec(1_000_000, _PARTICLE_OPTIONS, _SPREAD, "simple_spread"),
    "simple_tag": TaskSpec(1_000_000, _PARTICLE_OPTIONS),
    "simple_world_comm": TaskSpec(1_000_000, _PARTICLE_OPTIONS),
    **_minigrid(
        300_000,
        *(f"Empty-{name}" for name in ("5x5", "6x6", "8x8", "16x16", "Random-5x5", "Random-6x6")),
        *("DistShift1", "DistShift2", "LavaGapS5", "LavaGapS6", "LavaGapS7"),
        *(f"{kind}Crossing{name}" for kind in ("Lava", "Simple") for name in ("S9N1", "S9N2", "S9N3", "S11N5")),
        *("FourRooms", "MultiRoom-N2-S4", "Unlock"),
        *(f"DoorKey-{name}" for name in ("5x5", "6x6", "8x8", "16x16")),
        *("RedBlueDoors-6x6", "RedBlueDoors-8x8"),
        *("Fetch-5x5-N2", "Fetch-6x6-N2", "Fetch-8x8-N3"),
        *("GoToDoor-5x5", "GoToDoor-6x6", "GoToDoor-8x8", "GoToObject-6x6-N2", "GoToObject-8x8-N2"),
        *("PutNear-6x6-N2", "PutNear-8x8-N3"),
        *("UnlockPickup", "BlockedUnlockPickup", "KeyCorridorS3R1", "KeyCorridorS3R2", "KeyCorridorS3R3"),
        *("ObstructedMaze-1Dl", "ObstructedMaze-1Dlh", "ObstructedMaze-1Dlhb"),
    ),
    **_minigrid(
        1_000_000,
        *("KeyCorridorS4R3", "KeyCorridorS5R3", "KeyCorridorS6R3"),
        *("MultiRoom-N4-S5-v0", "MultiRoom-N4-S5-v1", "MultiRoom-N6"),
    ),
    **_minigrid(
        1_000_000,
        *(f"Dynamic-Obstacles-{name}" for name in ("5x5", "6x6", "8x8", "16x16", "Random-5x5", "Random-6x6")),
        *(f"Memory{name}" for name in ("S7", "S9", "S11", "S13", "S13Random", "S17Random")),
        *("LockedRoom", "Playground"),
        *(f"ObstructedMaze-{name}" for name in ("2Dl", "2Dlh", "2Dlhb-v0", "2Dlhb-v1")),
        *(f"ObstructedMaze-{name}-v{version}" for name in ("1Q", "2Q", "Full") for version in (0, 1)),
        taught=False,
    ),
}


def canonical_task(name: str) -> str:
    """The name of a task as `envs_jax.make` spells it, from one in upper or lower case.

    Raises:
        UserError: an unknown task.
    """
    by_lower = {task.lower(): task for task in TASKS}
    if isinstance(name, str) and name.startswith(OBJECT) and name.lower() not in by_lower:
        raise UserError(
            f"its environment, {name.removeprefix(OBJECT)}, was passed as an object and can't be rebuilt by name; "
            "pass it again in Python, as env= to jaxteach.Run, evaluate or load_policy"
        )
    if not isinstance(name, str) or name.lower() not in by_lower:
        others = ", ".join(task for task in TASKS if not task.startswith(MINIGRID))
        known = f"known are {others} and MiniGrid's worlds by their ids"
        advice = did_you_mean(name, TASKS, known, left_out=MINIGRID)
        raise UserError(
            f"unknown task {name!r}; {advice} (the environment variable JAXTEACH_IMPORT names modules with more tasks)"
        )
    return by_lower[name.lower()]


def taught_tasks() -> list[str]:
    """The tasks that have a teacher."""
    return [name for name, spec in TASKS.items() if spec.domain is not None]


def list_of_taught_tasks() -> str:
    """The tasks that have a teacher, for a message: MiniGrid's worlds only by their number."""
    taught = taught_tasks()
    others = [name for name in taught if not name.startswith(MINIGRID)]
    return f"{', '.join(others)} and {len(taught) - len(others)} of MiniGrid's worlds, see docs/teaching.md"
