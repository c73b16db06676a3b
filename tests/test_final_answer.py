"""Answers of any model are read as the plan that it says in the end, or rejected; never as another plan."""

import json
import random

import pytest

from jaxteach.llm.final_answer import final_answer, split_thoughts
from jaxteach.llm.parse import CUT_OFF, Rejected, answer_text, parse_answer, plan_text
from jaxteach.teacher.tasks.doorkey_captions import Captions

WORDS = Captions(num_keys=1, num_doors=1, colored=False)
PLAN = (("goto", "key"), ("pickup", "key"))
OTHERS = [(("explore", None),), (("goto", "door"), ("toggle", "door")), (("drop", "key"),), (("wait", None),)]
DRAFT = "Action: {explore}"

NOISE = ["", "Let me see.\n", "{", "}", "\n\n", "* ", "<key>", "`", "Action", "</b>", "I see <door>."]

READ = {
    "a thought": f"<think>{DRAFT} no, better</think>\n\nAction: {{go to <key>, pick up <key>}}",
    "a thought that the prompt has opened": f"{DRAFT} is wrong.\n</think>\nAction: {{go to <key>, pick up <key>}}",
    "two thoughts": f"<think>{DRAFT}</think>{DRAFT}<think>hm</think>Action: {{go to <key>, pick up <key>}}",
    "a thought that names its tag": f"<think>I use <think> and {DRAFT}</think>Action: {{go to <key>, pick up <key>}}",
    "other tags": f"<reasoning>{DRAFT}</reasoning>[THINK]{DRAFT}[/THINK]Action: {{go to <key>, pick up <key>}}",
    "tags of Cohere's models": f"<|START_THINKING|>{DRAFT}<|END_THINKING|>Action: {{go to <key>, pick up <key>}}",
    "channels of gpt-oss": (
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>"
        "Action: {go to <key>, pick up <key>}<|return|>"
    ),
    "bold": "**Action:** {go to <key>, pick up <key>}",
    "bold around it": "**Action: {go to <key>, pick up <key>}**",
    "bold inside": "Action: {**go to <key>**, **pick up <key>**}",
    "backticks": "`Action: {go to <key>, pick up <key>}`",
    "backticks around the plan": "**Action**: `{go to <key>, pick up <key>}`",
    "a fence": "```\nAction: {go to <key>, pick up <key>}\n```",
    "a fence after the word": "Action:\n```text\n{go to <key>, pick up <key>}\n```",
    "an echo of the form": "Action: {skill, skill, ...}\nAction: {go to <key>, pick up <key>}",
    "a change of mind": f"{DRAFT}\nWait, that is wrong.\nAction: {{go to <key>, pick up <key>}}",
    "escapes": "Action: {go to &lt;key&gt;, pick up &lt;key&gt;}",
    "JSON with a list": '{"action": ["go to <key>", "pick up <key>"]}',
    "JSON with a text": '```json\n{"Action": "go to <key>, pick up <key>"}\n```',
    "JSON with objects": '{"plan": [{"skill": "go to", "object": "key"}, {"skill": "pick up", "object": "<key>"}]}',
    "JSON with reasons": '{"reasoning": "Action: {explore}", "action": ["go to <key>", "pick up <key>"]}',
}


@pytest.mark.parametrize("form", READ)
def test_the_last_complete_answer_outside_thoughts_is_the_plan(form):
    assert parse_answer(READ[form], WORDS) == PLAN


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{DRAFT}",
        f"{DRAFT}<think>or rather Action: {{wait}}",
        "Action: {go to <key>, pick",
        f"{DRAFT} No: Action: {{go to <k",
        f"<|channel|>analysis<|message|>{DRAFT}",
    ],
)
def test_a_text_that_ends_too_early_is_cut_off(text):
    with pytest.raises(Rejected, match=f"^{CUT_OFF}$"):
        parse_answer(text, WORDS)


def test_thoughts_are_kept_beside_the_answer():
    answer = final_answer("<think>first</think>Action: {wait}<think>second</think>")
    assert answer == (["wait"], False, "first\nsecond")
    assert split_thoughts("a</think>b") == ("b", "a", False)


def test_ten_thousand_answers_are_never_read_as_another_plan():
    """Every text says `PLAN` in the end, with drafts of other plans in thoughts and before it, and noise."""
    dice, read = random.Random(0), 0
    for _ in range(10_000):
        text = _dressed(dice)
        try:
            found = parse_answer(text, WORDS)
        except Rejected:
            continue
        assert found == PLAN, text
        read += 1
    assert read > 7_000


def _dressed(dice: random.Random) -> str:
    def draft() -> str:
        return answer_text(dice.choice(OTHERS))

    def noise() -> str:
        return dice.choice(NOISE)

    before = "".join(dice.choice([noise, draft])() + "\n" for _ in range(dice.randrange(3)))
    name = dice.choice(["think", "thinking", "reasoning", "thought", "Think"])
    thought = f"{noise()}{draft()}{noise()}"
    body = dice.choice([f"<{name}>{thought}</{name}>", f"{thought}</{name}>", "", f"[THINK]{thought}[/THINK]"])
    plan = plan_text(PLAN)
    answer = dice.choice(
        [
            answer_text(PLAN),
            f"**Action:** {{{plan}}}",
            f"`Action: {{{plan}}}`",
            f"```\nAction: {{{plan}}}\n```",
            f"action : {{{plan.upper()}}}",
            json.dumps({"action": plan.split(", ")}),
            json.dumps({"thought": draft(), "plan": plan}),
        ]
    )
    if dice.random() < 0.2:
        analysis = f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant"
        return f"{analysis}<|channel|>final<|message|>{answer}<|return|>"
    after = dice.choice(["", "\n", " Done.", "\n```", "**"])
    return f"{before}{body}{noise()}\n{answer}{after}"
