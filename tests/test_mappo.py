"""Several agents in one learner: who sees what, whose samples count, and in which units values are learnt."""

from copy import copy
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jumanji.types import StepType, TimeStep

import envs_jax
from envs_jax.locked_hallway import Observation as HallwayObservation
from envs_jax.vector import VectorEnv
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import PPOConfig, TrainConfig, WorldConfig, default_config
from jaxteach.errors import UserError
from jaxteach.guidance import CombinedGuidance
from jaxteach.guidance.kickstart import Kickstart
from jaxteach.networks.base import forward
from jaxteach.networks.features import view_features
from jaxteach.networks.mlp import MLPNet
from jaxteach.networks.registry import make_network
from jaxteach.ppo import losses
from jaxteach.ppo import value_norm as value_scale
from jaxteach.ppo.distillation import uncovered_captions
from jaxteach.ppo.episodes import film_episodes, run_episodes, student_policy, with_random_actions
from jaxteach.ppo.gae import generalized_advantages
from jaxteach.ppo.learner import Batch, Learner, _standardized
from jaxteach.ppo.rollout import collect, start
from jaxteach.tasks import canonical_task
from jaxteach.teacher.table import SkillTable
from jaxteach.training.programs import Experiment
from tests.test_learning import assert_traced_once, imitating

MPE = [task for task in envs_jax.tasks() if task.startswith("simple")]


class SprintState(NamedTuple):
    key: jax.Array
    step_count: jax.Array  # int32[]


class Sprint:
    """Two agents, four steps, and agent 0 has finished after the second; who says 1 is paid 1, finished or not.

    Rewards of a finished agent are 100, so that one that is not left out is seen at once.
    """

    num_agents, action_counts, max_steps = 2, (2, 2), 4
    env = None

    def reset(self, key):
        state = SprintState(jax.random.split(key)[0], jnp.int32(0))
        return state, self._timestep(state, jnp.zeros(2), jnp.bool_(False))

    def step(self, state, action):
        finished = state.step_count >= 2
        state = state._replace(step_count=state.step_count + 1)
        reward = jnp.where(jnp.array([True, False]) & finished, 100.0, action.astype(jnp.float32))
        return state, self._timestep(state, reward, state.step_count >= 4)

    def _timestep(self, state, reward, last):
        over = jnp.stack([state.step_count >= 2, jnp.bool_(False)])
        return TimeStep(
            step_type=jnp.where(last, StepType.LAST, StepType.MID),
            reward=reward,
            discount=1 - over.astype(jnp.float32),
            observation=self.observe(state),
            extras={"success": last},
        )

    def observe(self, state):
        one_hot = jax.nn.one_hot(state.step_count, 5, dtype=jnp.float32)
        return jnp.stack([one_hot, one_hot])


def sprint_learner(iterations=1, recurrent=False, **changes):
    config = replace(PPOConfig(rollout_length=10, batch_size=32, normalize_values=True), **changes)
    network = MLPNet((2, 2), recurrent=recurrent, width=16)
    return Learner(VectorEnv(Sprint(), 8), network, config, None, iterations)


run_network = jax.jit(forward, static_argnums=0)


@cache
def sprint_rollout():
    learner = sprint_learner(gamma=0.5, lam=1.0)

    def play():
        state = learner.init(jax.random.key(0))
        return state, *collect(learner.venv, learner.network, state.params, state.actor, jax.random.key(1), 10)

    return learner, *jax.jit(play)()


def test_an_agent_is_active_until_it_has_finished():
    """Catches an activity that lags by a step, or does not come back with the next episode."""
    _, _, after, trajectory = sprint_rollout()
    expected = [[True, True]] * 2 + [[False, True]] * 2
    np.testing.assert_array_equal(trajectory.active[:, 0], (expected * 3)[:10])
    np.testing.assert_array_equal(trajectory.last[:, 0], ([False] * 3 + [True]) * 2 + [False] * 2)
    np.testing.assert_array_equal(after.active, np.tile([[False, True]], (8, 1)))


