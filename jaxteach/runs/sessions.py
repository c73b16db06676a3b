"""The sessions in which a run is trained: the iterations, plans, versions and machine of each."""

import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from jaxteach.errors import UserError
from jaxteach.runs.files import read_json, write_json
from jaxteach.system.cores import visible_cores
from jaxteach.system.machine import git_revision, processor, versions_of
from jaxteach.system.plugins import plugins

FILE, FORMER_FILE = "sessions.json", "sittings.json"
MACHINE = ("cores", "platform", "jax")
"""What a run's bits depend on besides its options."""
MADE_WITH = ("versions", "python", "processor", "revision", "plugins")
"""What else a session records of how it was made."""


def machine() -> dict[str, Any]:
    """The values of `MACHINE` here."""
    return dict(zip(MACHINE, (visible_cores(), jax.default_backend(), jax.__version__)))


def made_with() -> dict[str, Any]:
    """The values of `MADE_WITH` here."""
    return dict(zip(MADE_WITH, (versions_of(), platform.python_version(), processor(), git_revision(), plugins())))


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """The sessions of a run so far, in order; empty for a run from before they were recorded.

    Raises:
        UserError: they can't be read.
    """
    path = next((path for name in (FILE, FORMER_FILE) if (path := folder / name).exists()), None)
    if path is None:
        return []
    try:
        return read_json(path, list[dict[str, Any]])
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged; put it right, or remove it and what it tells is not known") from None


def add_session(folder: Path, session: dict[str, Any]) -> None:
    """Records a session that begins now.

    Raises:
        UserError: the file can't be read or written.
    """
    row = {"date": datetime.now(UTC).isoformat(timespec="seconds")} | session
    write_json(folder / FILE, [*read_sessions(folder), row])


def plans_digest(folder: Path) -> str | None:
    """The digest of the plans that teach a run (`PlanFile.digest`); None where it is not known.

    Raises:
        UserError: the sessions can't be read.
    """
    known = [row["plans_sha256"] for row in read_sessions(folder) if row.get("plans_sha256") is not None]
    if not all(isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) for digest in known):
        raise UserError(f"{folder / FILE} is damaged: plans_sha256 is no SHA-256")
    return known[-1] if known else None
