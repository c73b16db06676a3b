"""When2Ask's plans, questions and prices against every step that the reference recorded."""

import json
from functools import cache

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from envs_jax.vector import select_copies
from jaxteach.guidance.ask import Asking
from jaxteach.teacher import make_teacher
from jaxteach.teacher.executor import Execution, Executor, Plan
from jaxteach.teacher.plans import CaptionPlans, PlanFile
from jaxteach.teacher.policy import Teacher, table_for
from jaxteach.teacher.table import EXPLORE, FIRST_OBJECT_SKILL, NOTHING_LEFT, OBJECT_SKILLS, WAIT
from tests import traces

OTHER_TASKS = {"SimpleDoorKey": {}, "ColoredDoorKey": {"free_colors": True}}
"""LLM4RL's variants of tasks that are LLM4Teach's too, with the options of their worlds."""
CASES = [(task, mode) for task in (*traces.BOX_TASKS, *OTHER_TASKS) for mode in ("ask50", "always", "hardcoded")]
PRICE = 0.01
SKILL_WORDS = {1: "goto", 2: "pickup", 3: "drop", 4: "toggle"}
OBJECT_WORDS = {4: "door", 5: "key", 7: "box"}


@cache
def teacher_of(task):
    """The teacher with LLM4RL's plans, which ship for its own tasks only."""
    if task in traces.BOX_TASKS:
        return make_teacher(task)
    domain = make_teacher(task, "shipped", True, **OTHER_TASKS[task]).domain
    document = json.loads((traces.FOLDER / "llm4rl_plans.json").read_text("utf-8"))
    entries = [{name: entry[name] for name in ("sees", "holds", "plans")} for entry in document[f"LLM4RL-{task}"]]
    plans = PlanFile((task,), msgspec.convert(entries, tuple[CaptionPlans, ...]))
    return Teacher(table_for(plans, domain), domain, True, plans)


def recorded(task, mode):
    """The recording, its observations before each step, where episodes begin, and the coins, 0 where none was drawn."""
    prefix = "" if task in traces.BOX_TASKS else "llm4rl_"
    data = traces.load(f"{prefix}{task.lower()}_{mode}", "traces_llm4rl")
    frames = traces.transition_frames(data)
    first = np.isin(frames, data["ep_frame_start"][:-1])
    return data, data["obs"][frames], first, np.where(data["t_rng"] == 255, 0, data["t_rng"]).astype(np.int32)


@cache
def replayed(task, mode):
    """The recording, and of each step the dialogue after it, the action, the charge, and whether a question was put."""
    data, obs, first, coins = recorded(task, mode)
    asking = Asking(Executor(teacher_of(task)), PRICE)

    def step(dialogue, given):
        first, obs, wanted, coin = given
        dialogue = select_copies(first, asking.reset(), dialogue)
        after, action, charge = asking.step(dialogue, obs, wanted, coin)
        return after, (after, action, charge, after.questions > dialogue.questions)

    steps = jax.jit(lambda given: jax.lax.scan(step, asking.reset(), given)[1])((first, obs, data["t_ask"], coins))
    return data, jax.tree.map(np.asarray, steps)


def is_right(data, action):
    """bool[T], one of the right actions; equally short paths have several."""
    return (data["t_plan_ok_actions"][:, 0] >> action) & 1 == 1


def check_exploration(data, exploration):
    """The state of explorations under way is the recorded one."""
    here = data["t_plan_skill_type"][:, 0] == 0
    assert here.any()
    np.testing.assert_array_equal(exploration.phase[here] - 1, data["t_explore_nw"][here])
    width = exploration.queue.shape[1]
    queue = np.where(exploration.queue < 0, 255, exploration.queue)
    np.testing.assert_array_equal(queue[here], data["t_explore_path"][here, :width])


@pytest.mark.parametrize(("task", "mode"), CASES)
def test_actions_and_ends_of_plans(task, mode):
    data, (dialogue, action, _, asked) = replayed(task, mode)
    np.testing.assert_array_equal(asked, data["t_asked"])
    np.testing.assert_array_equal(is_right(data, action), True)
    np.testing.assert_array_equal(dialogue.execution.done, data["t_skill_done"])


