"""The adapters: other libraries' own checks, and every episode equal to the world's own."""

import copy
import multiprocessing
import pickle
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from typing import NamedTuple

import cloudpickle
import gymnasium
import jax
import jax.numpy as jnp
import minigrid.wrappers
import multigrid.envs
import numpy as np
import pytest
from gymnasium.error import Error, InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import restart, termination, transition
from mpe2 import simple_push_v3
from pettingzoo.test import parallel_api_test
from pettingzoo.test.seed_test import parallel_seed_test

import envs_jax
import envs_jax.minigrid
from envs_jax.adapters import BatchedEnv, GymnasiumEnv, PettingZooEnv, register_envs
from envs_jax.minigrid import WORLDS, RGBImgObsWrapper
from envs_jax.mpe import SCENARIOS
from envs_jax.mpe.simple import Simple
from envs_jax.vector import vectorize
from tests.minigrid_reference import make_reference, state_of
from tests.traces import TASKS as DOORKEY_TASKS

MULTI_AGENT = [
    *((task, {}) for task in envs_jax.tasks() if task.startswith("simple")),
    ("LockedHallway-2Rooms", {"max_steps": 15}),
    ("simple_world_comm", {"continuous_actions": True}),
    ("simple_crypto", {"continuous_actions": True}),
    pytest.param("LockedHallway-4Rooms", {"max_steps": 15}, marks=pytest.mark.slow),
    pytest.param("LockedHallway-6Rooms", {"max_steps": 15}, marks=pytest.mark.slow),
    ("LockedHallway-2Rooms", {"num_agents": 3, "agent_view_size": 5, "max_steps": 10}),
]
make = cache(envs_jax.make)
every_world = pytest.mark.parametrize(("task", "options"), MULTI_AGENT)


@every_world
def test_pettingzoo_s_own_checks(task, options):
    env = make(task, **options)
    parallel_api_test(PettingZooEnv(env, "rgb_array"), num_cycles=30)
    parallel_seed_test(lambda: PettingZooEnv(env), num_cycles=5)


@every_world
def test_a_pettingzoo_episode_is_the_world_s_own(task, options):
    env = make(task, **options)
    adapted = PettingZooEnv(env)
    step = jax.jit(env.step)
    state, timestep = jax.jit(env.reset)(jax.random.key(7))
    observations, _ = adapted.reset(seed=7)
    for i, agent in enumerate(adapted.possible_agents):
        adapted.action_space(agent).seed(i)
    while adapted.agents:
        check_observations(adapted, observations, timestep.observation)
        actions = {agent: adapted.action_space(agent).sample() for agent in adapted.agents}
        state, timestep = step(state, stack_padded(actions.values(), env.action_spec))
        observations, rewards, terminated, truncated, _ = adapted.step(actions)
        assert list(rewards.values()) == timestep.reward.tolist()
        assert set(terminated.values()) == {bool(timestep.last() and timestep.discount[0] == 0)}
        assert set(truncated.values()) == {bool(timestep.last() and timestep.discount[0] == 1)}
    check_observations(adapted, observations, timestep.observation)
    assert timestep.last()
    assert state.step_count == getattr(env, "max_cycles", options.get("max_steps"))


def check_observations(adapted, observations, expected):
    """Each agent has its own part, which is in its space, and nothing else of the padded array is lost."""
    assert list(observations) == adapted.possible_agents
    for i, (agent, observation) in enumerate(observations.items()):
        assert adapted.observation_space(agent).contains(observation)
        if isinstance(observation, dict):
            np.testing.assert_array_equal(observation["view"], expected.view[i])
            assert observation["direction"] == expected.direction[i]
        else:
            np.testing.assert_array_equal(observation, expected[i, : len(observation)])
            assert not expected[i, len(observation) :].any()


def stack_padded(actions, spec):
    """int32[A], or float32[A, k] with zeros after shorter actions."""
    rows = [np.atleast_1d(action) for action in actions]
    padded = np.stack([np.pad(row, (0, max(map(len, rows)) - len(row))) for row in rows])
    return padded.reshape(spec.shape).astype(spec.dtype)


def test_names_and_sizes_of_agents():
    chase = PettingZooEnv(envs_jax.make("simple_tag"))
    assert chase.possible_agents == ["adversary_0", "adversary_1", "adversary_2", "agent_0"]
    assert [chase.observation_space(agent).shape for agent in chase.possible_agents] == [(16,)] * 3 + [(14,)]
    hallway = PettingZooEnv(envs_jax.make("LockedHallway-4Rooms"))
    assert hallway.possible_agents == ["agent_0", "agent_1"]
    assert hallway.observation_space("agent_1")["view"].shape == (7, 7, 3)


