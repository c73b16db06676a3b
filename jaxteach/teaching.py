"""Plan files from a language model's answers, and what a person wants to see of them."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from jaxteach.config import TeachConfig, TeacherConfig, canonical_task
from jaxteach.errors import UserError, printable
from jaxteach.evaluate import run_episodes, teacher_policy
from jaxteach.experiment import load_teacher
from jaxteach.teacher.captions import Captions, caption_text
from jaxteach.teacher.llm.answers import AnswerStore
from jaxteach.teacher.llm.asking import Tally, ask_captions, score_captions
from jaxteach.teacher.llm.backends import open_client, open_local
from jaxteach.teacher.llm.parse import plan_text
from jaxteach.teacher.llm.prompts import Prompt, task_prompt
from jaxteach.teacher.plans import PlanFile, load_plans, save_plans
from jaxteach.teacher.policy import task_vocabulary


def teach(config: TeachConfig, out: Path) -> None:
    """Asks about every caption of the task and writes the plan file.

    Raises:
        UserError: the options can't be met, the model can't be had, or no answer is a plan.
    """
    task = canonical_task(str(config.task))
    _check_writable(out)
    vocabulary = task_vocabulary(config.world.make(task), task)
    prompt = task_prompt(task, vocabulary.object_names)
    store = AnswerStore(answers_path(out))
    tallies, identity = _ask(config, vocabulary, prompt, store)
    entries = [entry for tally in tallies if (entry := tally.entry(vocabulary))]
    if not entries:
        raise UserError(
            f"none of the answers is a plan; they are kept in {store.path}; "
            "try --grammar, which lets the model say nothing else, or a better model"
        )
    provenance = _provenance(config, prompt, vocabulary, tallies, identity)
    plans = PlanFile((task,), tuple(entries), provenance)
    save_plans(plans, out)
    console = Console()
    console.print(_plan_table(plans))
    _print_rejects(console, plans)
    console.print(f"plans written to {out}; train with --plans {out}", highlight=False, soft_wrap=True)


def show(config: TeachConfig, path: Path) -> None:
    """Prints the plans of a file, and the success of the teacher alone.

    Raises:
        UserError: the file can't be used.
    """
    plans = load_plans(path, None if config.task is None else canonical_task(config.task))
    console = Console()
    for name, value in plans.provenance.items():
        if not isinstance(value, dict | list):
            line = f"{name:>20}: {' '.join(str(value).split())}"
            console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    console.print(_plan_table(plans))
    _print_rejects(console, plans)
    for task in plans.tasks if config.task is None else [canonical_task(config.task)]:
        success = _success_alone(task, path, config)
        console.print(f"the teacher alone succeeds in {success:.3f} of {config.episodes} episodes of {task}")


def _success_alone(task: str, path: Path, config: TeachConfig) -> float:
    """Share of episodes in which the teacher itself, its actions drawn, succeeds."""
    env = config.world.make(task)
    teacher = load_teacher(task, TeacherConfig(plans=str(path)), config.world)
    memory = np.tile(np.asarray(teacher.reset()), (config.episodes, 1))
    play = jax.jit(lambda key: run_episodes(env, teacher_policy(teacher), memory, key, config.episodes))
    return float(np.mean(play(jax.random.key(0)).success))


def answers_path(out: Path) -> Path:
    """Where the answers for a plan file are kept as they come."""
    return out.with_name(out.name + ".answers.jsonl")


def _ask(
    config: TeachConfig, vocabulary: Captions, prompt: Prompt, store: AnswerStore
) -> tuple[list[Tally], dict[str, Any]]:
    """What the model says to every caption, and who the model is."""
    captions = range(len(vocabulary.texts))
    if config.score:
        scorer = open_local(config.llm, None)
        return score_captions(scorer, prompt, vocabulary, captions), scorer.identity
    client = open_client(config.llm, vocabulary.object_names)
    with Progress(transient=True) as progress:
        bar = progress.add_task("answers", total=len(captions) * config.llm.samples)
        tallies = ask_captions(
            client, store, prompt, vocabulary, captions, config.llm.samples, lambda: progress.advance(bar)
        )
    return tallies, client.identity


def _provenance(
    config: TeachConfig, prompt: Prompt, vocabulary: Captions, tallies: list[Tally], identity: dict[str, Any]
) -> dict[str, Any]:
    asked = identity | {"grammar": identity["grammar"] is not None}
    if config.score:
        asked = {name: asked[name] for name in ("backend", "model", "model_sha256")}
        asked["mode"] = "the model's exact probabilities of all plans of one or two moves"
    else:
        asked |= {"mode": "sampled answers", "samples_per_caption": config.llm.samples}
    rejects = {vocabulary.texts[tally.caption]: tally.rejects for tally in tallies if tally.rejects}
    return {
        "source": "python -m jaxteach.teach",
        **asked,
        "prompt_sha256": prompt.digest,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rejected": sum(tally.rejected for tally in tallies),
        "rejects": {caption: _sorted(reasons) for caption, reasons in rejects.items()},
    }


def _sorted(reasons: dict[str, list[str]]) -> dict[str, list[str]]:
    """In one order, whatever the order in which answers came."""
    return {reason: sorted(answers) for reason, answers in sorted(reasons.items())}


def _plan_table(plans: PlanFile) -> Table:
    table = Table("caption", "p", "plan")
    for entry in plans.captions:
        for i, plan in enumerate(entry.plans):
            caption = caption_text(list(entry.sees), entry.holds) if i == 0 else ""
            texts = [Text(printable(text)) for text in (caption, f"{plan.probability:.3f}", plan_text(plan.skills))]
            table.add_row(*texts, end_section=plan is entry.plans[-1])
    return table


def _print_rejects(console: Console, plans: PlanFile) -> None:
    """How many answers were no plans, by caption and reason."""
    for caption, reasons in _rejects(plans).items():
        counts = ", ".join(f"{len(answers)} x {reason}" for reason, answers in reasons.items())
        console.print(printable(f"rejected: {caption} {counts}"), highlight=False, markup=False, soft_wrap=True)


def _rejects(plans: PlanFile) -> dict[str, dict[str, list[str]]]:
    """The rejects of a file of ours; none for a file that keeps them in another way."""
    rejects = plans.provenance.get("rejects", {})
    known = isinstance(rejects, dict) and all(
        isinstance(reasons, dict) and all(isinstance(answers, list) for answers in reasons.values())
        for reasons in rejects.values()
    )
    return rejects if known else {}


def _check_writable(out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} exists; choose another --out, or look at it with --show")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"there is no folder {out.parent} that files can be written to")