def test_truncated_agents_are_bootstrapped_and_finished_ones_are_not():
    """Catches a mask of the wrong agent, and rewards after an agent's end that leak into its steps before."""
    learner, state, _, trajectory = sprint_rollout()
    advantages, returns, _ = learner._advantages(trajectory, trajectory.reward, None)
    np.testing.assert_array_equal(returns, advantages + trajectory.value)
    reward, value, following = (np.asarray(x) for x in (trajectory.reward, trajectory.value, trajectory.next_value))
    # Agent 0 ends with the second step, agent 1 is cut off after the fourth.
    np.testing.assert_allclose(advantages[1, :, 0], reward[1, :, 0] - value[1, :, 0], atol=1e-5)
    np.testing.assert_allclose(advantages[0, :, 0], reward[0, :, 0] + 0.5 * reward[1, :, 0] - value[0, :, 0], atol=1e-5)
    np.testing.assert_allclose(
        advantages[3, :, 1], reward[3, :, 1] + 0.5 * following[3, :, 1] - value[3, :, 1], atol=1e-5
    )
    final = run_network(
        learner.network,
        state.params,
        jnp.broadcast_to(jax.nn.one_hot(4, 5), (1, 1, 2, 5)),
        jnp.zeros((1, 1), bool),
        (),
    )[0]
    np.testing.assert_allclose(following[3], np.broadcast_to(final.value[0, 0], (8, 2)), atol=1e-5)


def test_every_truncation_in_a_rollout_is_valued_with_the_memory_that_it_ends_with():
    """From the middle of an episode of 4 steps, 10 steps have three ends; final observations are all alike."""
    learner = sprint_learner(recurrent=True)
    state = jax.jit(learner.init)(jax.random.key(0))
    play = jax.jit(lambda actor, key: collect(learner.venv, learner.network, state.params, actor, key, 10))
    _, trajectory = play(play(state.actor, jax.random.key(1))[0], jax.random.key(2))
    ends = np.flatnonzero(trajectory.last[:, 0])
    assert ends.tolist() == [1, 5, 9]
    final = jnp.broadcast_to(jax.nn.one_hot(4, 5), (1, 8, 2, 5))
    for end in ends:
        steps = slice(0, end + 1)
        _, memory = run_network(
            learner.network, state.params, trajectory.inputs[steps], trajectory.first[steps], trajectory.carry
        )
        output, _ = run_network(learner.network, state.params, final, jnp.zeros((1, 8), bool), memory)
        np.testing.assert_allclose(trajectory.next_value[end], output.value[0], atol=1e-5)


@pytest.mark.slow
def test_a_recurrent_minibatch_has_the_memories_of_its_own_environments():
    """One minibatch of all environments: however they are shuffled, the step is that of the whole batch."""
    learner = sprint_learner(recurrent=True, epochs=1, batch_size=80, adam_eps=1.0, learning_rate=1.0)
    state = jax.jit(learner.init)(jax.random.key(0))

    def play(key):
        _, played = collect(learner.venv, learner.network, state.params, state.actor, key, 10)
        # Memories that differ, before observations that begin no episode.
        memory = jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), played.carry)
        shape, no_teacher = played.action.shape, jnp.zeros((*played.action.shape, 0), jnp.float32)
        targets = jax.random.normal(key, (2, *shape))
        first = jnp.zeros_like(played.first)
        facts = (played.inputs, first, *[played.active] * 2, played.action, played.log_prob, played.value)
        return Batch(*facts, *targets, no_teacher), memory

    batch, memory = jax.jit(play)(jax.random.key(1))
    none = imitating(0)
    params, *_ = jax.jit(learner.update_epochs)(state, batch, memory, none, jax.random.key(2))
    grads, _ = jax.jit(jax.grad(learner._loss, has_aux=True))(state.params, batch, memory, none)
    updates, _ = learner.optimizer.update(grads, state.opt_state, state.params)
    chex.assert_trees_all_close(params, optax.apply_updates(state.params, updates), atol=1e-5)


def test_advantages_are_standardized_over_the_active_agents():
    """Mean 2 and deviation 1 of the first two; the third has finished."""
    values = jnp.array([1.0, 3.0, 100.0])
    np.testing.assert_allclose(_standardized(values, jnp.array([True, True, False]), 0.1)[:2], [-1, 1], rtol=1e-6)
    np.testing.assert_allclose(_standardized(values[:2], None, 0.1), [-1, 1], rtol=1e-6)