@pytest.mark.parametrize("task", SCENARIOS)
def test_a_particle_world_s_state_and_name_are_mpe2_s(task):
    adapted = PettingZooEnv(make(task))
    reference = import_module(f"mpe2.{adapted.metadata['name']}").parallel_env()
    assert adapted.metadata["name"] == reference.metadata["name"]
    assert adapted.state_space == reference.state_space
    with pytest.raises(ResetNeeded):
        adapted.state()
    for env in (adapted, reference):
        observations, _ = env.reset(seed=0)
        assert env.state().dtype == np.float32
        np.testing.assert_array_equal(env.state(), np.concatenate(list(observations.values())))


def test_steps_after_the_end_are_mpe2_s():
    for env in (PettingZooEnv(make("simple_push", max_cycles=1)), simple_push_v3.parallel_env(max_cycles=1)):
        env.reset(seed=0)
        env.step(dict.fromkeys(env.agents, 0))
        assert env.step({}) == env.step({"agent_0": 1}) == ({}, {}, {}, {}, {})
        assert len(env.state()) == 27


def test_observations_by_multigrid_s_names():
    reference = multigrid.envs.LockedHallwayEnv(num_rooms=2, agents=2).observation_space[0]
    adapted, plain = (PettingZooEnv(make("LockedHallway-2Rooms"), multigrid_names=names) for names in (True, False))
    space = adapted.observation_space("agent_0")
    assert (space["image"], space["direction"]) == (reference["image"], reference["direction"])
    (observations, _), (expected, _) = adapted.reset(seed=0), plain.reset(seed=0)
    for agent, seen in observations.items():
        assert adapted.observation_space(agent).contains(seen)
        np.testing.assert_array_equal(seen["image"], expected[agent]["view"])
        assert seen["direction"] == expected[agent]["direction"]
        assert reference["mission"].contains(seen["mission"])
    assert adapted.state_space.contains(adapted.state())
    assert plain.state_space.contains(plain.state())
    with pytest.raises(ValueError, match="multigrid_names is for LockedHallway, not SimpleTag"):
        PettingZooEnv(make("simple_tag"), multigrid_names=True)


class Seen(NamedTuple):
    place: jax.Array
    step_count: jax.Array


class Walk(NamedTuple):
    place: jax.Array
    step_count: jax.Array
    key: jax.Array


class Line(Environment):
    """A world of a user: walkers, or one walker, on a line until step 3."""

    observation_spec = action_spec = None

    def __init__(self, shape=()):
        self.shape = shape
        where = specs.BoundedArray(shape, jnp.int32, -3, 3, name="place")
        self.observation_spec = specs.Spec(
            Seen, "seen", place=where, step_count=specs.BoundedArray((), jnp.int32, 0, 3, name="step_count")
        )
        self.action_spec = specs.MultiDiscreteArray(jnp.full(shape, 2)) if shape else specs.DiscreteArray(2)

    def reset(self, key):
        state = Walk(jnp.zeros(self.shape, jnp.int32), jnp.int32(0), jax.random.split(key)[0])
        return state, restart(self.observe(state), shape=self.shape)

    def step(self, state, action):
        state = state._replace(place=state.place + 2 * action - 1, step_count=state.step_count + 1)
        ends = state.step_count >= 3
        reward = state.place.astype(jnp.float32)
        return state, jax.lax.cond(
            ends,
            lambda: termination(reward, self.observe(state), shape=self.shape),
            lambda: transition(reward, self.observe(state), shape=self.shape),
        )

    def observe(self, state):
        return Seen(state.place, state.step_count)


