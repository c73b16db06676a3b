"""A run of a sweep, brought to its end from wherever it is."""

import time
import traceback
from contextlib import closing
from dataclasses import replace

from jaxteach.checkpoints import Checkpoints
from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.runs import check_resumable, find_run, folder_of, read_summary
from jaxteach.training import train


def attempt(run: TrainConfig) -> str | None:
    """Brings a run to its end, whatever happens; the reason if it failed."""
    try:
        finish(run)
    except UserError as error:
        return str(error)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def finish(run: TrainConfig) -> None:
    """Begins a run, goes on with it, or passes it over if it is finished.

    Raises:
        UserError: as `training.train`; or the run's folder is one with other options.
    """
    state = state_of(run)
    if state == "finished":
        print("finished before")
    else:
        train(replace(run, resume=state == "begun"), time.perf_counter())


def state_of(run: TrainConfig) -> str:
    """How far a run is: "new", "begun" or "finished".

    Raises:
        UserError: the run's folder is one with other options.
    """
    folder = folder_of(run.logdir, run.task, str(run.savedir))
    if not (folder / "config.json").is_file():
        return "begun" if folder.is_dir() else "new"
    check_resumable(run, find_run(run.logdir, run.task, str(run.savedir))[1])
    with closing(Checkpoints(folder)) as checkpoints:
        trained = max(checkpoints.iterations, default=0) >= run.iterations
    end = run.iterations * run.steps_per_iteration
    ends = [row["env_steps"] for row in read_summary(folder).values()]
    judged = run.final_eval == 0 or ends == [end] * len(run.seed_list)
    return "finished" if trained and judged else "begun"
