"""`python -m benchmarks.scaling`: how costs grow with environments, the world's size, agents and seeds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import envs_jax
from benchmarks.command import run_benchmark
from benchmarks.machine import describe_machine
from benchmarks.throughput import env_program
from benchmarks.timing import Program, compile_program, time_in_turns
from jaxteach.config import default_config
from jaxteach.errors import UserError
from jaxteach.system.command import run_command
from jaxteach.training.programs import Experiment, over_seeds

TASKS: Final = ("SimpleDoorKey", "TwoDoor", "LockedHallway-2Rooms", "simple_spread")
WORLD_SIZES: Final = (6, 8, 10, 14, 20, 32)
CROWDS: Final = (("LockedHallway-2Rooms", "num_agents", (1, 2, 3, 4)), ("simple_spread", "N", (1, 2, 3, 5, 8)))
SEEDS: Final = (1, 2, 4, 8)

AXES: Final = ("environments", "world size", "agents", "seeds")

Entry = tuple[str, str, int, Callable[[], Program]]
"""What grows, the line it belongs to, how much of it, and what makes the program."""


@dataclass(frozen=True)
class Options:
    """Measures steps of worlds with random actions and resets, and updates of the student, its teacher asked."""

    axis: tuple[Literal["environments", "world size", "agents", "seeds"], ...] = AXES
    """what grows"""
    most_envs: int = 2**14
    """environments, from 2^4 in powers of two to so many"""
    num_envs: int = 4096
    """environments where something else grows"""
    steps: int = 64
    """steps of each environment in one repeat"""
    repeats: int = 5
    """repeats, of which the median counts"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write the figures to this file"""
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """draw the figures as a PNG"""


def main() -> None:
    options, figures = run_benchmark("scaling", Options, measure, _print)
    if options.picture is not None:
        draw(figures["rows"], options.picture)


def measure(options: Options) -> dict[str, Any]:
    """All figures, ready for JSON; sizes in bytes.

    Raises:
        UserError: numbers that make no sense.
    """
    if min(options.most_envs, options.num_envs, options.steps, options.repeats) < 1:
        raise UserError("--most_envs, --num_envs, --steps and --repeats must be at least 1")
    rows = [_measure_one(*entry, options.repeats) for entry in _entries(options) if entry[0] in options.axis]
    return {"num_envs": options.num_envs, "steps": options.steps, "rows": rows, "machine": describe_machine()}


def _entries(options: Options) -> Iterator[Entry]:
    def world(num_envs: int, task: str, **parameters: int) -> Callable[[], Program]:
        return lambda: env_program(envs_jax.make(task, **parameters), num_envs, options.steps)

    for task in TASKS:
        for k in range(4, options.most_envs.bit_length()):
            yield "environments", task, 2**k, world(2**k, task)
    for size in WORLD_SIZES:
        room = world(options.num_envs, "SimpleDoorKey", world_size=size, room_size=(5, size))  # type: ignore[arg-type]
        yield "world size", "SimpleDoorKey", size, room
    for task, name, counts in CROWDS:
        for count in counts:
            yield "agents", task, count, world(options.num_envs, task, **{name: count})
    for count in SEEDS:
        yield "seeds", "SimpleDoorKey, training", count, lambda count=count: training_program(count)


def training_program(seeds: int) -> Program:
    """An update of so many students of SimpleDoorKey, their teacher asked."""
    config = replace(default_config("SimpleDoorKey"), seed_list=tuple(range(seeds)), eval_interval=1)
    experiment = Experiment(config)

    def play(state: Any, table: Any) -> tuple[Any, Any]:
        return over_seeds(lambda state: experiment.learner.update(state, table, jnp.int32(0)))(state)

    return compile_program(play, experiment.init(), experiment.table, work=seeds * config.steps_per_iteration)


def _measure_one(axis: str, line: str, value: int, make: Callable[[], Program], repeats: int) -> dict[str, Any]:
    program = make()
    timed = time_in_turns({"it": program}, repeats)["it"]
    row = {"axis": axis, "line": line, "value": value, "steps_per_s": timed["per_s"], "ns": 1e9 / timed["per_s"]}
    return row | {"compile_s": timed["compile_s"], "memory_bytes": program.memory_bytes}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A PNG with a panel for each thing that grows."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # measuring needs no drawing
    from matplotlib.ticker import NullFormatter, StrMethodFormatter  # noqa: PLC0415

    axes, lines = (list(dict.fromkeys(row[name] for row in rows)) for name in ("axis", "line"))
    figure = Figure((3.4 * len(axes), 3.6), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), squeeze=False)[0], axes):
        for line in dict.fromkeys(row["line"] for row in rows if row["axis"] == axis):
            points = [(row["value"], row["ns"]) for row in rows if (row["axis"], row["line"]) == (axis, line)]
            panel.plot(*zip(*points), "o-", markersize=3, label=line, color=f"C{lines.index(line)}")
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        # Whole decades, so that what hardly grows looks flat.
        exponents = np.log10([row["ns"] for row in rows if row["axis"] == axis])
        panel.set_ylim(10 ** np.floor(exponents.min()), 10 ** np.ceil(exponents.max()))
        for ticks in (panel.xaxis, panel.yaxis):
            ticks.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            ticks.set_minor_formatter(NullFormatter())
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
        panel.set_xlabel(axis)
        panel.set_ylabel("nanoseconds a step")
        panel.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 1))  # above the panel, where it covers no curve
    figure.savefig(path, dpi=150)


def _print(figures: dict[str, Any]) -> None:
    table = Table("what grows", "", "value", "steps per second", "ns each", "compile s", "KB in all")
    for row in figures["rows"]:
        memory = "" if row["memory_bytes"] is None else f"{row['memory_bytes'] / 1024:,.0f}"
        numbers = (f"{row['steps_per_s']:,.0f}", f"{row['ns']:,.0f}", f"{row['compile_s']:.1f}", memory)
        table.add_row(row["axis"], row["line"], f"{row['value']:,}", *numbers)
    console = Console(width=120)
    console.print(table)
    machine = figures["machine"]
    console.print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load_average']}", highlight=False)


if __name__ == "__main__":
    run_command(main)
