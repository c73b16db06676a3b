"""Films of any world, as GIF or MP4."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import jax
import numpy as np
from jumanji.env import Environment

from envs_jax.doorkey import DoorKey
from envs_jax.grid.render import render_observation, render_views
from envs_jax.locked_hallway import Observation as HallwayObservation
from envs_jax.mpe import ParticleWorld


def animate(env: Environment[Any, Any, Any], frames: Any, path: str | Path, fps: float = 5) -> None:
    """Writes a film of states or observations of a world.

    Args:
        env: the world.
        frames: states, or observations (not of particle worlds): a list or an iterator of them,
            or all of them stacked on a leading time axis, as `jax.lax.scan` returns them.
        path: a file ending in .gif or .mp4; its folder exists.
        fps: pictures a second.

    Raises:
        ValueError: another ending, no frames, or observations of a particle world.
        ImportError: an MP4 is wanted and PyAV is not installed.
    """
    path = Path(path)
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"a film is a .gif or an .mp4, not {path.name}")
    pictures = [draw(env, frame) for frame in _each(frames)]
    if not pictures:
        raise ValueError("a film needs at least one state or observation")
    if path.suffix == ".gif":
        iio.imwrite(path, pictures, duration=1000 / fps, loop=0)
    else:
        _write_mp4(path, pictures, fps)


def has_pictures(env: Environment[Any, Any, Any]) -> bool:
    """Whether a world can be drawn: those of users need no `render`."""
    return type(env).render is not Environment.render


def draw(env: Environment[Any, Any, Any], frame: Any) -> np.ndarray:
    """uint8[H, W, 3], RGB: the picture of a state or of an observation.

    Raises:
        ValueError: an observation of a particle world.
    """
    if isinstance(frame, HallwayObservation):
        return render_views(frame.view)
    if isinstance(env, ParticleWorld) and not hasattr(frame, "step_count"):
        raise ValueError("observations of particle worlds are not drawn; give states")
    if isinstance(env, DoorKey) and not hasattr(frame, "step_count"):
        return render_observation(frame)
    return env.render(frame)


def _each(frames: Any) -> Iterator[Any]:
    """The frames one by one, on the host if they are stacked."""
    if isinstance(frames, list | Iterator):
        return iter(frames)
    stacked = jax.device_get(frames)
    length = len(jax.tree.leaves(stacked)[0])
    return (jax.tree.map(lambda leaf: leaf[time], stacked) for time in range(length))  # noqa: B023


def _write_mp4(path: Path, pictures: Iterable[np.ndarray], fps: float) -> None:
    # H.264 stores colours for blocks of 2x2 pixels, so both sides must be even.
    even = [np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0))) for picture in pictures]
    try:
        iio.imwrite(path, even, plugin="pyav", codec="libx264", fps=fps)
    except ImportError as error:
        raise ImportError("writing MP4 needs PyAV, which is not installed: pip install av, or write a GIF") from error