def test_worlds_of_users():
    """Their specs tell which adapter fits; what has no axis for agents is seen by all."""
    one, two = Line(), Line((2,))
    with pytest.raises(ValueError, match="Line has no axis for agents; adapt it with GymnasiumEnv"):
        PettingZooEnv(one)
    with pytest.raises(ValueError, match="Line has an axis for agents; adapt it with PettingZooEnv"):
        GymnasiumEnv(two)
    with pytest.raises(ValueError, match="Line has no render"):
        GymnasiumEnv(one, "rgb_array")
    parallel_api_test(PettingZooEnv(two), num_cycles=5)
    adapted = PettingZooEnv(two)
    adapted.reset(seed=0)
    observations, rewards, *_ = adapted.step({"agent_0": 1, "agent_1": 0})
    assert observations == {"agent_0": {"place": 1, "step_count": 1}, "agent_1": {"place": -1, "step_count": 1}}
    assert rewards == {"agent_0": 1.0, "agent_1": -1.0}
    batch = BatchedEnv(one, 2)
    assert batch.observation_space.contains(batch.reset(0)[0])


def test_registered_worlds_of_users(monkeypatch):
    monkeypatch.setattr(envs_jax, "_TASKS", dict(envs_jax._TASKS))
    envs_jax.register("my+walk", Line)
    register_envs()
    check_env(gymnasium.make("jaxteach/my_walk-v0").unwrapped, skip_render_check=True)


def test_many_seeds():
    adapted = PettingZooEnv(make("simple"))
    places = [adapted.reset(seed=seed)[0]["agent_0"].tolist() for seed in (0, 2**31, 2**32 - 1, 2**32, 2**64, 2**70)]
    assert len(set(map(tuple, places))) == len(places)
    assert places[2] == make("simple").reset(jax.random.key(2**32 - 1))[1].observation[0].tolist()
    for env in (adapted, GymnasiumEnv(make("SimpleDoorKey", max_steps=12)), BatchedEnv(make("simple"), 2)):
        with pytest.raises(Error, match="Seed must be greater or equal to zero, actual value: -1"):
            env.reset(seed=-1)
        with pytest.raises(Error, match="Seed must be a python integer"):
            env.reset(seed=0.5)


