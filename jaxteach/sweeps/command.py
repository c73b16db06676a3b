"""Trains many runs: in this process, in one program where possible, or on a cluster."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from jaxteach.config import SweepConfig, TrainConfig
from jaxteach.errors import UserError, printable
from jaxteach.sweeps.scheduler import group_by_program, run_or_resume, state_of
from jaxteach.sweeps.slurm import train_on_cluster
from jaxteach.sweeps.spec import Trial, read_sweep, sweep_name
from jaxteach.sweeps.trials import runs_of
from jaxteach.system.interrupt import on_interrupt
from jaxteach.training.programs import check_feasible


def sweep(config: SweepConfig) -> None:
    """Trains all runs of a sweep that are not finished.

    Raises:
        UserError: the file is not a sweep, there is no cluster, or runs failed, raised after all others.
    """
    config.check()
    train_trials(read_sweep(config.file), config)


def train_trials(trials: list[Trial], config: SweepConfig) -> list[TrainConfig]:
    """As `sweep`, of trials that are known already; also their runs."""
    runs = [run for trial in trials for run in runs_of(trial, config.logdir, config.seeds_per_run)]
    seeds = sum(len(run.seed_list) for run in runs)
    print(f"sweep {config.file}: {_count(len(runs), 'run')}, {_count(seeds, 'seed')}", flush=True)
    for line in dict.fromkeys(line for trial in trials for line in trial.idle):
        print(f"{line}, which some of the combinations have", file=sys.stderr)
    if config.show:
        _show(runs)
        return runs
    on_cluster = config.engine == "slurm"
    jobs = "; the jobs that were sent go on" if on_cluster else ""
    with on_interrupt(lambda: f"{jobs}; the same command goes on with the sweep"):
        found = _failures_on_cluster(runs, config) if on_cluster else _failures_local(runs, config.seeds_at_once)
        failures = dict(found)
    if failures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise UserError(f"{len(failures)} of {_count(len(runs), 'run')} failed: {reasons}")
    tasks = dict.fromkeys(run.task for run in runs)
    folders = " ".join(f"{config.logdir}/ppo/{task}/{sweep_name(config.file)}-*" for task in tasks)
    finished = (
        "the run is finished; look at it" if len(runs) == 1 else f"all {len(runs)} runs are finished; compare them"
    )
    print(f"{finished}: python -m jaxteach.report {folders}")
    return runs


def _show(runs: list[TrainConfig]) -> None:
    """Lists the runs, and how far they are.

    Raises:
        UserError: some can't be trained; raised after all are listed.
    """
    refused = 0
    for run in runs:
        state = _state_or_reason(run)
        if state in ("new", "begun"):
            try:
                check_feasible(run)
            except UserError as error:
                state = printable(str(error))
        refused += state not in ("new", "begun", "finished")
        print(f"{state:>8}  {_name(run)}")
    if refused:
        raise UserError(f"{refused} of {_count(len(runs), 'run')} can't be trained, for the reasons listed")


def _failures_local(runs: list[TrainConfig], seeds_at_once: int) -> Iterator[tuple[str, str]]:
    """Trains runs, program after program; name and reason of each that fails."""
    numbers = itertools.count(1)
    for group in group_by_program(runs, seeds_at_once):
        for run in group:
            print(f"[{next(numbers)}/{len(runs)}] {_name(run)}", flush=True)
        yield from _failures_of(group)


def _failures_of(group: list[TrainConfig]) -> Iterator[tuple[str, str]]:
    """Trains runs in one program, and each in its own if that fails."""
    reason = run_or_resume(*group)
    if reason is not None and len(group) == 1:
        print(f"failed: {printable(reason)}", file=sys.stderr, flush=True)
        yield _name(group[0]), reason
    elif reason is not None:
        print(
            f"together they fail, so each trains alone: {printable(reason)}",
            file=sys.stderr,
            flush=True,
        )
        for run in group:
            print(_name(run), flush=True)
            yield from _failures_of([run])


def _failures_on_cluster(runs: list[TrainConfig], config: SweepConfig) -> Iterator[tuple[str, str]]:
    """As `_failures_local`, of jobs."""
    states = {_name(run): _state_or_reason(run) for run in runs}
    left = {_name(run): run for run in runs if states[_name(run)] in ("new", "begun")}
    yield from ((name, state) for name, state in states.items() if name not in left and state != "finished")
    if left:
        yield from train_on_cluster(left, config, Path(config.logdir).resolve() / "sweep" / sweep_name(config.file))


def _state_or_reason(run: TrainConfig) -> str:
    try:
        return state_of(run)
    except UserError as error:
        return printable(str(error))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _name(run: TrainConfig) -> str:
    return f"{run.task}/{run.savedir}"