@pytest.mark.parametrize(("task", "mode"), CASES)
def test_plans_and_explorations(task, mode):
    data, (dialogue, *_) = replayed(task, mode)
    plan, cells = dialogue.execution.plan, targets_of(data)
    np.testing.assert_array_equal(plan.targets, cells[:, : plan.targets.shape[1]])
    check_exploration(data, dialogue.execution.exploration)


@pytest.mark.parametrize(("task", "mode"), CASES)
def test_rewards(task, mode):
    data, (dialogue, _, charge, _) = replayed(task, mode)
    np.testing.assert_array_equal(dialogue.surcharge, data["t_repeat"])
    if mode == "hardcoded":  # The recording's price knows no surcharge.
        charge = PRICE * dialogue.execution.done
    np.testing.assert_allclose(data["reward"] - charge, data["t_comm_reward"], atol=1e-7)


def targets_of(data):
    """int[T, 4], the cells of the recorded plans' objects, -1 for none."""
    x, y = np.moveaxis(data["t_skills"][:, 0, :, 2:].astype(int), -1, 0)
    return np.where(x < 0, -1, x * data["obs"].shape[2] + y)


def plans_of(data, names):
    """The recorded plans: a skill that is unknown waits, one without an object has the first cell."""

    def number(skill, target):
        if skill not in SKILL_WORDS:
            return {-1: NOTHING_LEFT, 0: EXPLORE}.get(skill, WAIT)
        name = names.index(OBJECT_WORDS.get(target, "key"))
        return FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * name + OBJECT_SKILLS.index(SKILL_WORDS[skill])

    recorded = data["t_skills"][:, 0].astype(int)
    skills = np.array([[number(*item[:2]) for item in plan] for plan in recorded], np.int32)
    targets = np.where(skills < FIRST_OBJECT_SKILL, -1, np.maximum(targets_of(data), 0))
    return Plan(skills, targets.astype(np.int32))


def is_fatal(text, memory):
    """Whether the reference stops with an error, as a plan goes to nothing, or names what was never seen."""
    known = dict(zip(("key", "box", "door"), (memory >= 0).all(1)))
    known["key"] |= known["box"]
    items = [item.split() for item in text.strip("{}").split(", ") if item != "explore"]
    return any(item == ["go", "to"] or not known.get(item[-1], True) for item in items)


@pytest.mark.parametrize("task", traces.BOX_TASKS)
def test_arbitrary_plans(task):
    """Catches wrong ways to lay things down, and plans that are passed over or given up in the wrong place."""
    data, obs, first, coins = recorded(task, "fuzz")
    executor = Executor(teacher_of(task))
    plans = plans_of(data, executor.teacher.vocabulary.object_names)
    question = np.maximum.accumulate(np.where(data["t_asked"], np.arange(len(first)), 0))
    texts = data["plan_texts"][data["t_plan_text_id"][question]]
    fatal = np.array([is_fatal(*each) for each in zip(texts, data["t_mem"])]) & (data["t_error"] == 1)
    start = executor.reset()._replace(plan=jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), plans))

    def step(execution: Execution, given):
        first, obs, asked, plan, coin, fatal = given
        execution = select_copies(first, start, execution)
        fresh = start._replace(plan=plan, done=jnp.bool_(False), exploration=execution.exploration)
        execution = select_copies(asked, fresh, execution)
        after, action = executor.act(execution, obs, coin)
        # What the reference stops at, this executor passes over.
        return select_copies(fatal, execution, after), (after, action)

    given = (first, obs, data["t_asked"], plans, coins, fatal)
    execution, action = jax.jit(lambda given: jax.lax.scan(step, start, given)[1])(given)
    execution, action = jax.tree.map(np.asarray, (execution, action))
    assert fatal.sum() < 12
    assert (data["t_error"] > fatal).any() == (task == "RandomBoxKey")
    np.testing.assert_array_equal(is_right(data, action)[~fatal], True)
    np.testing.assert_array_equal(execution.done[~fatal], data["t_skill_done"][~fatal])
    check_exploration(data, execution.exploration)
