"""Everything works alike in JAX's checking modes: 64 bits, strict types and ranks, the check for reused keys."""

from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import restart, termination, transition

import envs_jax
from envs_jax.minigrid import DirectionObsWrapper, FullyObsWrapper, RGBImgObsWrapper, RGBImgPartialObsWrapper
from envs_jax.minigrid.map_memory import MapWrapper
from envs_jax.vector import VectorEnv, vectorize
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import PPOConfig, TeacherConfig, TrainConfig, WorldConfig
from jaxteach.networks.mlp import MLPNet
from jaxteach.ppo.distillation import initial_memory
from jaxteach.ppo.episodes import film_episodes, student_policy, teacher_policy, with_random_actions
from jaxteach.ppo.learner import Learner
from jaxteach.training.programs import Experiment

MODES = {
    "x64": lambda: jax.enable_x64(True),
    "types": lambda: jax.numpy_dtype_promotion("strict"),
    "ranks": lambda: jax.numpy_rank_promotion("raise"),
    "keys": lambda: jax.debug_key_reuse(True),
}
WORLDS = {
    **{task: (task, {}) for task in envs_jax.tasks()},
    "corridor": ("MiniGrid-KeyCorridorS3R2-v0", {}),
    "stacked": ("SimpleDoorKey", {"frame_stack": 3}),
    "walls of glass": ("LockedHallway-2Rooms", {"see_through_walls": True, "joint_reward": False}),
    "continuous": ("simple_world_comm", {"continuous_actions": True}),
    "nearest": ("simple_tag", {"num_agent_neighbors": 1, "num_landmark_neighbors": 1, "curriculum": True}),
    "ends": ("simple_spread", {"terminate_on_success": True, "num_agent_neighbors": 1}),
}
PPO = PPOConfig(rollout_length=8, epochs=1, batch_size=16)
LINE = replace(PPO, distill_schedule="linear", normalize_values=True)
RUNS = {
    "doorkey": TrainConfig("SimpleDoorKey", ppo=PPO),
    "cnn": TrainConfig("ColoredDoorKey", network="reference", ppo=LINE),
    "lstm": TrainConfig(
        "TwoDoor",
        network="reference",
        recurrent=True,
        ppo=PPO,
        teacher=TeacherConfig(hard_planner=True),
        world=WorldConfig(frame_stack=2),
    ),
    "hallway": TrainConfig("LockedHallway-2Rooms", network="mlp", recurrent=True, ppo=LINE),
    "spread": TrainConfig("simple_spread", network="mlp", ppo=PPO, world=WorldConfig(max_steps=3)),
    "guided": TrainConfig(
        "SimpleDoorKey", ppo=replace(PPO, guidance="kickstart+agreement+potential+prior+guide+dagger+clone+hint+gate")
    ),
    "guided_team": TrainConfig(
        "LockedHallway-2Rooms",
        network="mlp",
        recurrent=True,
        ppo=replace(LINE, guidance="agreement+prior+guide+dagger+clone+gate"),
        teacher=TeacherConfig(hard_planner=True),
    ),
    "ask": TrainConfig("KeyInBox", network="reference", ppo=replace(PPO, guidance="ask")),
    "minigrid": TrainConfig("MiniGrid-ObstructedMaze-1Dlhb-v0", ppo=PPO),
    "put near": TrainConfig("MiniGrid-PutNear-6x6-N2-v0", network="mlp", recurrent=True, ppo=PPO),
    "adversary": TrainConfig("simple_adversary", network="mlp", no_teacher=True, ppo=PPO),
}
KEY = jax.eval_shape(lambda: jax.random.key(0))


@pytest.fixture
def checked():
    """All modes at once."""
    with ExitStack() as stack:
        for mode in MODES.values():
            stack.enter_context(mode())
        yield


def experiment(name):
    return Experiment(replace(RUNS[name], num_envs=4, n_itr=2, eval_interval=1))


def traced(function, *arguments):
    """The shapes of a function's results, none of them with 64 bits; tracing also looks for reused keys."""
    results = jax.jit(function).trace(*arguments).out_info
    for path, leaf in jax.tree_util.tree_leaves_with_path(results):
        assert not str(leaf.dtype).endswith("64"), (jax.tree_util.keystr(path), leaf)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), results)


def random_steps(env, key, num_envs=3, steps=2):
    """A reset, and steps with random actions."""
    venv, spec = vectorize(env, num_envs), env.action_spec
    reset_key, act_key = jax.random.split(key)
    draws = jax.random.uniform(act_key, (steps, num_envs, *spec.shape), jnp.float32)
    if not isinstance(spec, specs.DiscreteArray | specs.MultiDiscreteArray):
        actions = draws
    else:
        actions = (draws * np.array(spec.num_values, np.float32, ndmin=draws.ndim)).astype(jnp.int32)
    state, first = venv.reset(reset_key)
    return first, jax.lax.scan(venv.step, state, actions)


@pytest.mark.parametrize("name", WORLDS)
def test_worlds_keep_their_types(name, checked):
    """Catches a promotion of types or ranks in a world, a number of 64 bits in its state, and a key used twice."""
    task, parameters = WORLDS[name]
    env = envs_jax.make(task, **parameters)
    traced(lambda key: random_steps(env, key), KEY)
    state = traced(env.reset, KEY)[0]
    traced(env.observe, state)
    traced(env.to_arrays, state)