def test_the_learning_rate_falls_over_all_gradient_steps():
    """Adam's step for a gradient that never changes is the rate itself: 2 minibatches, 2 epochs, 3 iterations."""
    learner = sprint_learner(3, epochs=2, learning_rate=1.0, final_learning_rate=0.4)
    optimizer, grads = learner.optimizer, {"x": jnp.float32(0.1)}
    _, steps = jax.lax.scan(
        lambda state, _: optimizer.update(grads, state)[::-1], optimizer.init(grads), length=2 * 2 * 3
    )
    np.testing.assert_allclose(-steps["x"], np.linspace(1.0, 0.4, 13)[:-1], rtol=1e-3)


def test_finished_agents_add_nothing_to_the_gradient():
    """Whatever stands in a finished agent's samples, the gradient is the same, and not so for an active one's."""
    learner, state, *_ = sprint_rollout()
    rng = np.random.default_rng(0)

    def samples():
        return jnp.asarray(rng.normal(size=(1, 6, 2)), jnp.float32)

    active = jnp.asarray(rng.random((1, 6, 2)) < 0.6)
    assert 0 < active.sum() < 12
    batch = Batch(
        inputs=jnp.asarray(rng.normal(size=(1, 6, 2, 5)), jnp.float32),
        first=jnp.zeros((1, 6), bool),
        active=active,
        improved_by=active,
        action=jnp.asarray(rng.integers(0, 2, (1, 6, 2)), jnp.int32),
        log_prob=-jnp.abs(samples()),
        value=samples(),
        advantage=samples(),
        returns=samples(),
        teacher_probs=jax.nn.softmax(jnp.asarray(rng.normal(size=(1, 6, 2, 2)), jnp.float32)),
    )

    def gradient(changed):
        garbage = {"log_prob": -9.0, "value": 50.0, "advantage": 70.0, "returns": -90.0}
        values = {name: jnp.where(changed, bad, getattr(batch, name)) for name, bad in garbage.items()}
        values["action"] = jnp.where(changed, 1 - batch.action, batch.action)
        values["teacher_probs"] = jnp.where(changed[..., None], 3.0, batch.teacher_probs)
        return slope(state.params, batch._replace(**values), (), imitating(1))[0]

    learner = copy(learner)
    learner.guidance = CombinedGuidance((Kickstart(learner.config, 4),))
    slope = jax.jit(jax.grad(learner._loss, has_aux=True))
    loss, terms = jax.jit(learner._loss)(state.params, batch, (), imitating(3))
    config, parts = learner.config, {name: float(term) for name, term in terms.items()}
    expected = parts["policy_loss"] + config.value_coef * parts["value_loss"]
    expected += 3 * parts["kickstarting_loss"] - config.entropy_coef * parts["entropy"]
    assert float(loss) == pytest.approx(expected, abs=1e-5), "more entropy, less loss"
    assert parts["entropy"] > 0.01
    clean = gradient(jnp.zeros_like(active))
    chex.assert_trees_all_equal(clean, gradient(~active))
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(gradient(active))))


def test_a_mean_over_nobody_is_0():
    assert losses.mean(jnp.array([1.0, 2.0]), jnp.zeros(2, bool)) == 0
    assert losses.mean(jnp.array([1.0, 2.0, 6.0]), jnp.array([True, False, True])) == 3.5


@pytest.mark.slow
def test_the_learner_learns_from_the_active_agents():
    """Both agents learn to say 1 while they are paid for it; the 100s after the end teach nothing."""
    learner = sprint_learner(40, learning_rate=3e-3)
    state, _ = jax.jit(learner.run_updates, static_argnums=4)(
        jax.jit(learner.init)(jax.random.key(0)), None, jnp.int32(0), jnp.int32(40), 40
    )
    inputs = jnp.broadcast_to(jnp.eye(5)[:4, None, None], (4, 1, 2, 5))
    probs = jax.nn.softmax(forward(learner.network, state.params, inputs, jnp.zeros((4, 1), bool), ())[0].logits)
    assert (probs[:2, 0, :, 1] > 0.9).all()
    assert (probs[2:, 0, 1, 1] > 0.9).all()
    # Values in returns: agent 0 has at most 2 to come, agent 1 bootstraps on; 100s would show.
    assert abs(float(state.value_scale.mean / state.value_scale.weight)) < 20


