"""The students of runs, and their episodes."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxteach.config import TrainConfig
from jaxteach.ppo.episodes import Episodes, evaluation_key, run_episodes, student_policy
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.system.memory import explain_out_of_memory
from jaxteach.training.programs import Experiment


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
        UserError: the checkpoint can't be read.
    """
    experiment = Experiment(replace(trained, no_teacher=True, devices=1))
    with closing(Checkpoints(folder)) as checkpoints:
        iteration, params = checkpoints.restore_params(experiment.abstract_state.params, iteration)
    places = [trained.seed_list.index(seed) for seed in seeds]
    return experiment, [jax.tree.map(lambda leaf, i=place: leaf[i], params) for place in places], iteration


def evaluate_students(
    folder: Path, trained: TrainConfig, episodes: int, greedy: bool, seed: int, checkpoint: int | None
) -> Episodes:
    """Episodes of the students of all seeds of a run, each in the same layouts.

    Args:
        folder: the run's.
        trained: the run's options.
        episodes: how many.
        greedy: take the likeliest actions instead of sampled ones.
        seed: of the layouts.
        checkpoint: the iteration; the last one when left out.

    Returns:
        NumPy arrays [seeds, episodes].
    """
    experiment, params, _ = load_students(folder, trained, trained.seed_list, checkpoint)
    world, network = experiment.world, experiment.network

    @jax.jit
    def program(params: Any, key: jax.Array) -> Episodes:
        policy = student_policy(network, params, greedy)
        return run_episodes(world, policy, network.initial_carry(episodes), key, episodes)

    with explain_out_of_memory():
        outcomes = [jax.device_get(program(each, evaluation_key(seed))) for each in params]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *outcomes)
