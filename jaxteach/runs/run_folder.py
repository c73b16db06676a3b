"""A run on disk: its folder, its configuration and its curves."""

import re
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import jax

from jaxteach.config import TrainConfig, changes, from_json, to_json
from jaxteach.errors import UserError
from jaxteach.options.markers import ON_RESUME, check_values, marked
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.runs.files import lock_folder, read_json, write_json
from jaxteach.runs.sessions import (
    FILE,
    FORMER_FILE,
    MACHINE,
    add_session,
    machine,
    made_with,
    plans_digest,
    read_sessions,
)
from jaxteach.system.plugins import plugins
from jaxteach.tasks import OBJECT, TASKS, canonical_task

MAX_NAME = 200
PLANS = "plans.json"
"""The file in a run's folder that has the plans that teach."""


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
    with lock_folder(folder):
        for name in (FILE, FORMER_FILE):
            (folder / name).unlink(missing_ok=True)
        write_json(folder / "config.json", to_json(config))
    return folder


def resume_run(config: TrainConfig, plans: str | None) -> Path:
    """The folder of the run to go on with; one that ended before it had a `config.json` gets it now.

    Args:
        config: the options.
        plans: the digest of the teacher's plans, None where it is not known.

    Raises:
        UserError: there is no such run, or it has other options.
    """
    if config.savedir is None:
        raise UserError("--resume needs the --savedir of the run to go on with")
    folder = folder_of(config.logdir, config.task, config.savedir)
    if is_folder(folder) and all(entry.name == "config.json.partial" for entry in folder.iterdir()):
        write_json(folder / "config.json", to_json(config))
    folder, stored = find_run(config.logdir, config.task, config.savedir)
    check_resumable(config, stored, folder, plans)
    for entry in folder.iterdir():
        # A link in a run from somebody else could have files of whoever resumes it overwritten.
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
        raise UserError(f"{folder} is not a jaxteach run: it has no readable config.json") from None
    except ValueError:
        raise UserError(f"{path} is damaged: it is not JSON") from None
    try:
        config = from_json(document)
    except UnicodeEncodeError:
        raise UserError(f"{path} is damaged: it has invalid characters") from None
    try:
        check_values(config)
        canonical_task(config.task)
        config.check()
    except UserError as error:
        raise UserError(f"{path} can't be used: {error}{_advice(folder, config)}") from None
    if task is not None and config.task != task:
        raise UserError(f"{folder} is a run of {config.task}, not of {task}")
    return config


def _advice(folder: Path, config: TrainConfig) -> str:
    """How a run of a task that is not known here can be used."""
    if not isinstance(config.task, str) or config.task in TASKS or config.task.startswith(OBJECT):
        return ""
    modules = [name for row in read_sessions(folder) for name in row.get("plugins") or () if name not in plugins()]
    if modules:
        return f"; the run was made with --import {','.join(dict.fromkeys(modules))}, give that too"
    return ""


def check_resumable(config: TrainConfig, stored: TrainConfig, folder: Path, plans: str | None) -> None:
    """Raises `UserError` where a run would go on with other options, or other plans, than it began with.

    Args:
        config: the options with which it would go on.
        stored: those of its `config.json`.
        folder: the run's.
        plans: the digest of the plans with which it would go on, None where it is not known.
    """
    free = marked(config, ON_RESUME)
    changed = {name: values for name, values in changes(config, stored).items() if name not in free}
    known = plans_digest(folder)
    if known is not None and config.taught:
        if plans not in (known, None):
            kept = folder / PLANS
            way = f"give --plans {kept} for those" if kept.exists() and not config.online else "put those back"
            raise UserError(
                f"--plans {config.teacher.plans} are other plans than the run {folder} began with; "
                f"{way}, or start another run with another --savedir"
            )
        changed.pop("plans", None)
    if changed:
        differences = "; ".join(f"--{name} {_typed(old)}, not {_typed(new)}" for name, (new, old) in changed.items())
        raise UserError(f"the run to resume has other options: {differences}")


def _typed(value: Any) -> str:
    """A value as on a command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def further(folder: Path, config: TrainConfig, done: int) -> str:
    """Says that a run has more iterations behind it than its options ask for."""
    size = config.steps_per_iteration
    return (
        f"the run {folder} has come to {done * size:,} steps a seed ({done:,} iterations), further than the "
        f"{config.iterations * size:,} ({config.iterations:,}) asked for; ask for that many at least, or train "
        "another run under another name (those of a sweep are named as its file)"
    )


def begin_session(folder: Path, config: TrainConfig, done: int, plans: str | None) -> list[str]:
    """Writes down that a run goes on with these options.

    Args:
        folder: the run's.
        config: its options now; `config.json` has those of the session before.
        done: iterations that it has behind it.
        plans: the digest of the teacher's plans, None without a teacher.

    Returns:
        What a person should know of it, in lines.

    Raises:
        UserError: the run's files can't be read or written.
    """
    stored, before = read_config(folder, config.task), read_sessions(folder)
    # Where a run's folder is, and that it was resumed, are not options of the run itself.
    config = replace(config, **{name: getattr(stored, name) for name in ("savedir", "logdir", "resume")})
    changed = changes(config, stored)
    session = {
        "from_iteration": done,
        "to_iteration": config.iterations,
        "total_steps": config.iterations * config.steps_per_iteration,
        "changed": {name: {"from": old, "to": new} for name, (new, old) in changed.items()},
        "devices": config.devices * jax.process_count() or jax.device_count(),
        "device": jax.local_devices()[0].device_kind,
        **machine(),
        **made_with(),
        "plans_sha256": plans,
    }
    if changed:
        write_json(folder / "config.json", to_json(config))
    add_session(folder, session)
    return _notices(config, stored, done, session, before[-1] if before else session)


def _notices(
    config: TrainConfig, stored: TrainConfig, done: int, session: dict[str, Any], before: dict[str, Any]
) -> list[str]:
    """What changes the student where a run goes on otherwise than in the session before."""
    notices = []
    old, new = stored.learning_rate_at(done), config.learning_rate_at(done)
    if old != new:
        notices.append(
            f"the learning rate goes from {old:.3g} to {new:.3g}: "
            f"it falls over {config.iterations:,} iterations now, not over {stored.iterations:,}"
        )
    names = MACHINE if session["platform"] == "cpu" else MACHINE[1:]
    changed = [name for name in names if before.get(name) not in (session[name], None)]
    other = [f"{name} {session[name]}, not {before[name]}" for name in changed]
    if other:
        notices.append(
            f"not the machine of the session before ({', '.join(other)}): the bits may be others from here on"
        )
    return notices
