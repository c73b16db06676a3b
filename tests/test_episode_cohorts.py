"""The figures of training are those of the policy: of whole episodes, counted by when they began."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import PPOConfig
from jaxteach.ppo import episode_cohorts as cohorts
from jaxteach.ppo.episodes import run_episodes, student_policy
from jaxteach.ppo.rollout import Trajectory
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.runs.run_writer import SUMS, _train_values
from tests.test_own_worlds import Counter, TupleState, learner_of


def played(rng, steps, num_envs, longest):
    """Episodes of random lengths one after the other: arrays [steps, N] of a `Trajectory`."""
    last = np.zeros((steps, num_envs), bool)
    length, first = np.ones((steps, num_envs), np.int32), np.ones((steps, num_envs), bool)
    until = rng.integers(1, longest + 1, num_envs)
    for t in range(steps):
        length[t] = np.where(first[t], 1, length[t - 1] + 1)
        last[t] = length[t] == until
        until = np.where(last[t], rng.integers(1, longest + 1, num_envs), until)
        if t + 1 < steps:
            first[t + 1] = last[t]
    returns = rng.normal(size=(steps, num_envs, 2)).astype(np.float32)
    return {"last": last, "first": first, "length": length, "return": returns, "success": rng.random(last.shape) < 0.5}


def expected_sums(data, iterations, max_steps, width, begin):
    """For each cohort that began at `begin` or later, the sums over its episodes; None for one that can't be known."""
    steps, per = len(data["last"]), len(data["last"]) // iterations
    sums = {}
    for n in range(data["last"].shape[1]):
        for t in np.flatnonzero(data["first"][:, n]):
            end = t
            while end < steps and not data["last"][end, n] and end - t + 1 < max_steps:
                end += 1
            cohort = sums.setdefault(t // per // width, [])
            value = None if end == steps else data["return"][end, n].mean()
            cohort.append(None if value is None else (1, value, value**2, end - t + 1, data["success"][end, n]))
    return {cohort: np.sum(rows, 0) for cohort, rows in sums.items() if None not in rows and cohort * width >= begin}


@pytest.mark.parametrize(
    ("max_steps", "longest", "most", "begin"),
    [
        pytest.param(10, 10, 256, 0, id="ends by itself or is truncated"),
        pytest.param(10, 40, 256, 3, id="a world that goes on, and a ring that begins late"),
        pytest.param(50, 60, 6, 0, id="more than one iteration a cohort"),
        pytest.param(1, 3, 256, 0, id="one step"),
    ],
)
def test_each_episode_counts_once_where_it_began(monkeypatch, max_steps, longest, most, begin):
    """Catches episodes in a wrong cohort, twice, or never, and cohorts told before they are whole."""
    monkeypatch.setattr(cohorts, "MOST_COHORTS", most)
    iterations, per = 60, 4
    data = played(np.random.default_rng(0), iterations * per, 5, longest)
    names = {"last": "last", "first": "first", "length": "episode_length", "return": "episode_return"}
    names["success"] = "success"
    empty = Trajectory(*[None] * len(Trajectory._fields))
    late = cohorts.delay(per, max_steps)
    width = cohorts._width(late)
    assert (width > 1) == (most == 6)
    count = jax.jit(lambda *arguments: cohorts.counted(*arguments, max_steps))
    ring, told = cohorts.no_cohorts(per, max_steps), {}
    assert len(ring.begun) <= most
    for i in range(begin, iterations):
        part = {names[name]: jnp.asarray(leaf[i * per : (i + 1) * per]) for name, leaf in data.items()}
        ring, sums = count(ring, empty._replace(**part), jnp.int32(i))
        if sums["episodes"]:
            told[(i - late) // width] = np.array([sums[name] for name in SUMS])
    expected = expected_sums(data, iterations, max_steps, width, begin)
    due = {cohort for cohort in expected if (cohort + 1) * width - 1 + late < iterations}
    assert set(told) == due
    assert len(due) > 10 // width
    for cohort in due:
        np.testing.assert_allclose(told[cohort], expected[cohort], rtol=1e-4, atol=1e-5)


class Lucky(Counter):
    """Whoever does 0 succeeds by chance, rarely."""

    def step(self, state, action):
        key, draw = jax.random.split(state.key)
        state = TupleState(key, state.count + 1)
        lucky = (action == 0) & (jax.random.uniform(draw) < 0.01)
        timestep = self._timestep(state, lucky | (state.count >= self.max_steps))
        done = jnp.where(lucky, 0.0, 1.0)
        return state, timestep.replace(reward=1 - done, discount=done, extras={"success": lucky})


def test_the_figures_of_a_frozen_policy_are_those_of_its_evaluation():
    """Catches means over the episodes that happen to end: between two time limits these are successes alone."""
    world = AgentAxisWrapper(Lucky(max_steps=40))
    config = PPOConfig(rollout_length=8, batch_size=512, learning_rate=1e-12, epochs=1)
    learner = learner_of(world, config, iterations=60, num_envs=64)
    state = learner.init(jax.random.key(0))
    policy = student_policy(learner.network, state.params, greedy=False)
    judged = jax.jit(lambda key: run_episodes(world, policy, (), key, 2000))(jax.random.key(1))
    run = jax.jit(learner.run_updates, static_argnums=4)
    metrics = jax.device_get(run(state, None, jnp.int32(0), jnp.int32(60), 60)[1])
    share = float(judged.success.mean())
    assert 0.05 < share < 0.25
    assert _train_values({name: leaf[:5] for name, leaf in metrics.items()})["success_rate"] is None
    for point in range(1, 12):
        values = _train_values({name: leaf[5 * point : 5 * point + 5] for name, leaf in metrics.items()})
        error = 4 * np.sqrt(share * (1 - share) * (1 / values["episodes"] + 1 / 2000))
        assert values["episodes"] >= 50
        assert abs(values["success_rate"] - share) < error
        assert abs(values["episode_length"] - judged.length.mean()) < 4 * judged.length.std() / 7


def test_a_chunk_s_figures_are_totals_over_its_episodes():
    """Catches a mean of means: iterations have different numbers of episodes."""
    rows = {"episodes": [1, 3, 0], "return_sum": [4.0, 0, 0], "return_square_sum": [16.0, 0, 0]}
    rows |= {"length_sum": [10.0, 30, 0], "success_sum": [1, 0, 0], "loss": [1.0, 2, 6]}
    values = _train_values({name: np.array(row) for name, row in rows.items()})
    told = {"episodes": 4, "return_mean": 1, "return_std": 3**0.5, "episode_length": 10, "success_rate": 0.25}
    assert values == pytest.approx(told | {"loss": 3})
    nothing = _train_values({name: np.array(row[2:]) for name, row in rows.items()})
    assert nothing == {"loss": 6, "episodes": 0} | dict.fromkeys(list(told)[1:])


def test_checkpoints_without_cohorts_go_on_with_none(tmp_path):
    """Catches runs from before there were cohorts that can't go on."""
    learner = learner_of(AgentAxisWrapper(Counter()), PPOConfig(rollout_length=4, batch_size=8))
    state = learner.init(jax.random.key(0))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, state._replace(cohorts=()))
    full = state._replace(cohorts=jax.tree.map(jnp.ones_like, state.cohorts))
    done, restored = checkpoints.restore(full)
    assert done == 7
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(restored.cohorts))
    np.testing.assert_array_equal(restored.actor.obs, state.actor.obs)
    checkpoints.save(8, full)
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(checkpoints.restore(state)[1].cohorts))
    checkpoints.close()
