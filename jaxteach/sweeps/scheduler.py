"""Trains the runs of a sweep to their end, from wherever they are."""

import time
import traceback
from collections.abc import Hashable, Iterator
from contextlib import closing
from dataclasses import replace

from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.runs.metrics_log import read_summary
from jaxteach.runs.run_folder import check_resumable, find_run, folder_of, further, is_folder
from jaxteach.teacher.loading import digest_of
from jaxteach.training.loop import train_group


def run_or_resume(*runs: TrainConfig) -> str | None:
    """Trains runs that can share a program to their end, from wherever they are; the reason if it fails."""
    try:
        run_all(*runs)
    except UserError as error:
        return str(error)
    except BrokenPipeError:
        raise  # The reader of the output has gone: not a failure of the run.
    except Exception as error:
        if len(runs) == 1:  # Several are tried again one by one.
            traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def run_all(*runs: TrainConfig) -> None:
    """Starts or resumes runs that can share a program; finished ones are skipped.

    Raises:
        UserError: as `train_group`; or a run's folder is one with other options.
    """
    states = [state_of(run) for run in runs]
    left = [replace(run, resume=state == "begun") for run, state in zip(runs, states) if state != "finished"]
    if left:
        train_group(left, time.perf_counter())
    else:
        print("already finished")


def group_by_program(runs: list[TrainConfig], most: int) -> Iterator[list[TrainConfig]]:
    """Groups runs by program: those with the same shapes and the same progress share one.

    Args:
        runs: of one sweep.
        most: seeds of a program; a single run may have more.
    """
    alike: dict[Hashable, list[TrainConfig]] = {}
    for number, run in enumerate(runs):
        alike.setdefault(_program(run) or number, []).append(run)
    for group in alike.values():
        batch: list[TrainConfig] = []
        for run in group:
            if batch and sum(len(other.seed_list) for other in (*batch, run)) > most:
                yield batch
                batch = []
            batch.append(run)
        yield batch


def _program(run: TrainConfig) -> Hashable:
    """What runs that can share a program have in common; None for a run that can't share one."""
    try:
        if run.online or state_of(run) == "finished":
            return None
    except UserError:
        return None
    shapes = replace(run.ppo, **dict.fromkeys(run.ppo.hparams, 0))
    return replace(run, seed_list=(), savedir=None, ppo=shapes), _last_checkpoint(run)


def _last_checkpoint(run: TrainConfig) -> int:
    with closing(Checkpoints(folder_of(run.logdir, run.task, str(run.savedir)))) as checkpoints:
        return max(checkpoints.iterations, default=0)


def state_of(run: TrainConfig) -> str:
    """How far a run is: "new", "begun" or "finished".

    Raises:
        UserError: the run's folder is one with other options, or the run has come further than it should.
    """
    folder = folder_of(run.logdir, run.task, str(run.savedir))
    if not is_folder(folder):
        return "new"
    if not (folder / "config.json").is_file():
        return "begun"
    check_resumable(run, find_run(run.logdir, run.task, str(run.savedir))[1], folder, digest_of(run))
    done = _last_checkpoint(run)
    if done > run.iterations:
        raise UserError(further(folder, run, done))
    end = run.iterations * run.steps_per_iteration
    ends = [row["env_steps"] for row in read_summary(folder).values()]
    judged = run.final_eval == 0 or ends == [end] * len(run.seed_list)
    return "finished" if done == run.iterations and judged else "begun"
