"""Values of situations: asked for by `teach --values`, read, kept in plan files, and told apart in runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

import envs_jax
from jaxteach.config import PPOConfig, TrainConfig, to_json
from jaxteach.errors import UserError
from jaxteach.guidance.potential import caption_values
from jaxteach.llm.preferences import Comparison, bradley_terry, comparison_pairs
from jaxteach.llm.prompts import Prompt, task_prompt
from jaxteach.llm.values import (
    PREFERENCE_QUESTION,
    SCORE_QUESTION,
    Preferences,
    parse_preference,
    parse_score,
    value_prompt,
)
from jaxteach.runs.files import write_json
from jaxteach.runs.run_folder import begin_session, check_resumable
from jaxteach.tasks import TASKS, taught_tasks
from jaxteach.teacher import make_teacher
from jaxteach.teacher.loading import digest_of
from jaxteach.teacher.plans import PlanFile, caption_parts, load_plans, save_plans, shipped_plans
from jaxteach.teacher.policy import task_domain
from tests.command_line import teach
from tests.language_model import MODEL
from tests.test_llm_samples import choice, choosing
from tests.test_teach import refuse

PROMPTS = {TASKS[task].prompt: task for task in taught_tasks()}


@pytest.mark.parametrize("task", PROMPTS.values())
def test_every_prompt_can_ask_for_a_value(task):
    """Catches a task whose prompt has another part about answers, and one that still asks for skills."""
    vocabulary = task_domain(envs_jax.make(task), task).vocabulary
    whole = task_prompt(task, vocabulary)
    asked = value_prompt(whole, SCORE_QUESTION).about(vocabulary.texts[0])
    preferred = value_prompt(whole, PREFERENCE_QUESTION).about(vocabulary.texts[0])
    assert ("Value: number" in asked, "Closer: number" in preferred) == (True, True)
    for text in (asked, preferred):
        assert text.endswith(f"Now it is your turn.\n{vocabulary.texts[0]}")
        assert "Action:" not in text
    description = whole.text[: whole.text.index("Answer with the skills")]
    assert len(description) > 200
    assert asked.startswith(description)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Value: 4", 0.4),
        ("value: 2.5\n", 0.25),
        ("Value: 1\nNo, wait.\nValue: <10>", 1),
        ("**Value:** 7/10", 0.7),
        ("<think>Value: 9</think>Value: 0", 0),
        ("<think>Value: 9", None),
        ("Value: 11", None),
        ("Value: -3", None),
        ("Value: high", None),
        ("Value: 10,000", None),
        ("Value: 1e5", None),
        ("Value: 3/5", None),
        ("Value: 5 %", None),
        ("Value: 1.2.3", None),
        ("Value: 4, since 2 steps are left.", 0.4),
        ("Value: 4.\n2 steps are left.", 0.4),
        ("Value: 7.5 / 10.", 0.75),
        ("7", None),
        ("", None),
    ],
)
def test_values_are_read(text, value):
    assert parse_score(text) == value


def opinions(body):
    """Plans where plans are asked for; values 2 and 5 of most captions, and none of one of them."""
    prompt = body["messages"][0]["content"]
    if "Value: number" not in prompt:
        texts = ["Action: {explore}"] * 2
    elif prompt.endswith("sees <nothing>, holds <nothing>."):
        texts = ["I can't say.", "Value: 99"]
    else:
        texts = ["Value: 2", "Value: 5"]
    return [choice(text) for text in texts[: body.get("n", 1)]]


def test_a_model_gives_values(monkeypatch, tmp_path, capsys):
    """Catches values of other captions, answers that are asked for twice, and captions without a value in silence."""
    out = tmp_path / "plans.json"
    with choosing(opinions) as (url, bodies):
        asks = ["--task", "SimpleDoorKey", "--backend", "openai", "--base_url", url, "--model", "m", "--samples", 2]
        teach(monkeypatch, *asks, "--values", "scores", "--out", out)
        assert len(bodies) == 2 * 6
        plans = load_plans(out, "SimpleDoorKey")
        values = {entry.caption: entry.value for entry in plans.captions}
        assert sorted(values.values(), key=str) == [0.35] * 5 + [None]
        assert [caption for caption, value in values.items() if value is None] == [plans.captions[0].caption]
        screen = capsys.readouterr()
        assert "1 of 6 captions have no value, which counts as 0" in screen.err
        assert "2 of 12 answers lack a value of 0..10 and count for nothing" in screen.err
        assert screen.out.count("0.35") == 5, "the values are shown"
        assert plans.provenance["values"] == "scores, read from 10 of 12 answers"
        assert plans.provenance["requests"] == 12
        out.unlink()
        teach(monkeypatch, *asks, "--values", "scores", "--out", out)
        assert len(bodies) == 2 * 6, "all answers are kept"
    assert load_plans(out, "SimpleDoorKey").digest_with_values == plans.digest_with_values


def test_captions_without_plans_have_no_value(monkeypatch, tmp_path, capsys):
    """Catches a value that is lost in silence, since the file has no place for it."""

    def answer(body):
        given = opinions(body)
        prompt = body["messages"][0]["content"]
        refuses = prompt.endswith("sees <key>, holds <nothing>.") and "Value: number" not in prompt
        return [choice("I won't.") for _ in given] if refuses else given

    out = tmp_path / "plans.json"
    with choosing(answer) as (url, _):
        asks = ["--task", "SimpleDoorKey", "--backend", "openai", "--base_url", url, "--model", "m", "--samples", 2]
        teach(monkeypatch, *asks, "--values", "scores", "--out", out)
    plans = load_plans(out, "SimpleDoorKey")
    assert len(plans.captions) == 5
    assert plans.provenance["values"] == "scores, read from 10 of 12 answers"
    assert "2 of 6 captions have no value, which counts as 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Closer: 1", 1),
        ("closer: 0\n", 0),
        ("Closer: 1\nNo, wait.\nCloser: <2>", 2),
        ("**Closer:** situation 2", 2),
        ("<think>Closer: 2</think>Closer: 1", 1),
        ("Closer: 12", None),
        ("Closer: both", None),
        ("Closer: 1.5", None),
        ("Closer: 1/2", None),
        ("Closer: 1 or 2", None),
        ("Closer: Situation 1 and Situation 2", None),
        ("Closer: 1. Situation 2 is farther.", 1),
        ("Closer: 1, or so.", 1),
        ("1", None),
    ],
)
def test_preferences_are_read(text, choice):
    assert parse_preference(text) == choice


def test_pairs_connect_all_captions():
    """Catches captions that are compared with none, and pairs of a caption with itself."""
    assert comparison_pairs(1) == []
    assert comparison_pairs(2) == [(0, 1)]
    for count in (3, 6, 100):
        pairs = comparison_pairs(count)
        assert len(set(pairs)) == len(pairs) <= count * count.bit_length()
        assert all(0 <= i < j < count for i, j in pairs)
        reached = {0}
        for _ in range(count):
            reached |= {k for pair in pairs if reached & set(pair) for k in pair}
        assert reached == set(range(count))


def test_the_likeliest_strengths():
    """Two captions: with a win of 3 in 4 the derivative 4 (expit(d) - 3/4) + RIDGE d / 2 is 0 at the difference d."""
    won = [Comparison(0, 1, 1.0)] * 3 + [Comparison(1, 0, 1.0), Comparison(2, 1, 0.0), Comparison(2, 1, 0.5)]
    assert bradley_terry(won[:4], 2).tolist() == [1, 0]
    assert bradley_terry([Comparison(0, 1, 0.5)], 3).tolist() == [0.5, 0.5, 0.5]
    strengths = bradley_terry(won, 3)
    assert (strengths.max(), strengths.min()) == (1, 0)
    assert strengths[2] < strengths[1] < strengths[0]


def test_known_strengths_are_found_again():
    """Catches a fit that is not the logistic model's: strengths are recovered from the probabilities they make."""
    true = np.linspace(0, 1, 12)[np.random.default_rng(0).permutation(12)]
    pairs = [pair for i, j in comparison_pairs(12) for pair in ((i, j), (j, i))]
    likely = [Comparison(i, j, 1 / (1 + np.exp(4 * (true[j] - true[i])))) for i, j in pairs] * 50
    np.testing.assert_allclose(bradley_terry(likely, 12), true, atol=0.01)


