"""The DoorKey environments as a user meets them: specs, traces, injection, parameters, automatic resets."""

import inspect
from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumanji.testing.env_not_smoke import check_env_does_not_smoke, check_env_specs_does_not_smoke
from jumanji.types import StepType

import envs_jax
from envs_jax.doorkey import LavaDoorKey
from envs_jax.grid.constants import KEY, NO_DIRECTION, WALL
from envs_jax.vector import vectorize
from tests.traces import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_jumanji_s_own_checks(task):
    env = envs_jax.make(task, max_steps=20)
    check_env_does_not_smoke(env)
    check_env_specs_does_not_smoke(env)


@pytest.mark.parametrize("task", TASKS)
def test_one_trace(task):
    env = envs_jax.make(task)
    chex.clear_trace_counter()
    reset = jax.jit(chex.assert_max_traces(env.reset, n=1))
    step = jax.jit(chex.assert_max_traces(env.step, n=1))
    for seed in range(3):
        state, _ = reset(jax.random.key(seed))
        for action in range(7):
            state, timestep = step(state, jnp.int32(action))
    assert timestep.observation.dtype == jnp.uint8


@pytest.mark.parametrize(
    ("task", "overrides"), [("SimpleDoorKey", {}), ("TwoDoor", {}), ("ColoredDoorKey", {"num_keys": 4})]
)
def test_states_survive_the_way_through_arrays(task, overrides):
    env = envs_jax.make(task, **overrides)
    step, arrays_of = jax.jit(env.step), jax.jit(env.to_arrays)
    state, _ = env.reset(jax.random.key(5))
    for action in np.random.default_rng(0).integers(0, 6, 40):
        state, timestep = step(state, jnp.int32(action))
        arrays = arrays_of(state)
        again = env.make_state(**arrays)
        chex.assert_trees_all_equal(arrays_of(again), arrays)
        np.testing.assert_array_equal(env.observe(again), timestep.observation)


def test_frames_are_stacked_oldest_first():
    single, stacked = envs_jax.make("SimpleDoorKey"), envs_jax.make("SimpleDoorKey", frame_stack=3)
    key = jax.random.key(2)
    (a, first), (b, first_stack) = single.reset(key), stacked.reset(key)
    frames = [first.observation] * 3
    np.testing.assert_array_equal(first_stack.observation, jnp.concatenate(frames, -1))
    for action in (2, 1, 2, 2, 0):
        (a, x), (b, y) = single.step(a, jnp.int32(action)), stacked.step(b, jnp.int32(action))
        frames = [*frames[1:], x.observation]
        np.testing.assert_array_equal(y.observation, jnp.concatenate(frames, -1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": np.zeros((10, 10), np.uint8)}, "shape"),
        ({"agent_dir": 4}, "within 0..3"),
        ({"agent_pos": (3, 10)}, "within 0..9"),
        ({"carrying": (4, 0)}, "carrying"),
        ({"seen": np.zeros((9, 10), bool)}, "seen"),
        ({"step_count": -1}, "step_count"),
        ({"door": (3, 3)}, "has 1 door"),
        ({"agent": (3, 3)}, "no object of MiniGrid's"),
    ],
)
def test_worlds_that_a_state_can_t_hold(change, message):
    env = envs_jax.make("SimpleDoorKey")
    state, _ = env.reset(jax.random.key(0))
    arrays = {name: np.array(array) for name, array in env.to_arrays(state).items()}
    grid = arrays["grid"]
    del arrays["facts"]
    for name, content in (("door", (4, 5, 0)), ("agent", (10, 0, 0))):
        if name in change:
            grid[change[name]] = content
    given = {name: value for name, value in change.items() if name not in ("door", "agent")}
    with pytest.raises(ValueError, match=message):
        env.make_state(**(arrays | given))


@pytest.mark.parametrize(
    ("task", "overrides", "message"),
    [
        ("DoorKey", {}, "known are SimpleDoorKey"),
        ("SimpleDoorKey", {"viewsize": 3}, "it has world_size"),
        ("SimpleDoorKey", {"view_size": 4}, "odd"),
        ("SimpleDoorKey", {"room_size": (3, 10)}, "room_size"),
        ("SimpleDoorKey", {"max_steps": 0}, "max_steps"),
        ("ColoredDoorKey", {"num_keys": 7}, "num_keys"),
        ("TwoDoor", {"num_keys": 2}, "num_keys must be 1, not 2"),
    ],
)
def test_unknown_tasks_and_parameters(task, overrides, message):
    with pytest.raises(ValueError, match=message):
        envs_jax.make(task, **overrides)


