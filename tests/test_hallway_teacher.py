"""The teacher of the locked hallways: its map, captions, skills and plans."""

from collections import deque
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from envs_jax.grid.cells import EMPTY_WORD
from envs_jax.grid.constants import CLOSED, COLOR_TO_IDX, DIR_TO_VEC, DOOR, EMPTY, KEY, LOCKED, OPEN, Actions
from envs_jax.grid.hallway import lay_out
from envs_jax.grid.state import opaque_lines
from envs_jax.locked_hallway import WORLDS
from envs_jax.vector import vectorize
from jaxteach.errors import UserError
from jaxteach.teacher import make_teacher
from jaxteach.teacher.navigation import FINISHED, STUCK, Pose, approach, reachable
from jaxteach.teacher.plans import shipped_plans
from jaxteach.teacher.table import EXPLORE, SkillTable
from jaxteach.teacher.tasks.hallway import HallwayCaptions, _nearest
from jaxteach.teacher.tasks.hallway_map import START, STRIDE

TWO = "LockedHallway-2Rooms"
LARGE = (256, 120)
"""Episodes and steps of one `player` for several tests."""
RED, GREEN, BLUE = (COLOR_TO_IDX[color] for color in ("red", "green", "blue"))


@cache
def first_grid(env):
    return np.array(jax.jit(lambda key: env.to_arrays(env.reset(key)[0])["grid"])(jax.random.key(0)))


def world(env, keys, doors=((RED, LOCKED), (GREEN, LOCKED)), agents=((6, 1, 1), (5, 3, 1)), held=(None, None)):
    """A state of two rooms: keys {colour: (x, y)}, doors west and east, agents (x, y, direction), colours held."""
    grid = first_grid(env).copy()
    grid[grid[..., 0] == KEY] = (EMPTY, 0, 0)
    for (x, y), (color, status) in zip(np.argwhere(grid[..., 0] == DOOR), doors):
        grid[x, y] = (DOOR, color, status)
    for color, (x, y) in keys.items():
        grid[x, y] = (KEY, color, 0)
    return env.make_state(
        grid=grid,
        agent_pos=np.array([agent[:2] for agent in agents]),
        agent_dir=np.array([agent[2] for agent in agents]),
        carrying=np.array([(0, 0) if color is None else (KEY, color) for color in held]),
        unlocked=sum(status != LOCKED for _, status in doors),
        step_count=0,
    )


@cache
def two_rooms():
    """The world of two rooms and its teacher, made once, so that they share a `player`."""
    return envs_jax.make(TWO), make_teacher(TWO)


@cache
def player(env, teacher, episodes, steps):
    """(key, share of random actions) -> final states and memories, and the record of all steps.

    The record has states, memories, captions, probabilities and actions.
    """

    def step(random_share, carry, key):
        state, obs, memory = carry
        memory, probs = jax.vmap(teacher)(memory, obs, jax.random.split(key, episodes))
        keys = jax.random.split(key, 3)
        action = jax.random.categorical(keys[0], jnp.log(probs))
        chance = jax.random.bernoulli(keys[1], random_share, action.shape)
        # Random actions walk more than they turn, or nobody would come far.
        usual = jnp.array([1, 1, 4, 1, 1, 1, 0], jnp.float32)
        action = jnp.where(chance, jax.random.categorical(keys[2], jnp.log(usual), shape=action.shape), action)
        record = (state, memory, jax.vmap(teacher.caption)(memory, obs), probs, action)
        next_state, timestep = jax.vmap(env.step)(state, action)
        return (next_state, timestep.observation, jax.vmap(teacher.advance)(memory, action)), record

    def play(key, random_share, state=None):
        if state is None:
            state = jax.vmap(env.reset)(jax.random.split(key, episodes))[0]
        memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (episodes, *leaf.shape)), teacher.reset())
        start = (state, jax.vmap(env.observe)(state), memory)
        return jax.lax.scan(partial(step, random_share), start, jax.random.split(key, steps))

    return jax.jit(play)


