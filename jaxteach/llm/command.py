"""Makes plan files from a language model's answers."""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from msgspec import structs
from rich.console import Console
from rich.progress import Progress

from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import TeachConfig, WorldConfig
from jaxteach.errors import UserError, printable
from jaxteach.llm.answer_cache import AnswerStore, answers_path
from jaxteach.llm.backends import open_client, open_scorer, open_server
from jaxteach.llm.batches import export_batch, import_batch
from jaxteach.llm.client import Client, Question, Scorer
from jaxteach.llm.debate import count_questions, debate
from jaxteach.llm.joint_captions import frequent_situations, rollout_captions
from jaxteach.llm.prompts import Prompt, task_prompt
from jaxteach.llm.query import AnswerCounts, ask_captions, questions_about, score_captions
from jaxteach.llm.show import plan_table, print_rejects
from jaxteach.llm.teacher_alone import conflicts, teacher_from_plans
from jaxteach.llm.values import SCORE_QUESTION, Preferences, Scores, Valuation, value_prompt, with_values
from jaxteach.system.command import program_name
from jaxteach.system.interrupt import on_interrupt
from jaxteach.tasks import canonical_task
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import PlanFile, save_plans
from jaxteach.teacher.policy import task_domain

MAX_REJECT: Final = 300
"""Characters of a rejected answer in a plan file; the whole answers are in the answers file."""
MAX_EXAMPLE: Final = 80
"""Characters of a rejected answer in a message."""
SCORING_KEYS: Final = ("backend", "model", "model_sha256", "base_url", "extra_body")
"""Keys of `identity` that scores depend on."""


def teach(config: TeachConfig, out: Path) -> None:
    """Asks about every caption of the task and writes the plan file.

    Raises:
        UserError: the options can't be met, the model can't be reached, or no answer is a plan.
    """
    task = canonical_task(str(config.task))
    _check_writable(out)
    world = config.world.make(task)
    if config.debate_rounds and world.num_agents == 1:
        raise UserError(f"{task} has one agent, and a debate needs several; leave --debate_rounds out")
    vocabulary = _vocabulary(config.world, task)
    prompt = task_prompt(task, vocabulary)
    if config.values:
        value_prompt(prompt, SCORE_QUESTION)  # What it refuses is refused before a model is asked.
    store = AnswerStore(answers_path(out))
    with on_interrupt(lambda: f"; the answers so far are kept in {store.path}, and the same command goes on"):
        plans = _plans_from_answers(config, world, task, vocabulary, prompt, store)
    save_plans(plans, out)
    console = Console()
    console.print(plan_table(plans, vocabulary))
    print_rejects(console, plans)
    console.print(f"plans written to {out}; train with --plans {out}", highlight=False, soft_wrap=True)
    show = [*shlex.split(program_name("teach")), "--show", str(out), *config.world.arguments.split()[1:]]
    console.print(f"see how the teacher itself does: {shlex.join(show)}", highlight=False, markup=False, soft_wrap=True)


def _plans_from_answers(
    config: TeachConfig, world: AgentAxisWrapper, task: str, vocabulary: Vocabulary, prompt: Prompt, store: AnswerStore
) -> PlanFile:
    """The plans of the model's answers, after a debate if the options ask for one."""
    counts, client = _ask(config, vocabulary, prompt, store)
    entries = [entry for count in counts if (entry := count.entry(vocabulary))]
    if not entries:
        raise UserError(_all_rejected(config, counts, vocabulary, store))
    provenance = _provenance(config, prompt, vocabulary, counts, client.identity)
    served = str(provenance.get("served", ""))
    if served and str(config.llm.model) not in served:
        print(f"the server says that it serves {printable(served)}, not {config.llm.model}", file=sys.stderr)
    plans = PlanFile((task,), tuple(entries), provenance)
    if config.debate_rounds:
        # --score is refused with a debate.
        plans = _add_debate(config, cast(Client, client), world, task, plans, prompt, store)
    if config.values:
        # --score is refused with values.
        plans = _add_values(config, cast(Client, client), vocabulary, plans, prompt, store)
    return structs.replace(plans, provenance=plans.provenance | _effort(config, client, store))


