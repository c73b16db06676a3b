"""Runs put side by side: those of the same options as one line, with what its seeds say together."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxteach.config import changes, default_config
from jaxteach.options.markers import NOT_LEARNT, marked
from jaxteach.reports.curves import Curve, RunCurves
from jaxteach.reports.statistics import NOTHING, interval, interval_text

OTHERWISE_COMPARED = {"n_itr", "total_steps", "plans"}
"""Options that `_Kind` compares by what they stand for: the plans' digest, the number of iterations."""
SHOWN_OF_A_DIGEST = 8


class _Kind(NamedTuple):
    """What the runs of one line have in common."""

    task: str
    options: tuple[str, ...]
    plans: str
    iterations: int
    reached: int
    number: int  # 0 unless each run is a line of its own


@dataclass(frozen=True)
class RunGroup:
    """Runs of one task with the same options, and the curves of all their seeds."""

    label: str
    task: str
    settings: str
    runs: tuple[RunCurves, ...]
    curves: dict[int, Curve]

    @property
    def seeds(self) -> int:
        return len(self.curves)

    def common(self, name: str) -> np.ndarray:
        """float64[points, seeds]: an array of the curves, up to the end of the shortest."""
        arrays = [getattr(curve, name) for curve in self.curves.values()]
        points = min(map(len, arrays))
        return np.stack([array[:points] for array in arrays], -1).astype(float)


def group_runs(runs: Iterable[RunCurves], no_merge: bool = False) -> tuple[list[RunGroup], list[str]]:
    """The lines of a report, in the order of their first runs, and what was left out of them.

    Args:
        runs: any number of runs.
        no_merge: each run is a line of its own.
    """
    groups: dict[_Kind, list[RunCurves]] = {}
    for number, run in enumerate(runs):
        groups.setdefault(_kind(run, number if no_merge else 0), []).append(run)
    settings = {kind: changed_options(members[0]) for kind, members in groups.items()}
    lines: list[RunGroup] = []
    left_out: list[str] = []
    for kind, members in groups.items():
        alike = [other for other in groups if (other.task, settings[other]) == (kind.task, settings[kind])]
        curves: dict[int, Curve] = {}
        for run in members:
            twice = sorted(set(run.seeds) & set(curves))
            if twice:
                seeds = ", ".join(map(str, twice))
                left_out.append(
                    f"seed {seeds} of {run.name}, as a run of the same options has it; --no_merge keeps both"
                )
            curves = run.seeds | curves
        used = {line.label for line in lines if line.task == kind.task}
        label = _unused(_label([run.name for run in members]), used)
        text = settings[kind] + _distinction(kind, alike, members[0])
        lines.append(RunGroup(label, kind.task, text, tuple(members), curves))
    return lines, left_out


def _kind(run: RunCurves, number: int) -> _Kind:
    options = tuple(f"{name} {value}" for name, value in _changed(run).items() if name not in OTHERWISE_COMPARED)
    # Plans of which nothing but their path is known are the same where the path is.
    plans = run.plans or run.config.teacher.plans
    return _Kind(run.task, options, plans, run.iterations, run.reached, number)


def _distinction(kind: _Kind, alike: list[_Kind], run: RunCurves) -> str:
    """What a line's settings say beside the options, where others have the same ones."""
    text = ""
    if len({other.plans for other in alike}) > 1:
        text += f", plans with SHA-256 {run.plans[:SHOWN_OF_A_DIGEST]}" if run.plans else ", plans not known"
    if len({(other.iterations, other.reached) for other in alike}) > 1:
        steps = run.config.steps_per_iteration
        of = f" of {kind.iterations * steps:,}" if kind.reached < kind.iterations else ""
        text += f", {kind.reached * steps:,}{of} steps"
    return text


def changed_options(run: RunCurves) -> str:
    """The options in which a run differs from its task's default ones."""
    return ", ".join(f"{name} {value}" for name, value in _changed(run).items()) or "default"


def _changed(run: RunCurves) -> dict[str, Any]:
    """The options, by name, that are not the task's default ones and have an effect."""
    default = default_config(run.task)
    names = marked(run.config, NOT_LEARNT) | (
        {"n_itr", "total_steps"} if run.config.iterations == default.iterations else set()
    )
    return {name: value for name, (value, _) in changes(run.config, default).items() if name not in names}


def _label(names: list[str]) -> str:
    """A run's name; of several, what they have before their seeds, as a sweep names them."""
    if len(names) == 1:
        return names[0]
    before = {re.sub(r"-seeds?-[0-9a-f.+]+$", "", name) for name in names}
    return before.pop() if len(before) == 1 else f"{names[0]} and {len(names) - 1} more"


def _unused(label: str, used: set[str]) -> str:
    number = 1
    while (fresh := label if number == 1 else f"{label} ({number})") in used:
        number += 1
    return fresh


def aggregate(line: RunGroup, threshold: float) -> dict[str, str]:
    """A line's figures by name: interquartile means over the seeds, with their intervals."""
    curves, most = list(line.curves.values()), line.runs[0].maximum_return
    places = [(curve, curve.first_at(threshold)) for curve in curves]
    reached = [(curve, place) for curve, place in places if place is not None]
    steps = sorted({int(curve.env_steps[-1]) for curve in curves})
    return {
        "seeds": str(line.seeds),
        "env steps": f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}",
        "final success": _told([curve.final_success for curve in curves], ".3f"),
        "final return": _told([curve.final_return for curve in curves], ".3f"),
        "AULC": _told([curve.area() for curve in curves], ".1f"),
        "normalised AULC": _told([curve.normalised_area(most) for curve in curves], ".3f") if most else NOTHING,
        f"steps to {threshold:g}": _reached([curve.env_steps[i] for curve, i in reached], ",.0f", line.seeds),
        f"seconds to {threshold:g}": _reached([curve.wall_s[i] for curve, i in reached], ".1f", line.seeds),
    }


def aggregate_tasks(lines: list[RunGroup]) -> list[dict[str, str]]:
    """Figures of settings that were tried in several tasks, over all of these; each task is a stratum."""
    by_settings: dict[str, list[RunGroup]] = {}
    for line in lines:
        by_settings.setdefault(line.settings, []).append(line)
    rows = []
    for settings, alike in by_settings.items():
        if len({line.task for line in alike}) == len(alike) > 1:
            final = [[curve.final_success for curve in line.curves.values()] for line in alike]
            mean = [[curve.success_rate.mean() for curve in line.curves.values()] for line in alike]
            rows.append(
                {
                    "options": settings,
                    "tasks": ", ".join(line.task for line in alike),
                    "seeds": ", ".join(str(line.seeds) for line in alike),
                    "final success": interval_text(interval(*map(np.array, final)), ".3f"),
                    "mean success while training": interval_text(interval(*map(np.array, mean)), ".3f"),
                }
            )
    return rows


def _told(values: list[Any], style: str) -> str:
    return interval_text(interval(np.array(values, float)), style)


def _reached(values: list[Any], style: str, seeds: int) -> str:
    """Of the seeds that got there, and how many did where some didn't."""
    if not values:
        return "not reached"
    return _told(values, style) + ("" if len(values) == seeds else f" ({len(values)} of {seeds} seeds)")