@cache
def team(task="simple_spread", recurrent=False, **overrides):
    world = AgentAxisWrapper(envs_jax.make(task, **overrides))
    network = make_network("mlp", world, recurrent)

    def begin():
        actor = start(VectorEnv(world, 4), network, jax.random.key(0))
        inputs = jax.vmap(jax.vmap(network.prepare))(actor.obs)[None]
        params = network.init(jax.random.key(1), inputs, actor.first[None], actor.carry)
        # The logits begin near 0 for everything: make them tell.
        params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(2), leaf.shape), params)
        return params, inputs, actor

    return network, *jax.jit(begin)()


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("task", ["simple_spread", "LockedHallway-2Rooms"])
def test_the_critic_sees_what_all_observe_and_the_actor_only_its_own(task, recurrent):
    """Catches a critic without the joint observation, and an actor with it."""
    network, params, inputs, actor = team(task, recurrent)
    changed = inputs.at[..., 1, :8].set(3)
    one, _ = run_network(network, params, inputs, actor.first[None], actor.carry)
    two, _ = run_network(network, params, changed, actor.first[None], actor.carry)
    others = [i for i in range(inputs.shape[2]) if i != 1]
    np.testing.assert_array_equal(one.logits[:, :, others], two.logits[:, :, others])
    assert (one.logits[:, :, 1] != two.logits[:, :, 1]).any()
    assert (one.value != two.value).all()


def test_agents_are_told_who_they_are():
    """The same observation: another agent, other logits and another value."""
    network, params, inputs, actor = team()
    same = jnp.broadcast_to(inputs[:, :, :1], inputs.shape)
    output, _ = run_network(network, params, same, actor.first[None], actor.carry)
    assert (output.logits[0, 0, 0] != output.logits[0, 0, 1]).all()
    assert output.value[0, 0, 0] != output.value[0, 0, 1]


@pytest.mark.parametrize("task", ["simple_world_comm", "simple_speaker_listener"])
def test_actions_that_an_agent_does_not_have_are_never_taken(task):
    """Agents of these worlds have different numbers of actions."""
    network, params, inputs, actor = team(task)
    counts = np.array(network.action_counts)
    assert counts.min() < counts.max()
    output, _ = run_network(network, params, inputs, actor.first[None], actor.carry)
    probs = jax.nn.softmax(output.logits)[0]
    missing = np.broadcast_to(np.arange(counts.max()) >= counts[:, None], probs.shape)
    np.testing.assert_array_equal(probs[missing], 0)
    assert (probs[~missing] > 0).all()
    assert np.isfinite(losses.entropy(output.logits))
    policy = with_random_actions(student_policy(network, params, False), 1.0, network.action_counts)
    draw = jax.jit(jax.vmap(lambda key: policy(actor.carry, actor.obs, actor.first, key)[1]))
    drawn = draw(jax.random.split(jax.random.key(0), 60))
    np.testing.assert_array_equal(np.max(drawn, (0, 1)), counts - 1)


@pytest.mark.parametrize("task", ["simple_spread", pytest.param("LockedHallway-2Rooms", marks=pytest.mark.slow)])
def test_recurrent_teams_replay_as_they_played(task):
    """Catches memories of agents that are mixed up, or not cleared where an episode begins."""
    step_limit = {"simple_spread": {"max_cycles": 5}, "LockedHallway-2Rooms": {"max_steps": 5}}[task]
    network, params, _, actor = team(task, True, **step_limit)
    world = AgentAxisWrapper(envs_jax.make(task, **step_limit))
    play = jax.jit(lambda key: collect(VectorEnv(world, 4), network, params, actor, key, 8)[1])
    trajectory = play(jax.random.key(3))
    output, _ = run_network(network, params, trajectory.inputs, trajectory.first, trajectory.carry)
    np.testing.assert_allclose(output.value, trajectory.value, atol=1e-4)
    log_probs = jax.nn.log_softmax(output.logits)
    chosen = jnp.take_along_axis(log_probs, trajectory.action[..., None], -1)[..., 0]
    np.testing.assert_allclose(chosen, trajectory.log_prob, atol=1e-4)
    assert trajectory.first[1:].any()
    unaware, _ = run_network(network, params, trajectory.inputs, jnp.zeros_like(trajectory.first), trajectory.carry)
    assert np.abs(unaware.value[-1] - trajectory.value[-1]).max() > 1e-4


