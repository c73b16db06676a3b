"""The final answer in a model's text: the last complete one outside its thoughts.

Reasoning models think in tags, or in the channels of gpt-oss; a chat template may open a thought in the prompt, so that
only its end stands in the text. Text inside a thought is never the answer.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

_NAMES: Final = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad)"
_TAG: Final = re.compile(
    rf"(?P<open><{_NAMES}>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|channel>thought)"
    rf"|(?P<close></{_NAMES}>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>|<channel\|>)",
    re.IGNORECASE,
)
_CHANNEL: Final = re.compile(
    r"<\|channel\|>\s*(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>(?P<text>.*?)(?P<end><\|\w+\|>|\Z)",
    re.DOTALL,
)
_MARKS: Final = r"[\s*_`]*"
_ACTION: Final = re.compile(
    rf"\bactions?{_MARKS}:{_MARKS}(?:```\w*\s*)?{_MARKS}\{{(?P<plan>[^{{}}]*)(?P<end>\}})?", re.IGNORECASE
)
_PLAN_KEYS: Final = ("action", "actions", "plan")
_SKILL_KEYS: Final = ("skill", "action", "name", "verb")
_OBJECT_KEYS: Final = ("object", "target", "argument")


class FinalAnswer(NamedTuple):
    """The final answer in a text.

    Attributes:
        items: the skills of the plan in the model's words, None where there is no answer.
        cut_off: whether the text ends inside a thought or an answer.
        thoughts: what was thought, for provenance.
    """

    items: list[str] | None
    cut_off: bool
    thoughts: str


def final_answer(text: str) -> FinalAnswer:
    """The last complete answer of a text, `Action: {...}` or JSON, with or without Markdown around it."""
    spoken, thoughts, open_thought = split_thoughts(text)
    found = sorted(_answers(html.unescape(spoken)), key=lambda answer: answer[0])
    if not found:
        return FinalAnswer(None, open_thought, thoughts)
    _, items = found[-1]
    return FinalAnswer(items, items is None or open_thought, thoughts)


def split_thoughts(text: str) -> tuple[str, str, bool]:
    """A text without its thoughts; the thoughts; and whether it ends inside one."""
    channels = list(_CHANNEL.finditer(text))
    if channels:
        spoken = [channel["text"] for channel in channels if channel["name"].lower() == "final"]
        thoughts = [channel["text"] for channel in channels if channel["name"].lower() != "final"]
        return "\n".join(spoken), "\n".join(thoughts), not spoken
    spoken, thoughts, start, inside = [], [], 0, False
    for tag in _TAG.finditer(text):
        if tag["open"] and inside:
            continue
        part = text[start : tag.start()]
        if tag["open"]:
            spoken.append(part)
        elif inside:
            thoughts.append(part)
        else:
            # The prompt had opened the thought: all that came before is part of it.
            thoughts += [*spoken, part]
            spoken = []
        inside, start = bool(tag["open"]), tag.end()
    (thoughts if inside else spoken).append(text[start:])
    return "\n".join(spoken), "\n".join(thoughts), inside


def _answers(text: str) -> Iterator[tuple[int, list[str] | None]]:
    """Where answers begin in a text, and their skills; None for one that is cut off."""
    decoder, start = json.JSONDecoder(), 0
    while (brace := text.find("{", start)) >= 0:
        start = brace + 1
        try:
            document, end = decoder.raw_decode(text, brace)
        except (ValueError, RecursionError):
            continue
        items = _items_of(document)
        if items is not None:
            yield brace, items
            # The rest of the document is not an answer.
            text, start = text[:brace] + " " * (end - brace) + text[end:], end
    for match in _ACTION.finditer(text):
        yield match.start(), _items(match["plan"]) if match["end"] else None


def _items(plan: str) -> list[str]:
    return [item.strip(" \t\r\n*`\"'") for item in plan.replace("*", "").replace("`", "").split(",")]


def _items_of(document: Any) -> list[str] | None:
    """The skills of an answer in JSON: a text, a list of texts, or a list of objects with skill and object."""
    by_name = {str(name).casefold(): value for name, value in document.items()} if isinstance(document, dict) else {}
    plan = next((by_name[key] for key in _PLAN_KEYS if key in by_name), None)
    if isinstance(plan, str):
        return _items(plan.strip("{} "))
    if not isinstance(plan, list):
        return None
    items = [_item_of(step) for step in plan]
    return None if None in items else [str(item) for item in items]


def _item_of(step: Any) -> str | None:
    if isinstance(step, str):
        return step.strip("{} ")
    if not isinstance(step, dict):
        return None
    values = {str(name).casefold(): value for name, value in step.items()}
    skill = next((values[key] for key in _SKILL_KEYS if isinstance(values.get(key), str)), None)
    target = next((values[key] for key in _OBJECT_KEYS if isinstance(values.get(key), str)), "")
    return None if skill is None else f"{skill} {target}".strip()