@pytest.mark.parametrize("task", DOORKEY_TASKS)
def test_gymnasium_s_own_checks(task):
    check_env(gymnasium.make(f"jaxteach/{task}-v0", max_steps=12, render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize("name", ["MiniGrid-Empty-5x5-v0", "MiniGrid-Fetch-5x5-N2-v0"])
def test_minigrid_s_worlds_by_gymnasium_s_own_checks(name):
    """Catches observations that are not in a Dict of MiniGrid's names, also where a mission has no gaps."""
    adapted = gymnasium.make(f"jaxteach/{name}", max_steps=12, render_mode="rgb_array")
    check_env(adapted.unwrapped)
    observation, _ = adapted.reset(seed=3)
    env = make(name, max_steps=12)
    state, timestep = env.reset(jax.random.key(3))
    expected = {"image": timestep.observation.image, "direction": state.agent_dir, "mission": env.mission(state)}
    assert observation.keys() == expected.keys()
    for part, values in expected.items():
        np.testing.assert_array_equal(observation[part], values)
    assert adapted.render().shape == (120, 120, 3)


@pytest.mark.parametrize(
    ("name", "wrapper"),
    [
        ("MiniGrid-Fetch-5x5-N2-v0", None),
        ("MiniGrid-PutNear-6x6-N2-v0", "FullyObsWrapper"),
        ("MiniGrid-Empty-5x5-v0", "DirectionObsWrapper"),
        ("MiniGrid-Playground-v0", None),  # its mission is an empty text
    ],
)
def test_observations_are_minigrid_s(name, wrapper):
    """Catches missions that are numbers, and spaces that wrappers written for MiniGrid don't know."""
    reference = theirs = make_reference(name)
    env = ours = make(name)
    if wrapper is not None:
        theirs, ours = getattr(minigrid.wrappers, wrapper)(theirs), getattr(envs_jax.minigrid, wrapper)(ours)
    adapted = GymnasiumEnv(ours)
    space, their_space = adapted.observation_space, theirs.observation_space
    assert set(space) == set(their_space)
    assert (space["image"], space["direction"]) == (their_space["image"], their_space["direction"])
    texts = set()
    for seed in range(3):
        theirs.reset(seed=seed)
        assert their_space["mission"].contains(adapted.reset(seed=seed)[0]["mission"])
        adapted._game._state = state_of(env, reference)
        (seen, *_), (expected, *_) = adapted.step(1), theirs.step(1)
        assert space.contains(seen)
        assert space["mission"].contains(expected["mission"])
        assert type(seen["mission"]) is str
        assert type(seen["direction"]) is int
        assert seen["image"].dtype == expected["image"].dtype
        for part, values in expected.items():
            np.testing.assert_array_equal(seen[part], values)
        texts.add(seen["mission"])
    assert len(texts) == (3 if env.mission_placeholders else 1)


def test_missions_in_gymnasium_s_vectors():
    """Catches texts that are blank, as Gymnasium reads its own `Text` from shared memory."""
    makers = [lambda: GymnasiumEnv(make("MiniGrid-Fetch-5x5-N2-v0", max_steps=12))] * 2
    vector, space = SyncVectorEnv(makers), makers[0]().observation_space["mission"]
    missions = vector.reset(seed=0)[0]["mission"]
    assert len(set(missions)) == 2
    assert all(map(space.contains, (*missions, space.sample())))
    assert not any(map(space.contains, ("", "get a red box", 0, np.zeros(3))))
    others = GymnasiumEnv(make("MiniGrid-Empty-5x5-v0")).observation_space["mission"]
    assert space == makers[1]().observation_space["mission"] != others
    with pytest.raises(ValueError, match="you can disable this feature with `shared_memory=False`"):
        AsyncVectorEnv(makers, context="spawn")


@pytest.mark.parametrize(
    ("name", "actions"),
    [("MiniGrid-Empty-5x5-v0", [2, 2, 1, 2, 2]), ("MiniGrid-DistShift1-v0", [2, 2]), ("MiniGrid-Empty-5x5-v0", [0, 0])],
)
@pytest.mark.parametrize("spare", [0, 1])
def test_the_last_step_may_be_a_success_too(name, actions, spare):
    """Catches an episode that ends at `max_steps` and does not say so."""
    max_steps = len(actions) + spare
    reference, single, batch = make_reference(name), *_both_adapters(name, max_steps)
    reference.max_steps = max_steps
    for env in (reference, single, batch):
        env.reset(seed=0)
    for action in actions:
        _, _, *expected, _ = reference.step(action)
        assert list(single.step(action)[2:4]) == expected
        assert [ends.tolist() for ends in batch.step(np.full(2, action))[2:4]] == [[end] * 2 for end in expected]
    assert expected == [actions != [0, 0], spare == 0]


def _both_adapters(name, max_steps):
    env = make(name, max_steps=max_steps)
    return GymnasiumEnv(env), BatchedEnv(env, 2)


def test_minigrid_s_worlds_in_a_batch():
    batch = gymnasium.make_vec("jaxteach/MiniGrid-Fetch-5x5-N2-v0", num_envs=3, max_steps=2)
    observations, _ = batch.reset(seed=0)
    assert batch.observation_space.contains(observations)
    for _ in range(2):
        last, rewards, terminated, truncated, info = batch.step(np.full(3, 6))
        assert batch.observation_space.contains(last)
    assert (rewards.tolist(), terminated.tolist(), truncated.tolist()) == ([0.0] * 3, [False] * 3, [True] * 3)
    assert batch.single_observation_space.contains(info["final_obs"][0])


def test_wrapped_worlds_in_gymnasium():
    wrapped = RGBImgObsWrapper(make("MiniGrid-Empty-5x5-v0", max_steps=12), tile_size=3)
    check_env(GymnasiumEnv(wrapped), skip_render_check=True)


def test_names_of_minigrid_s_worlds_in_gymnasium():
    """Catches names with two versions, and worlds that are not registered."""
    ours = {name for name in gymnasium.registry if name.startswith("jaxteach/")}
    assert {f"jaxteach/{name}" for name in WORLDS if name.startswith("MiniGrid-")} <= ours
    assert {"jaxteach/KeyInBox-v0", "jaxteach/SimpleDoorKey-v0"} <= ours
    assert not [name for name in ours if re.search(r"-v\d+-v\d+$", name)]


def test_gymnasium_episodes_are_the_world_s_own():
    """After a seeded reset the later ones follow, as automatic resets do."""
    env = make("LavaDoorKey", max_steps=12)
    adapted = GymnasiumEnv(env)
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    state, timestep = reset(jax.random.key(3))
    observation, _ = adapted.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(3):
        while not timestep.last():
            np.testing.assert_array_equal(observation, timestep.observation)
            action = rng.integers(7)
            state, timestep = step(state, jnp.int32(action))
            observation, reward, terminated, truncated, _ = adapted.step(action)
            assert reward == timestep.reward
        assert terminated == (timestep.discount == 0)
        assert truncated == (state.step_count == 12)
        np.testing.assert_array_equal(observation, timestep.observation)
        state, timestep = reset(state.key)
        observation, _ = adapted.reset()


def test_unseeded_episodes_differ():
    env = make("SimpleDoorKey", max_steps=12)
    first, second = (GymnasiumEnv(env).reset()[0] for _ in range(2))
    assert not np.array_equal(first, second)


class Counting(Simple):
    """Counts how often `step` is traced."""

    traces = 0

    def step(self, state, action):
        self.traces += 1
        return super().step(state, action)


def test_one_environment_is_compiled_once():
    env = Counting()
    games = [PettingZooEnv(env) for _ in range(3)]
    env.traces = 0  # Each construction traces the world's shapes, and compiles nothing.
    for adapted in games:
        adapted.reset(seed=0)
        adapted.step({"agent_0": 1})
        adapted.step({"agent_0": np.int64(2)})
    assert env.traces == 1


def test_equal_environments_share_one_program(caplog):
    """Compilations are counted: only the first of eight has any."""
    options = {"max_cycles": 7}
    counts = []
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        for _ in range(8):
            single, batch = PettingZooEnv(envs_jax.make("simple", **options)), BatchedEnv(make("simple", **options), 2)
            single.reset(seed=0)
            single.step({"agent_0": 1})
            batch.reset(0)
            batch.step([[1], [1]])
            counts.append(sum("XLA compilation" in record.getMessage() for record in caplog.records))
    assert counts[0] > 0
    assert counts == [counts[0]] * 8


def copies(adapted):
    return (
        pickle.loads(pickle.dumps(adapted)),
        cloudpickle.loads(cloudpickle.dumps(adapted)),
        copy.deepcopy(adapted),
    )


def test_copies_go_on_as_the_original():
    single, several = GymnasiumEnv(make("SimpleDoorKey", max_steps=12)), PettingZooEnv(make("simple_push"))
    batch = BatchedEnv(make("simple_push"), 3)
    cases = (single, 3, False), (several, {"adversary_0": 1, "agent_0": 2}, False), (batch, [[1, 2]] * 3, True)
    for adapted, action, positional in cases:
        adapted.reset(7) if positional else adapted.reset(seed=7)
        adapted.step(action)
        twins = copies(adapted)
        steps = [[env.step(action) for _ in range(3)] + [env.reset()] for env in (adapted, *twins)]
        for other in steps[1:]:
            jax.tree.map(np.testing.assert_array_equal, steps[0], other)
    before = copies(GymnasiumEnv(make("SimpleDoorKey", max_steps=12)))[0]
    with pytest.raises(ResetNeeded):
        before.step(0)


def use_in_child(adapted, answers):
    for use in (lambda: adapted.reset(seed=0), lambda: envs_jax.make("simple"), lambda: GymnasiumEnv(Line())):
        try:
            use()
        except RuntimeError as error:
            answers.put(str(error))


@pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:os.fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_forked_workers_say_that_they_would_hang():
    """Whether the world was made before the fork or after it."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=use_in_child, args=(PettingZooEnv(make("simple")), answers), daemon=True)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    for _ in range(3):
        assert "context='spawn'" in answers.get()


@pytest.mark.slow
def test_spawned_workers_and_gymnasium_s_loop_agree():
    functions = [lambda: gymnasium.make("envs_jax.adapters:jaxteach/SimpleDoorKey-v0", max_steps=12)] * 2
    envs = AsyncVectorEnv(functions, context="spawn"), SyncVectorEnv(functions)
    first = [env.reset(seed=3)[0] for env in envs]
    second = [env.step(np.array([1, 2]))[0] for env in envs]
    np.testing.assert_array_equal(*first)
    np.testing.assert_array_equal(*second)
    envs[0].close()


def test_a_batch_is_compiled_once():
    env = Counting()
    batch = BatchedEnv(env, 3)
    env.traces = 0  # The construction traces the world's shapes, and compiles nothing.
    for seed in range(2):
        batch.reset(seed)
        for dtype in (np.int64, np.int32, np.uint8):
            batch.step(np.zeros((3, 1), dtype))
        batch.step([[0], [1], [2]])
        batch.step(jnp.zeros((3, 1), jnp.int32))
    assert env.traces == 1


@pytest.mark.parametrize(
    ("task", "options"),
    [
        pytest.param("LavaDoorKey", {"max_steps": 25}, marks=pytest.mark.slow),
        pytest.param("LockedHallway-2Rooms", {"max_steps": 10}, marks=pytest.mark.slow),
        ("simple_spread", {"N": 1, "terminate_on_success": True}),
    ],
)
def test_a_batch_is_the_vectorized_environment(task, options):
    env, num_envs = envs_jax.make(task, **options), 128
    batch, vector = BatchedEnv(env, num_envs), vectorize(env, num_envs)
    step = jax.jit(vector.step)
    state, timestep = jax.jit(vector.reset)(jax.random.key(1))
    check_trees(batch.reset(1)[0], as_dict(timestep.observation))
    rng, ends = np.random.default_rng(0), np.zeros(2, int)
    for _ in range(60):
        actions = rng.integers(np.broadcast_to(env.action_spec.num_values, (num_envs, *env.action_spec.shape)))
        state, timestep = step(state, actions.astype(np.int32))
        observation, reward, terminated, truncated, info = batch.step(actions)
        check_trees(observation, as_dict(timestep.observation))
        check_trees(reward, timestep.reward)
        assert ("final_obs" in info) == timestep.last().any()
        for i in np.flatnonzero(timestep.last()):
            expected = jax.tree.map(lambda leaf: np.asarray(leaf[i]), timestep.extras["next_obs"])  # noqa: B023
            check_trees(info["final_obs"][i], as_dict(expected))
            assert info["final_info"]["episode_length"][i] == timestep.extras["episode_length"][i]
        check_trees(info["episode_return"], timestep.extras["episode_return"])
        check_trees(info["episode_length"], timestep.extras["episode_length"])
        failed = np.asarray(timestep.discount).reshape(num_envs, -1)[:, 0] == 0
        np.testing.assert_array_equal(terminated, timestep.last() & failed)
        np.testing.assert_array_equal(info.get("_final_obs", np.zeros(num_envs, bool)), timestep.last())
        late = ~failed | ((task == "LavaDoorKey") & (timestep.extras["episode_length"] == env.max_steps))
        np.testing.assert_array_equal(truncated, timestep.last() & late)
        ends += terminated.sum(), truncated.sum()
    assert ends[1] > 0
    assert ends[0] > 0 or task == "LockedHallway-2Rooms"


def as_dict(observation):
    return observation._asdict() if hasattr(observation, "_asdict") else observation


def check_trees(actual, expected):
    """Equal, but for the last bits of floats: the two are compiled apart, and XLA fuses them differently."""
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(actual))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), actual, expected)
    assert jax.tree.leaves(jax.tree.map(lambda leaf: leaf.dtype, actual)) == [
        leaf.dtype for leaf in jax.tree.leaves(expected)
    ]


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_gymnasium_s_vector_wrappers(mode):
    """They see what they see of Gymnasium's own loop over the same worlds, in the same mode."""
    options = {"max_steps": 4, "render_mode": "rgb_array"}
    batch = gymnasium.make_vec("jaxteach/SimpleDoorKey-v0", 3, autoreset_mode=mode, **options)
    assert isinstance(batch.unwrapped, BatchedEnv)
    single = [lambda: gymnasium.make("jaxteach/SimpleDoorKey-v0", **options)] * 3
    loop = SyncVectorEnv(single, autoreset_mode=mode)
    assert batch.metadata["autoreset_mode"] == loop.metadata["autoreset_mode"]
    for space in ("single_observation_space", "observation_space", "single_action_space", "action_space"):
        assert getattr(batch, space) == getattr(loop, space)
    steps = []
    for env in (batch, loop):
        wrapped = wrappers.RecordEpisodeStatistics(wrappers.NormalizeReward(wrappers.ClipReward(env, 0, 1)))
        if mode == "NextStep":
            wrapped = wrappers.NormalizeObservation(wrappers.DtypeObservation(wrapped, np.float32))
        wrapped = wrappers.DictInfoToList(wrapped)
        wrapped.reset(seed=0)
        steps.append([wrapped.step(np.array([0, 1, 6])) for _ in range(9)])
    for (observation, *ours, told), (other, *theirs, expected) in zip(*steps):
        assert wrapped.observation_space.contains(observation.astype(wrapped.observation_space.dtype))
        assert observation.shape == other.shape
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
        for our_info, their_info in zip(told, expected):
            assert our_info.keys() - their_info.keys() == {"episode_return", "episode_length"}
            if "episode" in our_info:
                assert [our_info["episode"][name] for name in "rl"] == [their_info["episode"][name] for name in "rl"]
            if "final_obs" in our_info:
                assert our_info["final_obs"].shape == their_info["final_obs"].shape
                assert our_info["final_info"] == {"episode_return": 0, "episode_length": 4}
    assert [picture.dtype for picture in batch.render()] == [np.uint8] * 3
    with pytest.raises(ValueError, match="reset_mask has no use here"):
        batch.reset(options={"reset_mask": np.ones(3, bool)})
    batch.close()
    with pytest.raises(ResetNeeded):
        batch.unwrapped.step([0, 0, 0])


def test_unseeded_resets_of_a_batch_follow_the_seeded_one():
    first, second = (BatchedEnv(make("simple"), 2) for _ in range(2))
    runs = [[env.reset(3)[0], env.reset()[0], env.reset()[0]] for env in (first, second)]
    np.testing.assert_array_equal(*runs)
    assert len(np.unique(np.concatenate(runs[0]), axis=0)) == 6


def test_a_batch_of_tensors():
    torch = pytest.importorskip("torch")
    env = envs_jax.make("simple_spread")
    tensors, arrays = BatchedEnv(env, 4, torch=True), BatchedEnv(env, 4)
    check_tensors(torch, tensors.reset(0)[0], arrays.reset(0)[0])
    actions = torch.arange(12).reshape(3, 4).T % 5
    for step in range(3):
        (*ours, told), (*theirs, expected) = tensors.step(actions), arrays.step(actions.numpy())
        final, length = told["final_obs"], [info["episode_length"].tolist() for info in (told, expected)]
        check_tensors(torch, ours, theirs)
        assert length[0] == length[1] == [step + 1] * 4
        np.testing.assert_array_equal(final.numpy(), theirs[0])
    with pytest.raises(InvalidAction):
        tensors.step(actions + 1)
    for beyond in (2**32, 2**32 + 1, 2 - 2**32):
        with pytest.raises(InvalidAction):
            tensors.step(torch.full_like(actions, beyond))


def check_tensors(torch, tensors, arrays):
    assert all(isinstance(leaf, torch.Tensor) for leaf in jax.tree.leaves(tensors))
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda tensor: tensor.numpy(), tensors), arrays)


