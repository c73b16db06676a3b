"""The manifest of a folder: its files with their sizes and SHA-256, written and checked."""

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from jaxteach.runs.files import read_json, write_json

MANIFEST: Final = "manifest.json"


class DamagedError(Exception):
    """A folder differs from its manifest; the message names the file."""


def write_manifest(folder: Path, sync: bool = False) -> None:
    """Lists all files of a folder, by name, in its `manifest.json`; they are first brought to the disk if `sync`.

    Raises:
        OSError: a file can't be read, or there is something that is neither a file nor a folder.
        UserError: the list can't be written.
    """
    files = {name: _digest(path, sync) for name, path in _files_of(folder).items() if name != MANIFEST}
    write_json(folder / MANIFEST, files)


def check_manifest(folder: Path, max_bytes: Callable[[Path], float] = lambda file: math.inf) -> None:
    """Checks that a folder has the files that its `manifest.json` lists, byte by byte, and no others.

    Args:
        folder: which.
        max_bytes: the largest size accepted of a file, in bytes.

    Raises:
        DamagedError: a file is missing, not listed, too large or changed, or the manifest can't be read.
    """
    try:
        listed = read_json(folder / MANIFEST, dict[str, tuple[int, str]])
    except (OSError, ValueError):
        raise DamagedError(f"its {MANIFEST} can't be read") from None
    try:
        found = _files_of(folder)
        found.pop(MANIFEST, None)
        for name in sorted({*listed, *found}):
            _check_file(name, listed.get(name), found.get(name), max_bytes)
    except OSError as error:
        raise DamagedError(str(error)) from None
    except RecursionError:
        raise DamagedError("its folders are nested too deeply") from None


def _check_file(
    name: str, listed: tuple[int, str] | None, file: Path | None, max_bytes: Callable[[Path], float]
) -> None:
    if file is None:
        raise DamagedError(f"{name} is missing")
    if listed is None:
        raise DamagedError(f"{name} is not in its {MANIFEST}")
    size = file.lstat().st_size
    if size > max_bytes(file):
        raise DamagedError(f"{name} is too large")
    if size != listed[0] or _digest(file) != listed:
        raise DamagedError(f"{name} has changed")


def _files_of(folder: Path) -> dict[str, Path]:
    """All files below a folder by their relative names, if there is nothing but folders and regular files.

    Raises:
        OSError: there is something else.
    """
    found = {}
    for entry in sorted(folder.rglob("*")):
        name = entry.relative_to(folder).as_posix()
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise OSError(f"{name} is neither a file nor a folder")
        if entry.is_file():
            found[name] = entry
    return found


def _digest(path: Path, sync: bool = False) -> tuple[int, str]:
    """Size and SHA-256 of a file, which is first brought to the disk if `sync`."""
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
