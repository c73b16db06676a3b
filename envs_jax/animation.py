"""Films of any world, as GIF or MP4."""

import importlib
import math
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import imageio.v3 as iio
import jax
import numpy as np
from jumanji.env import Environment

from envs_jax.grid.render import render_views
from envs_jax.locked_hallway import LockedHallway
from envs_jax.locked_hallway import Observation as HallwayObservation
from envs_jax.minigrid import MiniGridEnv
from envs_jax.minigrid.historical import HistoricalEnv
from envs_jax.mpe import ParticleWorld
from envs_jax.mpe.render import camera_of, render_particles

LAST_S: Final = 1.0
"""Seconds for which the last picture stays."""
_GRIDWORLDS: Final = LockedHallway | MiniGridEnv
OF_MANY: Final = "these are many worlds; choose one, such as jax.tree.map(lambda leaf: leaf[:, 0], states)"

_SEVERAL: Final = "several states or observations, in a list or stacked on a leading time axis"


def animate(env: Environment[Any, Any, Any], frames: Any, path: str | Path, fps: float = 5) -> None:
    """Writes a film of states or observations of one world, whose last picture stays for a second.

    The pictures of a particle world all reach as far as the whole film needs.

    Args:
        env: the world.
        frames: states, or observations (not of particle worlds): a list or an iterator of them,
            or all of them stacked on a leading time axis, as `jax.lax.scan` returns them.
        path: a file ending in .gif or .mp4; its folder exists.
        fps: pictures a second.

    Raises:
        ValueError: another ending, no frames, observations of a particle world, or frames
            of many worlds: states of one moment, or with an axis for worlds.
        ImportError: an MP4 is wanted and imageio-ffmpeg is not installed.
        OSError: the file can't be written.
    """
    path = Path(path)
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"a film is a .gif or an .mp4, not {path.name}")
    if not 0 < fps <= 1000:
        raise ValueError(f"fps must be above 0 and at most 1000, not {fps}")
    pictures = _draw_all(env, list(_each(frames)))
    if not pictures:
        raise ValueError("a film needs at least one state or observation")
    if path.suffix == ".gif":
        durations = [1000 / fps] * (len(pictures) - 1) + [1000 * max(LAST_S, 1 / fps)]
        # Pillow takes a list of durations for several pictures only.
        iio.imwrite(path, pictures, duration=durations if len(pictures) > 1 else durations[0], loop=0)
    else:
        _write_mp4(path, pictures + pictures[-1:] * (math.ceil(LAST_S * fps) - 1), fps)


def has_pictures(env: Environment[Any, Any, Any]) -> bool:
    """Whether a world can be drawn: those of users need no `render`."""
    return type(env).render is not Environment.render


def draw(env: Environment[Any, Any, Any], frame: Any) -> np.ndarray:
    """uint8[H, W, 3], RGB: the picture of a state or of an observation.

    Raises:
        ValueError: an observation of a particle world, or a frame of many worlds.
    """
    if isinstance(env, ParticleWorld) and not hasattr(frame, "step_count"):
        raise ValueError("observations of particle worlds are not drawn; give states")
    _check_single(env, frame)
    if isinstance(frame, HallwayObservation):
        return render_views(frame.view)
    if hasattr(frame, "step_count") or not _is_gridworld(env):
        return env.render(frame)
    world: Any = env
    return world.render_observation(frame)


def _draw_all(env: Environment[Any, Any, Any], frames: list[Any]) -> list[np.ndarray]:
    """The pictures of a film."""
    if type(env).render is not ParticleWorld.render or not all(hasattr(frame, "step_count") for frame in frames):
        return [draw(env, frame) for frame in frames]
    for frame in frames:
        _check_single(env, frame)
    camera = camera_of(np.array([frame.p_pos for frame in frames])) if frames else None
    particles: Any = env
    return [render_particles(particles, frame, camera=camera) for frame in frames]


def _check_single(env: Environment[Any, Any, Any], frame: Any) -> None:
    """Raises `ValueError` for what is not a state or observation of one world."""
    if hasattr(frame, "step_count"):
        extra = np.ndim(frame.step_count)
    elif not _is_gridworld(env):
        return  # The states of users' worlds may have any form.
    else:
        extra = _extra_axes(env, frame)
    if extra > 0:
        raise ValueError(f"a film shows one world, and {OF_MANY}")
    if extra < 0:
        raise ValueError(f"a film shows states or observations of {type(env).__name__}, not {type(frame).__name__}")


def _is_gridworld(env: Any) -> bool:
    """Whether an environment is one, wrapped or not; users' worlds need not be Jumanji's."""
    return isinstance(getattr(env, "unwrapped", env), _GRIDWORLDS)


def _extra_axes(env: Environment[Any, Any, Any], frame: Any) -> int:
    """The axes of a gridworld's observation beside those of one world; -1 for what is none."""
    if isinstance(env, LockedHallway):
        return frame.view.ndim - 4 if isinstance(frame, HallwayObservation) else -1
    if isinstance(env, HistoricalEnv):
        return frame.ndim - 3 if isinstance(frame, jax.Array | np.ndarray) else -1
    return frame.image.ndim - 3 if hasattr(frame, "image") else -1


def _check_moments(states: Any) -> None:
    """Raises `ValueError` where states stacked on one axis are not those of a world that goes on."""
    counts = np.asarray(states.step_count)
    if counts.ndim == 0:
        raise ValueError(f"a film needs {_SEVERAL}, not one")
    if counts.ndim == 1 and len(counts) > 1 and (counts == counts[0]).all():
        raise ValueError(f"these {len(counts)} states are of one moment, step {counts[0]}, so {OF_MANY}")


def _each(frames: Any) -> Iterator[Any]:
    """The frames one by one, on the host if they are stacked."""
    if hasattr(frames, "step_count"):
        _check_moments(frames)
    is_tree = type(frames) not in (list, tuple) and not jax.tree_util.all_leaves([frames])
    if isinstance(frames, jax.Array | np.ndarray) or is_tree:
        stacked = jax.device_get(frames)
        leaves = jax.tree.leaves(stacked)
        if any(np.ndim(leaf) == 0 for leaf in leaves):
            raise ValueError(f"a film needs {_SEVERAL}, not one")
        length = len(leaves[0])
        return (jax.tree.map(lambda leaf: leaf[time], stacked) for time in range(length))  # noqa: B023
    return iter(frames)


def _write_mp4(path: Path, pictures: Iterable[np.ndarray], fps: float) -> None:
    """Encodes with imageio's ffmpeg; its own writer forks, which is not safe beside JAX's threads."""
    try:
        ffmpeg = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    except ImportError as error:
        advice = "writing MP4 needs imageio-ffmpeg, which is not installed: pip install imageio-ffmpeg, or write a GIF"
        raise ImportError(advice) from error
    # H.264 stores colours for blocks of 2x2 pixels, so both sides must be even.
    film = np.stack(
        [np.pad(picture, ((0, len(picture) % 2), (0, picture.shape[1] % 2), (0, 0))) for picture in pictures]
    )
    shape = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{film.shape[2]}x{film.shape[1]}", "-r", str(fps)]
    codec = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
    command = [ffmpeg, "-v", "error", "-y", *shape, "-i", "-", *codec, str(path)]
    try:
        subprocess.run(command, input=film.tobytes(), capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        raise OSError(f"ffmpeg can't write {path}: {error.stderr.decode(errors='replace').strip()}") from error