INTEGERS = [3.0, 2.5, True, np.bool_(True), "3", None, [3], -1, -(2**70), 2**70, float("nan")]
FLAGS = ["no", 0, 1, 1.0, None, [True]]
RATIOS = ["0.5", True, None, -0.1, 1.1, float("nan"), [0.5], 2**70]
PAIRS = [(6, 7, 8), 6, (6,), (6.0, 7), ("6", "7"), (7, 6), (True, 7), None, "66", (5, 2**70)]
WORLDS = [pytest.param(task, id=task) for task in envs_jax.tasks() if task not in ("LavaDoorKey", "ColoredDoorKey")]


def wrong_values(name, default):
    """What no parameter of this kind takes."""
    if name == "room_size" and default != 5:
        return PAIRS
    if name == "local_ratio":
        return RATIOS
    if isinstance(default, bool):
        return FLAGS
    optional = default is None
    return [value for value in INTEGERS if value is not None or not optional]


@pytest.mark.parametrize("task", WORLDS)
def test_every_parameter_is_checked(task):
    """Catches a parameter that takes what it can't mean, or refuses it in other words than its own."""
    factory = type(envs_jax.make(task))
    defaults = {name: parameter.default for name, parameter in inspect.signature(factory).parameters.items()}
    for name in envs_jax.parameters(task):
        for value in wrong_values(name, defaults[name]):
            with pytest.raises(ValueError, match=rf"^{name}(\[[01]\])? must ") as refusal:
                envs_jax.make(task, **{name: value})
            assert "\n" not in str(refusal.value)


def test_numpy_s_numbers_are_parameters():
    """Catches checks that take no numbers of NumPy, or keep them, which would be other constants in a program."""
    env = envs_jax.make("SimpleDoorKey", view_size=np.int64(5), room_size=np.array([6, 7]), max_steps=np.uint8(9))
    assert [type(value) for value in (env.view_size, *env.room_size, env.max_steps)] == [int] * 4
    env = envs_jax.make("simple_spread", N=jnp.int32(2), local_ratio=np.float32(0.5), curriculum=np.bool_(True))
    assert (env.num_agents, env.local_ratio) == (2, 0.5)


def test_a_hallway_s_name_tells_its_rooms():
    """Catches a task that is another than its name says."""
    assert "num_rooms" not in envs_jax.parameters("LockedHallway-2Rooms")
    assert envs_jax.make("LockedHallway-2Rooms", num_rooms=2).num_rooms == 2
    with pytest.raises(ValueError, match="LockedHallway-2Rooms has num_rooms 2, not 6"):
        envs_jax.make("LockedHallway-2Rooms", num_rooms=6)


def test_names_in_any_case():
    assert type(envs_jax.make("lavadoorkey")) is LavaDoorKey
    assert envs_jax.parameters("SIMPLE_TAG") == envs_jax.parameters("simple_tag")


ACTIONS = {
    "SimpleDoorKey": 7,
    "LockedHallway-2Rooms": [7, 0],
    "simple_spread": [0, 5, 0],
    "simple_world_comm": [20] + [0] * 5,
}


@pytest.mark.parametrize("task", ACTIONS)
def test_what_is_no_action_is_refused_or_does_nothing(task):
    """Catches actions that are clamped or wrapped to others: known ones are refused, traced ones change nothing."""
    env = envs_jax.make(task)
    state, _ = jax.jit(env.reset)(jax.random.key(0))
    beyond, below = np.array(ACTIONS[task]), np.where(np.array(ACTIONS[task]) > 0, -1, 0)
    for wrong in (beyond, below, beyond * 1.0, beyond > 0, np.zeros(9, int), jnp.asarray(beyond)):
        with pytest.raises(ValueError, match="an action"):
            env.step(state, wrong)
    step = jax.jit(env.step)
    nothing = step(state, jnp.full(beyond.shape, 6 if "simple_" not in task else 0, jnp.int32))
    for wrong in (beyond, below):
        done = step(state, jnp.where(beyond > 0, wrong, 6 if "simple_" not in task else 0).astype(jnp.int32))
        if task == "simple_world_comm":  # To do nothing is to be silent, which the action 0 is not.
            assert not done[0].c.any()
            np.testing.assert_array_equal(done[0].p_vel, nothing[0].p_vel)
        else:
            chex.assert_trees_all_equal(done, nothing)


def test_continuous_actions_are_numbers():
    env = envs_jax.make("simple_tag", continuous_actions=True)
    state, _ = jax.jit(env.reset)(jax.random.key(0))
    for wrong in (np.full((4, 5), np.nan), np.zeros((4, 6)), np.zeros((4, 5), bool)):
        with pytest.raises(ValueError, match="an action"):
            env.step(state, wrong)