def _add_values(
    config: TeachConfig, client: Client, vocabulary: Vocabulary, plans: PlanFile, prompt: Prompt, store: AnswerStore
) -> PlanFile:
    """The plans with the values that the model gives to the captions.

    Raises:
        UserError: no answer can be read.
    """
    if config.llm.structured:
        # The constraint allows plans alone.
        client = open_client(replace(config.llm, structured=False), vocabulary)
    valuation: Valuation
    if config.values == "scores":
        valuation = Scores.of(prompt, vocabulary, config.llm.answers_per_caption)
    else:
        valuation = Preferences.of(prompt, vocabulary)
    count, read = len(valuation.asked), 0
    with Progress(transient=True) as progress:
        bar = progress.add_task("values", total=count)
        for question, answer in store.complete(client, list(valuation.asked)):
            read += valuation.add(question, answer)
            progress.advance(bar)
    values = valuation.values()
    if not values:
        raise UserError(f"none of the {count} answers has {valuation.sought}; all are kept in {store.path}")
    if read < count:
        unread = f"{count - read} of {count} answers lack {valuation.sought} and count for nothing"
        print(f"{unread}; all are kept in {store.path}", file=sys.stderr)
    plans = with_values(plans, vocabulary, values)
    # A caption without plans is not in the file, and has no value either.
    valued, captions = {entry.caption for entry in plans.captions if entry.value is not None}, len(vocabulary.texts)
    if len(valued) < captions:
        print(f"{captions - len(valued)} of {captions} captions have no value, which counts as 0", file=sys.stderr)
    source = {"values": f"{config.values}, read from {read} of {count} answers"}
    return structs.replace(plans, provenance=plans.provenance | source)


def export(config: TeachConfig, path: Path) -> None:
    """Writes the requests about every caption of the task to a file.

    Raises:
        UserError: the options can't be met, or the file can't be written.
    """
    task = canonical_task(str(config.task))
    vocabulary = _vocabulary(config.world, task)
    prompt = task_prompt(task, vocabulary)
    questions = _questions(config, vocabulary, prompt)
    export_batch(open_server(config.llm, None), questions, path)
    print(f"{len(questions)} requests written to {path}; give their answers to --import_batch, with the same options")


def _vocabulary(world: WorldConfig, task: str) -> Vocabulary:
    try:
        return task_domain(world.make_env(task), task).vocabulary
    except ValueError as error:
        raise UserError(str(error)) from None


def _add_debate(
    config: TeachConfig,
    client: Client,
    world: AgentAxisWrapper,
    task: str,
    plans: PlanFile,
    prompt: Prompt,
    store: AnswerStore,
) -> PlanFile:
    """The plans, with those from debates about the most frequent situations."""
    teacher = teacher_from_plans(plans, task, config.world)
    situations = frequent_situations(rollout_captions(world, teacher), config.situations)
    rounds, samples = config.debate_rounds, config.llm.answers_per_caption
    with Progress(transient=True) as progress:
        bar = progress.add_task("debate", total=count_questions(situations, rounds, samples))
        entries = debate(
            client, store, prompt, teacher.vocabulary, situations, rounds, samples, lambda: progress.advance(bar)
        )
    together = structs.replace(plans, captions=(*plans.captions, *entries))
    summary = {
        "rounds": rounds,
        "situations": len(situations),
        "conflicts_alone": conflicts(world, teacher),
        "conflicts_together": conflicts(world, teacher_from_plans(together, task, config.world)),
    }
    return structs.replace(together, provenance=plans.provenance | {"debate": summary})


def _ask(
    config: TeachConfig, vocabulary: Vocabulary, prompt: Prompt, store: AnswerStore
) -> tuple[list[AnswerCounts], Client | Scorer]:
    """The model's answers to every caption, and the client or scorer that gave them."""
    captions = range(len(vocabulary.texts))
    if config.score:
        scorer = open_scorer(config.llm)
        with store.timing():
            return score_captions(scorer, prompt, vocabulary, captions), scorer
    client: Client = _batch_client(config, vocabulary, prompt, store) or open_client(config.llm, vocabulary)
    with Progress(transient=True) as progress:
        samples = config.llm.answers_per_caption
        bar = progress.add_task("answers", total=len(captions) * samples)
        counts = ask_captions(client, store, prompt, vocabulary, captions, samples, lambda: progress.advance(bar))
    return counts, client


