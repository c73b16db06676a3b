"""A teacher that plays by itself, for its card: figures with intervals, and films."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from envs_jax.animation import animate, has_pictures
from jaxteach.config import TeachConfig
from jaxteach.evaluation.command import FPS
from jaxteach.evaluation.intervals import CONFIDENCE, mean_interval, wilson_interval
from jaxteach.evaluation.videos import LONGEST_EPISODE, Film, filmed_episode
from jaxteach.llm.teacher_alone import conflicts, play_alone, teacher_with, without_others
from jaxteach.ppo.episodes import Episodes, unfinished_message
from jaxteach.reports.statistics import NOTHING, Interval, interval_text
from jaxteach.teacher import Teacher
from jaxteach.teacher.plans import PlanFile

FILMED: Final = 3
"""Episodes of each task."""
TOGETHER, UNDEBATED = "same object", "same object without debate"


@dataclass(frozen=True)
class Alone:
    """A teacher's own episodes in a task."""

    task: str
    teacher: Teacher
    outcome: Episodes
    conflicts: dict[str, str]  # of several agents
    films: list[Film]
    remarks: list[str]


def play_teacher(plans: PlanFile, task: str, config: TeachConfig, folder: Path, films_before: int) -> Alone:
    """Plays the episodes of `--show`, and films the first ones.

    Args:
        plans: the teacher's.
        task: in which it plays.
        config: the world, and how many episodes.
        folder: where the films go.
        films_before: how many there are; the next has the number after it.

    Raises:
        UserError: the plans don't fit the task.
        OSError: a film can't be written.
    """
    world, teacher = config.world.make(task), teacher_with(plans, task, config.world)
    drawn = has_pictures(world.env) and world.max_steps <= LONGEST_EPISODE
    count = min(FILMED, config.episodes) if drawn else 0
    outcome, film = play_alone(world, teacher, config.episodes, count)
    films = []
    for episode in range(count):
        frames, caption = filmed_episode(outcome, film, episode)
        path = folder / f"film_{films_before + episode + 1}.gif"
        animate(world.env, frames, path, fps=FPS)
        films.append(Film(path, task, f"episode {episode + 1}: {caption}"))
    remarks = [] if drawn else [f"{task} can't be filmed: it has no render, or its episodes may be too long."]
    unfinished = unfinished_message(outcome, world.max_steps)
    if unfinished is not None:
        remarks.append(f"{task}: {unfinished}.")
    return Alone(task, teacher, outcome, _conflicts(world, task, teacher, plans, config), films, remarks)


def _conflicts(world: Any, task: str, teacher: Teacher, plans: PlanFile, config: TeachConfig) -> dict[str, str]:
    """How often agents' plans conflict, with the debate and, if there was one, without."""
    if world.num_agents == 1:
        return {}
    shares = {TOGETHER: f"{conflicts(world, teacher):.3f}"}
    alone = without_others(plans)
    if alone != plans:
        shares[UNDEBATED] = f"{conflicts(world, teacher_with(alone, task, config.world)):.3f}"
    return shares


def alone_rows(played: list[Alone]) -> list[dict[str, str]]:
    """The figures, a task a row."""
    shares = [name for name in (TOGETHER, UNDEBATED) if any(name in alone.conflicts for alone in played)]
    return [
        {
            "task": alone.task,
            "success": _success(alone.outcome),
            "mean return": _mean(alone.outcome.episode_return, ".3f"),
            "mean length": _mean(alone.outcome.length, ".1f"),
        }
        | {name: alone.conflicts.get(name, NOTHING) for name in shares}
        for alone in played
    ]


def _success(outcome: Episodes) -> str:
    happened = np.asarray(outcome.success)
    return _told(happened, wilson_interval(happened), ".3f")


def _mean(values: Any, style: str) -> str:
    values = np.asarray(values, float)
    return _told(values, mean_interval(values), style)


def _told(values: np.ndarray, ends: tuple[float, float] | None, style: str) -> str:
    low, high = map(np.asarray, ends) if ends is not None else (None, None)
    return interval_text(Interval(values.mean(), low, high), style)


def alone_sentences(played: list[Alone], config: TeachConfig) -> list[str]:
    """How to read the figures."""
    sentences = [
        f"Here the teacher itself acts, its actions sampled, in {config.episodes:,} episodes of each "
        f"task{config.world.arguments}. In brackets are {CONFIDENCE:.0%} intervals over the episodes: Wilson's for "
        "success, Student's for means.",
    ]
    if any(TOGETHER in alone.conflicts for alone in played):
        sentences.append(f"'{TOGETHER}' is the share of steps in which two agents pursue the same object.")
    if any(alone.films for alone in played):
        sentences.append("The films show the first episodes, not chosen ones.")
    return sentences + [remark for alone in played for remark in alone.remarks]