def test_parameters_change_the_world():
    env = envs_jax.make("SimpleDoorKey", room_size=(6, 6), max_steps=7, view_size=5)
    state, timestep = env.reset(jax.random.key(0))
    assert (env.to_arrays(state)["grid"][..., 0] == WALL).sum() == 19
    for _ in range(7):
        assert timestep.step_type != StepType.LAST
        state, timestep = env.step(state, jnp.int32(6))
    assert timestep.step_type == StepType.LAST
    assert timestep.discount == 1


def walk(venv, seed, steps, actions=7):
    """Every timestep of random play, stacked; the first is that of the reset."""
    return _player(venv, steps, actions)(jax.random.key(seed), jax.random.key(seed + 1))


@cache
def _player(venv, steps, actions):
    def play(key, action_key):
        state, first = venv.reset(key)
        drawn = jax.random.randint(action_key, (steps, venv.num_envs), 0, actions)
        return first, jax.lax.scan(venv.step, state, drawn)[1]

    return jax.jit(play)


def test_automatic_resets_keep_the_final_observation_and_statistics():
    env = envs_jax.make("LavaDoorKey", max_steps=12)
    _, steps = walk(vectorize(env, 32), 0, 60)
    last = np.asarray(steps.last())
    assert (last & (steps.discount == 0)).any()
    assert (last & (steps.discount == 1)).any()
    fresh = (np.asarray(steps.observation)[..., 3] != NO_DIRECTION).sum((-2, -1))
    np.testing.assert_array_equal(fresh, 1)
    np.testing.assert_array_equal(steps.observation[~last], steps.extras["next_obs"][~last])
    final = jax.jit(jax.vmap(jax.vmap(env.observe)))(steps.extras["next_state"])
    np.testing.assert_array_equal(final, steps.extras["next_obs"])
    assert (steps.observation[last] != steps.extras["next_obs"][last]).any((1, 2, 3)).mean() > 0.9
    length, total = np.zeros(32, int), np.zeros(32)
    for t in range(60):
        length, total = length + 1, total + steps.reward[t]
        np.testing.assert_array_equal(steps.extras["episode_length"][t], length)
        np.testing.assert_allclose(steps.extras["episode_return"][t], total, atol=1e-6)
        length, total = np.where(last[t], 0, length), np.where(last[t], 0, total)


def test_reset_environments_differ_and_play_on_like_single_ones():
    env = envs_jax.make("SimpleDoorKey", max_steps=5)
    venv = vectorize(env, 8)
    step = jax.jit(venv.step)
    state, _ = jax.jit(venv.reset)(jax.random.key(3))
    for _ in range(5):
        state, timestep = step(state, jnp.zeros(8, jnp.int32))
    assert timestep.last().all()
    rooms = {tuple(cells) for cells in np.asarray(jnp.column_stack([state.env.agent_cell, state.env.facts[:, 0]]))}
    assert len(rooms) > 4
    after, batched = step(state, jnp.full(8, 2, jnp.int32))
    single = jax.jit(env.step)
    for i in range(8):
        _, timestep = single(jax.tree.map(lambda leaf, i=i: leaf[i], state.env), jnp.int32(2))
        np.testing.assert_array_equal(timestep.observation, batched.observation[i])
    assert after.episode_length.tolist() == [1] * 8


def test_the_same_seed_gives_the_same_bits():
    venv = vectorize(envs_jax.make("ColoredDoorKey", max_steps=10), 16)
    one, two, other = (walk(venv, seed, 30)[1].observation for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=150, max_size=150), st.integers(0, 2**31 - 1))
def test_invariants_of_any_walk(actions, seed):
    """One agent, keys conserved, what was seen stays seen, rewards within bounds."""
    env = envs_jax.make("ColoredDoorKey")
    state, _ = env.reset(jax.random.key(seed))

    def step(state, action):
        state, timestep = env.step(state, action)
        return state, (env.to_arrays(state), timestep.observation, timestep.reward)

    _, (arrays, obs, reward) = _scan(step)(state, jnp.asarray(actions, jnp.int32))
    keys = (arrays["grid"][..., 0] == KEY).sum((1, 2)) + (arrays["carrying"][:, 0] == KEY)
    np.testing.assert_array_equal(keys, 2)
    np.testing.assert_array_equal((obs[..., 3] != NO_DIRECTION).sum((1, 2)), 1)
    assert (arrays["seen"][1:] >= arrays["seen"][:-1]).all()
    np.testing.assert_array_equal(obs[..., 0] > 0, arrays["seen"])
    assert ((reward >= 0) & (reward <= 1)).all()


def _scan(step):
    if not hasattr(_scan, "program"):
        _scan.program = jax.jit(lambda state, actions: jax.lax.scan(step, state, actions))
    return _scan.program
