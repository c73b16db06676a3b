"""A run on disk: its folder, its configuration, its curves and its checkpoints."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from tensorboardX import FileWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

from jaxteach.config import TrainConfig, differences, from_json, to_json
from jaxteach.errors import UserError

KEPT_CHECKPOINTS = 3


def folder_of(logdir: str, task: str, name: str) -> Path:
    """`<logdir>/ppo/<task>/<name>`.

    Raises:
        UserError: a name that is not one folder's name.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"{name!r} can't name a run's folder: use letters, digits and . _ + - only")
    return Path(logdir).resolve() / "ppo" / task / name


def fresh_folder(logdir: str, task: str, name: str | None, prefix: str = "") -> Path:
    """Makes a new folder, named `prefix` and the date and time where no name is given.

    Raises:
        UserError: the folder exists, or can't be made.
    """
    stem = name or prefix + datetime.now().strftime("%Y%m%d-%H%M%S")
    for candidate in [stem] if name else [stem, *(f"{stem}-{i}" for i in range(2, 100))]:
        folder = folder_of(logdir, task, candidate)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"can't make the folder {folder}: {error.strerror}") from None
        return folder
    taken = folder_of(logdir, task, stem)
    raise UserError(f"the folder {taken} exists; choose another --savedir, or go on with a run by --resume")


def create_run(config: TrainConfig) -> Path:
    """A new run's folder with its `config.json`."""
    folder = fresh_folder(config.logdir, config.task, config.savedir)
    write_json(folder / "config.json", to_json(config))
    return folder


def find_run(logdir: str, task: str, name: str) -> tuple[Path, TrainConfig]:
    """An existing run and its configuration.

    Raises:
        UserError: there is none, or it is not one of jaxteach or of this task.
    """
    folder = folder_of(logdir, task, name)
    if not folder.is_dir():
        raise UserError(f"there is no run {folder}")
    return folder, read_config(folder, task)


def read_config(folder: Path, task: str | None = None) -> TrainConfig:
    """The configuration of the run in a folder.

    Raises:
        UserError: the folder has no readable configuration, or that of another task.
    """
    path = folder / "config.json"
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError:
        raise UserError(f"{folder} is no run of jaxteach: it has no readable config.json") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it is not JSON") from None
    config = from_json(document)
    if task is not None and config.task != task:
        raise UserError(f"{folder} is a run of {config.task}, not of {task}")
    return config


def check_resumable(config: TrainConfig, stored: TrainConfig) -> None:
    """Raises `UserError` where a run would go on with other options than it began with."""
    free = {"resume", "savedir", "logdir", "total_steps", "n_itr", "final_eval"}
    free |= {"parallel", "context", "threads", "timeout", "retries"}
    changed = [text for text in differences(config, stored) if text.split(":")[0] not in free]
    if changed:
        raise UserError(f"the run to resume has other options: {'; '.join(changed)}")


