"""The compiled teacher against every transition that the reference's teacher labelled."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxteach.teacher import make_teacher
from jaxteach.teacher.domain import caption_text
from tests import traces

SOFT_TASKS = (*traces.TASKS, *traces.BOX_TASKS)
CASES = [(task, mode) for task in traces.TASKS for mode in ("soft", "hard")]
CASES += [(task, "soft") for task in traces.BOX_TASKS]
OTHER_CAPTIONS = [
    (task, mode) for task in traces.BOX_TASKS for mode in ("random", "hardcoded", "always", "ask50", "fuzz")
]
"""Recordings of other teachers, which have the captions."""


@cache
def replayed(task, mode):
    """The recording, the teacher and its memories, each carried along from the start of its episode."""
    data = traces.load_task(task, mode)
    teacher = make_teacher(task, soft=mode != "hard")
    frames = traces.transition_frames(data)
    obs = jnp.asarray(data["obs"][frames])
    first = jnp.asarray(np.isin(frames, data["ep_frame_start"][:-1]))

    def carry(memory, step):
        memory = teacher.remember(jnp.where(step[0], teacher.reset(), memory), step[1])
        return memory, memory

    _, memories = jax.jit(lambda steps: jax.lax.scan(carry, teacher.reset(), steps))((first, obs))
    return data, teacher, memories, obs


def in_our_words(text):
    """A recorded caption with its colours numbered in the order in which they are named, or one of LLM4RL's."""
    if text.startswith("observation: "):
        return caption_text(re.findall(r"observed a (\w+)", text), "key" if "carry key" in text else None)
    colors = list(dict.fromkeys(re.findall(r"(red|green|blue|purple|yellow|grey) ", text)))
    return re.sub(r"(red|green|blue|purple|yellow|grey) ", lambda m: f"color{colors.index(m[1]) + 1} ", text)


@pytest.mark.parametrize(("task", "mode"), CASES + OTHER_CAPTIONS)
def test_captions(task, mode):
    data, teacher, memories, obs = replayed(task, mode)
    numbers = jax.jit(jax.vmap(teacher.caption))(memories, obs)
    captions = [teacher.captions[i] for i in numbers]
    assert captions == [in_our_words(data["texts"][i]) for i in data["t_text_id"]]


@pytest.mark.parametrize(("task", "mode"), CASES)
def test_plans_and_their_actions(task, mode):
    data, teacher, memories, obs = replayed(task, mode)
    actions, weights = jax.jit(jax.vmap(teacher.plan_actions))(memories, obs)
    plans = data["t_n_plans"]
    given = np.arange(weights.shape[1]) < plans[:, None]
    np.testing.assert_array_equal(np.asarray(weights) > 0, given)
    recorded = data["t_plan_probs"][:, : weights.shape[1]]
    np.testing.assert_allclose(np.where(given, weights, 0), np.where(given, recorded, 0), atol=1e-6)
    allowed = (data["t_plan_ok_actions"][:, : weights.shape[1]] >> np.asarray(actions)) & 1
    wrong = np.argwhere(given & (allowed == 0))
    assert len(wrong) == 0, f"{len(wrong)} of {given.sum()} plans act differently, first {wrong[:5].tolist()}"


@pytest.mark.parametrize("task", traces.BOX_TASKS)
def test_keys_and_boxes_are_remembered_where_they_were_last_seen(task):
    data, _, memories, obs = replayed(task, "soft")
    assert data["mem_names"].tolist() == ["key", "box", "door"]
    x, y = np.moveaxis(data["t_mem"][:, :2].astype(int), -1, 0)
    np.testing.assert_array_equal(memories, np.where(x < 0, -1, x * obs.shape[2] + y))


@pytest.mark.parametrize("task", SOFT_TASKS)
def test_soft_probabilities_are_the_mixture_of_the_plans(task):
    _, teacher, memories, obs = replayed(task, "soft")
    actions, weights = jax.jit(jax.vmap(teacher.plan_actions))(memories, obs)
    mixture = np.zeros((len(obs), 7))
    for plan in range(weights.shape[1]):
        np.add.at(mixture, (np.arange(len(obs)), np.asarray(actions)[:, plan]), np.asarray(weights)[:, plan])
    # Calling the teacher after it has seen the frame leaves its memory as it is.
    again, probs = jax.jit(jax.vmap(teacher, in_axes=(0, 0, None)))(memories, obs, jax.random.key(0))
    np.testing.assert_array_equal(again, memories)
    np.testing.assert_allclose(probs, mixture, atol=1e-6)


@pytest.mark.parametrize("task", SOFT_TASKS)
def test_unique_actions_equal_the_recorded_distribution(task):
    """Where every plan has one right action, the recorded distribution is ours, not only the mixture."""
    data, teacher, memories, obs = replayed(task, "soft")
    bits = np.where(np.arange(6) < data["t_n_plans"][:, None], data["t_plan_ok_actions"], 1)
    unique = ((bits & (bits - 1)) == 0).all(1)
    assert unique.mean() > 0.5
    _, probs = jax.jit(jax.vmap(teacher, in_axes=(0, 0, None)))(memories, obs, jax.random.key(0))
    np.testing.assert_allclose(np.asarray(probs)[unique], data["t_teacher_probs"][unique], atol=1e-6)


@pytest.mark.parametrize("task", traces.TASKS)
def test_hard_teacher_draws_plans_by_their_probabilities(task):
    _, teacher, memories, obs = replayed(task, "hard")
    soft = make_teacher(task)
    keys = jax.random.split(jax.random.key(3), 400)
    drawn = jax.vmap(jax.vmap(teacher, in_axes=(None, None, 0)), in_axes=(0, 0, None))
    _, one_hot = jax.jit(drawn)(memories[:64], obs[:64], keys)
    _, mixture = jax.jit(jax.vmap(soft, in_axes=(0, 0, None)))(memories[:64], obs[:64], keys[0])
    np.testing.assert_array_equal(np.sort(one_hot, -1)[..., -1], 1)
    np.testing.assert_allclose(np.mean(one_hot, 1), mixture, atol=0.12)