def test_tensors_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="torch=True needs PyTorch, which is not installed: pip install torch"):
        BatchedEnv(envs_jax.make("simple"), 2, torch=True)


def test_wrong_worlds_and_modes():
    with pytest.raises(ValueError, match="DoorKey has no axis for agents"):
        PettingZooEnv(envs_jax.make("SimpleDoorKey"))
    with pytest.raises(ValueError, match="SimpleTag has an axis for agents"):
        GymnasiumEnv(envs_jax.make("simple_tag"))
    with pytest.raises(ValueError, match="None or \"rgb_array\", not 'human'"):
        GymnasiumEnv(envs_jax.make("SimpleDoorKey"), "human")


def test_steps_outside_episodes():
    one, many = GymnasiumEnv(make("SimpleDoorKey", max_steps=12)), PettingZooEnv(make("simple_push"))
    for too_early in (
        lambda: one.step(0),
        lambda: many.step({}),
        lambda: BatchedEnv(make("simple"), 2).step([[0], [0]]),
    ):
        with pytest.raises(ResetNeeded):
            too_early()
    one.reset(seed=0)
    assert [one.step(0)[3] for _ in range(12)] == [False] * 11 + [True]
    with pytest.raises(ResetNeeded):
        one.step(0)


def test_wrong_actions():
    one, many, batch = (
        GymnasiumEnv(make("SimpleDoorKey", max_steps=12)),
        PettingZooEnv(make("simple_push")),
        BatchedEnv(make("simple_push"), 2),
    )
    one.reset(seed=0)
    for action in (7, -1, 0.5, [0]):
        with pytest.raises(InvalidAction):
            one.step(action)
    many.reset(seed=0)
    with pytest.raises(InvalidAction, match="agent_0 has none"):
        many.step({"adversary_0": 0})
    first, _ = batch.reset(0)
    with pytest.raises(InvalidAction, match=r"shape \(2, 2\), not \(2,\)"):
        batch.step([0, 0])
    for actions in ([[0, 0], [0, 5]], [[-1, 0], [0, 0]], [[0, 2**32], [0, 0]], jnp.array([[0, 9], [0, 0]])):
        with pytest.raises(InvalidAction, match="are not in"):
            batch.step(actions)
    with pytest.raises(InvalidAction, match="whole numbers, not float64"):
        batch.step(np.zeros((2, 2)))
    np.testing.assert_array_equal(batch.reset(0)[0], first)


