"""The recorded episodes of the reference system that the tests replay."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

TASKS = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "TwoDoor")
BOX_TASKS = ("KeyInBox", "RandomBoxKey")
"""Tasks of LLM4RL, whose recordings are in a folder of their own."""
FOLDER = Path(__file__).resolve().parents[2] / "shared"


@cache
def load(name: str, recordings: str = "traces") -> dict[str, np.ndarray]:
    """The arrays of one recording; the test fails loudly where the recordings are absent."""
    path = FOLDER / recordings / f"{name}.npz"
    if not path.is_file():
        pytest.fail(f"THE REFERENCE'S RECORDINGS ARE ABSENT: {path} is not there, so nothing was compared with it")
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def load_task(task: str, mode: str) -> dict[str, np.ndarray]:
    """The recording of a DoorKey task in one mode."""
    return load(f"{task.lower()}_{mode}", "traces_llm4rl" if task in BOX_TASKS else "traces")


def episodes(data: dict[str, np.ndarray]) -> list[tuple[slice, slice]]:
    """(frames, transitions) of each episode; the frames include the last one."""
    frames = list(zip(data["ep_frame_start"][:-1], data["ep_frame_start"][1:]))
    steps = list(zip(data["ep_tr_start"][:-1], data["ep_tr_start"][1:]))
    return [(slice(*f), slice(*s)) for f, s in zip(frames, steps)]


def transition_frames(data: dict[str, np.ndarray]) -> np.ndarray:
    """int[T], the frame before each transition; the one after it is the next."""
    return np.concatenate([np.arange(f.start, f.stop - 1) for f, _ in episodes(data)])


def whole_episodes(*recordings: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Where each episode begins among all transitions, int[E], and bool[E, T], its steps where all have the longest."""
    lengths = np.array([steps.stop - steps.start for data in recordings for _, steps in episodes(data)])
    return np.cumsum(lengths) - lengths, np.arange(lengths.max()) < lengths[:, None]


def padded(values: np.ndarray, played: np.ndarray) -> np.ndarray:
    """What was recorded of all transitions, as [E, T, ...] with zeros after an episode's end."""
    rows = np.zeros((*played.shape, *values.shape[1:]), np.int32)
    rows[played] = values
    return rows
