"""Automatic resets in rounds give what resetting every environment would."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from envs_jax.vector import vectorize


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
