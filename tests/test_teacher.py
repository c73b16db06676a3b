"""The teacher beyond the recordings: vocabularies, single situations, labels, plan files."""

import dataclasses
import json
from collections import Counter

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from msgspec import structs

import envs_jax
from envs_jax.grid.cells import kind_of
from envs_jax.grid.constants import BOX, KEY, Actions
from envs_jax.vector import vectorize
from jaxteach.errors import UserError
from jaxteach.llm.query import AnswerCounts
from jaxteach.ppo.distillation import initial_memory, uncovered_captions, unlisted_captions
from jaxteach.ppo.episodes import teacher_policy
from jaxteach.teacher import Teacher, make_teacher
from jaxteach.teacher.navigation import FINISHED, STUCK, Map, Pose, go_to, neighbourhood, read_map
from jaxteach.teacher.plans import CaptionParts, CaptionPlans, Plan, PlanFile, load_plans, save_plans, shipped_plans
from jaxteach.teacher.table import compile_plans
from jaxteach.teacher.tasks.doorkey_captions import Captions, Scene
from jaxteach.teacher.tasks.plain import PlainDomain, Words
from tests.traces import BOX_TASKS, TASKS

WALKED = (*TASKS, *BOX_TASKS)
"""Tasks whose list of captions is compared with what random walks show."""


@pytest.fixture(scope="module")
def numbered():
    """A teacher of a domain whose observations are the captions' numbers; plan i is certain for caption i of 3."""
    words = Words([["a"], ["b"], ["c"]], ["a", "b", "c"], ("goto",))
    ways = {("goto", name): jnp.int32(i) for i, name in enumerate("abc")}
    entries = [CaptionPlans((name,), None, (Plan(1.0, (("goto", name),)),)) for name in "abc"]
    domain = PlainDomain(words, 3, caption=lambda obs: obs, actions=lambda obs: ways)
    return Teacher(compile_plans(PlanFile(("Numbered",), tuple(entries)), words), domain, soft=True)


@pytest.mark.parametrize("soft", [True, False])
def test_a_caption_outside_the_list_has_no_plans(numbered, soft):
    """Catches a number that is clamped or wraps to another caption, whose plans are then taught."""
    teacher = dataclasses.replace(numbered, soft=soft)
    numbers = jnp.array([0, 1, 2, 3, 4, 1000, 2**31 - 1, -1, -2, -3, -1000, -(2**31)], jnp.int32)
    expected = np.concatenate([np.eye(3), np.zeros((len(numbers) - 3, 3))])
    memory = jnp.zeros((len(numbers), 0))
    probs = jax.vmap(teacher)(memory, numbers, jax.random.split(jax.random.key(0), len(numbers)))[1]
    np.testing.assert_array_equal(probs, expected)
    acted, first = jnp.zeros((1, len(numbers)), jnp.int32), jnp.ones((1, len(numbers)), bool)
    _, probs, captions = teacher.label(memory, numbers[None], acted, first, jax.random.key(0))
    np.testing.assert_array_equal(probs[0], expected)
    np.testing.assert_array_equal(captions[0], [0, 1, 2] + [-2] * 4 + [-1] + [-2] * 4)
    np.testing.assert_array_equal(jax.vmap(teacher.caption)(memory, numbers), captions[0])
    np.testing.assert_array_equal(jax.vmap(teacher.targets)(memory, numbers), -1)
    assert unlisted_captions(teacher.table, numbers) == unlisted_captions(teacher.table, captions) == 8
    np.testing.assert_array_equal(uncovered_captions(teacher.table, numbers), 0)


class Pair(PlainDomain):
    num_agents = 2


def test_beside_a_caption_outside_the_list_there_are_the_agent_s_own_plans():
    """Catches the company of a number that stands nowhere taken for another company."""
    words = Words([["a"], ["b"], ["c"]], ["a", "b", "c"], ("goto",))
    ways = {("goto", name): jnp.int32(i) for i, name in enumerate("abc")}
    own = CaptionPlans(("a",), None, (Plan(1.0, (("goto", "a"),)),))
    others = [
        structs.replace(own, plans=(Plan(1.0, (("goto", x),)),), others=(CaptionParts((x,), None),)) for x in "bc"
    ]
    table = compile_plans(PlanFile(("Pair",), (own, *others)), words)
    teacher = Teacher(table, Pair(words, 3, caption=lambda obs: obs, actions=lambda obs: ways), soft=True)
    for other, action in {0: 0, 1: 1, 2: 2, 3: 0, -1: 0, -2: 0, 7: 0}.items():
        probs = teacher(jnp.zeros((2, 0)), jnp.array([0, other], jnp.int32), jax.random.key(0))[1]
        np.testing.assert_array_equal(probs[0], np.eye(3)[action])
        assert probs[1].sum() == (other == 0)