@pytest.mark.parametrize(
    "wrap", [FullyObsWrapper, RGBImgObsWrapper, RGBImgPartialObsWrapper, DirectionObsWrapper, MapWrapper]
)
def test_wrapped_worlds_keep_their_types(wrap, checked):
    """Catches the same in an observation that a wrapper makes."""
    env = wrap(envs_jax.make("MiniGrid-Empty-5x5-v0"))
    traced(lambda key: random_steps(env, key), KEY)


@pytest.mark.parametrize("name", RUNS)
def test_training_keeps_its_types(name, checked):
    """Catches the same in teachers, networks, losses and updates, whose state must be of the types that it had."""
    made = experiment(name)
    learner, number = made.learner, jax.ShapeDtypeStruct((), jnp.int32)
    state = traced(learner.init, KEY)
    after, _ = traced(learner.update, state, made.table, number)
    assert after == state


@pytest.mark.parametrize("name", ["doorkey", "hallway", "spread", "minigrid"])
def test_episodes_keep_their_types(name, checked):
    """Catches the same in the policies that are evaluated, and in their films."""
    made = experiment(name)
    world, teacher, network = made.world, made.teacher, made.network
    params = traced(made.learner.init, KEY).params

    def play(params, key):
        keys = jax.random.split(key)
        student = student_policy(network, params, greedy=True)
        taught = with_random_actions(teacher_policy(teacher), 0.3, world.action_counts)
        filmed = film_episodes(world, student, network.initial_carry(3), keys[0], 3, filmed=2)
        return filmed, film_episodes(world, taught, initial_memory(teacher, 3), keys[1], 3, filmed=0)

    traced(play, params, KEY)


class Careless(Environment):
    """A world of one's own that leaves its types to JAX."""

    max_steps = 5
    action_spec = specs.DiscreteArray(2)
    observation_spec = specs.BoundedArray((5,), jnp.float32, 0, 1)

    class State(NamedTuple):
        place: jax.Array
        step_count: jax.Array
        weight: jax.Array
        key: jax.Array

    def __init__(self, heavier=1):
        self.heavier = heavier

    def reset(self, key):
        key, draw = jax.random.split(key)
        state = self.State(jax.random.randint(draw, (), 0, 4), jnp.asarray(0), jnp.zeros((), jnp.int32), key)
        return state, restart(self.observe(state))

    def step(self, state, action):
        after = state._replace(
            place=jnp.clip(state.place + jnp.where(action == 0, 1, -1), 0, 3),
            step_count=state.step_count + 1,
            weight=jnp.sum(jnp.ones(3, bool)) * self.heavier,
        )
        timesteps = (transition, termination)
        reward = (after.place == 3).astype(float)
        last = (after.step_count >= self.max_steps).astype(jnp.int32)
        return after, jax.lax.switch(last, timesteps, reward, self.observe(after))

    def observe(self, state):
        return jnp.append(jax.nn.one_hot(state.place, 4), state.step_count / self.max_steps)


@pytest.mark.parametrize("mode", MODES)
def test_a_world_of_ones_own_may_leave_its_types_to_jax(mode):
    """Catches a training that breaks where a world's numbers have 64 bits, weak types, or other ones after a step."""
    with MODES[mode]():
        learner = Learner(VectorEnv(AgentAxisWrapper(Careless()), 3), MLPNet((2,)), PPO, None, 1)
        state = jax.eval_shape(learner.init, KEY)
        after, _ = jax.jit(learner.update).trace(state, None, jax.ShapeDtypeStruct((), jnp.int32)).out_info
        assert jax.tree.map(lambda leaf: leaf.dtype, after) == jax.tree.map(lambda leaf: leaf.dtype, state)
        assert (after.actor.obs.dtype, after.actor.env.episode_return.dtype) == (jnp.float32, jnp.float32)


def test_a_step_that_makes_another_kind_of_number_is_named():
    with pytest.raises(TypeError, match=r"must keep the types of its state: .*weight became float32, and was int32"):
        jax.eval_shape(lambda key: random_steps(Careless(heavier=0.5), key), KEY)


def bits(tree):
    """All leaves by their paths, as dtypes and bytes."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    plain = [
        (path, jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x) for path, x in leaves
    ]
    return {jax.tree_util.keystr(path): (str(x.dtype), np.asarray(x).tobytes()) for path, x in plain}


def two_updates(name):
    made = experiment(name)
    state, update = jax.jit(made.learner.init)(jax.random.key(7)), jax.jit(made.learner.update)
    metrics = []
    for iteration in range(2):
        state, row = update(state, made.table, jnp.int32(iteration))
        metrics.append(row)
    return bits((state, metrics))


@pytest.mark.parametrize(
    "name",
    [
        "spread",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("doorkey", "lstm", "hallway", "guided", "ask")),
    ],
)
def test_training_has_the_same_bits(name, request):
    """Catches a number that is rounded or drawn otherwise in one of the modes."""
    plain = two_updates(name)
    request.getfixturevalue("checked")
    assert two_updates(name) == plain


@pytest.mark.parametrize("task", ["SimpleDoorKey", "LockedHallway-2Rooms", "simple_spread"])
def test_states_are_taken_apart_and_drawn(task, checked):
    """Catches the same in what runs on the host: states from arrays, and pictures."""
    env = envs_jax.make(task)
    state, _ = jax.jit(env.reset)(jax.random.key(1))
    again = env.make_state(**jax.device_get(jax.jit(env.to_arrays)(state)), key=state.key)
    assert bits(again) == bits(state)
    assert env.render(state).dtype == np.uint8
