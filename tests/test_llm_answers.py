"""What is made of a model's answers: plans or counted rejects, kept on disk, never asked for twice."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import envs_jax
from jaxteach.errors import UserError
from jaxteach.llm.answer_cache import AnswerStore
from jaxteach.llm.client import Answer, Question
from jaxteach.llm.grammar import candidate_plans
from jaxteach.llm.parse import Rejected, answer_text, parse_answer
from jaxteach.llm.prompts import Prompt, task_prompt
from jaxteach.llm.query import AnswerCounts, ask_captions, score_captions
from jaxteach.tasks import taught_tasks
from jaxteach.teacher.plans import PlanFile, find_plans, load_plans, save_plans
from jaxteach.teacher.policy import task_domain
from jaxteach.teacher.tasks.doorkey_captions import Captions

OBJECTS = ["key", "door"]
WORDS = Captions(num_keys=1, num_doors=1, colored=False)


def vocabulary_of(task, **overrides):
    return task_domain(envs_jax.make(task, **overrides), task).vocabulary


@pytest.mark.parametrize(
    ("answer", "plan"),
    [
        ("Action: {explore}", [("explore", None)]),
        ("Action: {go to <key>, pick up <key>}", [("goto", "key"), ("pickup", "key")]),
        ("I think.\naction:{Goto the KEY , open <door>}\nDone.", [("goto", "key"), ("toggle", "door")]),
        ("<think>Action: {wait}</think>Action: {drop key, wait}", [("drop", "key"), ("wait", None)]),
        ("Action: {explore} Action: {wait}", [("wait", None)]),
        ("Action: {" + ", ".join(["wait"] * 16) + "}", [("wait", None)] * 16),
    ],
)
def test_an_answer_is_read(answer, plan):
    assert parse_answer(answer, WORDS) == tuple(plan)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", 'no "Action: {...}"'),
        ("Action: explore", 'no "Action: {...}"'),
        ("Action: {explore", "cut off"),
        ("<think>Action: {wait}</think>", 'no "Action: {...}"'),
        ("Action: {}", "an empty plan"),
        ("Action: {explore,}", "an unknown skill"),
        ("Action: {explorer}", "an unknown skill"),
        ("Action: {jump over <door>}", "an unknown skill"),
        ("Action: {explore <key>}", "explore with an object"),
        ("Action: {go to}", "goto without an object"),
        ("Action: {go to <box>}", "an unknown object"),
        ("Action: {pick up <key> and <door>}", "an unknown object"),
        ("Action: {" + ", ".join(["wait"] * 17) + "}", "more than 16 skills"),
    ],
)
def test_an_answer_that_is_no_plan_has_a_reason(answer, reason):
    with pytest.raises(Rejected, match="^" + reason.replace("{", r"\{").replace(".", r"\.").replace("}", r"\}")):
        parse_answer(answer, WORDS)


@given(st.text() | st.text(alphabet="Action: {}<>,key door exploretupick\n"))
def test_every_text_is_a_plan_or_rejected(text):
    for answer in (text, f"Action: {{{text}}}"):
        try:
            plan = parse_answer(answer, WORDS)
        except Rejected:
            continue
        assert plan
        assert all(target is None or target in OBJECTS for _, target in plan)


@pytest.mark.parametrize("task", taught_tasks())
def test_plans_are_asked_for_in_words_that_are_read_as_them(task):
    vocabulary = vocabulary_of(task)
    candidates = candidate_plans(vocabulary)
    assert len(set(candidates)) == len(candidates)
    assert (("wait", None), ("wait", None)) not in candidates, "a move is not followed by itself"
    texts = [answer_text(plan) for plan in candidates]
    assert [parse_answer(text, vocabulary) for text in texts] == candidates
    assert not any(one != other and other.startswith(one) for one in texts for other in texts)


@pytest.mark.parametrize("task", ["SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "TwoDoor"])
def test_the_candidates_hold_the_recorded_models_favourite_plans(task):
    candidates = set(candidate_plans(vocabulary_of(task)))
    favourites = [
        max(entry.plans, key=lambda plan: plan.probability).skills for entry in find_plans("recorded", task).captions
    ]
    assert sum(plan in candidates for plan in favourites) >= 0.6 * len(favourites)


@pytest.mark.parametrize("task", taught_tasks())
def test_prompts_end_with_the_caption_and_share_all_before_it(task):
    vocabulary = vocabulary_of(task)
    prompt = task_prompt(task, vocabulary)
    texts = [prompt.about(caption) for caption in vocabulary.texts]
    assert all(text.endswith(caption) for text, caption in zip(texts, vocabulary.texts))
    assert len({text.removesuffix(caption) for text, caption in zip(texts, vocabulary.texts)}) == 1
    assert all(f"<{name}>" in texts[0] for name in vocabulary.object_names)
    assert "{objects}" not in texts[0]


def test_a_prompt_is_told_by_its_text():
    two, three = (task_prompt("ColoredDoorKey", vocabulary_of("ColoredDoorKey", num_keys=n)) for n in (2, 3))
    assert two.digest != three.digest
    assert "<color3 key>" in three.text


class Parrot:
    """A client with prepared answers that counts what it is asked; it may stop after some."""

    def __init__(self, answers, stop_after=None, name="parrot"):
        self.answers, self.stop_after, self.asked = answers, stop_after, []
        self.identity = {"model": name}

    def ask(self, questions):
        for question in questions:
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise UserError("gone")
            self.asked.append(question)
            yield question, self.answers[question.sample % len(self.answers)]


def ask(client, path, samples=4):
    vocabulary = vocabulary_of("SimpleDoorKey")
    prompt = task_prompt("SimpleDoorKey", vocabulary)
    captions = range(len(vocabulary.texts))
    return ask_captions(client, AnswerStore(path), prompt, vocabulary, captions, samples)


def test_answers_become_shares_and_counted_rejects(tmp_path):
    answers = ["Action: {explore}", "no idea", "Action: {explore}", "Action: {wait}", "Action: {fly}"]
    tallies = ask(Parrot(answers), tmp_path / "answers", samples=5)
    assert [tally.caption for tally in tallies] == list(range(6))
    for tally in tallies:
        assert tally.weights == {(("explore", None),): 2, (("wait", None),): 1}
        assert tally.rejects == {'no "Action: {...}"': ["no idea"], "an unknown skill": ["Action: {fly}"]}
        assert tally.rejected == 2
    entry = tallies[3].entry(vocabulary_of("SimpleDoorKey"))
    assert [(plan.probability, plan.skills) for plan in entry.plans] == [
        (pytest.approx(2 / 3), (("explore", None),)),
        (pytest.approx(1 / 3), (("wait", None),)),
    ]


def test_a_caption_with_rejects_alone_has_no_plans(tmp_path):
    (tally, *_) = ask(Parrot(["never"]), tmp_path / "answers")
    assert tally.entry(vocabulary_of("SimpleDoorKey")) is None


def test_an_entry_keeps_the_likeliest_plans_of_many(tmp_path):
    vocabulary = vocabulary_of("SimpleDoorKey")
    weights = {plan: 1.0 + i for i, plan in enumerate(candidate_plans(WORDS))}
    entry = AnswerCounts(0, Counter(weights)).entry(vocabulary)
    assert entry.plans[0].skills == list(weights)[-1]
    save_plans(PlanFile(("SimpleDoorKey",), (entry,)), tmp_path / "plans.json")
    assert len(load_plans(tmp_path / "plans.json", "SimpleDoorKey").captions[0].plans) == 64


def test_nothing_is_asked_twice(tmp_path):
    first, second = Parrot(["Action: {wait}"], stop_after=10), Parrot(["Action: {wait}"])
    with pytest.raises(UserError, match="gone"):
        ask(first, tmp_path / "answers")
    assert len(ask(second, tmp_path / "answers")) == 6
    assert len(first.asked) == 10
    assert sorted(first.asked + second.asked) == sorted(set(first.asked + second.asked))
    assert len(first.asked + second.asked) == 6 * 4
    third = Parrot([])
    ask(third, tmp_path / "answers")
    assert third.asked == []
    # Nor by one store, whose answers may have come since it was opened.
    store, fourth = AnswerStore(tmp_path / "others"), Parrot(["one", "two"])
    questions = [Question("what?", sample) for sample in range(2)]
    answers = list(store.complete(fourth, questions))
    assert list(store.complete(fourth, questions)) == answers == list(zip(questions, ["one", "two"]))
    assert fourth.asked == questions


def test_an_answer_cut_off_by_a_kill_is_asked_for_again(tmp_path):
    path = tmp_path / "answers"
    ask(Parrot(["Action: {wait}"]), path)
    whole = path.read_bytes()
    for cut in (1, 20, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        again = Parrot(["Action: {wait}"])
        ask(again, path)
        assert len(again.asked) == (cut > 1), "what lacks nothing but its line end is kept"
        assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["hello", "a shopping list\n", '{"asked": 1}\n', "\n", '{"name": "x"}', "[1]"])
def test_a_foreign_file_is_refused_untouched(content, tmp_path):
    """Catches a file of a user's that is emptied because its name was given."""
    path = tmp_path / "answers"
    path.write_text(content)
    with pytest.raises(UserError, match="is not an answer; move the file away"):
        AnswerStore(path)
    assert path.read_text() == content