def test_features_of_a_view_by_hand():
    """A red key at cell (0, 0), a locked yellow door at (0, 1), an agent looking north at (1, 0)."""
    view = np.zeros((2, 2, 3), np.uint8)
    view[0, 0], view[0, 1], view[1, 0] = (5, 0, 0), (4, 4, 2), (10, 1, 3)
    network = MLPNet((7,), views=True)
    inputs = network.prepare(HallwayObservation(jnp.asarray(view), jnp.int32(2)))
    features = np.asarray(view_features(inputs))
    cells = features[:-4].reshape(4, 21)
    names = ["unseen", "wall", *(f"key {c}" for c in range(6)), *(f"door {c}" for c in range(6))]
    names += ["open", "closed", "locked", "east", "south", "west", "north"]
    shown = [[names[i] for i in np.flatnonzero(cell)] for cell in cells]
    assert shown == [["key 0"], ["door 4", "locked"], ["north"], ["unseen"]]
    np.testing.assert_array_equal(features[-4:], [0, 0, 1, 0])


def test_values_are_learnt_in_units_of_the_returns_spread():
    """Catches a scale that keeps the bias of its start, forgets the mean, or counts finished agents."""
    scale = value_scale.unknown_scale()
    np.testing.assert_array_equal(value_scale.to_returns(scale, jnp.array([2.0])), [2.0])
    returns = jnp.array([[90.0, 110.0], [110.0, -1e4]])
    active = jnp.array([[True, True], [True, False]])
    for _ in range(3):
        scale = value_scale.updated(scale, returns, active)
    kept = np.array([90.0, 110.0, 110.0])
    np.testing.assert_allclose(value_scale.to_values(scale, kept), (kept - kept.mean()) / kept.std(), rtol=1e-2)
    np.testing.assert_allclose(value_scale.to_returns(scale, value_scale.to_values(scale, kept)), kept, rtol=1e-5)
    for _ in range(2000):
        scale = value_scale.updated(scale, jnp.zeros(4), None)
    np.testing.assert_allclose(value_scale.to_values(scale, jnp.float32(1)), 1 / value_scale.MIN_STD, rtol=1e-2)


def test_a_success_is_the_task_fulfilled_at_the_end():
    """simple_spread: landmarks covered in the last step; LockedHallway: all doors, not just a return above 0."""
    world = AgentAxisWrapper(envs_jax.make("simple_spread", max_cycles=1))
    step, landmarks = jax.jit(world.step), np.array([[0.5, 0.5], [-0.5, 0.5], [0.0, -0.5]])
    for shift, success in ((0.05, True), (0.2, False)):
        positions = np.concatenate([landmarks + np.array([shift, 0]), landmarks])
        state = world.env.make_state(positions, np.zeros((3, 2)))
        assert bool(step(state, jnp.zeros(3, jnp.int32))[1].extras["success"]) == success
    hallway = AgentAxisWrapper(envs_jax.make("LockedHallway-2Rooms"))
    state, _ = jax.jit(hallway.reset)(jax.random.key(0))
    step = jax.jit(hallway.step)
    for unlocked, success in (([True, False], True), ([False, False], False)):
        opened = facing_a_locked_door(hallway.env, state, unlocked)
        _, timestep = step(opened, jnp.array([5, 6]))
        assert (timestep.reward > 0).all()
        assert bool(timestep.extras["success"]) == success


def facing_a_locked_door(env, state, unlocked):
    """Agent 0 before the last door with its key in hand; the doors unlocked before are open."""
    facts = jax.device_get(env.to_arrays(state))
    grid, doors = np.array(facts["grid"]), np.argwhere(np.array(facts["grid"])[..., 0] == 4)
    color = grid[tuple(doors[1])][1]
    grid[(grid[..., 0] == 5) & (grid[..., 1] == color)] = (1, 0, 0)
    for door, known in zip(doors, unlocked):
        if known:
            grid[tuple(door)][2] = 0
    position = doors[1] - [1, 0]
    facts |= {"grid": grid, "agent_pos": np.array([position, position]), "agent_dir": np.array([0, 0])}
    facts |= {"carrying": np.array([(5, color), (0, 0)]), "unlocked": np.array(unlocked)}
    return env.make_state(**facts)


def test_a_lone_agent_gets_an_axis_and_nothing_else_changes():
    env = envs_jax.make("SimpleDoorKey")
    world = AgentAxisWrapper(env)
    (state, one), (same, other) = jax.jit(lambda key: (env.reset(key), world.reset(key)))(jax.random.key(0))
    chex.assert_trees_all_equal(state, same)
    np.testing.assert_array_equal(one.observation, other.observation[0])
    state, one = jax.jit(env.step)(state, jnp.int32(2))
    same, other = jax.jit(world.step)(same, jnp.array([2], jnp.int32))
    chex.assert_trees_all_equal(state, same)
    for name in ("observation", "reward", "discount"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[0])
    assert (world.num_agents, world.action_counts, world.max_steps) == (1, (7,), 150)


