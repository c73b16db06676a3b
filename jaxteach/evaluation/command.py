"""Evaluates a policy, with results and videos on disk."""

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from envs_jax.animation import animate, has_pictures
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import EvalConfig, TrainConfig
from jaxteach.errors import UserError
from jaxteach.evaluation.intervals import CONFIDENCE, mean_interval, wilson_interval
from jaxteach.evaluation.students import load_students
from jaxteach.guidance.ask_world import student_world
from jaxteach.options.markers import to_plain
from jaxteach.ppo.distillation import initial_memory
from jaxteach.ppo.episodes import (
    Episodes,
    Policy,
    evaluation_key,
    film_episodes,
    student_policy,
    teacher_policy,
    unfinished_message,
    with_random_actions,
)
from jaxteach.runs.files import write_json, writing
from jaxteach.runs.run_folder import find_run, fresh_folder, is_folder, read_config
from jaxteach.system.memory import compile_checked, explain_out_of_memory
from jaxteach.teacher.loading import load_teacher

FPS = 25 / 3
FILM_SUFFIXES = (".gif", ".mp4")


class Players(NamedTuple):
    """Policies that differ in their parameters alone."""

    world: AgentAxisWrapper
    policy: Callable[[Any], Policy]  # of parameters
    memory: Any  # before an episode, of as many as are outcome
    params: dict[str, Any]  # by the name of who plays
    description: str  # of all of them


def evaluate(config: EvalConfig) -> Path:
    """Runs the episodes that the options ask for, prints the results, and returns their folder.

    Raises:
        UserError: the options can't be met.
    """
    config.check()
    task, players = _teacher(config) if config.eval_teacher else student_players(config)
    folder = fresh_folder(config.logdir, task, config.savedir, prefix="eval-")
    filmed = min(config.num_videos, config.num_eval) if has_pictures(players.world.env) else 0
    outcomes, films = play(players, config, filmed)
    outcome = _concat(list(outcomes.values()))
    result = {"task": task, "policy": players.description} | _summary(outcome)
    intervals = {
        "mean_return": mean_interval(np.asarray(outcome.episode_return)),
        **{f"mean_{name}": mean_interval(np.asarray(values)) for name, values in outcome.metrics.items()},
        "success_rate": wilson_interval(np.asarray(outcome.success)),
    }
    for key, value in result.items():
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        interval = intervals.get(key)
        between = f", {CONFIDENCE:.0%} interval [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
        print(f"{key:>13}: {text}{between}")
    by_player = {
        who: _summary(_concat([outcomes[who, seed] for seed in config.env_seed_list])) for who in players.params
    }
    if len(by_player) > 1:
        for who, each in by_player.items():
            text = ", ".join(f"{key} {value:.4f}" for key, value in each.items() if isinstance(value, float))
            print(f"{who:>13}: {text}")
        result |= {"players": by_player}
    unfinished = unfinished_message(outcome, players.world.max_steps)
    if unfinished is not None:
        print(unfinished)
    videos = []
    with writing(folder):
        for (who, seed), film in films.items():
            name = f"{who.replace(' ', '_')}_" * (len(by_player) > 1) + f"env_seed_{seed}"
            lengths = np.asarray(outcomes[who, seed].length[:filmed])
            videos += _write_videos(players.world.env, folder / "videos", name, film, lengths)
    details: dict[str, Any] = {f"{key}_interval": interval for key, interval in intervals.items()}
    details |= {"returns": outcome.episode_return.tolist(), "lengths": outcome.length.tolist()}
    details |= {name: values.tolist() for name, values in outcome.metrics.items()}
    details |= {"success": outcome.success.tolist(), "options": to_plain(config), "videos": videos}
    write_json(folder / "eval.json", result | details)
    print(f"{'results':>13}: {folder}")
    return folder


