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

FACTS = ("obs", *STATE_NAMES.values())
ENDS = ("reward", "terminated", "truncated")


def inject(env, data, frames):
    """The states of the recorded frames, stacked."""
    states = [
        env.make_state(**{name: data[recorded][frame] for name, recorded in STATE_NAMES.items()}) for frame in frames
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(state._replace(key=np.uint32(0)) for state in states))
    return stacked._replace(key=jax.random.split(jax.random.key(0), len(states)))


@pytest.mark.parametrize("task", traces.TASKS)
def test_every_recorded_transition(task):
    """Of random play, the soft teacher and the hard one: whole episodes from their first frames, in one program."""
    recordings = [traces.load(f"{task.lower()}_{mode}") for mode in ("random", "soft", "hard")]
    frames = [traces.transition_frames(data) for data in recordings]
    data = {name: np.concatenate([part[name] for part in recordings]) for name in ("action", *ENDS)}
    before, after = (
        {name: np.concatenate([part[name][f + i] for part, f in zip(recordings, frames)]) for name in FACTS}
        for i in (0, 1)
    )
    env, (starts, played) = envs_jax.make(task), traces.whole_episodes(*recordings)

    def step(state, action):
        stepped, timestep = env.step(state, action)
        return stepped, (env.observe(state), env.to_arrays(stepped), timestep)

    play = jax.jit(jax.vmap(lambda state, actions: jax.lax.scan(step, state, actions)[1]))
    told = play(inject(env, before, starts), traces.padded(data["action"], played))
    observed, arrays, timestep = jax.tree.map(lambda leaf: np.asarray(leaf)[played], told)
    np.testing.assert_array_equal(observed, before["obs"])
    for name, recorded in STATE_NAMES.items():
        np.testing.assert_array_equal(arrays[name], after[recorded], err_msg=name)
    np.testing.assert_array_equal(timestep.observation, after["obs"])
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
    seen = jax.jit(jax.vmap(lambda state: env.to_arrays(env.step(state, jnp.int32(6))[0])["seen"]))(states)
    np.testing.assert_array_equal(seen, data["mask"][first])