@pytest.mark.slow
def test_one_agent_learns_as_without_an_axis():
    """No mask, no scale, and the advantages of the plain [T, N] arrays, to the bit."""
    config = TrainConfig("SimpleDoorKey", num_envs=16, n_itr=1, world=WorldConfig(max_steps=7))
    learner = Experiment(config).learner
    state = jax.jit(learner.init)(jax.random.key(0))
    play = jax.jit(lambda state: collect(learner.venv, learner.network, state.params, state.actor, state.key, 12)[1])
    trajectory = play(state)
    assert trajectory.active is None
    assert state.value_scale is None
    advantages, returns, scale = learner._advantages(trajectory, trajectory.reward, None)
    assert scale is None
    reward, value, following = (x[..., 0] for x in (trajectory.reward, trajectory.value, trajectory.next_value))
    discount, gamma, lam = trajectory.discount[..., 0], config.ppo.gamma, config.ppo.lam
    plain = generalized_advantages(reward, value, following, discount, trajectory.last, gamma, lam)
    np.testing.assert_array_equal(advantages[..., 0], plain)
    np.testing.assert_array_equal(returns[..., 0], plain + value)
    assert trajectory.last.any()


def test_continuous_actions_are_refused():
    with pytest.raises(ValueError, match="discrete actions"):
        AgentAxisWrapper(envs_jax.make("simple_spread", continuous_actions=True))


def tiny(task, **changes):
    config = default_config(task)
    ppo = replace(config.ppo, rollout_length=6, batch_size=16)
    return replace(config, num_envs=4, n_itr=2, eval_interval=2, num_eval=5, ppo=ppo, **changes)


@pytest.mark.parametrize(
    "task",
    ["simple_world_comm", *(pytest.param(t, marks=pytest.mark.slow) for t in ("LockedHallway-2Rooms", "simple"))],
)
def test_every_kind_of_world_trains(task):
    """Many agents of several kinds, agents who share doors, and a lone one."""
    experiment = Experiment(tiny(task, world=WorldConfig(max_steps=7)))
    inputs = (experiment.table, experiment.hparams, jnp.int32(0), jnp.int32(2))
    state, metrics = experiment.compile_updates()(experiment.init(), *inputs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))
    assert metrics["episodes"].sum() > 0
    assert state.value_scale is not None


@pytest.mark.parametrize("task", MPE)
def test_an_update_of_a_team_traces_once(task):
    """Catches a world of whose sizes or types an update can't be made."""
    assert_traced_once(Experiment(tiny(task)))


def test_an_update_of_a_recurrent_team_traces_once():
    assert_traced_once(Experiment(tiny("simple_spread", recurrent=True)))


def test_options_of_worlds_have_one_name_for_all():
    config = WorldConfig(max_steps=9, num_agents=4)
    assert config.overrides("simple_spread") == {"max_cycles": 9, "N": 4}
    assert config.overrides("LockedHallway-2Rooms") == {"max_steps": 9, "num_agents": 4}
    assert WorldConfig(view_size=5).overrides("LockedHallway-4Rooms") == {"agent_view_size": 5}
    assert WorldConfig(view_size=5).overrides("SimpleDoorKey") == {"view_size": 5}
    with pytest.raises(UserError, match="num_agents"):
        config.make("simple_tag")


def test_every_task_has_defaults_that_fit():
    """Catches a task that can be made but not trained."""
    for task in envs_jax.tasks():
        config = default_config(canonical_task(task.upper()))
        config.check()
        world = config.world.make(task)
        assert make_network(config.network, world, config.recurrent) is not None
        assert config.iterations > 1
    assert default_config("SimpleDoorKey") == TrainConfig("SimpleDoorKey")


@pytest.mark.parametrize(("task", "network"), [("simple_spread", "egocentric"), ("SimpleDoorKey", "mlp")])
def test_a_network_for_another_kind_of_world_is_one_sentence(task, network):
    with pytest.raises(UserError, match="use --network"):
        Experiment(TrainConfig(task, network=network))