def test_how_an_answer_ended_is_kept_and_decides_what_it_counts_as(tmp_path):
    path = tmp_path / "answers"
    cut, refused = Answer("Action: {wait}", "length", "hm", {"prompt_tokens": 3}), Answer("no", "refused")
    counts = ask(Parrot([cut, refused, Answer("Action: {wait}"), "Action: {explore}"]), path)
    assert {reason for count in counts for reason in count.rejects} == {"cut off", "refused"}
    known = AnswerStore(path)._known.values()
    assert {answer.finish for answer in known} == {"stop", "length"}
    assert {(answer.thoughts, answer.usage.get("prompt_tokens")) for answer in known} == {("", None), ("hm", 3)}


@pytest.mark.parametrize("captions", [[6], [-1]])
def test_a_caption_outside_the_table_is_refused(captions, tmp_path):
    vocabulary = vocabulary_of("SimpleDoorKey")
    prompt = task_prompt("SimpleDoorKey", vocabulary)
    with pytest.raises(UserError, match=r"there is no caption -?\d: captions are 0..5"):
        ask_captions(Parrot(["Action: {wait}"]), AnswerStore(tmp_path / "a"), prompt, vocabulary, captions, 1)


def test_a_prompt_that_tells_no_captions_apart_is_refused(tmp_path):
    vocabulary = vocabulary_of("SimpleDoorKey")
    with pytest.raises(UserError, match="two captions give the same prompt"):
        ask_captions(Parrot(["x"]), AnswerStore(tmp_path / "a"), Prompt("What now?"), vocabulary, range(6), 1)


