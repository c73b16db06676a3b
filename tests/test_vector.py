"""Automatic resets in rounds give what resetting every environment would; equal environments are one to JAX."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from envs_jax.doorkey import DoorKey, LavaDoorKey
from envs_jax.vector import VectorEnv, vectorize
from envs_jax.wrappers import AgentAxisWrapper


def as_numpy(state):
    return jax.device_get(state._replace(key=jax.random.key_data(state.key)))


@pytest.mark.parametrize("num_envs", [8, 130, 256])
def test_finished_environments_start_the_layouts_of_their_own_keys(num_envs):
    env = envs_jax.make("SimpleDoorKey")
    venv = vectorize(env, num_envs)
    before, _ = jax.jit(venv.reset)(jax.random.key(0))
    fresh, first = jax.jit(jax.vmap(env.reset))(before.env.key)
    step = jax.jit(venv.step)
    for share in (0, 0.4, 1):
        ends = np.random.default_rng(0).random(num_envs) < share
        counted = before.env._replace(step_count=jnp.where(ends, env.max_steps - 1, 0))
        after, timestep = step(before._replace(env=counted), jnp.full(num_envs, 6))
        np.testing.assert_array_equal(timestep.last(), ends)
        played = timestep.extras["next_state"]
        for leaf, new, old in zip(*(jax.tree.leaves(as_numpy(state)) for state in (after.env, fresh, played))):
            np.testing.assert_array_equal(leaf[ends], new[ends])
            np.testing.assert_array_equal(leaf[~ends], old[~ends])
        np.testing.assert_array_equal(timestep.observation[ends], first.observation[ends])
        np.testing.assert_array_equal(after.episode_length, ~ends)


def test_environments_made_alike_are_equal():
    for task in envs_jax.tasks():
        env, other = envs_jax.make(task), envs_jax.make(task)
        assert env == other
        assert {env: task}[other] == task
        assert (AgentAxisWrapper(env), vectorize(env, 2)) == (AgentAxisWrapper(other), vectorize(other, 2))
        assert env == copy.deepcopy(env) == pickle.loads(pickle.dumps(env))
    assert DoorKey(10, room_size=(5, 10)) == DoorKey(room_size=[5, 10]) == envs_jax.make("SimpleDoorKey")
    assert repr(envs_jax.make("TwoDoor", max_steps=9)) == "TwoDoor(world_size=20, room_size=(20, 20), max_steps=9)"
    assert repr(vectorize(DoorKey(), 2)) == "VectorEnv(env=DoorKey(), num_envs=2)"


class Weighted(DoorKey):
    def __init__(self, weights=None, **options):
        super().__init__(**options)
        self.bonus = 0
        self.weights = weights


def test_environments_that_differ_are_unequal():
    weights = np.ones(2)
    assert Weighted(weights, max_steps=9) == Weighted(weights.copy(), max_steps=9)
    odd = Weighted(weights)
    odd.bonus = 1
    several = [
        DoorKey(),
        DoorKey(max_steps=9),
        LavaDoorKey(),
        Weighted(),
        Weighted(weights),
        Weighted(2 * weights),
        odd,
    ]
    several += [Weighted(max_steps=9), Weighted(object()), Weighted(object()), vectorize(DoorKey(), 2), DoorKey.reset]
    assert all((a == b) == (a is b) for a in several for b in several)
    assert len(set(several)) == len(several)


def test_without_jit_nothing_is_compiled_again(caplog):
    """A second environment, equal to the first, finds all its programs compiled."""
    in_hallway, _ = jax.jit(envs_jax.make("LockedHallway-2Rooms").reset)(jax.random.key(0))
    counts = []
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        for _ in range(2):
            venv = VectorEnv(envs_jax.make("simple"), 2)
            state, _ = venv.reset(jax.random.key(0))
            for _ in range(2):
                state, _ = venv.step(state, jnp.zeros((2, 1), jnp.int32))
            envs_jax.make("LockedHallway-2Rooms").observe(in_hallway)
            counts.append(sum("XLA compilation" in record.getMessage() for record in caplog.records))
    assert counts[0] == counts[1] > 0


def test_a_world_without_observe():
    class Blind:
        pass

    with pytest.raises(ValueError, match=r"Blind needs observe\(state\)"):
        vectorize(Blind(), 2)


@pytest.mark.parametrize("num_envs", [0, -1, 2.5, True, "4", 2**40])
def test_a_number_of_environments_that_is_none(num_envs):
    with pytest.raises(ValueError, match="num_envs must be "):
        vectorize(DoorKey(), num_envs)
