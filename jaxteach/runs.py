"""A run on disk: its folder, its configuration and its curves."""

import json
import os
import re
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import masked_crc32c

from jaxteach.checkpoints import ADVICE, Checkpoints
from jaxteach.config import TrainConfig, canonical_task, differences, from_json, to_json
from jaxteach.errors import UserError
from jaxteach.files import read_json, write_json, writing
from jaxteach.options import ON_RESUME, check_values, marked

MAX_NAME = 200
NEEDED = ("iteration", "env_steps", "wall_s", "success_rate", "return_mean")


def folder_of(logdir: str, task: str, name: str) -> Path:
    """`<logdir>/ppo/<task>/<name>`.

    Raises:
        UserError: a name that is not one folder's name, or a `logdir` that can't be printed.
    """
    if not logdir:
        raise UserError("--logdir is empty; name a folder, or leave it out")
    if not re.fullmatch(r"\w[\w.+-]*", name) or len(name.encode()) > MAX_NAME:
        raise UserError(f"{name[:MAX_NAME]!r} can't name a run's folder: use few letters, digits and . _ + - only")
    if not logdir.isprintable():
        raise UserError(f"--logdir {logdir!r} has characters that can't be printed; choose another")
    return Path(logdir).resolve() / "ppo" / task / name


def fresh_folder(logdir: str, task: str, name: str | None, prefix: str = "") -> Path:
    """Makes a new folder, named `prefix` and the date and time where no name is given; an empty one is as a new one.

    Raises:
        UserError: the folder exists, or can't be made.
    """
    stem = name if name is not None else prefix + datetime.now().strftime("%Y%m%d-%H%M%S")
    for candidate in [stem] if name else [stem, *(f"{stem}-{i}" for i in range(2, 100))]:
        folder = folder_of(logdir, task, candidate)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if name and is_folder(folder) and not any(folder.iterdir()):
                return folder
            continue
        except OSError as error:
            raise UserError(f"can't make the folder {folder}: {error.strerror}") from None
        return folder
    taken = folder_of(logdir, task, stem)
    raise UserError(f"the folder {taken} exists; choose another --savedir, or go on with a run by --resume")


def _has_only_begun(folder: Path) -> bool:
    """Whether a folder is that of a run without a point and without a checkpoint."""
    if not is_folder(folder) or any(entry.is_symlink() for entry in folder.iterdir()):
        return False
    metrics = folder / "metrics.jsonl"
    if not any(folder.glob("config.json*")) or (metrics.exists() and metrics.stat().st_size):
        return False
    with closing(Checkpoints(folder)) as checkpoints:
        return not checkpoints.iterations


def create_run(config: TrainConfig) -> Path:
    """A new run's folder with its `config.json`; a run that ended before it came to anything begins anew."""
    folder = folder_of(config.logdir, config.task, config.savedir) if config.savedir is not None else None
    if folder is None or not _has_only_begun(folder):
        folder = fresh_folder(config.logdir, config.task, config.savedir)
    write_json(folder / "config.json", to_json(config))
    return folder


def resume_run(config: TrainConfig) -> Path:
    """The folder of the run to go on with; one that ended before it had a `config.json` gets it now.

    Raises:
        UserError: there is no such run, or it has other options.
    """
    if config.savedir is None:
        raise UserError("--resume needs the --savedir of the run to go on with")
    folder = folder_of(config.logdir, config.task, config.savedir)
    if is_folder(folder) and all(entry.name == "config.json.partial" for entry in folder.iterdir()):
        write_json(folder / "config.json", to_json(config))
    folder, stored = find_run(config.logdir, config.task, config.savedir)
    check_resumable(config, stored)
    for entry in folder.iterdir():
        # Whoever gives away a run could so have files of the one who resumes it overwritten.
        if entry.is_symlink():
            raise UserError(f"{entry} is a link, which no run has; put what it leads to in its place")
    return folder


def is_folder(folder: Path) -> bool:
    """Whether there is a folder of this path, be it one that no file system takes."""
    try:
        return folder.is_dir()
    except (OSError, ValueError):
        return False


def find_run(logdir: str, task: str, name: str) -> tuple[Path, TrainConfig]:
    """An existing run and its configuration.

    Raises:
        UserError: there is none, or it is not one of jaxteach or of this task.
    """
    folder = folder_of(logdir, task, name)
    if not is_folder(folder):
        raise UserError(f"there is no run {folder}")
    return folder, read_config(folder, task)


def read_config(folder: Path, task: str | None = None) -> TrainConfig:
    """The configuration of the run in a folder.

    Raises:
        UserError: the folder has no readable configuration, or that of another task.
    """
    path = folder / "config.json"
    try:
        document = read_json(path)
    except OSError:
        raise UserError(f"{folder} is no run of jaxteach: it has no readable config.json") from None
    except ValueError:
        raise UserError(f"{path} is damaged: it is not JSON") from None
    try:
        config = from_json(document)
    except UnicodeEncodeError:
        raise UserError(f"{path} is damaged: it has characters that are none") from None
    try:
        check_values(config)
        canonical_task(config.task)
        config.check()
    except UserError as error:
        raise UserError(f"{path} can't be used: {error}") from None
    if task is not None and config.task != task:
        raise UserError(f"{folder} is a run of {config.task}, not of {task}")
    return config


