"""The DoorKey worlds against every recorded transition of the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from tests import traces

STATE_NAMES = {
    "grid": "grid",
    "agent_pos": "agent_pos",
    "agent_dir": "agent_dir",
    "carrying": "carrying",
    "seen": "mask",
    "step_count": "step_count",
}


def inject(env, data, frames):
    """The states of the recorded frames, stacked."""
    states = [
        env.make_state(**{name: data[recorded][frame] for name, recorded in STATE_NAMES.items()}) for frame in frames
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(state._replace(key=np.uint32(0)) for state in states))
    return stacked._replace(key=jax.random.split(jax.random.key(0), len(states)))


@pytest.mark.parametrize("mode", ["random", pytest.param("soft", marks=pytest.mark.slow), "hard"])
@pytest.mark.parametrize("task", traces.TASKS)
def test_every_recorded_transition(task, mode):
    data = traces.load(f"{task.lower()}_{mode}")
    env = envs_jax.make(task)
    before = traces.transition_frames(data)
    states = inject(env, data, before)
    np.testing.assert_array_equal(jax.vmap(env.observe)(states), data["obs"][before])

    states, timestep = jax.jit(jax.vmap(env.step))(states, jnp.asarray(data["action"], jnp.int32))
    arrays = jax.vmap(env.to_arrays)(states)
    for name, recorded in STATE_NAMES.items():
        np.testing.assert_array_equal(arrays[name], data[recorded][before + 1], err_msg=name)
    np.testing.assert_array_equal(timestep.observation, data["obs"][before + 1])
    np.testing.assert_allclose(timestep.reward, data["reward"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(timestep.discount == 0, data["terminated"])
    np.testing.assert_array_equal(timestep.last(), data["terminated"] | data["truncated"])


@pytest.mark.parametrize("task", traces.TASKS)
def test_first_frames_are_what_a_fresh_agent_sees(task):
    """A layout seen for the first time shows exactly the recorded first observation."""
    data = traces.load(f"{task.lower()}_random")
    env = envs_jax.make(task)
    first = np.array([frames.start for frames, _ in traces.episodes(data)])
    states = inject(env, {**data, "mask": np.zeros_like(data["mask"])}, first)
    turned = jax.vmap(env.step, in_axes=(0, None))(states, jnp.int32(6))[0]
    np.testing.assert_array_equal(jax.vmap(env.to_arrays)(turned)["seen"], data["mask"][first])