def test_probabilities_of_plans_are_normalised():
    """Catches a table that keeps the sums of a file, which may be rounded, or of plans that were never in one."""
    plans = tuple(Plan(p, (("goto", name),)) for p, name in ((0.2, "a"), (0.3, "b")))
    words = Words([["a"], ["b"]], ["a", "b"], ("goto",))
    table = compile_plans(PlanFile(("Any",), (CaptionPlans(("a",), None, plans),)), words)
    np.testing.assert_allclose(table.probabilities, [[0.4, 0.6], [0, 0]], rtol=1e-6)
    tally = AnswerCounts(0, Counter({plan.skills: weight for plan, weight in zip(plans, (1, 3))}))
    assert sorted(plan.probability for plan in tally.entry(words).plans) == [0.25, 0.75]


def draw(rows):
    """bool[W, H] from a picture whose lines are rows of y."""
    return np.array([[cell != "." for cell in row] for row in rows]).T


def bits(mask):
    return jnp.asarray((mask.astype(np.uint32) << np.arange(mask.shape[1], dtype=np.uint32)).sum(1, dtype=np.uint32))


def walk_to(picture, start, direction, target):
    """The first action in a picture where # is an obstacle."""
    obstacle = draw(picture)
    nothing = jnp.zeros(obstacle.shape[0], jnp.uint32)
    world = Map(nothing, bits(obstacle), nothing, bits(~obstacle))
    pose = Pose(*(jnp.int32(value) for value in (*start, direction)))
    return int(jax.jit(go_to, static_argnums=4)(world, pose, *map(jnp.int32, target), obstacle.shape[1]))


@pytest.mark.parametrize(
    ("start", "direction", "target", "action"),
    [
        ((1, 1), 0, (4, 1), Actions.forward),
        ((3, 1), 0, (4, 1), FINISHED),
        ((1, 1), 2, (4, 1), Actions.left),  # both turns are as long
        ((1, 1), 3, (4, 1), Actions.right),
        ((1, 1), 1, (4, 1), Actions.left),
        ((1, 3), 3, (4, 1), Actions.right),  # up is a wall, the way leads around it
        ((1, 1), 0, (4, 4), STUCK),
    ],
)
def test_first_actions_of_shortest_paths(start, direction, target, action):
    picture = ["######", "#....#", "##.###", "#..###", "######", "######"]
    assert walk_to(picture, start, direction, target) == action


def test_a_map_shows_where_one_can_walk():
    """Floor, a goal, lava and open doors; the agent stands on the last cell, whatever is there."""
    names = ["unseen", "empty", "wall", "open", "closed", "locked", "key", "ball", "box", "goal", "lava", "agent"]
    codes = [(0, 0), (1, 0), (2, 0), (4, 0), (4, 1), (4, 2), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (5, 0)]
    words = np.array([kind | status << 16 for kind, status in codes], np.uint32)
    world = read_map(jnp.asarray(words), jnp.int32(len(codes) - 1), (1, len(codes)))
    shown = {
        part: [name for i, name in enumerate(names) if int(rows[0]) >> i & 1] for part, rows in world._asdict().items()
    }
    assert shown == {
        "unseen": ["unseen"],
        "solid": ["wall", "open", "closed", "locked"],
        "items": ["key", "ball", "box"],
        "passable": ["empty", "open", "goal", "lava", "agent"],
    }


@pytest.mark.parametrize("wraps", [False, True])
def test_neighbours_at_the_edges(wraps):
    """The corners of 4 columns and 3 rows; only a torus goes on behind them."""
    for x, y in ((0, 0), (3, 2), (0, 2), (3, 0)):
        mask = np.zeros((4, 3), bool)
        mask[x, y] = True
        near = np.asarray(neighbourhood(bits(mask), 3, wraps))[:, None] >> np.arange(3) & 1
        around = [(x, y), (x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]
        expected = {(a % 4, b % 3) for a, b in around if wraps or (0 <= a < 4 and 0 <= b < 3)}
        assert set(map(tuple, np.argwhere(near).tolist())) == expected


@pytest.mark.parametrize(("num_keys", "captions"), [(1, 6), (2, 14), (3, 24)])
def test_colored_captions_are_those_that_can_occur(num_keys, captions):
    """The shipped file has 14 for two keys; every caption drawn at random is among them."""
    vocabulary = Captions(num_keys, 1, True)
    assert len(set(vocabulary.texts)) == len(vocabulary.texts) == captions
    env = envs_jax.make("ColoredDoorKey", num_keys=num_keys, max_steps=400)
    teacher = make_teacher("ColoredDoorKey", num_keys=num_keys) if num_keys > 1 else None
    if teacher is None:
        return
    states, timestep = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 128))
    actions = jax.random.randint(jax.random.key(1), (300, 128), 0, 5)
    _, steps = jax.jit(lambda states: jax.lax.scan(jax.vmap(env.step), states, actions))(states)
    seen = jax.jit(jax.vmap(jax.vmap(lambda obs: teacher.caption(teacher.reset(), obs))))(steps.observation)
    assert set(np.unique(seen)) <= set(range(captions))
    assert len(np.unique(seen)) > captions // 2
    assert timestep.observation.shape[1:] == (10, 10, 4)