def test_another_model_or_question_is_asked_anew(tmp_path):
    path, vocabulary = tmp_path / "answers", vocabulary_of("SimpleDoorKey")
    ask(Parrot(["Action: {wait}"]), path)
    other = Parrot(["Action: {explore}"], name="other")
    tallies = ask(other, path)
    assert len(other.asked) == 24
    assert all(set(tally.weights) == {(("explore", None),)} for tally in tallies)
    same = Parrot(["Action: {wait}"])
    lava = task_prompt("LavaDoorKey", vocabulary)
    ask_captions(same, AnswerStore(path), lava, vocabulary, range(6), 4)
    assert len(same.asked) == 24


@pytest.mark.parametrize(
    "line", ["{}", "[1]", "nonsense", json.dumps({"asked": 1, "prompt": 2, "sample": "x", "answer": 3})]
)
def test_a_damaged_store_is_named(tmp_path, line):
    path = tmp_path / "answers"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match=r"line 1 of .*answers is not an answer"):
        AnswerStore(path)


def test_scores_become_probabilities():
    class Judge:
        def score(self, prompts, candidates):
            table = np.full((len(prompts), len(candidates)), -50.0)
            table[:, 0], table[:, 1] = -1000.0, -1000.0 + np.log(3)
            table[:, 2:] = -2000.0
            return table

    vocabulary = vocabulary_of("SimpleDoorKey")
    prompt = task_prompt("SimpleDoorKey", vocabulary)
    (tally,) = score_captions(Judge(), prompt, vocabulary, [2])
    entry = tally.entry(vocabulary)
    assert [round(plan.probability, 6) for plan in entry.plans] == [0.75, 0.25]
    assert entry.sees == tuple(vocabulary.sees[2])