@flax.struct.dataclass
class FakeTeacher:
    """Tells every agent its first action; its captions are the agents' numbers, agent 2 has none."""

    table: SkillTable

    def reset(self):
        return jnp.int32(0)

    def label(self, memory, obs, action, first, key):
        shape = obs.shape[:3]
        probs = jnp.zeros((*shape, 5)).at[..., 0].set(self.table.probabilities[0, 0])
        captions = jnp.broadcast_to(jnp.array([0, 1, -1], jnp.int32), shape)
        return memory + first.sum(0), probs, captions


def table_with(probabilities):
    """A table with these probabilities of plans, float32[C, P], that do nothing."""
    count, plans = probabilities.shape
    nothing = np.zeros((count, plans, 1), np.int32)
    return SkillTable(nothing[:, :1, 0], nothing, probabilities, np.zeros((count, 0), np.int32))


def test_a_teacher_of_a_team_is_asked_with_the_agent_axis():
    """Its table is an argument: another one changes the labels without another program."""
    world = AgentAxisWrapper(envs_jax.make("simple_spread"))
    table = table_with(np.array([[1.0], [0.0], [0.0]], np.float32))
    network, config = make_network("mlp", world, False), PPOConfig(rollout_length=30, batch_size=64)
    learner = Learner(VectorEnv(world, 8), network, config, FakeTeacher(table), 10)
    update = jax.jit(learner.update)
    state = jax.jit(learner.init)(jax.random.key(0))
    after, metrics = update(state, table, jnp.int32(0))
    np.testing.assert_array_equal(after.memory, np.full(8, 2))
    np.testing.assert_array_equal(metrics["uncovered_captions"], [0, 30 * 8, 0])
    assert metrics["teacher_coverage"] == 1
    for i in range(1, 10):
        after, _ = update(after, table, jnp.int32(i))
    logits = run_network(network, after.params, *sampled_inputs(learner, after))[0].logits
    assert (jnp.argmax(logits, -1) == 0).mean() > 0.99
    mute = table._replace(probabilities=np.zeros((3, 1), np.float32))
    _, metrics = update(after, mute, jnp.int32(0))
    assert metrics["teacher_coverage"] == 0
    np.testing.assert_array_equal(metrics["uncovered_captions"], [30 * 8, 30 * 8, 0])
    assert update._cache_size() == 1


def sampled_inputs(learner, state):
    inputs = jax.vmap(jax.vmap(learner.network.prepare))(state.actor.obs)
    return inputs[None], state.actor.first[None], state.actor.carry


def test_silent_captions_by_hand():
    table = table_with(np.array([[0, 1], [0, 0], [0.5, 0.5], [0, 0]], np.float32))
    captions = jnp.array([[1, 1, -1], [0, 3, 2]])
    np.testing.assert_array_equal(uncovered_captions(table, captions), [0, 2, 0, 1])
    nobody = table_with(np.zeros((2, 1), np.float32))
    np.testing.assert_array_equal(uncovered_captions(nobody, captions[:1]), [0, 2])


def test_films_of_teams_show_states():
    world = AgentAxisWrapper(envs_jax.make("simple_spread", max_cycles=3))
    network = make_network("mlp", world, False)
    _, params, *_ = team()
    policy = student_policy(network, params, False)
    outcome, film = jax.jit(lambda key: film_episodes(world, policy, (), key, 4, 2))(jax.random.key(0))
    assert film.p_pos.shape == (4, 2, 6, 2)
    np.testing.assert_array_equal(film.step_count[:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(outcome.length, 3)


@pytest.mark.slow
def test_a_team_learns_to_spread():
    """100,000 steps: far better than random play, whose mean return is about -26.5."""
    config = replace(default_config("simple_spread"), total_steps=100_000, no_teacher=True)
    config = replace(config, eval_interval=config.iterations)
    experiment = Experiment(config)
    state = experiment.init()
    evaluate = jax.jit(
        lambda params: run_episodes(
            experiment.world, student_policy(experiment.network, params, False), (), jax.random.key(5), 400
        ).episode_return.mean()
    )
    before = evaluate(jax.tree.map(lambda leaf: leaf[0], state.params))
    state, _ = experiment.compile_updates()(state, None, experiment.hparams, jnp.int32(0), jnp.int32(config.iterations))
    after = evaluate(jax.tree.map(lambda leaf: leaf[0], state.params))
    assert before < -25
    assert after > before + 3
