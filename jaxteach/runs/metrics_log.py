"""The curves of a run: `metrics.jsonl`, and what shows them elsewhere."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.runs.checkpoints import ADVICE
from jaxteach.runs.files import read_json, replacing, writing

NEEDED = ("iteration", "env_steps", "wall_s", "success_rate", "return_mean")


class ScalarWriter(Protocol):
    """Where the curves of a run's seeds go beside `metrics.jsonl`: TensorBoard, Weights & Biases."""

    def scalars(self, seed: int, values: Mapping[str, float | None], iteration: int, env_steps: int) -> None:
        """Writes values by their tags, at an iteration."""
        ...

    def flush(self) -> None:
        """Brings all that was written to its place."""
        ...

    def close(self) -> None:
        """Ends writing."""
        ...


class MetricsLog:
    """`metrics.jsonl` and the other curves of a run, continued after an iteration.

    What they have after it is dropped, since it comes again.

    Args:
        folder: the run's.
        config: the run's options.
        iteration: the files are continued after it.

    Raises:
        UserError: the files can't be read or written; so all methods.
    """

    def __init__(self, folder: Path, config: TrainConfig, iteration: int) -> None:
        # TensorBoardX imports PyTorch where that is installed, which takes a second.
        from jaxteach.runs.events import TensorBoardWriter  # noqa: PLC0415

        self._path = folder / "metrics.jsonl"
        with writing(self._path, ADVICE):
            self._keep_until(iteration)
        env_steps = iteration * config.steps_per_iteration
        with writing(folder, ADVICE):
            self._writers: list[ScalarWriter] = []
            if config.wandb:
                from jaxteach.runs.wandb_writer import WandbWriter  # noqa: PLC0415 - an extra

                self._writers.append(WandbWriter(folder, config))
            self._writers.append(TensorBoardWriter(folder, config.seed_list, iteration, env_steps))

    def _keep_until(self, iteration: int) -> None:
        rows = read_metrics(self._path.parent) if self._path.exists() else []
        kept = [row for row in rows if row["iteration"] <= iteration]
        self.wall_s = max((row["wall_s"] for row in kept), default=0.0)
        with replacing(self._path) as file:
            file.writelines((json.dumps(row) + "\n").encode() for row in kept)

    def points(self, rows: Iterable[dict[str, Any]]) -> None:
        """Appends one JSON object a point and seed, and brings all of the log to the disk."""
        with writing(self._path, ADVICE), self._path.open("r+", encoding="utf-8") as file:
            file.seek(0, os.SEEK_END)
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        with writing(self._path.parent, ADVICE):
            for writer in self._writers:
                writer.flush()

    def scalars(self, seed: int, values: Mapping[str, float | None], iteration: int, env_steps: int) -> None:
        """As `ScalarWriter.scalars`."""
        with writing(self._path.parent, ADVICE):
            for writer in self._writers:
                writer.scalars(seed, values, iteration, env_steps)

    def close(self) -> None:
        """As `ScalarWriter.close`."""
        with writing(self._path.parent, ADVICE):
            for writer in self._writers:
                writer.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The points of a run; a last line that was cut off is left out.

    Raises:
        UserError: the folder has no readable metrics, or those of two trainings that wrote at the same time.
    """
    path = folder / "metrics.jsonl"
    try:
        if not path.is_file():
            raise OSError
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{folder} is not a jaxteach run: it has no readable metrics.jsonl") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            if number < len(lines):
                raise UserError(f"{path} is damaged in line {number}") from None
    if not all(_is_point(row) for row in rows):
        raise UserError(f"{path} is not the metrics of a jaxteach run")
    last: dict[int, int] = {}
    for row in rows:
        seed, iteration = row.get("seed", 0), row["iteration"]
        if iteration <= last.get(seed, -1):
            raise UserError(
                f"{path} has iteration {iteration} of seed {seed} after iteration {last[seed]}, as if two trainings "
                "had written to it at once; train anew with another --savedir"
            )
        last[seed] = iteration
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
        rows = read_json(path, list[dict[str, Any]])
        valid = all(_is_point(row, NEEDED[1:]) for row in rows)
    except (OSError, ValueError):
        rows, valid = [], False
    if not valid:
        raise UserError(f"{path} is damaged; remove it, and go on with the run by --resume")
    return {row.get("seed", 0): row for row in rows}


def _is_point(row: Any, needed: tuple[str, ...] = NEEDED) -> bool:
    numbers = [row.get(name) for name in needed] if isinstance(row, dict) else [None]
    return all(isinstance(x, int | float) and abs(x) < 2**62 for x in numbers) and isinstance(row.get("seed", 0), int)
