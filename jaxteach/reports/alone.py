"""A teacher that plays by itself, for its card: figures with intervals, and films."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from envs_jax.animation import animate, has_pictures
from jaxteach.config import TeachConfig
from jaxteach.evaluation.command import FPS
from jaxteach.evaluation.intervals import CONFIDENCE, mean_interval, wilson_interval
from jaxteach.evaluation.videos import LONGEST_EPISODE, Film, filmed_episode
from jaxteach.llm.teacher_alone import TeacherResult, evaluate_teacher, teacher_from_plans
from jaxteach.reports.statistics import NOTHING, Interval, interval_text
from jaxteach.teacher.plans import PlanFile

FILMED: Final = 3
"""Episodes of each task."""
TOGETHER, UNDEBATED = "same object", "same object without debate"


@dataclass(frozen=True)
class FilmedResult:
    """A teacher's own episodes in a task, with films of the first ones."""

    result: TeacherResult
    films: list[Film]
    remarks: list[str]


def play_teacher(plans: PlanFile, task: str, config: TeachConfig, folder: Path) -> FilmedResult:
    """Plays the episodes of `--show`, and films the first ones.

    Args:
        plans: the teacher's.
        task: in which it plays.
        config: the world, and how many episodes.
        folder: where the films go.

    Raises:
        UserError: the plans don't fit the task.
        OSError: a film can't be written.
    """
    world = config.world.make(task)
    drawn = has_pictures(world.env) and world.max_steps <= LONGEST_EPISODE
    count = min(FILMED, config.episodes) if drawn else 0
    teacher = teacher_from_plans(plans, task, config.world)
    result = evaluate_teacher(plans, teacher, task, world, config.episodes, count)
    films = []
    for episode in range(count):
        frames, caption = filmed_episode(result.outcome, result.film, episode)
        path = folder / f"{task}_episode_{episode + 1}.gif"
        animate(world.env, frames, path, fps=FPS)
        films.append(Film(path, task, f"episode {episode + 1}: {caption}"))
    remarks = [] if drawn else [f"{task} can't be filmed: it has no render, or its episodes may be too long."]
    if result.unfinished is not None:
        remarks.append(f"{task}: {result.unfinished}.")
    return FilmedResult(result, films, remarks)


def alone_rows(results: list[TeacherResult]) -> list[dict[str, str]]:
    """The figures, a task a row."""
    shares = {
        TOGETHER: [result.conflict_share for result in results],
        UNDEBATED: [result.conflict_share_without_debate for result in results],
    }
    shown = {name: values for name, values in shares.items() if any(value is not None for value in values)}
    return [
        {
            "task": result.task,
            "success": _with_interval(result.outcome.success, wilson_interval, ".3f"),
            "mean return": _with_interval(result.outcome.episode_return, mean_interval, ".3f"),
            "mean length": _with_interval(result.outcome.length, mean_interval, ".1f"),
        }
        | {name: NOTHING if values[i] is None else f"{values[i]:.3f}" for name, values in shown.items()}
        for i, result in enumerate(results)
    ]


def _with_interval(values: Any, interval_of: Callable[[Any], tuple[float, float] | None], style: str) -> str:
    """The mean over the episodes with its interval."""
    values = np.asarray(values)
    ends = interval_of(values)
    low, high = map(np.asarray, ends) if ends is not None else (None, None)
    return interval_text(Interval(values.mean(dtype=float), low, high), style)


def alone_sentences(played: list[FilmedResult], config: TeachConfig) -> list[str]:
    """How to read the figures."""
    sentences = [
        f"Here the teacher itself acts, its actions sampled, in {config.episodes:,} episodes of each "
        f"task{config.world.arguments}. In brackets are {CONFIDENCE:.0%} intervals over the episodes: Wilson's for "
        "success, percentile bootstraps for means.",
    ]
    if any(alone.result.conflict_share is not None for alone in played):
        sentences.append(f"'{TOGETHER}' is the share of steps in which two agents pursue the same object.")
    if any(alone.films for alone in played):
        sentences.append("The films show the first episodes, not chosen ones.")
    return sentences + [remark for alone in played for remark in alone.remarks]
