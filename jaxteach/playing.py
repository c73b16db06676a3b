"""Episodes of a finished policy, with their results and videos on disk."""

from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import jax
import numpy as np

from envs_jax.grid.render import render_observation
from jaxteach.checkpoints import Checkpoints
from jaxteach.config import EvalConfig, WorldConfig, canonical_task
from jaxteach.errors import UserError
from jaxteach.evaluate import Policy, film_episodes, student_policy, teacher_policy, with_random_actions
from jaxteach.experiment import Experiment, load_teacher
from jaxteach.files import write_json, writing
from jaxteach.runs import find_run, fresh_folder

FRAME_MS = 120


def play(config: EvalConfig) -> Path:
    """Plays the episodes that the options ask for, prints the results, and returns their folder.

    Raises:
        UserError: the options can't be met.
    """
    config = replace(config, task=canonical_task(config.task))
    config.check()
    env, policy, memory, name = _teacher(config) if config.eval_teacher else _student(config)
    policy = with_random_actions(policy, config.random_actions, env.action_spec.num_values)
    folder = fresh_folder(config.logdir, config.task, config.savedir, prefix="eval-")
    filmed = min(config.num_videos, config.num_eval)
    program = jax.jit(lambda key: film_episodes(env, policy, memory, key, config.num_eval, filmed))
    outcomes, videos = [], []
    for seed in config.env_seed_list:
        outcome, frames = jax.device_get(program(jax.random.key(seed)))
        outcomes.append(outcome)
        with writing(folder):
            videos += _write_videos(folder / "videos", seed, frames, outcome.length)
    returns = np.concatenate([outcome.episode_return for outcome in outcomes])
    lengths = np.concatenate([outcome.length for outcome in outcomes])
    result = {
        "task": config.task,
        "policy": name,
        "mean_return": float(returns.mean()),
        "mean_length": float(lengths.mean()),
        "success_rate": float((returns > 0).mean()),
        "episodes": len(returns),
    }
    details = {"returns": returns.tolist(), "lengths": lengths.tolist(), "options": asdict(config), "videos": videos}
    write_json(folder / "eval.json", result | details)
    for key, value in result.items():
        print(f"{key:>13}: {value:.4f}" if isinstance(value, float) else f"{key:>13}: {value}")
    print(f"{'results':>13}: {folder}")
    return folder


def _teacher(config: EvalConfig) -> tuple[Any, Policy, Any, str]:
    env = config.world.make(config.task)
    teacher = load_teacher(config.task, config.teacher, config.world)
    memory = np.tile(np.asarray(teacher.reset()), (config.num_eval, 1))
    kind = "hard" if config.teacher.hard_planner else "soft"
    return env, teacher_policy(teacher), memory, f"{kind} teacher with {config.teacher.plans} plans"


def _student(config: EvalConfig) -> tuple[Any, Policy, Any, str]:
    """The student of one of the run's seeds, in the run's world less what the options change."""
    folder, trained = find_run(config.logdir, config.task, str(config.loaddir))
    if config.seed not in trained.seed_list:
        raise UserError(f"the run has no seed {config.seed}; it has {', '.join(map(str, trained.seed_list))}")
    experiment = Experiment(replace(trained, no_teacher=True))
    with closing(Checkpoints(folder)) as checkpoints:
        iteration, params = checkpoints.restore_params(experiment.abstract_state.params, config.loadmodel)
    place = trained.seed_list.index(config.seed)
    params = jax.tree.map(lambda leaf: leaf[place], params)
    changed = trained.world.overrides() | config.world.overrides()
    env = WorldConfig(**changed).make(config.task)
    if env.observation_spec.shape != experiment.env.observation_spec.shape:
        raise UserError("the student was trained on observations of another shape; leave --frame_stack as it was")
    carry = experiment.network.initial_carry(config.num_eval)
    policy = student_policy(experiment.network, params, config.greedy)
    return env, policy, carry, f"student {config.loaddir}, seed {config.seed}, iteration {iteration}"


def _write_videos(folder: Path, seed: int, frames: np.ndarray, lengths: np.ndarray) -> list[str]:
    """One GIF for each filmed episode; the names tell the environment seed and the episode."""
    folder.mkdir(exist_ok=True)
    names = []
    for episode in range(frames.shape[1]):
        pictures = [render_observation(obs) for obs in frames[: lengths[episode] + 1, episode]]
        name = f"env_seed_{seed}_episode_{episode}.gif"
        iio.imwrite(folder / name, pictures, duration=FRAME_MS, loop=0)
        names.append(f"videos/{name}")
    return names
