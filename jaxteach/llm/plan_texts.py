"""What a plan file holds as texts: its provenance, its captions and the rejected answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import CaptionParts, CaptionPlans, PlanFile, caption_parts


def provenance_rows(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The entries with a single value, and those of objects as "name: inner name"; rejected answers are left out."""
    for name, value in provenance.items():
        if isinstance(value, dict) and name != "rejects":
            yield from ((f"{name}: {inner}", _value(each)) for inner, each in value.items() if _is_plain(each))
        elif _is_plain(value):
            yield name, _value(value)


def _is_plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def caption_texts(vocabulary: Vocabulary) -> dict[CaptionParts, str]:
    """The captions of a task, by their parts."""
    return dict(zip(caption_parts(vocabulary), vocabulary.texts))


def whole_caption(entry: CaptionPlans, texts: Mapping[CaptionParts, str], before_others: str) -> str:
    """An entry's caption with those of the other agents, if it depends on them."""
    return texts[entry.caption] + "".join(f"{before_others}with: {texts[other]}" for other in entry.others)


def rejects_of(plans: PlanFile) -> dict[str, dict[str, list[str]]]:
    """The rejected answers by caption and reason, where the provenance has them in `teach`'s form."""
    rejects = plans.provenance.get("rejects", {})
    known = isinstance(rejects, dict) and all(
        isinstance(reasons, dict) and all(isinstance(answers, list) for answers in reasons.values())
        for reasons in rejects.values()
    )
    return rejects if known else {}