def test_only_captions_that_were_compared_have_values():
    """Catches a caption about which no answer could be read, with a value in the midst of the others."""
    vocabulary = task_domain(envs_jax.make("SimpleDoorKey"), "SimpleDoorKey").vocabulary
    valuation = Preferences.of(task_prompt("SimpleDoorKey", vocabulary), vocabulary)
    for question, (i, j) in valuation.asked.items():
        valuation.add(question, "I can't say." if 0 in (i, j) else f"Closer: {1 if i > j else 2}")
    assert sorted(valuation.values()) == [1, 2, 3, 4, 5]
    assert (valuation.values()[1], valuation.values()[5]) == (0, 1)


def nearer(body):
    """Plans where plans are asked for; of two captions the one with the longer text."""
    prompt = body["messages"][0]["content"]
    if "Closer: number" not in prompt:
        return [choice("Action: {explore}")]
    first, second = (line.split(": ", 1)[1] for line in prompt.splitlines()[-2:])
    return [choice(f"Closer: {0 if len(first) == len(second) else 1 if len(first) > len(second) else 2}")]


def test_a_model_prefers_captions(monkeypatch, tmp_path):
    """Catches preferences that are taken for those of other captions, or the wrong way round."""
    out = tmp_path / "plans.json"
    with choosing(nearer) as (url, bodies):
        asks = ["--task", "SimpleDoorKey", "--backend", "openai", "--base_url", url, "--model", "m", "--temperature", 0]
        teach(monkeypatch, *asks, "--values", "preferences", "--out", out)
        assert len(bodies) == 6 + 2 * len(comparison_pairs(6))
    vocabulary = task_domain(envs_jax.make("SimpleDoorKey"), "SimpleDoorKey").vocabulary
    length = dict(zip(caption_parts(vocabulary), map(len, vocabulary.texts)))
    entries = sorted(load_plans(out, "SimpleDoorKey").captions, key=lambda entry: length[entry.caption])
    values = [entry.value for entry in entries]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 1)
    assert task_prompt("SimpleDoorKey", vocabulary).text.split("Answer with")[0] in bodies[-1]["messages"][0]["content"]


