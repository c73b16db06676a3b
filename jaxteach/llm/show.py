"""Prints plan files: the plans, where they come from, and how the teacher does by itself."""

from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxteach.config import TeachConfig
from jaxteach.errors import printable
from jaxteach.llm.answer_cache import AnswerStore, answers_path
from jaxteach.llm.final_answer import split_thoughts
from jaxteach.llm.parse import CUT_OFF, plan_text
from jaxteach.llm.plan_texts import caption_texts, provenance_rows, rejects_of, whole_caption
from jaxteach.llm.prompts import task_prompt
from jaxteach.llm.teacher_alone import TeacherResult, evaluate_teacher, teacher_from_plans
from jaxteach.tasks import canonical_task
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.loading import named_plans
from jaxteach.teacher.plans import PlanFile

LEAST_SHOWN: Final = 0.001
"""Plans that are less likely are left out."""


def show(config: TeachConfig, given: str) -> None:
    """Prints plans, the success of the teacher itself, and how often agents' plans conflict.

    Args:
        config: the options.
        given: as of `named_plans`.

    Raises:
        UserError: the plans can't be used.
    """
    task = None if config.task is None else canonical_task(config.task)
    plans, path = named_plans("--show", given, task)
    console = Console()
    for name, value in provenance_rows(plans.provenance):
        _print_line(console, f"{name:>20}: {' '.join(value.split())}")
    print_rejects(console, plans)
    tasks = [canonical_task(name) for name in plans.tasks] if task is None else [task]
    teachers = [teacher_from_plans(plans, each, config.world) for each in tasks]
    console.print(plan_table(plans, teachers[0].vocabulary))
    if config.thoughts:
        _print_thoughts(console, path, tasks[0], teachers[0].vocabulary)
    for each, teacher in zip(tasks, teachers):
        _print_result(console, evaluate_teacher(plans, teacher, each, config.world.make(each), config.episodes))


def _print_line(console: Console, line: str) -> None:
    """Prints a text of a stranger."""
    console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _print_result(console: Console, result: TeacherResult) -> None:
    success = result.outcome.success
    console.print(
        f"the teacher itself succeeds in {np.mean(success):.3f} of {len(success)} episodes of {result.task}, "
        f"mean return {np.mean(result.outcome.episode_return):.3f}"
    )
    if not np.any(success):
        console.print("it never succeeds: students may learn more slowly than with --no_teacher", highlight=False)
    if result.unfinished is not None:
        console.print(result.unfinished)
    if result.conflict_share is not None:
        undebated = result.conflict_share_without_debate
        without = "" if undebated is None else f", without debate in {undebated:.3f}"
        console.print(f"two agents pursue the same object in {result.conflict_share:.3f} of the steps{without}")


def _print_thoughts(console: Console, path: Path | None, task: str, vocabulary: Vocabulary) -> None:
    """What the model thought about each caption, of the answers that are kept beside the plan file."""
    if path is None:
        _print_line(console, "no thoughts ship with jaxteach")
        return
    store, prompt = AnswerStore(answers_path(path), read_only=True), task_prompt(task, vocabulary)
    lines = [
        f"{text} {thoughts}"
        for text in vocabulary.texts
        for answer in store.answers_to(prompt.about(text))
        if (thoughts := " ".join((answer.thoughts or split_thoughts(answer)[1]).split()))
    ]
    for line in lines or [f"no thoughts are kept in {store.path}"]:
        _print_line(console, line)


def plan_table(plans: PlanFile, vocabulary: Vocabulary) -> Table:
    """The plans by caption, for the terminal, with the values of captions where there are any."""
    texts = caption_texts(vocabulary)
    valued = any(entry.value is not None for entry in plans.captions)
    table = Table("caption", *(["value"] if valued else []), "p", "plan")
    for entry in plans.captions:
        shown = [plan for plan in entry.plans if plan.probability >= LEAST_SHOWN]
        rows = [(f"{plan.probability:.3f}", plan_text(plan.skills)) for plan in shown]
        if len(shown) < len(entry.plans):
            rows.append(("", f"{len(entry.plans) - len(shown)} more, each less likely than {LEAST_SHOWN}"))
        for i, row in enumerate(rows):
            caption = whole_caption(entry, texts, "\n  ") if i == 0 else ""
            value = [] if not valued else [f"{entry.value:.2f}" if i == 0 and entry.value is not None else ""]
            table.add_row(*map(Text, (caption, *value, *row)), end_section=i == len(rows) - 1)
    return table


def print_rejects(console: Console, plans: PlanFile) -> None:
    """Prints how many answers were not plans, by caption and reason."""
    rejects = rejects_of(plans)
    for caption, reasons in rejects.items():
        counts = ", ".join(f"{len(answers)} x {reason}" for reason, answers in reasons.items())
        _print_line(console, f"rejected: {caption} {counts}")
    if any(CUT_OFF in reasons for reasons in rejects.values()):
        console.print("answers that were cut off need a larger --max_tokens", highlight=False, soft_wrap=True)