@pytest.mark.parametrize("task", WALKED)
def test_every_caption_of_a_random_walk_is_listed(task):
    """Catches a situation that the list of captions leaves out, which would never be taught; 25,600 steps a task."""
    teacher, venv = make_teacher(task), vectorize(envs_jax.make(task), 256)

    def step(before, action):
        state, timestep = venv.step(before[0], action)
        return (state, timestep.observation, timestep.last()), before[1:]

    @jax.jit
    def walk(key):
        state, timestep = venv.reset(key)
        actions = jax.random.randint(key, (100, 256), 0, len(Actions))
        _, (obs, first) = jax.lax.scan(step, (state, timestep.observation, jnp.ones(256, bool)), actions)
        return teacher.label(initial_memory(teacher, 256), obs, actions, first, key)[2]

    captions = np.asarray(walk(jax.random.key(0)))
    assert (captions < 0).sum() == 0
    assert len(np.unique(captions)) > len(teacher.captions) // 2


@pytest.mark.parametrize(("task", "count"), [("KeyInBox", 8), ("RandomBoxKey", 12)])
def test_captions_with_a_box_are_those_that_can_occur(task, count):
    """A key that comes out of the box is never beside it; an empty box may be beside the key."""
    texts = make_teacher(task).captions
    assert len(set(texts)) == len(texts) == count
    assert ("Agent sees <key>, <box>, <door>, holds <nothing>." in texts) == (task == "RandomBoxKey")
    assert ("Agent sees <box>, holds <key>." in texts) == (task == "RandomBoxKey")
    assert "Agent sees <box>, <door>, holds <nothing>." in texts


def boxed_obs(*objects, hand=(1, 0)):
    """An empty map of 10 x 10 cells, the agent at (2, 2) looking east, and objects (x, y, kind) in colour 3."""
    obs = np.zeros((10, 10, 4), np.uint8)
    obs[..., 0], obs[..., 3] = 1, 4
    obs[2, 2] = (*hand, 0, 0)
    for x, y, kind in objects:
        obs[x, y, :2] = kind, 3
    return jnp.asarray(obs)


def test_a_key_that_was_never_seen_is_where_the_box_is():
    """Catches a key of no place, for which a plan waits, and a box in the hand that keeps its old place."""
    teacher = make_teacher("RandomBoxKey")
    domain = teacher.domain
    assert domain.vocabulary.object_names == ["key", "box", "door"]

    def look(memory, obs):
        scene = domain.read(obs)
        memory = domain.remember(memory, scene)
        number, objects = domain.caption_id(memory, scene)
        return memory, teacher.captions[number], objects.targets.tolist(), objects.known.tolist()

    memory, caption, targets, known = look(teacher.reset(), boxed_obs())
    assert (caption, targets, known) == ("Agent sees <nothing>, holds <nothing>.", [-1, -1, -1], [False] * 3)
    memory, caption, targets, known = look(memory, boxed_obs((5, 7, BOX)))
    assert (caption, targets, known) == ("Agent sees <box>, holds <nothing>.", [57, 57, -1], [True, True, False])
    memory, caption, targets, _ = look(memory, boxed_obs(hand=(BOX, 3)))
    assert (caption, targets) == ("Agent sees <box>, holds <nothing>.", [22, 22, -1])
    memory, caption, targets, _ = look(memory, boxed_obs((4, 4, KEY)))
    assert (caption, targets) == ("Agent sees <key>, holds <nothing>.", [44, 22, -1])
    memory, caption, targets, _ = look(memory, boxed_obs((5, 7, BOX), hand=(KEY, 3)))
    assert (caption, targets) == ("Agent sees <box>, holds <key>.", [44, 57, -1])


