"""Reports on runs: a table in the terminal and as Markdown, and learning curves as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # A report needs no display.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter
from rich.console import Console
from rich.table import Table

from jaxteach.config import ReportConfig
from jaxteach.curves import RunCurves, load_run, row_of
from jaxteach.errors import UserError


def report(config: ReportConfig) -> Path:
    """Prints the table of the runs and writes `report.md` and `report.png`.

    Raises:
        UserError: a run can't be read, or the folder can't be written.
    """
    if not 0 < config.threshold <= 1:
        raise UserError(f"--threshold must be within 0..1, not {config.threshold}")
    if not config.runs:
        raise UserError("name the folders of the runs to report on, <logdir>/ppo/<task>/<savedir>")
    runs = [load_run(folder) for folder in config.runs]
    rows = [row_of(run, config.threshold) for run in runs]
    out = Path(config.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.md").write_text(_markdown(rows), "utf-8")
        _picture(runs, config.threshold, out / "report.png")
    except OSError as error:
        raise UserError(f"can't write the report to {out}: {error.strerror}") from None
    _print_table(rows)
    print(f"written: {out / 'report.md'}, {out / 'report.png'}")
    return out


def _print_table(rows: list[dict[str, str]]) -> None:
    """A figure a line and a run a column: figures are many, runs are few."""
    table = Table("", *(row["run"] for row in rows))
    for figure in list(rows[0])[1:]:
        table.add_row(figure, *(row[figure] for row in rows))
    console = Console()
    Console(width=console.width if console.is_terminal else 160).print(table)


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _picture(runs: list[RunCurves], threshold: float, path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    labels = [run.name if len({r.name for r in runs}) == len(runs) else f"{run.task}/{run.name}" for run in runs]
    for run, label in zip(runs, labels):
        curves = list(run.seeds.values())
        _draw(axes[0], [(curve.env_steps, curve.success_rate) for curve in curves], label)
        _draw(axes[1], [(curve.wall_s, curve.success_rate) for curve in curves], label)
        _draw(axes[2], [(curve.iteration, curve.return_mean) for curve in curves], label)
    names = (("environment steps", "success"), ("seconds", "success"), ("iteration", "return"))
    for axis, (x, y) in zip(axes, names):
        axis.set(xlabel=x, ylabel=y)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.grid(alpha=0.3)
        if y == "success":
            axis.set_ylim(-0.02, 1.02)
            axis.axhline(threshold, color="black", linewidth=0.8, linestyle=":")
    axes[0].legend(loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw(axis: Axes, curves: list[tuple[np.ndarray, np.ndarray]], label: str) -> None:
    """The mean over the seeds, and the range between the lowest and the highest."""
    points = min(len(x) for x, _ in curves)
    x = np.mean([x[:points] for x, _ in curves], 0)
    values = np.array([y[:points] for _, y in curves])
    (line,) = axis.plot(x, values.mean(0), label=label)
    if len(curves) > 1:
        axis.fill_between(x, values.min(0), values.max(0), alpha=0.2, color=line.get_color(), linewidth=0)