def misplaced(env, states, memories):
    """bool[T, N, A], whether an agent believes to stand elsewhere than it does."""
    height = lay_out(env.num_rooms, env.room_size).height
    believed = (memories.cell // STRIDE - START) * height + memories.cell % STRIDE - START
    return np.asarray(believed != states.agent_cell - states.agent_cell[:1])


@pytest.mark.parametrize(
    ("overrides", "most"),
    [
        ({}, 0.0),
        pytest.param({"allow_agent_overlap": False}, 0.01, marks=pytest.mark.slow),
        pytest.param({"see_through_walls": True}, 0.0, marks=pytest.mark.slow),
    ],
)
def test_dead_reckoning_on_random_walks(overrides, most):
    """On this many steps no agent loses its place; where agents block each other, hardly one."""
    env, teacher = (envs_jax.make(TWO, **overrides), make_teacher(TWO, **overrides)) if overrides else two_rooms()
    _, (states, memories, captions, _, action) = player(env, teacher, *LARGE)(jax.random.key(0), 1.0)
    moved = np.asarray(states.agent_cell[1:] != states.agent_cell[:-1])
    forward = np.asarray(action[:-1] == Actions.forward)
    assert 0.2 < moved[forward].mean() < 0.9  # both happen often
    assert misplaced(env, states, memories).mean() <= most
    holding = np.array([name is not None for name in teacher.vocabulary.holds])
    np.testing.assert_array_equal(holding[captions], np.asarray(states.carrying) != EMPTY_WORD)


def test_a_step_that_another_made_possible_is_noticed():
    """The other takes the key in front of the agent first, or puts one there: only the walls tell."""
    env, teacher = two_rooms()
    step, observe, remember, advance = map(jax.jit, (env.step, env.observe, teacher.remember, teacher.advance))
    for held, keys, moves in [((None, None), {RED: (6, 2)}, True), ((None, RED), {}, False)]:
        state = world(env, keys, agents=((6, 1, 1), (5, 2, 0)), held=held)
        memory = remember(teacher.reset(), observe(state))
        action = jnp.array([Actions.forward, Actions.pickup if keys else Actions.drop])
        after, timestep = step(state, action, jnp.array([1, 0]))
        assert bool((after.agent_cell != state.agent_cell)[0]) == moves
        memory = remember(advance(memory, action), timestep.observation)
        assert int(memory.cell[0]) == START * STRIDE + START + moves


WEST_DOOR, EAST_DOOR = (RED, LOCKED), (GREEN, LOCKED)


@pytest.mark.parametrize(
    ("keys", "doors", "held", "caption"),
    [
        ({}, (WEST_DOOR, EAST_DOOR), None, "Agent sees <color1 door>, holds <nothing>."),
        ({RED: (6, 3)}, (WEST_DOOR, EAST_DOOR), None, "<color1 key>, <color1 door>, <color2 door>, holds <nothing>."),
        ({}, (WEST_DOOR, EAST_DOOR), RED, "sees <color1 door>, <color2 door>, holds <color1 key>."),
        ({}, (WEST_DOOR, (GREEN, OPEN)), RED, "Agent sees <color1 door>, holds <color1 key>."),
        ({}, (WEST_DOOR, (GREEN, OPEN)), GREEN, "Agent sees <color1 door>, holds <used key>."),
        ({RED: (6, 3)}, ((RED, CLOSED), EAST_DOOR), None, "Agent sees <color1 door>, holds <nothing>."),
        ({GREEN: (7, 3)}, ((RED, OPEN), (GREEN, CLOSED)), RED, "Agent sees <nothing>, holds <used key>."),
    ],
)
def test_captions_of_drawn_worlds(keys, doors, held, caption):
    """The agent stands in the north of the hallway and looks south, so that both doors are in view."""
    env, teacher = two_rooms()
    state = world(env, keys, doors, held=(held, None))
    number = teacher.caption(teacher.reset(), env.observe(state))[0]
    assert teacher.captions[number].endswith(caption)


def test_what_is_nearest_by_hand():
    """Steps in x and y, in whatever direction; of equals the first colour, and what is not marked counts not."""
    own = jnp.int32(START * STRIDE + START)
    cells = own + jnp.array([-2, 1, -STRIDE, 3 * STRIDE - 1, 0, 2 - STRIDE])
    for among, nearest in (([0, 1], 1), ([0, 3], 0), ([1, 2], 1), ([0, 5], 0), ([3, 5], 5), ([], -1)):
        assert _nearest(own, cells, jnp.isin(jnp.arange(6), jnp.array(among))) == nearest


def test_a_caption_remembers_what_is_out_of_view_and_forgets_what_is_gone():
    env, teacher = two_rooms()
    with_key, without = world(env, {RED: (6, 3)}), world(env, {})
    memory = teacher.remember(teacher.reset(), env.observe(with_key))
    turned = with_key._replace(agent_dir=jnp.array([3, 1]))
    memory = teacher.remember(teacher.advance(memory, jnp.array([0, 6])), env.observe(turned))
    told = teacher.captions[teacher.caption(memory, env.observe(turned))[0]]
    assert "<color1 key>, <color1 door>" in told
    memory = teacher.remember(teacher.advance(memory, jnp.array([1, 6])), env.observe(without))
    assert teacher.captions[teacher.caption(memory, env.observe(without))[0]] == (
        "Agent sees <color1 door>, holds <nothing>."
    )


def test_the_captions_are_few_and_different():
    vocabulary = HallwayCaptions()
    assert len(set(vocabulary.texts)) == len(vocabulary.texts) == 32
    for sees, holds in zip(vocabulary.sees, vocabulary.holds):
        assert {*sees, *([holds] if holds else [])} <= set(vocabulary.object_names)


def shortest(passable, pose, targets):
    """First actions of shortest paths on a torus by breadth-first search, {FINISHED} or {STUCK}."""
    size = np.array(passable.shape)

    def ahead(x, y, direction):
        return tuple(((x, y) + DIR_TO_VEC[direction]) % size)

    found, best, queue, distance = set(), None, deque([(pose, None)]), {pose: 0}
    firsts = {pose: {None}}
    while queue:
        state, _ = queue.popleft()
        x, y, direction = state
        if targets[ahead(x, y, direction)] and passable[x, y] and best in (None, distance[state]):
            best = distance[state]
            found |= firsts[state]
        moves = {Actions.left: (x, y, (direction - 1) % 4), Actions.right: (x, y, (direction + 1) % 4)}
        if passable[ahead(x, y, direction)]:
            moves[Actions.forward] = (*ahead(x, y, direction), direction)
        for action, then in moves.items():
            if then not in distance:
                distance[then] = distance[state] + 1
                firsts[then] = set()
                queue.append((then, action))
            if distance[then] == distance[state] + 1:
                firsts[then] |= {action} if state == pose else firsts[state]
    if best is None:
        return {STUCK}
    return {FINISHED} if best == 0 else {int(action) for action in found}


def rows(mask):
    return jnp.asarray((mask.astype(np.uint32) << np.arange(mask.shape[1], dtype=np.uint32)).sum(1, dtype=np.uint32))


def test_approach_is_shortest_on_a_torus():
    random, size = np.random.default_rng(0), (6, 5)
    search = jax.jit(lambda passable, pose, targets: approach(passable, pose, targets, size[1], True))
    walk = jax.jit(lambda passable, start: reachable(passable, start, size[1], True))
    outcomes = set()
    for _ in range(300):
        passable, targets = random.random(size) < 0.6, random.random(size) < 0.08
        x, y, direction = random.integers(0, (*size, 4))
        passable[x, y] = True
        expected = shortest(passable, (x, y, direction), targets)
        action = int(search(rows(passable), Pose(*map(jnp.int32, (x, y, direction))), rows(targets)))
        assert action in expected
        assert action == min(expected - {Actions.right} or expected, key=lambda a: (a != Actions.forward, a))
        start = np.zeros(size, bool)
        start[x, y] = True
        touched = bool((walk(rows(passable), rows(start)) & rows(targets)).any())
        here = targets[x, y]
        assert touched == (expected != {STUCK}) or here
        outcomes.add(action)
    assert outcomes == {STUCK, FINISHED, Actions.left, Actions.right, Actions.forward}


@pytest.mark.parametrize("status", [LOCKED, pytest.param(CLOSED, marks=pytest.mark.slow)])
def test_exploring_uncovers_all_that_can_be_reached(status):
    """The hallway with locked doors, the whole world with closed ones; then the agent waits."""
    env = envs_jax.make(TWO, num_agents=1)
    captions = len(HallwayCaptions().texts)
    table = SkillTable(
        np.full((captions, 1), EXPLORE, np.int32),
        np.zeros((captions, 1, 1), np.int32),
        np.ones((captions, 1), np.float32),
        np.zeros((captions, 0), np.int32),
    )
    teacher = make_teacher(TWO, num_agents=1).replace(table=table)
    states = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 64))[0]
    # Without keys, which would be in the way.
    kinds, (width, height) = states.cells & 255, (env._layout.width, env._layout.height)
    cells = jnp.where(kinds == KEY, EMPTY_WORD, states.cells)
    cells = jnp.where(kinds == DOOR, (cells & 0xFFFF) | status << 16, cells).astype(jnp.uint32)
    lines = jax.vmap(lambda each: opaque_lines(each[: width * height], width, height))(cells)
    states = states._replace(cells=cells, opaque=lines)
    (_, _, memory), (_, _, _, _, action) = player(env, teacher, 64, 60)(jax.random.key(1), 0.0, states)
    layout = lay_out(2, 5)
    walls = layout.walls.reshape(layout.width, layout.height)
    floor = ~walls
    if status == LOCKED:
        floor[:5], floor[8:] = False, False
    borders = np.zeros_like(floor)
    for dx, dy in DIR_TO_VEC:
        borders |= np.roll(floor, (dx, dy), (0, 1))
    expected, seen = floor | borders, np.asarray(memory.seen[:, 0])
    bits = (seen[..., None] >> np.arange(layout.height)) & 1 == 1  # [N, W, H], each shifted as its torus
    for n in range(64):
        x, y = divmod(int(states.agent_cell[n, 0]), layout.height)
        aligned = np.roll(bits[n], (x - START % layout.width, y - START % layout.height), (0, 1))
        assert (aligned | ~expected).all()
    assert (action[-1] == Actions.done).all()


