"""Runs on the disk, from Python."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxteach.api.policies import Policy, load_policy
from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.evaluation.students import evaluate_students
from jaxteach.ppo.episodes import Episodes
from jaxteach.runs.metrics_log import read_metrics, read_summary
from jaxteach.runs.run_folder import is_folder, read_config


class Run:
    """A run and its results.

    Args:
        folder: the run's, `<logdir>/ppo/<task>/<name>`.

    Attributes:
        folder: the run's.
        config: its options.

    Raises:
        ValueError: the folder is not a run's.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        if not is_folder(self.folder):
            raise UserError(f"there is no run {self.folder}")
        self.config: TrainConfig = read_config(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def metrics(self) -> Any:
        """What was logged at every evaluation of every seed.

        A pandas DataFrame where pandas is installed, else a dict of arrays: `seed`, `iteration`, `env_steps`, `wall_s`,
        `success_rate`, `return_mean`, and every loss; NaN where there is no value.
        """
        rows = read_metrics(self.folder)
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: _column([row.get(name) for row in rows]) for name in names}
        try:
            import pandas  # noqa: PLC0415  # pyright: ignore[reportMissingImports] - optional
        except ImportError:
            return columns
        return pandas.DataFrame(columns)

    @cached_property
    def summary(self) -> dict[int, dict[str, Any]]:
        """By seed, the final evaluation; empty for a run that has none."""
        return read_summary(self.folder)

    def evaluate(
        self, episodes: int = 1000, greedy: bool = False, seed: int = 0, checkpoint: int | None = None
    ) -> Episodes:
        """Plays episodes with the students of all seeds, each in the same layouts.

        Args:
            episodes: how many.
            greedy: take the likeliest actions instead of sampled ones.
            seed: of the layouts, which no training draws.
            checkpoint: the iteration; the last one when left out.

        Returns:
            NumPy arrays [seeds, episodes]: `episode_return` float32, `length` int32, `success` bool, `unfinished` bool.
        """
        return evaluate_students(self.folder, self.config, episodes, greedy, seed, checkpoint)

    def policy(self, seed: int | None = None) -> Policy:
        """The trained student of one seed, see `load_policy`."""
        return load_policy(self.folder, seed)


def evaluate(
    run: Run | str | Path, episodes: int = 1000, greedy: bool = False, seed: int = 0, checkpoint: int | None = None
) -> Episodes:
    """Plays episodes with the students of a run or of a run's folder; as `Run.evaluate`."""
    return (run if isinstance(run, Run) else Run(run)).evaluate(episodes, greedy, seed, checkpoint)


def _column(values: list[Any]) -> np.ndarray:
    if all(isinstance(value, int) for value in values):
        return np.array(values, np.int64)
    return np.array([np.nan if value is None else value for value in values], float)
