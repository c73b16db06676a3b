"""The adapters: other libraries' own checks, and every episode equal to the world's own."""

import subprocess
import sys
from functools import cache

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test
from pettingzoo.test.seed_test import parallel_seed_test

import envs_jax
from envs_jax.adapters import BatchedEnv, GymnasiumEnv, PettingZooEnv
from envs_jax.mpe.simple import Simple
from envs_jax.vector import vectorize
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


@pytest.mark.parametrize("task", DOORKEY_TASKS)
def test_gymnasium_s_own_checks(task):
    env = make(task, max_steps=12)
    spec = EnvSpec(f"{task}-v0", entry_point=lambda render_mode=None: GymnasiumEnv(env, render_mode))
    check_env(gymnasium.make(spec, render_mode="rgb_array").unwrapped)


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
        assert truncated != terminated
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
    for _ in range(3):
        adapted = PettingZooEnv(env)
        adapted.reset(seed=0)
        adapted.step({"agent_0": 1})
        adapted.step({"agent_0": np.int64(2)})
    assert env.traces == 1


def test_a_batch_is_compiled_once():
    env = Counting()
    batch = BatchedEnv(env, 3)
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
    check_trees(batch.reset(1), timestep.observation)
    rng, ends = np.random.default_rng(0), np.zeros(2, int)
    for _ in range(60):
        actions = rng.integers(np.broadcast_to(env.action_spec.num_values, (num_envs, *env.action_spec.shape)))
        state, timestep = step(state, actions.astype(np.int32))
        observation, reward, terminated, truncated, info = batch.step(actions)
        check_trees(observation, timestep.observation)
        check_trees(reward, timestep.reward)
        check_trees(info["final_obs"], timestep.extras["next_obs"])
        check_trees(info["episode_return"], timestep.extras["episode_return"])
        check_trees(info["episode_length"], timestep.extras["episode_length"])
        failed = np.asarray(timestep.discount).reshape(num_envs, -1)[:, 0] == 0
        np.testing.assert_array_equal(terminated, timestep.last() & failed)
        np.testing.assert_array_equal(truncated, timestep.last() & ~failed)
        ends += terminated.sum(), truncated.sum()
    assert ends[1] > 0
    assert ends[0] > 0 or task == "LockedHallway-2Rooms"


def check_trees(actual, expected):
    """Equal, but for the last bits of floats: the two are compiled apart, and XLA fuses them differently."""
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(actual))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), actual, expected)
    assert jax.tree.leaves(jax.tree.map(lambda leaf: leaf.dtype, actual)) == [
        leaf.dtype for leaf in jax.tree.leaves(expected)
    ]


def test_a_batch_of_tensors():
    torch = pytest.importorskip("torch")
    env = envs_jax.make("simple_spread")
    tensors, arrays = BatchedEnv(env, 4, torch=True), BatchedEnv(env, 4)
    check_tensors(torch, tensors.reset(0), arrays.reset(0))
    actions = torch.arange(12).reshape(3, 4).T % 5
    for _ in range(3):
        check_tensors(torch, tensors.step(actions), arrays.step(actions.numpy()))


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
    batch.reset(0)
    with pytest.raises(InvalidAction, match=r"shape \(2, 2\), not \(2,\)"):
        batch.step([0, 0])


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
