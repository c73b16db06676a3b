"""Prints plan files: the plans, where they come from, and how the teacher does by itself."""

from pathlib import Path

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
from jaxteach.teacher.plans import PlanFile, load_plans, plans_path


def show(config: TeachConfig, path: Path) -> None:
    """Prints the plans of a file, the success of the teacher itself, and how often agents' plans conflict.

    Raises:
        UserError: the file can't be used.
    """
    path = plans_path(path)
    plans = load_plans(path, None if config.task is None else canonical_task(config.task))
    console = Console()
    for name, value in provenance_rows(plans.provenance):
        _print_line(console, f"{name:>20}: {' '.join(value.split())}")
    print_rejects(console, plans)
    tasks = [canonical_task(name) for name in (plans.tasks if config.task is None else [config.task])]
    vocabulary = teacher_from_plans(plans, tasks[0], config.world).vocabulary
    console.print(plan_table(plans, vocabulary))
    if config.thoughts:
        _print_thoughts(console, path, tasks[0], vocabulary)
    for task in tasks:
        _print_result(console, evaluate_teacher(plans, task, config.world, config.episodes))


def _print_line(console: Console, line: str) -> None:
    """Prints a text of a stranger."""
    console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _print_result(console: Console, result: TeacherResult) -> None:
    success = result.outcome.success
    console.print(
        f"the teacher itself succeeds in {np.mean(success):.3f} of {len(success)} episodes of {result.task}, "
        f"mean return {np.mean(result.outcome.episode_return):.3f}"
    )
    if result.unfinished is not None:
        console.print(result.unfinished)
    if result.conflict_share is not None:
        undebated = result.conflict_share_without_debate
        without = "" if undebated is None else f", without debate in {undebated:.3f}"
        console.print(f"two agents pursue the same object in {result.conflict_share:.3f} of the steps{without}")


def _print_thoughts(console: Console, path: Path, task: str, vocabulary: Vocabulary) -> None:
    """What the model thought about each caption, of the answers that are kept beside the plan file."""
    store, prompt = AnswerStore(answers_path(path), read_only=True), task_prompt(task, vocabulary.object_names)
    lines = [
        f"{text} {thoughts}"
        for text in vocabulary.texts
        for answer in store.answers_to(prompt.about(text))
        if (thoughts := " ".join((answer.thoughts or split_thoughts(answer)[1]).split()))
    ]
    for line in lines or [f"no thoughts are kept in {store.path}"]:
        _print_line(console, line)


def plan_table(plans: PlanFile, vocabulary: Vocabulary) -> Table:
    """The plans by caption, for the terminal."""
    texts = caption_texts(vocabulary)
    table = Table("caption", "p", "plan")
    for entry in plans.captions:
        for i, plan in enumerate(entry.plans):
            caption = whole_caption(entry, texts, "\n  ") if i == 0 else ""
            row = [Text(text) for text in (caption, f"{plan.probability:.3f}", plan_text(plan.skills))]
            table.add_row(*row, end_section=plan is entry.plans[-1])
    return table


def print_rejects(console: Console, plans: PlanFile) -> None:
    """Prints how many answers were not plans, by caption and reason."""
    rejects = rejects_of(plans)
    for caption, reasons in rejects.items():
        counts = ", ".join(f"{len(answers)} x {reason}" for reason, answers in reasons.items())
        _print_line(console, f"rejected: {caption} {counts}")
    if any(CUT_OFF in reasons for reasons in rejects.values()):
        console.print("answers that were cut off need a larger --max_tokens", highlight=False, soft_wrap=True)
