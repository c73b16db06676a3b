"""Training from Python: whole runs, sweeps, and the pure functions of an update."""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxteach.api.options import SHIPPED, make_config
from jaxteach.api.runs import Run
from jaxteach.config import SweepConfig
from jaxteach.distributed.compile_cache import use_cache
from jaxteach.errors import UserError
from jaxteach.ppo.learner import LearnerState
from jaxteach.sweeps.command import sweep as run_sweep
from jaxteach.sweeps.command import sweep_runs
from jaxteach.training.loop import train as train_run
from jaxteach.training.programs import Experiment


def train(
    task: Any,
    *,
    seeds: int | Iterable[int] | None = None,
    network: Any = None,
    teacher: Any = SHIPPED,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Trains a student, as `python -m jaxteach.train` does.

    Args:
        task: a task's name, or an environment: a Jumanji environment with `observe` and `max_steps`.
        seeds: the seeds, which train side by side; 0 by default.
        network: a network's name, or a `Student`; the task's default when left out.
        teacher: "shipped" for the plans that come with jaxteach, a plan file, what `make_teacher` returns, or None for
            pure reinforcement learning.
        progress: print how training goes.
        options: more options, by their names on the command line, such as `total_steps=50_000`.

    Returns:
        The finished run.

    Raises:
        ValueError: an option is unknown or makes no sense; the message is one sentence.

    Example:
        >>> run = train("SimpleDoorKey", seeds=range(3), total_steps=50_000)  # doctest: +SKIP
    """
    started = time.perf_counter()
    use_cache()
    config = make_config(task, seeds, network, teacher, options)
    return Run(train_run(config, started, quiet=not progress))


def sweep(
    task: str | Iterable[str],
    *,
    seeds: int | Iterable[int] = 0,
    name: str = "sweep",
    logdir: str | Path = "log",
    **options: Any,
) -> list[Run]:
    """Trains all combinations of lists of options, as `python -m jaxteach.sweep` does; finished runs are kept.

    Args:
        task: a task's name, or several.
        seeds: the seeds of each combination.
        name: what the runs' folders begin with.
        logdir: where runs are kept.
        options: options of training; those with a list are tried in all combinations.

    Returns:
        The runs, in the order of the combinations.

    Raises:
        ValueError: an option is unknown or makes no sense, or runs failed.

    Example:
        >>> runs = sweep("SimpleDoorKey", distill_coef=[1, 10], seeds=range(5))  # doctest: +SKIP
    """
    use_cache()
    seed_list = [seeds] if isinstance(seeds, int) else list(seeds)
    values = {"task": task if isinstance(task, str) else list(task), **options}
    grid = {key: list(value) for key, value in values.items() if isinstance(value, list | tuple | range)}
    fixed = {"seed_list": seed_list} | {key: value for key, value in values.items() if key not in grid}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.toml"
        file.write_text("\n".join(["[fixed]", *_toml(fixed), "[grid]", *_toml(grid)]), "utf-8")
        config = SweepConfig(file, str(logdir))
        run_sweep(config)
        return [Run(folder) for folder in sweep_runs(config)]


def _toml(values: Mapping[str, Any]) -> list[str]:
    try:
        return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    except TypeError as error:
        raise UserError(f"a sweep takes names, numbers and lists of them: {error}") from None


class TrainState(NamedTuple):
    """All that an update changes."""

    learner: LearnerState
    iteration: jax.Array  # int32[]


def make_train(
    task: Any, *, network: Any = None, teacher: Any = SHIPPED, **options: Any
) -> tuple[Callable[[jax.Array], TrainState], Callable[..., tuple[TrainState, dict[str, jax.Array]]]]:
    """The pure functions of training: for `jit`, `scan`, and `vmap` over seeds and hyper-parameters.

    Args:
        task: as in `train`.
        network: as in `train`.
        teacher: as in `train`.
        options: as in `train`; the numbers of `PPOConfig` are the defaults of `update`'s hyper-parameters.

    Returns:
        `init(key) -> state`, and `update(state, **hparams) -> (state, metrics)`: one iteration, that is a rollout, the
        teacher's labels and the epochs of gradient steps. `hparams` are numbers of `PPOConfig`, such as
        `distill_coef`, which may be traced; metrics are float32[] each.

    Raises:
        ValueError: an option is unknown or makes no sense.

    Example:
        >>> init, update = make_train("SimpleDoorKey", num_envs=64)  # doctest: +SKIP
        >>> states = jax.vmap(init)(jax.random.split(jax.random.key(0), 4))  # doctest: +SKIP
    """
    experiment = Experiment(make_config(task, None, network, teacher, options))
    defaults = experiment.config.ppo.hparams

    def init(key: jax.Array) -> TrainState:
        return TrainState(experiment.learner.init(key), jnp.int32(0))

    def update(state: TrainState, **hparams: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        unknown = sorted(set(hparams) - set(defaults))
        if unknown:
            raise UserError(f"{unknown[0]} is not a hyper-parameter of an update; these are {', '.join(defaults)}")
        numbers = {name: jnp.asarray(value, jnp.float32) for name, value in (defaults | hparams).items()}
        learner = experiment.learner.with_hparams(numbers)
        inner, metrics = learner.update(state.learner, experiment.table, state.iteration)
        return TrainState(inner, state.iteration + 1), metrics

    return init, update
