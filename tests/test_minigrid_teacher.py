"""The teacher of MiniGrid's worlds: its captions, its plans, and how it does in our worlds and in MiniGrid's own."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from envs_jax.vector import VectorEnv, select_copies
from jaxteach.errors import UserError
from jaxteach.llm.grammar import plan_grammar
from jaxteach.llm.parse import Rejected, answer_text, parse_answer
from jaxteach.llm.prompts import CAPTION, task_prompt
from jaxteach.tasks import taught_tasks
from jaxteach.teacher import make_teacher
from jaxteach.teacher.plans import shipped_plans
from jaxteach.teacher.tasks.minigrid_worlds import CAPTIONS
from tests.command_line import teach
from tests.minigrid_teaching import minigrid_id, played, solved_of_minigrid_s, success, world

FAST = ("UnlockPickup",)
SLOW = (
    *("BlockedUnlockPickup", "KeyCorridorS3R3", "ObstructedMaze-1Dlhb", "DoorKey-8x8", "MultiRoom-N4-S5-v1"),
    *("RedBlueDoors-6x6", "LavaCrossingS9N1", "FourRooms", "Fetch-8x8-N3", "GoToDoor-8x8", "PutNear-8x8-N3"),
)
"""A world of each family."""
TAUGHT = [task for task in taught_tasks() if task.startswith("MiniGrid-")]


def fast_and_slow(fast, slow):
    return pytest.mark.parametrize("name", [*fast, *(pytest.param(name, marks=pytest.mark.slow) for name in slow)])


@fast_and_slow(FAST, SLOW)
def test_the_teacher_solves_its_worlds(name):
    """Catches a skill, a caption or a plan with which an agent goes in circles."""
    solved = success(minigrid_id(name))
    assert solved.mean() >= 0.98, np.flatnonzero(~solved)[:20]


@fast_and_slow(FAST, SLOW)
def test_every_caption_of_mixed_play_is_one_of_the_list(name):
    """Catches a situation that random actions lead to and nobody thought of: 100,000 steps, from none at random on."""
    teacher, found, random = world(minigrid_id(name))[1], set(), 0.0
    for steps in played(minigrid_id(name), 8, 0.35):
        captions = np.asarray(steps.caption)
        found |= set(np.unique(captions).tolist())
        np.testing.assert_allclose(np.asarray(steps.probs).sum(-1), 1, atol=1e-6, err_msg="a caption without plans")
        planned = np.take_along_axis(np.asarray(steps.probs), np.asarray(steps.action)[..., None], -1)
        random += (planned == 0).mean() / 8
    assert found <= set(range(len(teacher.captions))), [number for number in found if number < 0]
    assert len(found) > 1
    assert 0.1 < random < 0.5


@fast_and_slow(
    ("BlockedUnlockPickup", "LavaCrossingS9N1"),
    ("UnlockPickup", "KeyCorridorS3R2", "MultiRoom-N2-S4", "RedBlueDoors-6x6"),
)
def test_the_teacher_solves_minigrid_s_own_worlds(name):
    """Catches a teacher that needs more than what the package `minigrid` shows an agent."""
    assert solved_of_minigrid_s(minigrid_id(name), 20) == 20


@pytest.mark.parametrize("task", TAUGHT)
def test_each_caption_is_told_once_and_has_a_plan(task):
    plans, teacher = shipped_plans(task), make_teacher(task)
    assert plans.by_hand
    assert len(set(teacher.captions)) == len(teacher.captions) == len(plans.captions)
    np.testing.assert_allclose(teacher.table.probabilities.sum(1), 1, atol=1e-6)


def test_the_captions_of_a_world_by_hand():
    """Catches a single key that is named twice, and a name that is lost."""
    vocabulary = CAPTIONS[type(envs_jax.make("MiniGrid-Unlock-v0"))]
    assert vocabulary.object_names == ["key", "locked door"]
    told = set(zip(map(tuple, vocabulary.sees), vocabulary.holds))
    doors = ((), ("locked door",))
    assert told == {
        *((door, held) for door in doors for held in (None, "key", "used key")),
        *(((key, *door), None) for door in doors for key in ("key", "used key")),
    }
    several = replace(vocabulary, unique=False)
    assert len(several.texts) == 2**3 * 3


def test_worlds_that_the_teacher_can_t_deal_with_are_refused():
    with pytest.raises(ValueError, match="at most 32 rows, and Empty needs 33"):
        make_teacher("MiniGrid-Empty-16x16-v0", size=26)
    assert make_teacher("MiniGrid-Empty-16x16-v0", size=25).domain.size == (32, 32)
    for untaught in ("MiniGrid-MemoryS7-v0", "MiniGrid-ObstructedMaze-Full-v0", "MiniGrid-Dynamic-Obstacles-5x5-v0"):
        with pytest.raises(ValueError, match="has no teacher"):
            make_teacher(untaught)
    with pytest.raises(UserError, match="only plans written by hand"):
        make_teacher("MiniGrid-Unlock-v0", plans="recorded")


@pytest.mark.slow
def test_labels_of_trajectories_equal_the_teacher_step_by_step():
    """In a world whose mission has no numbers, and for steps that do not fill the last block."""
    env, teacher = envs_jax.make("MiniGrid-Unlock-v0", max_steps=15), make_teacher("MiniGrid-Unlock-v0")
    venv, copies, length = VectorEnv(env, 8), 8, 41
    fresh = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (copies, *leaf.shape)), teacher.reset())
    actions = jax.random.choice(jax.random.key(1), jnp.array([0, 1, 2, 2, 3, 4, 5]), (length, copies))

    def step(carry, action):
        state, obs, first, memory = carry
        memory, probs = jax.vmap(teacher, (0, 0, None))(select_copies(first, fresh, memory), obs, jax.random.key(0))
        captions = jax.vmap(teacher.caption)(memory, obs)
        after, timestep = venv.step(state, action)
        memory = jax.vmap(teacher.advance)(memory, action)
        return (after, timestep.observation, timestep.last(), memory), (obs, first, probs, captions)

    @jax.jit
    def both(key):
        state, timestep = venv.reset(key)
        carry = (state, timestep.observation, jnp.ones(copies, bool), fresh)
        (*_, memory), (obs, first, probs, captions) = jax.lax.scan(step, carry, actions)
        return first, (memory, probs, captions), teacher.label(fresh, obs, actions, first, jax.random.key(0))

    assert copies * length % 128
    first, singly, at_once = both(jax.random.key(2))
    assert 2 * copies <= first.sum() < copies * length / 5
    assert len(np.unique(singly[2])) > 3
    jax.tree.map(np.testing.assert_array_equal, singly, at_once)


@pytest.mark.parametrize("task", TAUGHT)
def test_prompts_tell_all_about_a_world(task):
    """Catches a gap that nothing fills, and an object or a name in captions that a model is not told of."""
    vocabulary = make_teacher(task, "none").vocabulary
    text = task_prompt(task, vocabulary).text
    assert re.findall(r"\{\w+\}", text) == [CAPTION]
    assert "<stone>" in text
    assert all(f"<{name}>" in text for name in vocabulary.object_names)
    assert vocabulary.mission in text
    told = [line for line in text.splitlines() if line.startswith("- <")]
    assert told == [f"- <{thing.name}>: {thing.note}" for thing in vocabulary.objects if thing.note]
    assert ("- put next to <object>" in text) == ("PutNear" in task)


def test_putting_next_to_something_can_be_asked_for_and_read():
    """Catches a skill that models can't name, or name in worlds that do not know it."""
    near, fetch = (make_teacher(minigrid_id(name), "none").vocabulary for name in ("PutNear-6x6-N2", "Fetch-5x5-N2"))
    plan = (("goto", "target"), ("pickup", "target"), ("putnext", "destination"))
    answer = "Action: {go to <target>, pick up <target>, put next to <destination>}"
    assert answer_text(plan) == answer
    assert parse_answer(answer, near) == plan
    assert '"put next to"' in plan_grammar(near)
    assert '"put next to"' not in plan_grammar(fetch)
    with pytest.raises(Rejected, match="unknown skill"):
        parse_answer("Action: {put next to <target>}", fetch)
    with pytest.raises(Rejected, match="putnext without an object"):
        parse_answer("Action: {put next to}", near)


@pytest.mark.slow
def test_plans_for_a_world_are_asked_for_and_shown(monkeypatch, tmp_path, capsys):
    task, out = "MiniGrid-UnlockPickup-v0", tmp_path / "plans.json"
    teach(monkeypatch, "--task", task, "--backend", "random", "--out", out)
    teach(monkeypatch, "--show", out, "--episodes", 8)
    shown = capsys.readouterr().out
    assert "Agent sees <key>" in shown
    assert f"of 8 episodes of {task}" in shown
    teach(monkeypatch, "--show", "shipped", "--task", task, "--episodes", 8)
    shown = capsys.readouterr().out
    assert "source: written by hand" in shown
    assert f"the teacher itself succeeds in 1.000 of 8 episodes of {task}" in shown
