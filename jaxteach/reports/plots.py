"""Learning curves as pictures."""

import io
import warnings
from collections.abc import Collection
from typing import Any

import matplotlib

matplotlib.use("Agg")  # A report needs no display.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from jaxteach.errors import printable
from jaxteach.reports.aggregate import RunGroup
from jaxteach.reports.statistics import interval

AXES = (("env_steps", "success_rate"), ("wall_s", "success_rate"), ("iteration", "return_mean"))
NAMES = {
    "env_steps": "environment steps",
    "wall_s": "seconds",
    "iteration": "iteration",
    "success_rate": "success",
    "return_mean": "return",
}
MOST_POINTS = 200
LONGEST_LABEL = 60
LONG_TITLE = 30


def learning_curves(tasks: dict[str, list[RunGroup]], threshold: float, columns: int = 3) -> bytes:
    """A PNG with three pictures for each task: its lines, with the intervals over their seeds.

    Args:
        tasks: the lines of each.
        threshold: a success rate that is marked.
        columns: of the three pictures, 3 or, for a narrow screen, 1.
    """
    wide, rows = columns > 1, 3 // columns
    width = 12.0 if wide else 5.0
    longest = [max(len(_legend(line)) for line in lines) for lines in tasks.values()]
    per_row = [max(1, int(width / (0.8 + 0.075 * length))) for length in longest]
    heights = [3.4 * rows + 0.5 + 0.22 * -(-len(lines) // n) for lines, n in zip(tasks.values(), per_row)]
    figure = plt.figure(figsize=(width, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(tasks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (task, lines), n in zip(parts, tasks.items(), per_row):
        axes = part.subplots(rows, columns, squeeze=False).flat
        for axis, (x, y) in zip(axes, AXES):
            for line, colour in zip(lines, _colours(len(lines))):
                _draw(axis, line, x, y, colour)
            _furnish(axis, x, y, threshold)
        axes[0].set_title(task, loc="left")
        # Beside the pictures, where it covers no curve.
        part.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=n, fontsize="small")
    return _png(figure)


def compact_curves(tasks: dict[str, list[RunGroup]], threshold: float, by_return: Collection[str] = ()) -> bytes:
    """A PNG with one row of pictures: success against environment steps, a picture for each task.

    Args:
        tasks: the lines of each.
        threshold: a success rate that is marked.
        by_return: tasks of which the return is shown instead.
    """
    figure, axes = plt.subplots(1, len(tasks), figsize=(3.4 * len(tasks), 3.0), layout="constrained", squeeze=False)
    for axis, (task, lines) in zip(axes[0], tasks.items()):
        for line, colour in zip(lines, _colours(len(lines))):
            _draw(axis, line, "env_steps", "return_mean" if task in by_return else "success_rate", colour)
        _furnish(axis, "env_steps", "return_mean" if task in by_return else "success_rate", threshold)
        counts = sorted({line.seeds for line in lines})
        title = f"{task}, n = {' or '.join(map(str, counts))}"
        # A longer one would run into its neighbour's.
        axis.set_title(title, loc="left", fontsize="large" if len(title) < LONG_TITLE else "small")
    # A label stands once, though the number of seeds differs between tasks.
    labelled = [zip(*axis.get_legend_handles_labels()) for axis in axes[0]]
    handles = {label.rpartition(", n = ")[0]: handle for pairs in labelled for handle, label in pairs}
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=len(handles), fontsize="small")
    return _png(figure)


def _png(figure: Any) -> bytes:
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # A run may be named in letters that no font here has.
        figure.savefig(picture, format="png", dpi=110)
    plt.close(figure)
    return picture.getvalue()


def _colours(count: int) -> Any:
    """matplotlib's own ten, or as many as it takes."""
    map_, places = ("tab10", np.arange(count)) if count <= 10 else ("turbo", np.linspace(0.05, 0.95, count))
    return plt.get_cmap(map_)(places)


def _draw(axis: Axes, line: RunGroup, x: str, y: str, colour: Any) -> None:
    points = _few_of(len(line.common(x)))
    across, found = line.common(x)[points].mean(-1), interval(line.common(y)[points])
    axis.plot(across, found.estimate, color=colour, label=_legend(line))
    if found.low is not None and found.high is not None:
        axis.fill_between(across, found.low, found.high, alpha=0.2, color=colour, linewidth=0)


def _legend(line: RunGroup) -> str:
    """A line's label as matplotlib shows it, which skips those with a _ at first and reads formulas in dollars."""
    text = printable(line.label).lstrip("_") or line.label
    short = text if len(text) <= LONGEST_LABEL else text[:LONGEST_LABEL] + "…"
    return f"{short}, n = {line.seeds}".replace("$", r"\$")


def _few_of(points: int) -> np.ndarray:
    """The places of at most `MOST_POINTS` points, the last one among them."""
    return np.unique(np.linspace(0, points - 1, min(points, MOST_POINTS)).astype(int))


def _furnish(axis: Axes, x: str, y: str, threshold: float) -> None:
    axis.set(xlabel=NAMES[x], ylabel=NAMES[y])
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.grid(alpha=0.3)
    if y == "success_rate":
        axis.set_ylim(-0.02, 1.02)
        axis.axhline(threshold, color="black", linewidth=0.8, linestyle=":")
