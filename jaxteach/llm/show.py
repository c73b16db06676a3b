"""Prints plan files: the plans, where they come from, and how the teacher does by itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxteach.config import TeachConfig
from jaxteach.errors import printable
from jaxteach.llm.answer_cache import AnswerStore, answers_path
from jaxteach.llm.final_answer import split_thoughts
from jaxteach.llm.parse import CUT_OFF, plan_text
from jaxteach.llm.prompts import task_prompt
from jaxteach.llm.teacher_alone import conflicts, play_alone, teacher_with, without_others
from jaxteach.ppo.episodes import unfinished_message
from jaxteach.tasks import canonical_task
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import CaptionParts, CaptionPlans, PlanFile, load_plans, plans_path


def show(config: TeachConfig, path: Path) -> None:
    """Prints the plans of a file, the success of the teacher itself, and how often agents' plans conflict.

    Raises:
        UserError: the file can't be used.
    """
    plans = load_plans(path, None if config.task is None else canonical_task(config.task))
    console = Console()
    for name, value in plans.provenance.items():
        text = _as_text(value)
        if text is not None:
            line = f"{name:>20}: {' '.join(text.split())}"
            console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    print_rejects(console, plans)
    for i, name in enumerate(plans.tasks if config.task is None else [config.task]):
        task = canonical_task(name)
        world = config.world.make(task)
        teacher = teacher_with(plans, task, config.world)
        if i == 0:
            console.print(plan_table(plans, teacher.vocabulary))
            if config.thoughts:
                _print_thoughts(console, plans_path(path), task, teacher.vocabulary)
        outcome, _ = play_alone(world, teacher, config.episodes)
        console.print(
            f"the teacher itself succeeds in {np.mean(outcome.success):.3f} of {config.episodes} episodes of {task}, "
            f"mean return {np.mean(outcome.episode_return):.3f}"
        )
        unfinished = unfinished_message(outcome, world.max_steps)
        if unfinished is not None:
            console.print(unfinished)
        if world.num_agents > 1:
            alone = teacher_with(without_others(plans), task, config.world)
            console.print(
                f"two agents pursue the same object in {conflicts(world, teacher):.3f} of the steps, "
                f"without debate in {conflicts(world, alone):.3f}"
            )


def _as_text(value: Any) -> str | None:
    """An entry of the provenance in one line, counts as "2 x cut off"; None for what is longer than a line."""
    if isinstance(value, dict) and value and all(isinstance(count, int) for count in value.values()):
        return ", ".join(f"{count} x {name}" for name, count in value.items())
    return None if isinstance(value, dict | list) else str(value)


def _print_thoughts(console: Console, path: Path, task: str, vocabulary: Vocabulary) -> None:
    """What the model thought about each caption, of the answers that are kept beside the plan file."""
    store, prompt = AnswerStore(answers_path(path)), task_prompt(task, vocabulary.object_names)
    lines = [
        f"{text} {thoughts}"
        for text in vocabulary.texts
        for answer in store.to(prompt.about(text))
        if (thoughts := " ".join((answer.thoughts or split_thoughts(answer)[1]).split()))
    ]
    for line in lines or [f"no thoughts are kept in {store.path}"]:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


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


def caption_texts(vocabulary: Vocabulary) -> dict[CaptionParts, str]:
    """The captions of a task, by their parts."""
    known = zip(vocabulary.sees, vocabulary.holds, vocabulary.texts)
    return {CaptionParts(tuple(sees), holds): text for sees, holds, text in known}


def whole_caption(entry: CaptionPlans, texts: Mapping[CaptionParts, str], before_others: str) -> str:
    """An entry's caption with those of the other agents, if it depends on them."""
    own = texts[CaptionParts(entry.sees, entry.holds)]
    return own + "".join(f"{before_others}with: {texts[other]}" for other in entry.others)


def print_rejects(console: Console, plans: PlanFile) -> None:
    """Prints how many answers were not plans, by caption and reason."""
    rejects = rejects_of(plans)
    for caption, reasons in rejects.items():
        counts = ", ".join(f"{len(answers)} x {reason}" for reason, answers in reasons.items())
        console.print(printable(f"rejected: {caption} {counts}"), highlight=False, markup=False, soft_wrap=True)
    if any(CUT_OFF in reasons for reasons in rejects.values()):
        console.print("answers that were cut off need a larger --max_tokens", highlight=False, soft_wrap=True)


def rejects_of(plans: PlanFile) -> dict[str, dict[str, list[str]]]:
    """The rejected answers by caption and reason, where the provenance has them in `teach`'s form."""
    rejects = plans.provenance.get("rejects", {})
    known = isinstance(rejects, dict) and all(
        isinstance(reasons, dict) and all(isinstance(answers, list) for answers in reasons.values())
        for reasons in rejects.values()
    )
    return rejects if known else {}
