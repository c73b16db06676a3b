"""TensorBoard's curves: event files in the format of TensorFlow's records."""

import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import masked_crc32c

from jaxteach.runs.files import replacing

BY_STEPS = "EnvSteps/"
"""The prefix of the tags of scalars that are logged against environment steps."""


class TensorBoardWriter:
    """A `ScalarWriter` of event files: in the run's folder for one seed, in `seed_<seed>` for several.

    Args:
        folder: the run's.
        seeds: the run's.
        iteration: the files are continued after it; what they have after it is dropped.
        env_steps: of each seed, after that iteration.
    """

    def __init__(self, folder: Path, seeds: Sequence[int], iteration: int, env_steps: int) -> None:
        places = [folder] if len(seeds) == 1 else [folder / f"seed_{seed}" for seed in seeds]
        self._files: dict[int, EventFile] = {}
        for seed, place in zip(seeds, places):
            keep_until(place, iteration, env_steps)
            self._files[seed] = EventFile(place)
            self._files[seed].flush()

    def scalars(self, seed: int, values: Mapping[str, float | None], iteration: int, env_steps: int) -> None:
        """See `ScalarWriter`; they are written against the iteration, and again against environment steps."""
        for prefix, step in (("", iteration), (BY_STEPS, env_steps)):
            scalars = [Summary.Value(tag=prefix + tag, simple_value=value) for tag, value in values.items()]
            self._files[seed].add(Event(summary=Summary(value=scalars), step=step))

    def flush(self) -> None:
        """See `ScalarWriter`."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """See `ScalarWriter`."""
        for file in self._files.values():
            file.close()


class EventFile:
    """A new event file in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        # TensorBoard reads files in the order of their names: a later one must sort last, even within a second.
        number = len(_files(folder))
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


def keep_until(folder: Path, iteration: int, env_steps: int) -> None:
    """Drops the points after an iteration, which come again, from the event files of a folder.

    TensorBoard itself drops points after an event that marks a restart, but from the same step on for all tags, and
    the steps of some tags are iterations, those of others environment steps.
    """
    for leftover in folder.glob("events.out.tfevents.*.partial"):
        leftover.unlink()
    known: set[tuple[int, str]] = set()
    # Backwards: logs of older versions have some points twice, the second after such an event, and the second counts.
    for path in reversed(_files(folder)):
        content, kept = path.read_bytes(), []
        for event, record in reversed(list(_records(content))):
            if not event.summary.value:
                kept += [record] if event.HasField("file_version") else []
                continue
            tag = event.summary.value[0].tag
            end = env_steps if tag.startswith(BY_STEPS) else iteration
            if event.step <= end and (event.step, tag) not in known:
                kept.append(record)
            known.add((event.step, tag))
        wanted = b"".join(reversed(kept))
        if wanted != content:
            with replacing(path) as file:
                file.write(wanted)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.out.tfevents.*"))


def _records(content: bytes) -> Iterator[tuple[Any, bytes]]:
    """The events and their records, up to the first that is torn."""
    start = 0
    while start + 12 <= len(content):
        end = start + 16 + int.from_bytes(content[start : start + 8], "little")
        if end > len(content):
            return
        try:
            yield Event.FromString(content[start + 12 : end - 4]), content[start:end]
        except DecodeError:
            return
        start = end