def _batch_client(config: TeachConfig, vocabulary: Vocabulary, prompt: Prompt, store: AnswerStore) -> Client | None:
    """The client of a batch, after its answers were taken from their file; None without a batch."""
    if config.import_batch is None:
        return None
    client = open_server(config.llm, None)
    kept, known, failed = import_batch(client, _questions(config, vocabulary, prompt), store, config.import_batch)
    others = [f", {count} {what}" for count, what in ((known, "were kept already"), (failed, "have failed")) if count]
    print(f"{kept} answers taken from {config.import_batch}{''.join(others)}")
    return client


def _questions(config: TeachConfig, vocabulary: Vocabulary, prompt: Prompt) -> list[Question]:
    """The questions about every caption of the task."""
    return [*questions_about(prompt, vocabulary, range(len(vocabulary.texts)), config.llm.answers_per_caption)]


def _all_rejected(config: TeachConfig, counts: list[AnswerCounts], vocabulary: Vocabulary, store: AnswerStore) -> str:
    """Why no answer is a plan, with an example."""
    by_reason = _rejects_by_reason(counts)
    first = next(count for count in counts if count.rejects)
    example = next(answer for answers in first.rejects.values() for answer in answers)
    reasons = ", ".join(f"{number} x {reason}" for reason, number in by_reason.most_common())
    begins = f"one to {vocabulary.texts[first.caption]!r} begins {' '.join(example.split())[:MAX_EXAMPLE]!r}"
    structured = "" if config.llm.structured else "--structured, which allows only plans, "
    return (
        f"none of the {by_reason.total()} answers is a plan: {reasons}; {begins}; all are kept in "
        f"{store.path}; try {structured}a larger model, or a larger --max_tokens where answers are cut off"
    )


def _rejects_by_reason(counts: list[AnswerCounts]) -> Counter[str]:
    """How many answers were rejected, by reason."""
    by_reason = Counter[str]()
    for count in counts:
        by_reason.update({reason: len(answers) for reason, answers in count.rejects.items()})
    return by_reason


def _provenance(
    config: TeachConfig, prompt: Prompt, vocabulary: Vocabulary, counts: list[AnswerCounts], identity: dict[str, Any]
) -> dict[str, Any]:
    form = identity.get("form", "grammar") if identity["grammar"] else None
    described = {name: value for name, value in identity.items() if name not in ("grammar", "form")}
    described["structured"] = form
    if config.score:
        described = {name: value for name, value in described.items() if name in SCORING_KEYS}
        described["mode"] = "the model's exact probabilities of all plans of one or two moves"
    else:
        described |= {"mode": "sampled answers", "samples_per_caption": config.llm.answers_per_caption}
    rejects = {vocabulary.texts[count.caption]: count.rejects for count in counts if count.rejects}
    served = sorted(set().union(*(count.served for count in counts)))
    by_reason = _rejects_by_reason(counts)
    return {
        "source": "python -m jaxteach.teach",
        **described,
        **({"served": ", ".join(served)} if served else {}),
        "prompt_sha256": prompt.digest,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rejected": by_reason.total(),
        "rejected_by_reason": dict(sorted(by_reason.items())),
        "rejects": {caption: _sorted(reasons) for caption, reasons in rejects.items()},
    }


def _effort(config: TeachConfig, client: Client | Scorer, store: AnswerStore) -> dict[str, Any]:
    """What the answers took: their tokens, whenever they came; requests and seconds of this command alone."""
    return {
        **store.tokens,
        **_cost(config, store.tokens),
        **({} if config.score else {"answers_from_cache": store.reused}),
        **client.request_stats(),
        **({"fields_refused_by_server": ", ".join(sorted(store.refused_fields))} if store.refused_fields else {}),
        "seconds_asking": round(store.seconds, 1),
    }


def _cost(config: TeachConfig, tokens: Mapping[str, int]) -> dict[str, float | str]:
    """What the answers cost, where prices are given."""
    if config.llm.prices is None:
        return {}
    if not tokens:
        return {"cost": "unknown: the server tells no tokens"}
    used = (tokens.get(name, 0) for name in ("prompt_tokens", "completion_tokens"))
    return {"cost": round(sum(price * count / 1e6 for price, count in zip(config.llm.prices, used)), 6)}


def _sorted(reasons: dict[str, list[str]]) -> dict[str, list[str]]:
    """The beginnings of answers, sorted, so that the order in which they arrive does not matter."""
    return {reason: sorted(answer[:MAX_REJECT] for answer in answers) for reason, answers in sorted(reasons.items())}


def _check_writable(out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} exists; choose another --out, or print it with --show")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"the folder {out.parent} does not exist or is not writable; choose another --out")