def test_a_door_has_one_colour():
    """Two keys and a door of the second one's colour: `color1 door` stands for nothing."""
    captions = Captions(2, 1, True)
    cells, colors = jnp.array([3, 5]), jnp.array([2, 0])
    scene = Scene(jnp.int32(1), jnp.int32(0), jnp.int32(-1), cells, colors, jnp.array([7]), jnp.array([0]))
    memory = captions.remember(jnp.full(6, -1, jnp.int32), scene)
    objects = captions.locate(memory, scene)
    assert objects.targets.tolist() == [3, 5, 7]
    known = [name for name, is_known in zip(captions.object_names, objects.known) if is_known]
    assert known == ["color1 key", "color2 key", "color2 door"]


def test_a_caption_without_plans_has_no_weight():
    """With three keys, some captions are not among the recorded ones: their rows are zeros."""
    teacher = make_teacher("ColoredDoorKey", num_keys=3)
    silent = np.flatnonzero(teacher.table.probabilities.sum(1) == 0)
    assert len(silent) == 24 - 14
    env = envs_jax.make("ColoredDoorKey", num_keys=3, room_size=(5, 5))
    states, steps = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 256))
    memory = jnp.tile(teacher.reset(), (256, 1))
    captions = np.asarray(jax.jit(jax.vmap(teacher.caption))(memory, steps.observation))
    _, probs = jax.jit(jax.vmap(teacher, in_axes=(0, 0, None)))(memory, steps.observation, jax.random.key(0))
    np.testing.assert_allclose(probs.sum(1), np.where(np.isin(captions, silent), 0, 1), atol=1e-6)
    assert np.isin(captions, silent).any()
    np.testing.assert_array_equal((kind_of(states.cells) == KEY).sum(1), 3)


def test_rounded_probabilities_become_a_sum_of_1():
    captions = Captions(1, 1, False)
    plans = tuple(Plan(0.3333, ((skill, None),)) for skill in ("explore", "wait", "explore"))
    entry = CaptionPlans(tuple(captions.sees[0]), captions.holds[0], plans)
    table = compile_plans(PlanFile(("SimpleDoorKey",), (entry,)), captions)
    np.testing.assert_allclose(table.probabilities[0], np.full(3, 1 / 3), rtol=1e-6)


@pytest.mark.parametrize("soft", [True, False])
def test_an_observation_outside_the_list_of_captions_teaches_nothing(soft):
    """A key on the ground and one in hand, where the world has one."""
    obs = np.zeros((10, 10, 4), np.uint8)
    obs[..., 0], obs[..., 3] = 1, 4
    obs[2, 2], obs[4, 4] = (5, 0, 0, 1), (5, 0, 0, 4)
    teacher = make_teacher("SimpleDoorKey", soft=soft)
    assert jax.jit(teacher.caption)(teacher.reset(), obs) == -1
    np.testing.assert_array_equal(jax.jit(teacher)(teacher.reset(), obs, jax.random.key(0))[1], 0)


def test_a_silent_teacher_waits():
    env, teacher = envs_jax.make("SimpleDoorKey"), make_teacher("SimpleDoorKey", plans="none")
    obs = jax.jit(env.reset)(jax.random.key(0))[1].observation[None, None]
    act = jax.jit(teacher_policy(teacher))
    _, action = act(initial_memory(teacher, 1), obs, jnp.ones(1, bool), jax.random.key(0))
    assert action.tolist() == [[Actions.done]]


@pytest.mark.parametrize("task", [TASKS[0], *(pytest.param(task, marks=pytest.mark.slow) for task in TASKS[1:])])
def test_labels_of_trajectories_equal_the_teacher_step_by_step(task):
    env, teacher = envs_jax.make(task, max_steps=25), make_teacher(task)
    venv = vectorize(env, 8)
    step_all = jax.jit(venv.step)
    state, timestep = jax.jit(venv.reset)(jax.random.key(0))
    obs, first = [timestep.observation], [jnp.ones(8, bool)]
    actions = jax.random.randint(jax.random.key(1), (41, 8), 0, 6)
    for action in actions[:-1]:
        state, timestep = step_all(state, action)
        obs.append(timestep.observation)
        first.append(timestep.last())
    memory = jnp.tile(teacher.reset(), (8, 1))
    obs, first = jnp.stack(obs), jnp.stack(first)
    last_memory, labels, captions = jax.jit(teacher.label)(memory, obs, actions, first, jax.random.key(2))
    step = jax.jit(jax.vmap(teacher, in_axes=(0, 0, None)))
    for t in range(len(obs)):
        memory = jnp.where(first[t][:, None], teacher.reset(), memory)
        memory, probs = step(memory, obs[t], jax.random.key(2))
        np.testing.assert_allclose(labels[t], probs, atol=1e-6)
    np.testing.assert_array_equal(memory, last_memory)
    assert captions.min() >= 0