def write_json(path: Path, document: Any) -> None:
    """Writes JSON whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    os.replace(partial, path)


class MetricsLog:
    """`metrics.jsonl` and TensorBoard's event files of a run, continued after `iteration`.

    The events of a run with one seed lie in its folder, those of several seeds in `seed_<seed>`.
    """

    def __init__(self, folder: Path, seeds: tuple[int, ...], iteration: int) -> None:
        self._path = folder / "metrics.jsonl"
        self._keep_until(iteration)
        places = [folder] if len(seeds) == 1 else [folder / f"seed_{seed}" for seed in seeds]
        self._writers = {seed: FileWriter(str(place)) for seed, place in zip(seeds, places)}
        if iteration:
            self._purge_after(iteration)

    def _purge_after(self, iteration: int) -> None:
        """Tells TensorBoard to forget the points after an iteration."""
        for writer in self._writers.values():
            writer.add_event(Event(file_version="brain.Event:2"), iteration + 1)
            writer.add_event(Event(session_log=SessionLog(status=SessionLog.START)), iteration + 1)

    def _keep_until(self, iteration: int) -> None:
        """Drops the points after the checkpoint from which a run goes on: they come again."""
        rows = read_metrics(self._path.parent) if self._path.exists() else []
        kept = [json.dumps(row) + "\n" for row in rows if row["iteration"] <= iteration]
        self.wall_s = max((row["wall_s"] for row in rows if row["iteration"] <= iteration), default=0.0)
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(kept), "utf-8")
        os.replace(partial, self._path)

    def points(self, rows: Iterable[dict[str, Any]]) -> None:
        """Appends one JSON object a point and seed."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def scalars(self, seed: int, values: Mapping[str, float | None], iteration: int, env_steps: int) -> None:
        """Writes TensorBoard scalars against the iteration, and again against environment steps."""
        # Written as protocol buffers, since `SummaryWriter` puts _ for the spaces in the reference's tags.
        for prefix, step in (("", iteration), ("EnvSteps/", env_steps)):
            scalars = [Summary.Value(tag=prefix + tag, simple_value=value) for tag, value in values.items()]
            self._writers[seed].add_summary(Summary(value=scalars), step)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The points of a run; a last line that was cut off is left out.

    Raises:
        UserError: the folder has no readable metrics.
    """
    path = folder / "metrics.jsonl"
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{folder} is no run of jaxteach: it has no readable metrics.jsonl") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            if number < len(lines):
                raise UserError(f"{path} is damaged in line {number}") from None
    needed = {"iteration", "env_steps", "wall_s", "success_rate", "return_mean"}
    if not all(isinstance(row, dict) and needed <= set(row) for row in rows):
        raise UserError(f"{path} is not the metrics of a jaxteach run")
    return rows


class Checkpoints:
    """The last checkpoints of a run, by iteration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "checkpoints"
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT_CHECKPOINTS, create=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, iteration: int, state: Any) -> None:
        self._manager.save(iteration, args=ocp.args.StandardSave(_named_leaves(state)))

    def restore(self, like: Any, iteration: int | None = None) -> tuple[int, Any]:
        """The newest checkpoint, or that of an iteration, in the structure, shapes and dtypes of `like`.

        Raises:
            UserError: there is none, or it is damaged or of another network.
        """
        step, wanted = self._choose(iteration), _named_leaves(like)
        leaves = self._read(step, wanted, lambda: self._manager.restore(step, args=ocp.args.StandardRestore(wanted)))
        return step, _with_leaves(like, leaves)

    def restore_params(self, like: Any, iteration: int | None = None) -> tuple[int, Any]:
        """As `restore`, of the network's parameters alone."""
        step = self._choose(iteration)
        wanted = {f".params{name}": leaf for name, leaf in _named_leaves(like).items()}
        targets = ocp.checkpoint_utils.construct_restore_args(wanted)
        arguments = ocp.args.PyTreeRestore(wanted, restore_args=targets, partial_restore=True)
        with ocp.PyTreeCheckpointer() as reader:
            leaves = self._read(
                step, wanted, lambda: reader.restore(self._folder / str(step) / "default", args=arguments)
            )
        return step, _with_leaves(like, {name.removeprefix(".params"): leaf for name, leaf in leaves.items()})

    def _choose(self, iteration: int | None) -> int:
        kept = sorted(self._manager.all_steps())
        step = kept[-1] if iteration is None and kept else iteration
        if step is None or step not in kept:
            listed = f"it has those of iterations {', '.join(map(str, kept))}" if kept else "it has none"
            raise UserError(f"{self._folder} has no such checkpoint: {listed}")
        return step

    def _read(self, step: int, wanted: dict[str, Any], restore: Callable[[], Any]) -> dict[str, Any]:
        """What `restore` reads, if it is as wanted."""
        try:
            leaves = restore()
            fits = all((leaves[name].shape, leaves[name].dtype) == (x.shape, x.dtype) for name, x in wanted.items())
        # Orbax raises errors of many kinds for files that are not as it wrote them.
        except Exception:
            fits, leaves = False, {}
        if not fits:
            path = self._folder / str(step)
            raise UserError(f"the checkpoint {path} can't be read: it is damaged, or of another network or task")
        return leaves

    def close(self) -> None:
        """Waits until all is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves by their paths, less the empty arrays, which Orbax does not store."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves if leaf.size > 0}


def _with_leaves(like: Any, leaves: Mapping[str, Any]) -> Any:
    """The inverse of `_named_leaves` for a tree of the structure of `like`."""

    def pick(path: Any, leaf: Any) -> Any:
        return leaves[jax.tree_util.keystr(path)] if leaf.size > 0 else jnp.zeros(leaf.shape, leaf.dtype)

    return jax.tree_util.tree_map_with_path(pick, like)
