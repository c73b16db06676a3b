"""The students of runs."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.runs.run_folder import PLANS
from jaxteach.training.programs import Experiment


def with_kept_plans(folder: Path, trained: TrainConfig) -> TrainConfig:
    """A run's options with the plans that its folder keeps, if its student asks for plans: they act in its world."""
    kept = folder / PLANS
    if not trained.ppo.asks or not kept.exists():
        return trained
    return replace(trained, teacher=replace(trained.teacher, plans=str(kept)))


def load_student(
    folder: Path, trained: TrainConfig, seed: int, iteration: int | None = None
) -> tuple[Experiment, Any, int]:
    """The student of one of a run's seeds; as `load_students`."""
    experiment, (params,), iteration = load_students(folder, trained, [seed], iteration)
    return experiment, params, iteration


def load_students(
    folder: Path, trained: TrainConfig, seeds: Sequence[int], iteration: int | None = None
) -> tuple[Experiment, list[Any], int]:
    """The students of a run's seeds: their experiment, without the teacher; their parameters; and their iteration.

    Args:
        folder: the run's.
        trained: the run's options.
        seeds: some of the run's.
        iteration: of the checkpoint; the last one when left out.

    Raises:
        UserError: the run has no such seed, or the checkpoint can't be read.
    """
    for seed in seeds:
        if seed not in trained.seed_list:
            raise UserError(f"the run has no seed {seed}; it has {', '.join(map(str, trained.seed_list))}")
    experiment = Experiment(replace(with_kept_plans(folder, trained), no_teacher=True, devices=1))
    with closing(Checkpoints(folder)) as checkpoints:
        iteration, params = checkpoints.restore_params(experiment.abstract_state.params, iteration)
    places = [trained.seed_list.index(seed) for seed in seeds]
    return experiment, [jax.tree.map(lambda leaf, i=place: leaf[i], params) for place in places], iteration
