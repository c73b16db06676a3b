"""Learning curves of runs and what is read off them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxteach.errors import UserError
from jaxteach.runs import read_config, read_metrics

MAXIMUM_REWARD = 1.0


@dataclass(frozen=True)
class Curve:
    """One seed's evaluations, in the order in which they were made."""

    iteration: np.ndarray  # int64[points]
    env_steps: np.ndarray  # int64[points]
    wall_s: np.ndarray  # float64[points]
    success_rate: np.ndarray  # float64[points]
    return_mean: np.ndarray  # float64[points]

    def area(self) -> float:
        """AULC: the area under the return over iterations, by trapezoids."""
        return float(np.trapezoid(self.return_mean, self.iteration))

    def normalised_area(self) -> float:
        """AULC divided by the maximum reward times the span; 0 where there is one point."""
        span = float(self.iteration[-1] - self.iteration[0])
        return self.area() / (MAXIMUM_REWARD * span) if span else 0.0

    def first_at(self, threshold: float) -> int | None:
        """The place of the first evaluation with at least this success rate."""
        reached = np.flatnonzero(self.success_rate >= threshold)
        return int(reached[0]) if len(reached) else None


@dataclass(frozen=True)
class RunCurves:
    """A run and the curves of its seeds."""

    name: str
    task: str
    seeds: dict[int, Curve]


def load_run(folder: Path) -> RunCurves:
    """Reads a run's curves.

    Raises:
        UserError: the folder is no run, or has no points yet.
    """
    if not folder.is_dir():
        raise UserError(f"there is no run {folder}")
    config = read_config(folder)
    rows = read_metrics(folder)
    if not rows:
        raise UserError(f"{folder} has no points yet")
    by_seed = {seed: [row for row in rows if row.get("seed", 0) == seed] for seed in config.seed_list}
    return RunCurves(folder.name, config.task, {seed: _curve(points) for seed, points in by_seed.items() if points})


def _curve(rows: list[dict[str, Any]]) -> Curve:
    names = ("iteration", "env_steps", "wall_s", "success_rate", "return_mean")
    return Curve(*(np.array([row[name] for row in rows]) for name in names))


def row_of(run: RunCurves, threshold: float) -> dict[str, str]:
    """A run's line of the report: means over the seeds, with the spread where there are several."""
    curves = list(run.seeds.values())
    places = [curve.first_at(threshold) for curve in curves]
    steps = [None if place is None else curve.env_steps[place] for curve, place in zip(curves, places)]
    seconds = [None if place is None else curve.wall_s[place] for curve, place in zip(curves, places)]
    return {
        "run": run.name,
        "task": run.task,
        "seeds": str(len(curves)),
        "env steps": f"{max(int(curve.env_steps[-1]) for curve in curves):,}",
        "final success": _spread([curve.success_rate[-1] for curve in curves], ".3f"),
        "final return": _spread([curve.return_mean[-1] for curve in curves], ".3f"),
        "AULC": _spread([curve.area() for curve in curves], ".1f"),
        "normalised AULC": _spread([curve.normalised_area() for curve in curves], ".3f"),
        f"steps to {threshold:g}": _reached(steps, ",.0f"),
        f"seconds to {threshold:g}": _reached(seconds, ".1f"),
    }


def _spread(values: list[float], style: str) -> str:
    mean = format(float(np.mean(values)), style)
    return mean if len(values) == 1 else f"{mean} ± {format(float(np.std(values, ddof=1)), style)}"


def _reached(values: list[Any], style: str) -> str:
    """The mean over the seeds that got there, and how many did where some didn't."""
    known = [float(value) for value in values if value is not None]
    if not known:
        return "not reached"
    text = _spread(known, style)
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)} seeds)"