@pytest.mark.slow
def test_labels_of_trajectories_equal_the_teacher_step_by_step():
    env, teacher, hard = envs_jax.make(TWO, max_steps=25), make_teacher(TWO), make_teacher(TWO, soft=False)
    venv = vectorize(env, 8)
    step = jax.jit(venv.step)
    state, timestep = jax.jit(venv.reset)(jax.random.key(0))
    obs, first = [timestep.observation], [jnp.ones(8, bool)]
    actions = jax.random.randint(jax.random.key(1), (41, 8, 2), 0, 6)
    for action in actions[:-1]:
        state, timestep = step(state, action)
        obs.append(timestep.observation)
        first.append(timestep.last())
    memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (8, *leaf.shape)), teacher.reset())
    observed = jax.tree.map(lambda *leaves: jnp.stack(leaves), *obs)
    whole = jax.jit(teacher.label)(memory, observed, actions, jnp.stack(first), jax.random.key(2))
    last_memory, labels, captions = whole
    assert labels.shape == (41, 8, 2, 7)
    assert captions.shape == (41, 8, 2)
    teach = jax.jit(jax.vmap(teacher, in_axes=(0, 0, None)))
    tell = jax.jit(jax.vmap(teacher.caption))
    fresh = teacher.reset()
    for t in range(len(obs)):
        keep = ~first[t]
        memory = jax.tree.map(
            lambda new, old, keep=keep: jnp.where(keep.reshape(-1, *[1] * (old.ndim - 1)), old, new), fresh, memory
        )
        np.testing.assert_array_equal(tell(memory, obs[t]), captions[t])  # before the memory has taken it in
        memory, probs = teach(memory, obs[t], jax.random.key(2))
        np.testing.assert_array_equal(tell(memory, obs[t]), captions[t])  # and after
        np.testing.assert_allclose(labels[t], probs, atol=1e-6)
        memory = jax.vmap(teacher.advance)(memory, actions[t])
    jax.tree.map(np.testing.assert_array_equal, memory, last_memory)
    # With one plan for each caption, the hard teacher has nothing to choose.
    drawn = jax.jit(hard.label)(memory, observed, actions, jnp.stack(first), jax.random.key(2))[1]
    np.testing.assert_allclose(drawn, labels, atol=1e-6)


