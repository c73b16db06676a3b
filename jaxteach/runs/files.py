"""Files of a run: written whole or not at all, read with limits, and failures explained in one sentence."""

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from filelock import FileLock, Timeout

from jaxteach.errors import UserError

MAX_JSON_BYTES = 2**20


def fit_for_a_folder(text: str) -> str:
    """A text as a folder's name, with underscores for the characters that do not suit one."""
    return re.sub(r"[^\w.+-]", "_", text)


@contextmanager
def writing(place: Path, advice: str = "") -> Iterator[None]:
    """Turns an `OSError` inside the block, such as a full disk, into a `UserError` about `place`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"can't write {place}: {error.strerror or error}{advice}") from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` whole when the block ends, or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # A link left there by a stranger would lead elsewhere.
    with partial.open("xb") as file:
        yield file
    os.replace(partial, path)


def write_json(path: Path, document: Any) -> None:
    """Writes JSON whole or not at all.

    Raises:
        UserError: the file can't be written.
    """
    with writing(path), replacing(path) as file:
        file.write((json.dumps(document, indent=1) + "\n").encode())


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keeps all others who ask for it out of a run's folder; the lock ends with the process.

    Raises:
        UserError: another process is in it.
    """
    with writing(folder):
        lock = FileLock(folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(f"another process trains in {folder}; wait for it, or choose another --savedir") from None
    try:
        yield
    finally:
        lock.release()


def read_text(path: Path, most: int) -> str:
    """The text of a regular file of at most `most` bytes.

    Raises:
        OSError: there is none, or it is larger.
        UnicodeDecodeError: it is not text.
    """
    # Without O_NONBLOCK, opening a pipe would wait for somebody to write to it.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is not a regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"{path} is larger than {most} bytes")
    return content.decode("utf-8")


def read_names(path: Path, advice: str) -> dict[str, str]:
    """The names in a small JSON file, by what they name; none where there is no such file.

    Raises:
        UserError: the file holds something else, with the advice what to do.
    """
    try:
        return read_json(path, dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged; {advice}") from None


def read_json(path: Path, kind: Any = Any) -> Any:
    """The document in a small JSON file, of a type as `msgspec` reads them.

    Raises:
        OSError: there is no such file, or it is larger than `MAX_JSON_BYTES`.
        ValueError: it is not JSON, or of another type.
    """
    try:
        return msgspec.convert(json.loads(read_text(path, MAX_JSON_BYTES)), kind)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
