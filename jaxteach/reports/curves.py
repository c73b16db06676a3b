"""Learning curves of runs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.runs.metrics_log import read_metrics, read_summary
from jaxteach.runs.run_folder import is_folder, read_config
from jaxteach.runs.sessions import plans_digest
from jaxteach.tasks import canonical_task
from jaxteach.teacher.loading import learnt_digest, plans_of
from jaxteach.teacher.plans import PLAN_SOURCES


@dataclass(frozen=True)
class Curve:
    """One seed's evaluations, in the order in which they were made."""

    iteration: np.ndarray  # int64[points]
    env_steps: np.ndarray  # int64[points]
    wall_s: np.ndarray  # float64[points]
    success_rate: np.ndarray  # float64[points]
    return_mean: np.ndarray  # float64[points]
    final_success: float  # in `summary.json`'s episodes, or where there is none for this end, in the last point's
    final_return: float  # likewise
    judged: bool  # whether both are of `summary.json`

    def area(self) -> float:
        """AULC: the area under the return over iterations, by trapezoids."""
        return float(np.trapezoid(self.return_mean, self.iteration))

    def normalised_area(self, maximum_return: float) -> float:
        """AULC divided by the maximum return times the span; 0 where there is one point."""
        span = float(self.iteration[-1] - self.iteration[0])
        return self.area() / (maximum_return * span) if span else 0.0

    def first_at(self, threshold: float) -> int | None:
        """The place of the first evaluation with at least this success rate."""
        reached = np.flatnonzero(self.success_rate >= threshold)
        return int(reached[0]) if len(reached) else None


@dataclass(frozen=True)
class RunCurves:
    """A run and the curves of its seeds."""

    folder: Path
    config: TrainConfig
    seeds: dict[int, Curve]
    plans: str | None  # the digest of the teacher's plans; None without a teacher, and where it is not known
    maximum_return: float | None  # of an episode; None where the world has none

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def task(self) -> str:
        return self.config.task

    @property
    def reached(self) -> int:
        """The iteration of its last point."""
        return max(int(curve.iteration[-1]) for curve in self.seeds.values())

    @property
    def iterations(self) -> int:
        """Its length; in older runs that went on to another one, `config.json` has the first."""
        return max(self.config.iterations, self.reached)


def load_run(folder: Path) -> RunCurves:
    """Reads a run's curves.

    Raises:
        UserError: the folder is not a run, or has no points yet.
    """
    if not is_folder(folder):
        raise UserError(f"there is no run {folder}")
    config = read_config(folder)
    rows, judged = read_metrics(folder), read_summary(folder)
    by_seed = {seed: [row for row in rows if row.get("seed", 0) == seed] for seed in config.seed_list}
    curves = {seed: _curve(points, judged.get(seed)) for seed, points in by_seed.items() if points}
    if not curves:
        raise UserError(f"{folder} has no points yet")
    config = replace(config, task=canonical_task(config.task))
    maximum_return = getattr(config.world.make_env(config.task), "maximum_return", None)
    return RunCurves(folder, config, curves, _plans(folder, config), maximum_return)


def _plans(folder: Path, config: TrainConfig) -> str | None:
    """The digest of a run's plans; of an older run it is known where they ship with the package."""
    if not config.taught:
        return None
    known = plans_digest(folder)
    plans = plans_of(config) if known is None and config.teacher.plans in PLAN_SOURCES else None
    return known if plans is None else learnt_digest(config, plans)


def _curve(rows: list[dict[str, Any]], judged: dict[str, Any] | None) -> Curve:
    names = ("iteration", "env_steps", "wall_s", "success_rate", "return_mean")
    # A run that goes on is judged anew at its end.
    is_judged = judged is not None and judged["env_steps"] == rows[-1]["env_steps"]
    final = judged if judged is not None and is_judged else rows[-1]
    arrays = {name: np.array([row[name] for row in rows]) for name in names}
    return Curve(**arrays, final_success=final["success_rate"], final_return=final["return_mean"], judged=is_judged)
