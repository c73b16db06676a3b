"""What a card says of a teacher: where its plans come from, how it does by itself, and what was rejected."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from jaxteach.config import TeachConfig, this_version
from jaxteach.evaluation.videos import Film
from jaxteach.llm.parse import plan_text
from jaxteach.llm.plan_texts import caption_texts, provenance_rows, rejects_of, whole_caption
from jaxteach.reports.agreement import entries_by_caption, overlaps, recorded_plans, shares_of
from jaxteach.reports.alone import FilmedResult, alone_rows, alone_sentences
from jaxteach.reports.statistics import NOTHING
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import CaptionParts, CaptionPlans, PlanFile

MOST_PLANS: Final = 10
"""How many plans of a caption are shown."""
MOST_REASONS: Final = 20
MOST_EXAMPLES: Final = 3
MOST_CHARACTERS: Final = 200
"""Of a rejected answer."""


@dataclass(frozen=True)
class Part:
    """A part of a card, under its heading."""

    heading: str
    sentences: list[str]
    rows: list[dict[str, str]] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)


@dataclass(frozen=True)
class Card:
    """What a card says."""

    title: str
    sentences: list[str]
    parts: list[Part]


def make_card(plans: PlanFile, source: str, played: list[FilmedResult], config: TeachConfig) -> Card:
    """The card of a teacher.

    Args:
        plans: the teacher's.
        source: what the plans were given as.
        played: the teacher's own episodes, in each task that the card is about.
        config: the worlds, and how many episodes were played.
    """
    results = [alone.result for alone in played]
    tasks, vocabulary = [result.task for result in results], results[0].teacher.vocabulary
    texts = caption_texts(vocabulary)
    films = [film for alone in played for film in alone.films]
    parts = [
        _origin(plans),
        Part("The teacher alone", alone_sentences(played, config), alone_rows(results), films),
        *_agreement(plans, tasks, texts),
        _plans(plans, vocabulary, texts),
        _rejected(plans),
    ]
    return Card(f"A teacher for {', '.join(tasks)}", _lead(plans, source), parts)


def _lead(plans: PlanFile, source: str) -> list[str]:
    return [
        f"jaxteach {this_version()} wrote this card about {source}. To train with this teacher, give the card's folder "
        "to --plans.",
        f"Runs that these plans teach record their SHA-256, {plans.digest}{_with_values(plans)}.",
    ]


def _with_values(plans: PlanFile) -> str:
    """What runs record that learn from the values of situations too, where there are any."""
    digest = plans.digest_with_values
    return "" if digest == plans.digest else f", and with --guidance potential, which uses their values, {digest}"


def _origin(plans: PlanFile) -> Part:
    """The provenance: what is a value, or an object of values."""
    rows = [{"what": name.replace("_", " "), "value": value} for name, value in provenance_rows(plans.provenance)]
    sentences = [] if rows else ["The plan file does not say where its plans come from."]
    return Part("Where the plans come from", sentences, rows)


def _agreement(plans: PlanFile, tasks: list[str], texts: Mapping[CaptionParts, str]) -> Iterator[Part]:
    """A part for each file of recorded plans; tasks may share one."""
    heading = "Agreement with the recorded plans"
    recorded = {task: known for task in tasks if (known := recorded_plans(task)) is not None}
    if not recorded:
        none = f"No recorded answers of a language model ship with jaxteach for {', '.join(tasks)}."
        yield Part(heading, [none])
    for other in dict.fromkeys(recorded.values()):
        names = ", ".join(task for task, known in recorded.items() if known.digest == other.digest)
        if plans.digest == other.digest:
            yield Part(heading, [f"These are the recorded plans of {names} themselves."])
        else:
            yield Part(heading, *_compared(plans, other, names, texts))


def _compared(
    plans: PlanFile, other: PlanFile, names: str, texts: Mapping[CaptionParts, str]
) -> tuple[list[str], list[dict[str, str]]]:
    """What overlaps are, and a row for each recorded caption."""
    shares, ours, theirs = overlaps(plans, other), entries_by_caption(plans), entries_by_caption(other)
    rows = [
        {
            "caption": texts.get(caption, str(caption)),
            "overlap": f"{share:.3f}",
            "likeliest plan": _likeliest(ours.get(caption)),
            "likeliest recorded plan": _likeliest(theirs[caption]),
        }
        for caption, share in shares.items()
    ]
    sentences = [
        f"Mean overlap over the {len(rows)} recorded captions: {np.mean(list(shares.values())):.3f}.",
        f"The recorded plans of {names} come with jaxteach: answers of {other.provenance.get('model', 'a model')}. "
        "The overlap of two distributions over plans is the sum, over all plans, of the smaller of the two "
        "probabilities: 1 where they are equal, 0 where they have no plan in common or this teacher has no plan. "
        "Plans in other words count as different, even where they lead to the same actions.",
    ]
    return sentences, rows


def _likeliest(entry: CaptionPlans | None) -> str:
    if entry is None:
        return NOTHING
    skills, share = max(shares_of(entry).items(), key=lambda item: item[1])
    return f"{plan_text(skills)} ({share:.2f})"


def _plans(plans: PlanFile, vocabulary: Vocabulary, texts: Mapping[CaptionParts, str]) -> Part:
    known = entries_by_caption(plans)
    missing = [text for caption, text in texts.items() if caption not in known]
    sentences = [f"{len(texts) - len(missing)} of the {len(texts)} captions of the task have plans."]
    if missing:
        more = f", and {len(missing) - MOST_PLANS} more" if len(missing) > MOST_PLANS else ""
        sentences.append(f"Without plans, so that the teacher waits: {' '.join(missing[:MOST_PLANS])}{more}")
    rows = [row for entry in plans.captions for row in _plan_rows(entry, whole_caption(entry, texts, " "))]
    return Part("Plans by caption", sentences, rows)


def _plan_rows(entry: CaptionPlans, caption: str) -> list[dict[str, str]]:
    """A row for each of the likeliest plans, the first with the caption, and one for all others together."""
    ordered = sorted(shares_of(entry).items(), key=lambda item: -item[1])
    shown = [(share, plan_text(skills)) for skills, share in ordered[:MOST_PLANS]]
    rest = ordered[MOST_PLANS:]
    if rest:
        shown.append((sum(share for _, share in rest), f"{len(rest)} more, together"))
    return [
        {"caption": caption if i == 0 else "", "probability": f"{share:.3f}", "plan": text}
        for i, (share, text) in enumerate(shown)
    ]


def _rejected(plans: PlanFile) -> Part:
    """The rejected answers by reason, with examples."""
    answers: dict[str, list[str]] = {}
    captions: Counter[str] = Counter()
    for reasons in rejects_of(plans).values():
        for reason, rejected in reasons.items():
            answers.setdefault(reason, []).extend(map(str, rejected))
            captions[reason] += 1
    ordered = sorted(answers.items(), key=lambda item: -len(item[1]))
    rows = [
        {
            "reason": reason,
            "answers": f"{len(rejected):,}",
            "captions": str(captions[reason]),
            "examples": " / ".join(_shortened(answer) for answer in list(dict.fromkeys(rejected))[:MOST_EXAMPLES]),
        }
        for reason, rejected in ordered[:MOST_REASONS]
    ]
    count = sum(map(len, answers.values()))
    if count:
        sentences = [f"{count:,} answer{'s were' if count > 1 else ' was'} rejected, not being plans."]
    elif plans.provenance.get("rejected") == 0:
        sentences = ["No answer was rejected."]
    else:
        sentences = ["The plan file has no record of rejected answers."]
    if len(ordered) > MOST_REASONS:
        sentences.append(f"Shown are the {MOST_REASONS} most frequent of {len(ordered)} reasons.")
    return Part("Rejected answers", sentences, rows)


def _shortened(answer: str) -> str:
    text = " ".join(answer.split())
    return f"\N{LEFT DOUBLE QUOTATION MARK}{text[:MOST_CHARACTERS]}{' ...' if len(text) > MOST_CHARACTERS else ''}" + (
        "\N{RIGHT DOUBLE QUOTATION MARK}"
    )