def test_pictures():
    env = make("simple_push")
    adapted = PettingZooEnv(env, "rgb_array")
    adapted.reset(seed=2)
    np.testing.assert_array_equal(adapted.render(), env.render(jax.jit(env.reset)(jax.random.key(2))[0]))
    assert PettingZooEnv(env).render() is None


def test_the_worlds_load_neither_adapters_nor_drawing():
    unwanted = "pettingzoo", "envs_jax.adapters", "envs_jax.animation", "envs_jax.grid.render", "envs_jax.mpe.render"
    code = (
        "import sys, envs_jax\n"
        "for task in ('SimpleDoorKey', 'LockedHallway-2Rooms', 'simple'): envs_jax.make(task)\n"
        f"print(*(set({unwanted}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_mistakes_in_adapting_and_acting_are_one_sentence():
    """Catches an AttributeError for what is not an environment, and actions that go nowhere in silence."""
    for adapter in (GymnasiumEnv, PettingZooEnv, lambda env: BatchedEnv(env, 2)):
        with pytest.raises(TypeError, match=r"env must be a Jumanji environment, .* not 5"):
            adapter(5)
    for mode in (AutoresetMode.NEXT_STEP, "NEXT_STEP", AutoresetMode.NEXT_STEP.value):
        assert BatchedEnv(make("simple"), 2, autoreset_mode=mode).metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    for mode in ("Foo", ["NEXT_STEP"], {}, AutoresetMode.DISABLED):
        with pytest.raises(ValueError, match=f"must be SAME_STEP or NEXT_STEP, not {re.escape(repr(mode))}: finished"):
            BatchedEnv(make("simple"), 2, autoreset_mode=mode)
    for changes, found in (({"shape": (1,)}, r"int32\[1\], "), ({"dtype": jnp.float32}, r"float32\[\], ")):
        for adapter in (GymnasiumEnv, lambda env: BatchedEnv(env, 2)):
            world = Line()
            world.observation_spec = world.observation_spec.replace(
                place=specs.Array(**{"shape": (), "dtype": jnp.int32, **changes})
            )
            with pytest.raises(ValueError, match=rf"observe gives .* int32\[\] in Line, .*_spec has {found}"):
                adapter(world)
    world = Line((2,))
    world.observation_spec = world.observation_spec.replace(place=specs.Array((2,), jnp.uint8))
    with pytest.raises(ValueError, match=r"observe gives .* in Line, and its observation_spec has uint8\[2\]"):
        PettingZooEnv(world)
    adapted = PettingZooEnv(envs_jax.make("simple"))
    for too_early in (lambda: adapted.step({"x": 0}), lambda: GymnasiumEnv(make("SimpleDoorKey")).step("x")):
        with pytest.raises(ResetNeeded):
            too_early()
    adapted.reset(seed=0)
    for actions in (None, [0]):
        with pytest.raises(InvalidAction, match="actions must be a dict from agents' names to actions"):
            adapted.step(actions)
    with pytest.raises(InvalidAction, match="there is no agent agent_7; the agents are agent_0"):
        adapted.step({"agent_0": 0, "agent_7": 0})


def test_numbers_of_numpy_and_jax_are_as_good_as_python_s():
    """Catches a seed that one adapter takes and another refuses, and a parameter that stays an array."""
    world = envs_jax.make("SimpleDoorKey", view_size=jnp.int32(5))
    assert repr(world) == "DoorKey(view_size=5)"
    assert world == envs_jax.make("SimpleDoorKey", view_size=np.int64(5)) == envs_jax.make("SimpleDoorKey", view_size=5)
    single = GymnasiumEnv(world)
    np.testing.assert_array_equal(single.reset(seed=np.int64(3))[0], single.reset(seed=3)[0])
    for env in (single, PettingZooEnv(make("simple")), BatchedEnv(make("simple"), 2)):
        for seed in ([3], "3", True, np.True_):
            with pytest.raises(Error):
                env.reset(seed=seed)
    worlds = [envs_jax.make("SimpleDoorKey", room_size=(least, 10)) for least in (jnp.int32(5), np.int64(5), 5)]
    assert [repr(env) for env in worlds] == ["DoorKey()"] * 3
    assert len({*worlds}) == 1