def check_resumable(config: TrainConfig, stored: TrainConfig) -> None:
    """Raises `UserError` where a run would go on with other options than it began with."""
    free = marked(config, ON_RESUME)
    changed = [text for text in differences(config, stored) if text.split(":")[0] not in free]
    if changed:
        raise UserError(f"the run to resume has other options: {'; '.join(changed)}")


class EventFile:
    """A new event file for TensorBoard in a folder, in the format of TensorFlow's records."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        # A later file sorts after an earlier one, even of the same second: in this order TensorBoard reads them.
        number = len(list(folder.glob("events.out.tfevents.*")))
        name = f"events.out.tfevents.{int(time.time()):010}.{socket.gethostname()}.{number:04}"
        self._file = (folder / name).open("xb")
        self.add(Event(file_version="brain.Event:2"))

    def add(self, event: Any) -> None:
        """Writes one event; it is on the disk after `flush`."""
        event.wall_time = time.time()
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        check, data_check = (struct.pack("<I", masked_crc32c(part)) for part in (length, data))
        self._file.write(length + check + data + data_check)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class MetricsLog:
    """`metrics.jsonl` and TensorBoard's event files of a run, continued after `iteration`.

    The events of a run with one seed lie in its folder, those of several seeds in `seed_<seed>`.

    Raises:
        UserError: the files can't be read or written; so all methods.
    """

    def __init__(self, folder: Path, seeds: tuple[int, ...], iteration: int) -> None:
        self._path = folder / "metrics.jsonl"
        self._events: dict[int, EventFile] = {}
        places = [folder] if len(seeds) == 1 else [folder / f"seed_{seed}" for seed in seeds]
        with writing(self._path, ADVICE):
            self._keep_until(iteration)
        with writing(folder, ADVICE):
            for seed, place in zip(seeds, places):
                self._events[seed] = self._open_events(place, iteration)

    def _open_events(self, place: Path, iteration: int) -> EventFile:
        """A new event file; TensorBoard is told to forget the points after the iteration, which come again."""
        began = place.is_dir() and any(place.glob("events.out.tfevents.*"))
        events = EventFile(place)
        if began:
            events.add(Event(session_log=SessionLog(status=SessionLog.START), step=iteration + 1))
        events.flush()
        return events

    def _keep_until(self, iteration: int) -> None:
        """Drops the points after the checkpoint from which a run goes on: they come again."""
        rows = read_metrics(self._path.parent) if self._path.exists() else []
        kept = [row for row in rows if row["iteration"] <= iteration]
        self.wall_s = max((row["wall_s"] for row in kept), default=0.0)
        partial = self._path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with partial.open("x", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in kept)
        os.replace(partial, self._path)

    def points(self, rows: Iterable[dict[str, Any]]) -> None:
        """Appends one JSON object a point and seed, and brings all of the log to the disk."""
        with writing(self._path, ADVICE), self._path.open("r+", encoding="utf-8") as file:
            file.seek(0, os.SEEK_END)
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        with writing(self._path.parent, ADVICE):
            for events in self._events.values():
                events.flush()

    def scalars(self, seed: int, values: Mapping[str, float | None], iteration: int, env_steps: int) -> None:
        """Writes TensorBoard scalars against the iteration, and again against environment steps."""
        for prefix, step in (("", iteration), ("EnvSteps/", env_steps)):
            scalars = [Summary.Value(tag=prefix + tag, simple_value=value) for tag, value in values.items()]
            with writing(self._path.parent, ADVICE):
                self._events[seed].add(Event(summary=Summary(value=scalars), step=step))

    def close(self) -> None:
        with writing(self._path.parent, ADVICE):
            for events in self._events.values():
                events.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The points of a run; a last line that was cut off is left out.

    Raises:
        UserError: the folder has no readable metrics.
    """
    path = folder / "metrics.jsonl"
    try:
        if not path.is_file():
            raise OSError
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{folder} is no run of jaxteach: it has no readable metrics.jsonl") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            if number < len(lines):
                raise UserError(f"{path} is damaged in line {number}") from None
    if not all(_is_point(row) for row in rows):
        raise UserError(f"{path} is not the metrics of a jaxteach run")
    return rows


def read_summary(folder: Path) -> dict[int, dict[str, Any]]:
    """The final evaluation of each seed of a run; empty where there was none yet.

    Raises:
        UserError: it can't be read.
    """
    path = folder / "summary.json"
    if not path.exists():
        return {}
    try:
        rows = read_json(path)
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged; remove it, and go on with the run by --resume") from None
    if not isinstance(rows, list) or not all(_is_point(row, NEEDED[1:]) for row in rows):
        raise UserError(f"{path} is not the summary of a jaxteach run")
    return {row.get("seed", 0): row for row in rows}


def _is_point(row: Any, needed: tuple[str, ...] = NEEDED) -> bool:
    numbers = [row.get(name) for name in needed] if isinstance(row, dict) else [None]
    return all(isinstance(x, int | float) and abs(x) < 2**62 for x in numbers) and isinstance(row.get("seed", 0), int)