def test_every_caption_of_mixed_play_is_one_of_the_list():
    _, (_, _, captions, probs, _) = player(*two_rooms(), *LARGE)(jax.random.key(3), 0.3)
    assert set(np.unique(captions)) <= set(range(32))
    assert len(np.unique(captions)) > 12
    np.testing.assert_allclose(np.asarray(probs).sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("task", WORLDS)
def test_the_scripted_plans_are_complete_and_say_what_they_are(task):
    plans, teacher = shipped_plans(task), make_teacher(task, plans="scripted")
    assert plans.by_hand
    assert "model" not in plans.provenance
    np.testing.assert_allclose(teacher.table.probabilities.sum(1), 1, atol=1e-6)
    with pytest.raises(UserError, match="written by hand"):
        make_teacher(task, plans="recorded")
    with pytest.raises(UserError, match="recorded"):
        make_teacher("SimpleDoorKey", plans="scripted")


def test_worlds_too_large_for_the_map_are_refused():
    with pytest.raises(ValueError, match="no room on its map"):
        make_teacher("LockedHallway-6Rooms", room_size=10, see_through_walls=True)


def succeeds(task, episodes, steps, random_share=0.0, **overrides):
    env, teacher = envs_jax.make(task, **overrides), make_teacher(task, **overrides)
    (states, _, _), _ = player(env, teacher, episodes, steps)(jax.random.key(4), random_share)
    return np.asarray(states.facts > 0).all(1).mean()


def test_the_teacher_unlocks_both_rooms():
    _, (states, *_) = player(*two_rooms(), *LARGE)(jax.random.key(4), 0.0)
    assert np.asarray(states.facts > 0)[60].all(1).mean() >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "overrides"),
    [
        ("LockedHallway-6Rooms", {"room_size": 10}),
        ("LockedHallway-4Rooms", {"room_size": 4, "num_agents": 4}),
    ],
)
def test_the_teacher_unlocks_larger_worlds(task, overrides):
    env = envs_jax.make(task, **overrides)
    assert succeeds(task, 100, min(env.max_steps, 500), 0.1, **overrides) >= 0.95