def test_one_trace_and_no_callbacks():
    teacher, env = make_teacher("TwoDoor"), envs_jax.make("TwoDoor")
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(teacher.__call__, n=1))
    memory, reset = teacher.reset(), jax.jit(env.reset)
    for seed in range(3):
        _, timestep = reset(jax.random.key(seed))
        memory, _ = step(memory, timestep.observation, jax.random.key(seed))
    _, probs = jax.jit(teacher)(memory, timestep.observation, jax.random.key(0))
    np.testing.assert_allclose(probs.sum(), 1, atol=1e-6)
    text = jax.jit(teacher.__call__).lower(memory, timestep.observation, jax.random.key(0)).as_text()
    assert "callback" not in text


@pytest.mark.parametrize("task", TASKS)
def test_shipped_plans_say_where_they_come_from_and_survive_a_round_trip(task, tmp_path):
    plans = shipped_plans(task)
    assert {"source", "model", "samples_per_caption"} <= set(plans.provenance)
    save_plans(plans, tmp_path / "plans.json")
    assert load_plans(tmp_path / "plans.json", task) == plans
    same = make_teacher(task, plans=str(tmp_path / "plans.json")).table
    chex.assert_trees_all_equal(same, make_teacher(task).table)


def edited(change):
    document = json.loads(
        json.dumps(
            {
                "format": "jaxteach-plans",
                "version": 1,
                "tasks": ["SimpleDoorKey"],
                "captions": [{"sees": ["key"], "holds": None, "plans": [{"p": 1.0, "skills": [["goto", "key"]]}]}],
            }
        )
    )
    change(document)
    return json.dumps(document)


BAD_FILES = {
    "not JSON": "{",
    "no object": "[]",
    "nested too deeply": "[" * 100_000,
    "another format": edited(lambda d: d.update(format="x")),
    "a version of the future": edited(lambda d: d.update(version=99)),
    "true for a version": edited(lambda d: d.update(version=True)),
    "an unknown key": edited(lambda d: d.update(caption=[])),
    "an unknown key of a caption": edited(lambda d: d["captions"][0].update(other=[])),
    "an unknown key of a plan": edited(lambda d: d["captions"][0]["plans"][0].update(skill=[])),
    "an unknown key of others": edited(lambda d: d["captions"][0].update(others=[{"sees": [], "hold": None}])),
    "for another task": edited(lambda d: d.update(tasks=["TwoDoor"])),
    "probabilities that don't sum to 1": edited(lambda d: d["captions"][0]["plans"][0].update(p=0.5)),
    "a probability that is no number": edited(lambda d: d["captions"][0]["plans"][0].update(p="1")),
    "a plan that is never followed": edited(
        lambda d: d["captions"][0]["plans"].append({"p": 0, "skills": [["wait", None]]})
    ),
    "not a number": edited(lambda d: d["captions"][0]["plans"][0].update(p=float("nan"))),
    "an unknown skill": edited(lambda d: d["captions"][0]["plans"][0].update(skills=[["fly", "key"]])),
    "an unknown object": edited(lambda d: d["captions"][0]["plans"][0].update(skills=[["goto", "box"]])),
    "a skill without its object": edited(lambda d: d["captions"][0]["plans"][0].update(skills=[["goto", None]])),
    "no plans": edited(lambda d: d["captions"][0].update(plans=[])),
    "an unknown caption": edited(lambda d: d["captions"][0].update(sees=["door", "key"])),
    "a caption twice": edited(lambda d: d["captions"].append(d["captions"][0])),
}


@pytest.mark.parametrize("text", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_plan_files_get_one_sentence(text, tmp_path):
    path = tmp_path / "plans.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        make_teacher("SimpleDoorKey", plans=str(path))
    assert "\n" not in str(error.value)


def test_a_missing_plan_file_and_a_binary_one(tmp_path):
    with pytest.raises(UserError, match="can't read"):
        make_teacher("SimpleDoorKey", plans=str(tmp_path / "none.json"))
    (tmp_path / "plans.json").write_bytes(bytes(range(128, 256)))
    with pytest.raises(UserError, match="it is not text"):
        make_teacher("SimpleDoorKey", plans=str(tmp_path / "plans.json"))


def test_unknown_tasks_list_the_known_ones():
    with pytest.raises(ValueError, match="SimpleDoorKey"):
        make_teacher("Nowhere")
