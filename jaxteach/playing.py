"""Episodes of a finished policy, with their results and videos on disk."""

from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from envs_jax.animation import animate, has_pictures
from jaxteach.checkpoints import Checkpoints
from jaxteach.config import EvalConfig, TrainConfig, canonical_task
from jaxteach.errors import UserError
from jaxteach.evaluate import (
    Policy,
    film_episodes,
    student_policy,
    teacher_policy,
    told_unfinished,
    with_random_actions,
)
from jaxteach.experiment import Experiment, load_teacher
from jaxteach.files import write_json, writing
from jaxteach.labels import fresh_memory
from jaxteach.runs import find_run, fresh_folder
from jaxteach.team import TeamWorld

FPS = 25 / 3


def play(config: EvalConfig) -> Path:
    """Plays the episodes that the options ask for, prints the results, and returns their folder.

    Raises:
        UserError: the options can't be met.
    """
    config = replace(config, task=canonical_task(config.task))
    config.check()
    world, policy, memory, name = _teacher(config) if config.eval_teacher else _student(config)
    policy = with_random_actions(policy, config.random_actions, world.action_counts)
    folder = fresh_folder(config.logdir, config.task, config.savedir, prefix="eval-")
    filmed = min(config.num_videos, config.num_eval) if has_pictures(world.env) else 0
    program = jax.jit(lambda key: film_episodes(world, policy, memory, key, config.num_eval, filmed))
    outcomes, videos = [], []
    for seed in config.env_seed_list:
        outcome, film = jax.device_get(program(jax.random.key(seed)))
        outcomes.append(outcome)
        with writing(folder):
            videos += _write_videos(world.env, folder / "videos", seed, film, outcome.length[:filmed])
    played = jax.tree.map(lambda *leaves: np.concatenate(leaves), *outcomes)
    returns, lengths, success = played.episode_return, played.length, played.success
    result = {
        "task": config.task,
        "policy": name,
        "mean_return": float(returns.mean()),
        "mean_length": float(lengths.mean()),
        "success_rate": float(success.mean()),
        "episodes": len(returns),
    }
    details = {"returns": returns.tolist(), "lengths": lengths.tolist(), "options": asdict(config), "videos": videos}
    write_json(folder / "eval.json", result | details)
    for key, value in result.items():
        print(f"{key:>13}: {value:.4f}" if isinstance(value, float) else f"{key:>13}: {value}")
    told = told_unfinished(played, world.max_steps)
    if told is not None:
        print(told)
    print(f"{'results':>13}: {folder}")
    return folder


def _teacher(config: EvalConfig) -> tuple[TeamWorld, Policy, Any, str]:
    world = TeamWorld(config.world.make(config.task))
    teacher = load_teacher(config.task, config.teacher, config.world)
    memory = fresh_memory(teacher, config.num_eval)
    kind = "hard" if config.teacher.hard_planner else "soft"
    return world, teacher_policy(teacher), memory, f"{kind} teacher with {config.teacher.plans} plans"


def load_student(
    folder: Path, trained: TrainConfig, seed: int, iteration: int | None = None
) -> tuple[Experiment, Any, int]:
    """The student of one of a run's seeds: its experiment, less the teacher; its parameters; and their iteration.

    Args:
        folder: the run's.
        trained: the run's options.
        seed: one of the run's.
        iteration: of the checkpoint; the last one when left out.

    Raises:
        UserError: the checkpoint can't be read.
    """
    experiment = Experiment(replace(trained, no_teacher=True, devices=1))
    with closing(Checkpoints(folder)) as checkpoints:
        iteration, params = checkpoints.restore_params(experiment.abstract_state.params, iteration)
    place = trained.seed_list.index(seed)
    return experiment, jax.tree.map(lambda leaf: leaf[place], params), iteration


def _student(config: EvalConfig) -> tuple[TeamWorld, Policy, Any, str]:
    """The student of one of the run's seeds, in the run's world less what the options change."""
    folder, trained = find_run(config.logdir, config.task, str(config.loaddir))
    if config.seed not in trained.seed_list:
        raise UserError(f"the run has no seed {config.seed}; it has {', '.join(map(str, trained.seed_list))}")
    experiment, params, iteration = load_student(folder, trained, config.seed, config.loadmodel)
    world = TeamWorld(trained.world.updated(config.world).make(config.task))
    if world.abstract_observation != experiment.world.abstract_observation:
        raise UserError("the student was trained on observations of another shape; leave the options that change it")
    carry = experiment.network.initial_carry(config.num_eval)
    policy = student_policy(experiment.network, params, config.greedy)
    return world, policy, carry, f"student {config.loaddir}, seed {config.seed}, iteration {iteration}"


def _write_videos(env: Any, folder: Path, seed: int, film: Any, lengths: np.ndarray) -> list[str]:
    """One GIF for each filmed episode; the names tell the environment seed and the episode."""
    folder.mkdir(exist_ok=True)
    names = []
    for episode, length in enumerate(lengths):
        shown = jax.tree.map(lambda leaf, n=length, i=episode: leaf[: n + 1, i], film)
        name = f"env_seed_{seed}_episode_{episode}.gif"
        animate(env, shown, folder / name, fps=FPS)
        names.append(f"videos/{name}")
    return names
