"""Worlds of users: any kind of state, ends at any step, their own discounts and their own success."""

from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jumanji import specs
from jumanji.types import StepType, TimeStep

from envs_jax.animation import animate
from envs_jax.checks import WorldError
from envs_jax.vector import VectorEnv
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import PPOConfig
from jaxteach.networks.base import forward
from jaxteach.networks.mlp import MLPNet
from jaxteach.ppo.episodes import film_episodes, run_episodes, unfinished_message
from jaxteach.ppo.learner import Learner
from jaxteach.ppo.rollout import collect
from jaxteach.runs.checkpoints import Checkpoints


class TupleState(NamedTuple):
    key: jax.Array
    count: jax.Array


@chex.dataclass
class ChexState:
    key: jax.Array
    count: jax.Array


@flax.struct.dataclass
class FlaxState:
    key: jax.Array
    count: jax.Array


class Counter:
    """One agent counts its steps; an episode ends after `end` of them, with a success that only the world knows."""

    action_spec = specs.DiscreteArray(3)

    def __init__(self, kind=TupleState, end=3, max_steps=5):
        self.kind, self.end, self.max_steps = kind, end, max_steps

    def reset(self, key):
        state = self.kind(key=key, count=jnp.int32(0))
        return state, self._timestep(state, jnp.bool_(False))

    def step(self, state, action):
        key, count = (state[name] if self.kind is dict else getattr(state, name) for name in ("key", "count"))
        state = self.kind(key=jax.random.split(key)[0], count=count + 1)
        return state, self._timestep(state, count + 1 >= self.end)

    def observe(self, state):
        count = state["count"] if self.kind is dict else state.count
        return jax.nn.one_hot(count, 8)

    def render(self, state):
        assert (state["key"] if self.kind is dict else state.key) is None
        return np.full((4, 4, 3), self.observe(state).argmax(), np.uint8)

    def _timestep(self, state, last):
        kind = jnp.where(last, StepType.LAST, StepType.MID)
        discount = 1 - last.astype(jnp.float32)
        return TimeStep(
            step_type=kind,
            reward=jnp.float32(0),
            discount=discount,
            observation=self.observe(state),
            extras={"success": last},
        )


def uniform(counts):
    """A policy that draws its actions."""

    def act(memory, obs, first, key):
        return memory, jax.random.randint(key, (len(first), len(counts)), 0, np.array(counts))

    return act


def learner_of(world, config, recurrent=False, iterations=10, num_envs=4):
    network = MLPNet(world.action_counts, recurrent=recurrent, width=8)
    return Learner(VectorEnv(world, num_envs), network, config, None, iterations)


@pytest.mark.parametrize("kind", [ChexState, dict])
def test_a_state_may_be_any_pytree_with_a_key(kind, tmp_path):
    """Catches a state that must be a NamedTuple: dataclasses are Jumanji's own habit."""
    world = AgentAxisWrapper(Counter(kind))
    learner = learner_of(world, PPOConfig(rollout_length=4, batch_size=8))
    state, metrics = jax.jit(learner.update)(jax.jit(learner.init)(jax.random.key(0)), None, jnp.int32(0))
    assert np.isfinite(metrics["loss"])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state)
    chex.assert_trees_all_equal(checkpoints.restore(state)[1].actor.obs, state.actor.obs)
    checkpoints.close()
    program = jax.jit(lambda key: film_episodes(world, uniform((3,)), (), key, 6, 2))
    outcome, film = jax.device_get(program(jax.random.key(0)))
    np.testing.assert_array_equal(outcome.length, 3)
    assert outcome.success.all(), "the world's own, where no reward tells"
    count = film["count"] if kind is dict else film.count
    np.testing.assert_array_equal(count, [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 5]][:4] + [[0, 0]] * 2)
    animate(world.env, jax.tree.map(lambda leaf: leaf[:4, 0], film), tmp_path / "film.gif")
    assert (tmp_path / "film.gif").stat().st_size > 0


