"""Agents that are asked again with the others' proposals: who is asked what, and what the teacher makes of it."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from msgspec.structs import astuple

import envs_jax
import jaxteach.teach
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.llm.answer_cache import AnswerStore
from jaxteach.llm.debate import count_questions, debate
from jaxteach.llm.joint_captions import JointCaptions, conflict_share, frequent_situations, rollout_captions
from jaxteach.llm.prompts import task_prompt
from jaxteach.system.command import run_command
from jaxteach.teacher import make_teacher
from jaxteach.teacher.plans import (
    CaptionParts,
    CaptionPlans,
    Plan,
    PlanFile,
    PlanFileError,
    find_plans,
    load_plans,
    save_plans,
)
from jaxteach.teacher.policy import task_domain
from jaxteach.teacher.table import compile_plans
from tests.language_model import MODEL

SPREAD = task_domain(envs_jax.make("simple_spread"), "simple_spread").vocabulary
PROMPT = task_prompt("simple_spread", SPREAD)
NEAREST = "Action: {go to <nearest landmark>}"


class Agents:
    """A client whose agents go to the nearest landmark, until they hear of others: then to the nearest free one."""

    identity = {"model": "agents"}  # noqa: RUF012

    def __init__(self):
        self.batches = []

    def ask(self, questions):
        self.batches.append(list(questions))
        for question in questions:
            yield question, self.answer(question)

    def answer(self, question):
        if "You are not alone" not in question.prompt:
            return NEAREST
        own = question.prompt.splitlines()[-1]
        free = [rank for rank in ("nearest", "second", "third") if f"<{rank} landmark>" in own]
        return f"Action: {{go to <{free[0]} landmark>}}"


def hold(path, situations, rounds=1, samples=2, client=None):
    client = Agents() if client is None else client
    return client, debate(client, AnswerStore(path), PROMPT, SPREAD, situations, rounds, samples)


def parts(number):
    return CaptionParts(tuple(SPREAD.sees[number]), SPREAD.holds[number])


def alone(plan="nearest landmark"):
    return tuple(
        CaptionPlans(tuple(sees), holds, (Plan(1.0, (("goto", plan),)),))
        for sees, holds in zip(SPREAD.sees, SPREAD.holds)
    )


def test_every_round_is_one_batch_and_nothing_is_asked_twice(tmp_path):
    situations = [(0, 1, 1), (0, 0, 3)]
    client, _ = hold(tmp_path / "answers", situations, rounds=2, samples=3)
    assert len(client.batches) == 3
    asked = [question for batch in client.batches for question in batch]
    assert len(asked) == len(set(asked)) <= count_questions(situations, 2, 3)
    again, _ = hold(tmp_path / "answers", situations, rounds=2, samples=3)
    assert again.batches == []


def test_agents_read_the_others_captions_and_proposals(tmp_path):
    client, _ = hold(tmp_path / "answers", [(0, 1, 3)], samples=1)
    first, second = client.batches
    assert all("You are not alone" not in question.prompt for question in first)
    (own,) = [question.prompt for question in second if question.prompt.endswith(SPREAD.texts[1])]
    assert own.count("It proposes: go to <nearest landmark>") == 2
    assert f"- {SPREAD.texts[0]} It proposes" in own
    assert f"- {SPREAD.texts[3]} It proposes" in own
    assert f"- {SPREAD.texts[1]}" not in own
    assert own.startswith(PROMPT.text.split("{caption}")[0]), "the rules come first, so that their start is shared"


def test_agents_with_the_same_caption_are_drawn_apart(tmp_path):
    client, _ = hold(tmp_path / "answers", [(0, 0, 0)], samples=2)
    for batch in client.batches:
        assert sorted(question.sample for question in batch) == list(range(6))


def test_an_answer_that_is_no_plan_is_no_proposal(tmp_path):
    class Shy(Agents):
        def answer(self, question):
            return super().answer(question) if "You are not alone" in question.prompt else "hm"

    client, entries = hold(tmp_path / "answers", [(0, 1, 3)], samples=1, client=Shy())
    assert all("It proposes: nothing yet" in question.prompt for question in client.batches[1])
    assert len(entries) == 3


def test_the_last_round_becomes_plans_for_a_caption_in_its_company(tmp_path):
    _, entries = hold(tmp_path / "answers", [(0, 1, 1)])
    found = {(entry.caption, entry.others): entry.plans for entry in entries}
    assert set(found) == {(parts(0), (parts(1), parts(1))), (parts(1), (parts(0), parts(1)))}
    assert found[parts(0), (parts(1), parts(1))] == (Plan(1.0, (("goto", "nearest landmark"),)),)
    assert found[parts(1), (parts(0), parts(1))] == (Plan(1.0, (("goto", "second landmark"),)),)


def test_joint_plans_need_their_situation(tmp_path):
    """Whoever the others are: their order does not matter, and other company changes nothing."""
    special = CaptionPlans(*astuple(parts(1)), (Plan(1.0, (("wait", None),)),), (parts(4), parts(2)))
    save_plans(PlanFile(("simple_spread",), (*alone(), special)), tmp_path / "plans.json")
    table = make_teacher("simple_spread", plans=str(tmp_path / "plans.json")).table
    count = len(SPREAD.texts)
    assert table.rows.shape == (count, count**2)
    changed = np.argwhere(table.rows != np.arange(count)[:, None])
    assert changed.tolist() == [[1, 2 * count + 4]]
    assert table.rows[1, 2 * count + 4] == count
    assert load_plans(tmp_path / "plans.json", "simple_spread").captions[-1].others == (parts(4), parts(2))


def test_debated_plans_end_conflicts(tmp_path):
    env = envs_jax.make("simple_spread")
    world = AgentAxisWrapper(env)
    lonely = make_teacher("simple_spread", plans="none")
    lonely = lonely.replace(table=compile_plans(PlanFile(("simple_spread",), alone()), SPREAD))
    met = rollout_captions(world, lonely)
    assert met.captions.min() >= 0
    before = conflict_share(rollout_captions(world, lonely, 0.1))
    assert before > 0.3
    _, entries = hold(tmp_path / "answers", frequent_situations(met, 1000))
    table = compile_plans(PlanFile(("simple_spread",), (*alone(), *entries)), SPREAD)
    assert conflict_share(rollout_captions(world, lonely.replace(table=table), 0.1)) < 0.5 * before


@pytest.mark.parametrize("task", ["simple_spread", pytest.param("LockedHallway-2Rooms", marks=pytest.mark.slow)])
def test_labels_in_company_equal_the_teacher_step_by_step(task):
    env = envs_jax.make(task)
    vocabulary = task_domain(env, task).vocabulary
    names = [CaptionParts(tuple(sees), holds) for sees, holds in zip(vocabulary.sees, vocabulary.holds)]
    shipped = make_teacher(task)
    world = AgentAxisWrapper(env)
    situations = frequent_situations(rollout_captions(world, shipped), 3)
    idle = (Plan(1.0, (("wait", None),)),)
    others = {
        (situation[i], situation[:i] + situation[i + 1 :]) for situation in situations for i in range(len(situation))
    }
    entries = [
        CaptionPlans(*astuple(names[own]), idle, tuple(names[other] for other in others)) for own, others in others
    ]
    source = find_plans("shipped", task)
    teacher = shipped.replace(table=compile_plans(PlanFile((task,), (*source.captions, *entries)), vocabulary))

    def step(carry, key):
        state, timestep, memory = carry
        seen, probs = teacher(memory, timestep.observation, key)
        action = jax.random.categorical(key, jnp.log(probs)).astype(jnp.int32)
        following, after = env.step(state, action)
        return (following, after, teacher.advance(seen, action)), (timestep.observation, action, probs)

    state, timestep = env.reset(jax.random.key(1))
    start = (state, timestep, teacher.reset())
    _, (obs, action, probs) = jax.jit(lambda start: jax.lax.scan(step, start, jax.random.split(jax.random.key(2), 20)))(
        start
    )
    first = jnp.zeros((20, 1), bool).at[0].set(True)
    trajectory = jax.tree.map(lambda leaf: leaf[:, None], (obs, action))
    memory = jax.tree.map(lambda leaf: leaf[None], teacher.reset())
    labels = jax.jit(lambda memory: teacher.label(memory, *trajectory, first, jax.random.key(0)))(memory)[1]
    np.testing.assert_allclose(labels[:, 0], probs, atol=1e-6)
    assert (probs[..., teacher.domain.noop] == 1).any(), "the plans of company were never used"


def test_conflicts_are_two_agents_after_one_thing():
    targets = np.array([[[0, 0, 1], [-1, -1, 2], [0, 1, 2], [2, 1, 2]]])
    assert conflict_share(JointCaptions(np.zeros_like(targets), targets)) == 0.5


def test_aims_are_the_landmarks_themselves():
    teacher = make_teacher("simple_spread")
    env = envs_jax.make("simple_spread")
    places = [[0, 0], [1, 0], [-1, 0], [0.9, 0.1], [-0.9, 0], [0, 0.1]]
    obs = env.observe(env.make_state(places, np.zeros((3, 2))))
    assert jax.jit(teacher.targets)(teacher.reset(), obs).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([{"sees": ["nothing"], "holds": None}], "a caption that the task never shows"),
        ("all", "Expected `array`, got `str` - at .*others"),
        ([3], "Expected `object`, got `int` - at .*others"),
        ([{"sees": 3}], "Expected `array`, got `int` - at .*sees"),
    ],
)
def test_malformed_others_get_one_sentence(tmp_path, others, words):
    entry = {
        "sees": list(SPREAD.sees[0]),
        "holds": None,
        "others": others,
        "plans": [{"p": 1, "skills": [["wait", None]]}],
    }
    document = {"format": "jaxteach-plans", "version": 1, "tasks": ["simple_spread"], "captions": [entry]}
    (tmp_path / "plans.json").write_text(json.dumps(document))
    with pytest.raises(PlanFileError, match=words):
        make_teacher("simple_spread", plans=str(tmp_path / "plans.json"))


def test_plans_for_another_number_of_agents_are_refused(tmp_path):
    pair = CaptionPlans(*astuple(parts(0)), (Plan(1.0, (("wait", None),)),), (parts(0),))
    save_plans(PlanFile(("simple_spread",), (*alone(), pair)), tmp_path / "plans.json")
    with pytest.raises(ValueError, match="another number of agents than 3"):
        make_teacher("simple_spread", plans=str(tmp_path / "plans.json"))


@pytest.mark.slow
def test_the_command_debates_with_a_real_model(monkeypatch, tmp_path, capsys):
    out = tmp_path / "plans.json"
    arguments = ["--task", "simple_spread", "--model", str(MODEL), "--structured", "--samples", "1", "--threads", "1"]
    arguments += ["--max_tokens", "48", "--debate_rounds", "1", "--situations", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["teach", *arguments])
    run_command(jaxteach.teach.main)
    plans = load_plans(out, "simple_spread")
    facts = plans.provenance["debate"]
    assert (facts["rounds"], facts["situations"]) == (1, 2)
    assert 0 <= facts["conflicts_together"] <= 1
    assert any(entry.others for entry in plans.captions)
    assert "with: Agent sees" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["teach", "--show", str(out), "--episodes", "8"])
    run_command(jaxteach.teach.main)
    assert "two agents pursue the same object" in capsys.readouterr().out


def test_one_agent_cannot_debate(monkeypatch, tmp_path, capsys):
    arguments = ["--task", "SimpleDoorKey", "--backend", "random", "--debate_rounds", "1", "--out", str(tmp_path / "p")]
    monkeypatch.setattr(sys, "argv", ["teach", *arguments])
    with pytest.raises(SystemExit) as end:
        run_command(jaxteach.teach.main)
    assert end.value.code == 2
    assert "a debate needs several" in capsys.readouterr().err