def test_answers_without_a_value_are_refused(monkeypatch, tmp_path, capsys):
    out = tmp_path / "plans.json"
    with choosing(lambda body: [choice("Action: {explore}")]) as (url, _):
        asks = ["--task", "SimpleDoorKey", "--backend", "openai", "--base_url", url, "--model", "m", "--samples", 1]
        line = refuse(monkeypatch, capsys, *asks, "--values", "scores", "--out", out)
    assert line == f"error: none of the 6 answers has a value of 0..10; all are kept in {out}.answers.jsonl"
    assert not out.exists()
    assert len((tmp_path / "plans.json.answers.jsonl").read_text().splitlines()) == 12


@pytest.mark.parametrize(
    "options",
    [
        "--score --model m",
        "--backend random",
        "--backend openai --model m --import_batch x.jsonl",
    ],
)
def test_what_gives_no_free_answers_is_refused(options, monkeypatch, capsys, tmp_path):
    asks = ["--task", "SimpleDoorKey", "--values", "scores", "--out", tmp_path / "p.json"]
    line = refuse(monkeypatch, capsys, *asks, *options.split())
    assert "--values needs free answers of a model; leave --score, batches" in line


def test_a_prompt_of_another_form_is_refused_before_a_model_is_asked(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("jaxteach.llm.command.task_prompt", lambda task, vocabulary: Prompt("Tell me.\n{caption}"))
    asks = ["--task", "SimpleDoorKey", "--backend", "openai", "--base_url", "http://127.0.0.1:9/v1", "--model", "m"]
    line = refuse(monkeypatch, capsys, *asks, "--values", "scores", "--out", tmp_path / "plans.json")
    assert '--values needs a prompt with a part that begins "Answer with the skills"' in line


def test_values_are_kept_and_checked(tmp_path, monkeypatch, capsys):
    """Catches a value that gets lost on the disk, and one outside 0..1."""
    plans, path = shipped_plans("SimpleDoorKey"), tmp_path / "plans.json"
    save_plans(plans, path)
    assert load_plans(path, None) == plans
    assert {entry.value for entry in plans.captions} == {0, 0.1, 0.3, 0.4, 0.6, 0.8}
    document = json.loads(path.read_text())
    document["captions"][0]["value"] = 1.5
    path.write_text(json.dumps(document))
    assert "is not a plan file" in refuse(monkeypatch, capsys, "--show", path)


def test_a_caption_has_one_value(tmp_path):
    """Catches a value for other agents' captions, which would silently count in all situations, or in none."""
    (alone, *rest), path = shipped_plans("LockedHallway-2Rooms").captions, tmp_path / "plans.json"
    for value, allowed in ((0.5, True), (None, True), (0.25, False)):
        entries = (structs.replace(alone, value=0.5), structs.replace(alone, value=value, others=(rest[0].caption,)))
        save_plans(PlanFile(("LockedHallway-2Rooms",), entries), path)
        if allowed:
            assert caption_values(make_teacher("LockedHallway-2Rooms", str(path))).count(0.5) == 1
            continue
        with pytest.raises(UserError, match="caption 1 has another value with other agents' captions"):
            load_plans(path, None)


@pytest.mark.parametrize("task", ["SimpleDoorKey", "LavaDoorKey", "KeyInBox", "RandomBoxKey"])
def test_shipped_plans_have_values(task):
    """Catches a task that the docs name and that has none; a key in hand and the door in sight are worth most."""
    teacher = make_teacher(task)
    values = dict(zip(teacher.captions, caption_values(teacher)))
    best = max(values, key=values.__getitem__)
    assert values[best] == 0.8
    assert "<door>" in best
    assert "holds <key>" in best


def test_values_are_part_of_what_potential_learns_from(tmp_path):
    """Catches runs of other values that count as one, and digests of older runs that change for nothing."""
    plans = shipped_plans("SimpleDoorKey")
    # As jaxteach 0.1.0 had it, before there were values.
    assert plans.digest.startswith("3339c8fcab8b5442")
    without = structs.replace(plans, captions=tuple(structs.replace(entry, value=None) for entry in plans.captions))
    other = structs.replace(plans, captions=(structs.replace(plans.captions[0], value=0.9), *plans.captions[1:]))
    assert without.digest == without.digest_with_values == plans.digest == other.digest
    assert len({made.digest_with_values for made in (plans, without, other)}) == 3
    save_plans(other, tmp_path / "other.json")
    config = TrainConfig("SimpleDoorKey", savedir="run", logdir=str(tmp_path))
    for guidance, same in (("kickstart", True), ("kickstart+potential", False)):
        config = replace(config, ppo=PPOConfig(guidance=guidance))
        changed = replace(config, teacher=replace(config.teacher, plans=str(tmp_path / "other.json")))
        assert (digest_of(config) == digest_of(changed)) == same


def test_a_run_goes_on_with_its_own_guidance_and_values_alone(tmp_path):
    """Catches a run that goes on with another method, or with other values, in silence."""
    config = TrainConfig("SimpleDoorKey", ppo=PPOConfig(guidance="potential"))
    write_json(tmp_path / "config.json", to_json(config))
    begin_session(tmp_path, config, 0, digest_of(config))
    check_resumable(config, config, tmp_path, digest_of(config))
    with pytest.raises(UserError, match="the run to resume has other options: --guidance potential, not dagger"):
        check_resumable(replace(config, ppo=PPOConfig(guidance="dagger")), config, tmp_path, digest_of(config))
    plans = shipped_plans("SimpleDoorKey")
    other = structs.replace(plans, captions=(structs.replace(plans.captions[0], value=0.9), *plans.captions[1:]))
    with pytest.raises(UserError, match="are other plans than the run"):
        check_resumable(config, config, tmp_path, other.digest_with_values)


@pytest.mark.slow
def test_plans_may_be_structured_where_values_are_free(monkeypatch, tmp_path):
    """Catches the constraint of plans on answers about values, of which a small model then could give none."""
    out = tmp_path / "plans.json"
    asks = ["--task", "SimpleDoorKey", "--model", MODEL, "--structured", "--temperature", 0, "--max_tokens", 40]
    teach(monkeypatch, *asks, "--values", "preferences", "--out", out)
    plans = load_plans(out, "SimpleDoorKey")
    assert plans.provenance["structured"]
    assert plans.provenance["values"].startswith("preferences, read from")
    assert any(entry.value is not None for entry in plans.captions)