def test_episodes_that_never_end_are_stopped_and_told_of():
    """Catches an evaluation that hangs, and a film that is longer than its buffer."""
    world = AgentAxisWrapper(Counter(FlaxState, end=1000))
    outcome, film = jax.jit(lambda key: film_episodes(world, uniform((3,)), (), key, 6, 1))(jax.random.key(0))
    np.testing.assert_array_equal(outcome.length, 5)
    assert not outcome.success.any()
    assert film.count[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert unfinished_message(outcome, 5) == (
        "6 of 6 episodes had not ended after max_steps 5 steps; they count as they stood"
    )
    ending = AgentAxisWrapper(Counter(end=5))
    outcome = jax.jit(lambda key: run_episodes(ending, uniform((3,)), (), key, 6))(jax.random.key(0))
    assert outcome.success.all()
    assert unfinished_message(outcome, 5) is None


def broken(**attributes):
    return type("Broken", (Counter,), attributes)(**{})


def test_what_a_world_lacks_is_one_sentence():
    """Catches tracebacks out of the depths for worlds that can't be trained."""
    with pytest.raises(WorldError, match=r"discrete actions can be trained.*Broken has BoundedArray"):
        AgentAxisWrapper(broken(action_spec=specs.BoundedArray((2,), jnp.float32, 0, 1)))
    with pytest.raises(WorldError, match=r"Broken has no observe\(state\)"):
        AgentAxisWrapper(broken(observe=None))
    with pytest.raises(WorldError, match="key"):
        AgentAxisWrapper(broken(reset=lambda self, key: (jnp.int32(0), Counter().reset(key)[1])))
    for given, told in ((None, "has no max_steps"), (0, "at least 1, not 0"), (2.5, "a whole number")):
        with pytest.raises(WorldError, match=told):
            AgentAxisWrapper(Counter(max_steps=given))
    with pytest.raises(WorldError, match="the observations of Broken have no axis for 2 agents"):
        AgentAxisWrapper(broken(action_spec=specs.MultiDiscreteArray(np.array([3, 2]))))
    world = AgentAxisWrapper(
        broken(step=lambda self, state, action: (state, self._timestep(state, jnp.zeros(3, bool))))
    )
    with pytest.raises(WorldError, match=r"success'\] of Broken must be bool\[\]"):
        jax.eval_shape(world.step, world.reset(jax.random.key(0))[0], jnp.zeros(1, jnp.int32))
    world = AgentAxisWrapper(broken(step=lambda self, state, action: (state, self._timestep(state, jnp.float32(0.5)))))
    with pytest.raises(WorldError, match=r"must be bool\[\], not float32"):
        jax.eval_shape(world.step, world.reset(jax.random.key(0))[0], jnp.zeros(1, jnp.int32))


class Cut:
    """Two agents; an episode is cut at a random step, long before `max_steps`, and rewards count less and less.

    Agent 0 finishes with the third step of an episode, if it comes to that.
    """

    num_agents, action_counts, max_steps = 2, (2, 2), 100

    def __init__(self, chance):
        self.chance = chance

    def reset(self, key):
        state = TupleState(key, jnp.int32(0))
        return state, self._timestep(state, jnp.zeros(2), jnp.bool_(False))

    def step(self, state, action):
        key, draw = jax.random.split(state.key)
        state = TupleState(key, state.count + 1)
        return state, self._timestep(state, action + 0.5, jax.random.bernoulli(draw, self.chance))

    def _timestep(self, state, reward, last):
        discount = jnp.stack([jnp.where(state.count >= 3, 0.0, 0.9), 0.5])
        kind = jnp.where(last, StepType.LAST, StepType.MID)
        return TimeStep(
            step_type=kind,
            reward=reward,
            discount=discount,
            observation=self.observe(state),
            extras={"success": last},
        )

    def observe(self, state):
        noise = jax.random.normal(jax.random.fold_in(state.key, 7), (2, 3))
        return jnp.concatenate([noise, jnp.full((2, 1), state.count, jnp.float32)], -1)


def plain_advantages(learner, params, actor, trajectory):
    """Generalised advantages, float64[T, N, A], step by step from the world itself."""
    world, network, (gamma, lam) = learner.venv.env, learner.network, (learner.config.gamma, learner.config.lam)

    @jax.jit
    def step(state, obs, first, carry, action):
        output, after = forward(network, params, obs[None], first[None], carry)
        stepped, timestep = jax.vmap(world.step)(state, action)
        following = forward(network, params, timestep.observation[None], jnp.zeros_like(first)[None], after)[0]
        last = timestep.last()
        fresh, _ = jax.vmap(world.reset)(stepped.key)
        state = jax.tree.map(lambda a, b: jnp.where(last.reshape(-1, *[1] * (a.ndim - 1)), a, b), fresh, stepped)
        told = (timestep.reward, timestep.discount, last[:, None], output.value[0], following.value[0])
        return (state, jax.vmap(world.observe)(state), last, after), told

    now, rows = (actor.env.env, actor.obs, actor.first, actor.carry), []
    for action in trajectory.action:
        now, told = step(*now, action)
        rows.append([np.asarray(x, np.float64) for x in told])
    advantages, later = [], 0.0
    for reward, discount, last, value, following in reversed(rows):
        later = reward + gamma * discount * following - value + gamma * lam * discount * (1 - last) * later
        advantages.append(later)
    return np.stack(advantages[::-1]), [int(row[2].sum()) for row in rows]


@pytest.mark.parametrize(("chance", "recurrent"), [(0.4, True), (1.0, False)])
def test_advantages_are_right_wherever_episodes_are_cut(chance, recurrent):
    """Catches values of final observations that are lost where a world truncates before `max_steps`."""
    learner = learner_of(Cut(chance), PPOConfig(rollout_length=9, lam=0.8), recurrent)
    state = jax.jit(learner.init)(jax.random.key(0))
    program = jax.jit(lambda state: collect(learner.venv, learner.network, state.params, state.actor, state.key, 9))
    _, trajectory = program(state)
    expected, cuts = plain_advantages(learner, state.params, state.actor, trajectory)
    assert sum(cuts) > 2 * learner.venv.num_envs, "more than the rollout keeps"
    assert (trajectory.discount == 0).any() or chance == 1
    advantages, returns, _ = learner._advantages(trajectory, trajectory.reward, None)
    np.testing.assert_allclose(advantages, expected, atol=1e-5)
    np.testing.assert_allclose(returns, expected + trajectory.value, atol=1e-5)


class Unpaid(Counter):
    """Nothing is ever rewarded."""

    def _timestep(self, state, last):
        return super()._timestep(state, last).replace(extras={})


def test_without_rewards_the_policy_stays_as_it_is():
    """Catches advantages that are nothing but noise and are learnt from as if they told something."""
    world = AgentAxisWrapper(Unpaid(end=4))
    rates = {"learning_rate": 3e-3, "final_learning_rate": 3e-3, "entropy_coef": 0.0}
    learner = learner_of(world, PPOConfig(rollout_length=8, batch_size=32, **rates))
    run = jax.jit(learner.run_updates, static_argnums=4)
    _, metrics = run(jax.jit(learner.init)(jax.random.key(0)), None, jnp.int32(0), jnp.int32(400), 400)
    assert metrics["entropy"][-1] > 0.95 * np.log(3), "0.09 where any noise is scaled to 1"
