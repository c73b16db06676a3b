"""Training and sweeps as functions."""

import hashlib
import json
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from jaxteach.api.options import DEFAULT, configured, named_options, names_as_keywords
from jaxteach.api.run import Run
from jaxteach.config import SweepConfig
from jaxteach.distributed.compile_cache import use_cache
from jaxteach.errors import UserError
from jaxteach.runs.run_folder import folder_of
from jaxteach.sweeps.command import train_trials
from jaxteach.sweeps.spec import trials_of
from jaxteach.tasks import OBJECT
from jaxteach.training.loop import train as train_config
from jaxteach.training.progress import silence

OF_SWEEPS: Final = {option.name for option in fields(SweepConfig)} - {"file", "show"}


@names_as_keywords()
def train(
    task: Any,
    *,
    seeds: int | Iterable[int] | None = None,
    teacher: Any = DEFAULT,
    network: Any = None,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Trains a student, or goes on training it with `resume=True`.

    What `python -m jaxteach.train` does, with the same options, files and results.

    Args:
        task: a task's name, or a Jumanji environment as `AgentAxisWrapper` takes it. A run in an environment that
            is passed as an object can't be rebuilt by name: pass the environment again to open its folder.
        seeds: one seed or several, which train side by side in one program; 0 when left out.
        teacher: None for pure reinforcement learning; the path of a plan file; a `Teacher`; or a `Domain`, whose
            plan file is the option `plans`. The task's own teacher, if it has one, when left out.
        network: the name of a network, a flax module such as a `Student`, or a function that makes one for an
            `AgentAxisWrapper`. The task's own when left out.
        progress: whether to print how training fares.
        **options: flat, with the names of `python -m jaxteach.train --help`, such as `total_steps` in environment
            steps of each seed, `num_envs` or `learning_rate`.

    Returns:
        The finished run.

    Raises:
        ValueError: an option is unknown, has no effect or a value that it can't have; an object can't be used; or
            a loss is not finite. The message is one sentence.

    Example::

        run = jaxteach.train("SimpleDoorKey", seeds=range(3), total_steps=50_000, distill_coef=5.0)
    """
    use_cache()
    with named_options(task, seeds, teacher, network, options) as (objects, flat):
        config = configured(flat)
        with nullcontext() if progress else silence():
            folder = train_config(config, time.perf_counter())
    return Run(folder, objects.env, objects.network)


@names_as_keywords()
def sweep(
    task: Any,
    *,
    name: str | None = None,
    seeds: int | Iterable[int] | None = None,
    teacher: Any = DEFAULT,
    network: Any = None,
    progress: bool = True,
    **options: Any,
) -> list[Run]:
    """Trains all combinations of the options that are lists, and goes on with those that were begun before.

    What `python -m jaxteach.sweep` does. Runs that differ in numbers of PPO alone train side by side in one program.

    Args:
        task: as for `train`.
        name: what the names of the runs' folders begin with; made of the options when left out, so that the same
            call finds its runs again.
        seeds: of each combination.
        teacher: as for `train`.
        network: as for `train`.
        progress: whether to print how training fares.
        **options: as for `train`, a list, tuple, range or array for each option to vary; and those of
            `python -m jaxteach.sweep --help`, such as `seeds_per_run`.

    Returns:
        The runs, in the order of the combinations; the last option varies fastest.

    Raises:
        ValueError: as for `train`; or runs failed, after all others.

    Example::

        runs = jaxteach.sweep("SimpleDoorKey", distill_coef=[1, 10], seeds=range(5))
    """
    use_cache()
    of_sweep = {option: options.pop(option) for option in OF_SWEEPS & set(options)}
    grid = {option: list(values) for option, values in options.items() if _is_list(option, values)}
    empty = [option for option, values in grid.items() if not values]
    if empty:
        raise UserError(f"{empty[0]} is an empty list; give it values, or leave it out")
    fixed = {option: value for option, value in options.items() if option not in grid}
    with named_options(task, seeds, teacher, network, fixed) as (objects, flat):
        if of_sweep.get("engine") == "slurm" and any(str(value).startswith(OBJECT) for value in flat.values()):
            raise UserError("jobs of a cluster can't have objects of this process; register them, see JAXTEACH_IMPORT")
        shared = {option: list(value) if isinstance(value, tuple) else value for option, value in flat.items()}
        grid = {option: [x.item() if isinstance(x, np.generic) else x for x in xs] for option, xs in grid.items()}
        config = replace(SweepConfig(Path(name or _name(shared, grid))), **of_sweep)
        config.check()
        with nullcontext() if progress else silence():
            runs = train_trials(trials_of(config.file, shared, grid), config)
        return [Run(folder_of(run.logdir, run.task, str(run.savedir)), objects.env, objects.network) for run in runs]


def _is_list(option: str, values: Any) -> bool:
    return option != "seed_list" and isinstance(values, list | tuple | range | np.ndarray)


def _name(fixed: dict[str, Any], grid: dict[str, Any]) -> str:
    """The same for the same options, whatever the seeds."""
    description = json.dumps([fixed | {"seed_list": None}, grid], sort_keys=True, default=str)
    return f"sweep-{hashlib.sha256(description.encode()).hexdigest()[:8]}"