def play(players: Players, config: EvalConfig, filmed: int) -> tuple[dict[Any, Episodes], dict[Any, Any]]:
    """The outcomes, and what the first `filmed` episodes show, of each player and environment seed."""

    def episodes(params: Any, key: jax.Array) -> Any:
        policy = with_random_actions(players.policy(params), config.random_actions, players.world.action_counts)
        return film_episodes(players.world, policy, players.memory, key, config.num_eval, filmed)

    outcomes, films = {}, {}
    with explain_out_of_memory():
        program = compile_checked(episodes, next(iter(players.params.values())), evaluation_key(0))
        for who, params in players.params.items():
            for seed in config.env_seed_list:
                outcomes[who, seed], films[who, seed] = jax.device_get(program(params, evaluation_key(seed)))
    return outcomes, films


def _concat(outcomes: list[Episodes]) -> Episodes:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *outcomes)


def _summary(episodes: Episodes) -> dict[str, Any]:
    """The means over all episodes."""
    return {
        "mean_return": float(episodes.episode_return.mean()),
        "mean_length": float(episodes.length.mean()),
        "success_rate": float(episodes.success.mean()),
        "episodes": len(episodes.length),
        **{f"mean_{name}": float(np.mean(values)) for name, values in episodes.metrics.items()},
    }


def _teacher(config: EvalConfig) -> tuple[str, Players]:
    task = str(config.task)
    world = config.world.make(task)
    teacher = load_teacher(task, config.teacher, config.world)
    memory = initial_memory(teacher, config.num_eval)
    kind = "hard" if config.teacher.hard_planner else "soft"
    description = f"{kind} teacher with {config.teacher.plans} plans"
    return task, Players(world, lambda _: teacher_policy(teacher), memory, {"teacher": ()}, description)


def student_players(config: EvalConfig) -> tuple[str, Players]:
    """The students of some of the run's seeds, in the run's world with what the options change."""
    folder, trained = _run(config)
    seeds = config.seed_list or (trained.seed_list[:1] if config.seed is None else (config.seed,))
    is_last = config.checkpoint == "acmodel"
    wanted = None if isinstance(config.checkpoint, str) else config.checkpoint
    experiment, params, iteration = load_students(folder, trained, seeds, wanted)
    if is_last:
        print(f"acmodel stands for the last checkpoint, of iteration {iteration}", file=sys.stderr)
    world = student_world(replace(experiment.config, world=trained.world.updated(config.world)))
    if world.abstract_observation != experiment.world.abstract_observation:
        raise UserError("the student was trained on observations of another shape; leave the options that change it")
    network, names = experiment.network, [f"seed {seed}" for seed in seeds]
    return trained.task, Players(
        world,
        lambda params: student_policy(network, params, config.greedy),
        network.initial_carry(config.num_eval),
        dict(zip(names, params)),
        f"student {config.loaddir}, {', '.join(names)}, iteration {iteration}",
    )


def _run(config: EvalConfig) -> tuple[Path, TrainConfig]:
    """The folder and the options of the run that is named, or given by its path."""
    name = str(config.loaddir)
    if "/" not in name:
        return find_run(config.logdir, str(config.task), name)
    folder = Path(name).resolve()
    if not is_folder(folder):
        raise UserError(f"there is no run {folder}")
    return folder, read_config(folder, config.task)


def write_film(env: Any, frames: Any, path: Path) -> None:
    """Writes a film as GIF to `path` and, where imageio has its ffmpeg, also as MP4."""
    for suffix in FILM_SUFFIXES if find_spec("imageio_ffmpeg") else FILM_SUFFIXES[:1]:
        animate(env, frames, path.with_suffix(suffix), fps=FPS)


def _write_videos(env: Any, folder: Path, prefix: str, film: Any, lengths: np.ndarray) -> list[str]:
    """A film for each filmed episode; the names have a prefix and the episode."""
    folder.mkdir(exist_ok=True)
    names = []
    for episode, length in enumerate(lengths):
        shown = jax.tree.map(lambda leaf, n=length, i=episode: leaf[: n + 1, i], film)
        name = f"{prefix}_episode_{episode}.gif"
        write_film(env, shown, folder / name)
        names.append(f"videos/{name}")
    return names
