"""The parts of learning by hand arithmetic: returns, losses, schedules, rollouts, networks."""

from dataclasses import replace

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
import jaxteach.training.programs as experiment_module
from envs_jax.vector import VectorEnv
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import PPOConfig, TrainConfig, default_config, with_options
from jaxteach.guidance import CombinedGuidance
from jaxteach.guidance.kickstart import Kickstart
from jaxteach.networks.base import Output, forward
from jaxteach.networks.convolution import Convolution
from jaxteach.networks.features import NEAR, egocentric_features
from jaxteach.networks.registry import make_network
from jaxteach.ppo import losses
from jaxteach.ppo.episodes import run_episodes, student_policy, teacher_policy, with_random_actions
from jaxteach.ppo.gae import generalized_advantages
from jaxteach.ppo.learner import Batch, Learner, LearnerState, Schedule, _standardized
from jaxteach.ppo.rollout import collect, start
from jaxteach.teacher import make_teacher
from jaxteach.training.programs import Experiment


def test_advantages_by_hand():
    """Three steps, the episode ends after the second; gamma 1/2, lambda 1/2; the world's own discount last."""
    rewards, values = jnp.array([1.0, 2.0, 4.0]), jnp.array([0.5, 1.0, 2.0])
    next_values, last = jnp.array([1.0, 3.0, 6.0]), jnp.array([False, True, False])
    # deltas: 1 + 0.5 - 0.5 = 1; 2 + 1.5 - 1 = 2.5; 4 + 3 - 2 = 5
    advantages = generalized_advantages(rewards, values, next_values, jnp.ones(3), last, 0.5, 0.5)
    np.testing.assert_allclose(advantages, [1 + 0.25 * 2.5, 2.5, 5.0])
    # deltas: 1 + 0.25 - 0.5 = 0.75; terminated, 2 - 1 = 1; 4 + 0.6 - 2 = 2.6
    advantages = generalized_advantages(rewards, values, next_values, jnp.array([0.5, 0, 0.2]), last, 0.5, 0.5)
    np.testing.assert_allclose(advantages, [0.75 + 0.125 * 1, 1, 2.6])


def test_the_world_s_discount_counts_where_the_learner_s_is_1():
    """Rewards of 1 in five steps that halve what follows: 1 + 1/2 + ... + 1/16."""
    zeros, ones = jnp.zeros(5), jnp.ones(5)
    advantages = generalized_advantages(ones, zeros, zeros, 0.5 * ones, jnp.zeros(5, bool), 1.0, 1.0)
    np.testing.assert_allclose(advantages, [1.9375, 1.875, 1.75, 1.5, 1])


def test_lambda_1_gives_the_discounted_return_to_go():
    rng = np.random.default_rng(0)
    rewards, values, tail = rng.normal(size=20), rng.normal(size=20), 0.7
    next_values = np.append(values[1:], tail)
    expected = [sum(0.9**k * r for k, r in enumerate(rewards[t:])) + 0.9 ** (20 - t) * tail for t in range(20)]
    arguments = [jnp.asarray(x, jnp.float32) for x in (rewards, values, next_values)]
    advantages = generalized_advantages(*arguments, jnp.ones(20), jnp.zeros(20, bool), 0.9, 1.0)
    np.testing.assert_allclose(advantages + values, expected, rtol=1e-4)


def test_losses_by_hand():
    old, new = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.75, 0.25]))
    # ratios 1.5 and 0.5, clipped to 1.2 and 0.8: min(1.5, 1.2) * 1 and min(-0.5, -0.8)
    assert losses.policy_loss(new, old, jnp.array([1.0, -1.0]), 0.2) == pytest.approx(-(1.2 - 0.8) / 2)
    # 1.0 may move to 0.2 only: the larger error of (1 - 2)^2 and (0.2 - 2)^2
    assert losses.value_loss(jnp.ones(1), jnp.zeros(1), 2 * jnp.ones(1), 0.2) == pytest.approx(1.8**2)
    # Old value 0, return 1, new value 0: the whole error, of which `value_coef` is the weight.
    assert losses.value_loss(jnp.zeros(1), jnp.zeros(1), jnp.ones(1), 0.2) == 1
    assert losses.entropy(jnp.zeros((3, 4))) == pytest.approx(np.log(4))
    teacher = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    logits = jnp.log(jnp.array([[0.25, 0.75], [0.9, 0.1]]))
    assert losses.kickstarting_loss(logits, teacher) == pytest.approx(-np.log(0.25) / 2)
    silent = jax.grad(losses.kickstarting_loss)(logits, jnp.zeros((2, 2)))
    np.testing.assert_array_equal(silent, 0)


class Table:
    """A network whose parameters are its logits and its value, whatever is seen; it remembers what it began with."""

    def __init__(self, recurrent=False):
        self.recurrent = recurrent

    def apply(self, params, inputs, first, carry):
        del first
        value = jnp.broadcast_to(params["value"], inputs.shape[:3])
        if self.recurrent:
            value = value + inputs[..., 0] - carry[0]
        return Output(jnp.broadcast_to(params["logits"], (*inputs.shape[:3], 2)), value), carry

    def initial_carry(self, num_envs):
        return (jnp.zeros((num_envs, 1)),) if self.recurrent else ()


def samples(count, **given):
    """A `Batch` of [T, N, A] = [2, count, 1]: nothing to learn from, but for what is given."""
    zeros = jnp.zeros((2, count, 1))
    batch = Batch(
        inputs=zeros[..., None],
        first=jnp.zeros((2, count), bool),
        active=None,
        improved_by=None,
        action=zeros.astype(jnp.int32),
        log_prob=jnp.full_like(zeros, np.log(0.25)),
        value=zeros,
        advantage=zeros,
        returns=zeros,
        teacher_probs=jnp.zeros((2, count, 1, 2)),
    )
    return batch._replace(**given)


def imitating(weight):
    """A schedule with this weight of the cross-entropy to the teacher."""
    return Schedule(jnp.bool_(True), *[jnp.float32(weight)] * 3)


def learner_with(network, **changes):
    config = PPOConfig(rollout_length=2, epochs=3, batch_size=4, **changes)
    return Learner(VectorEnv(AgentAxisWrapper(envs_jax.make("SimpleDoorKey")), 8), network, config, None, 1)


def test_the_loss_is_the_sum_of_its_weighted_terms():
    """Catches a term's sign or weight: an entropy that is lost, or a value loss that is halved."""
    learner = learner_with(Table(), value_coef=0.5, entropy_coef=0.1)
    learner.guidance = CombinedGuidance((Kickstart(learner.config, 1),))
    params = {"logits": jnp.log(jnp.array([0.25, 0.75])), "value": jnp.float32(0)}
    ones = jnp.ones((2, 8, 1))
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    given = {
        "entropy": ({}, 0),
        "value_loss": ({"returns": ones}, 0.5 * 1.0),
        "policy_loss": ({"advantage": 2 * ones}, -2.0),
        "kickstarting_loss": (
            {"teacher_probs": jnp.broadcast_to(jnp.array([0.0, 1]), (2, 8, 1, 2))},
            -3 * np.log(0.75),
        ),
    }
    for name, (fields, expected) in given.items():
        loss, terms = learner._loss(params, samples(8, **fields), (), imitating(3))
        np.testing.assert_allclose(loss, expected - 0.1 * entropy, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(terms["entropy"], entropy, rtol=1e-5)
        assert terms["value_loss"] == (1 if name == "value_loss" else 0)
    # What is paid for undecidedness makes the policy less decided.
    grads = jax.grad(lambda params: learner._loss(params, samples(8), (), imitating(0))[0])(params)
    assert grads["logits"][0] < 0 < grads["logits"][1]


def test_minibatches_with_memory_keep_each_to_its_own_environment():
    """Catches memories of other environments than the samples', and environments left out or taken twice."""
    learner = learner_with(Table(recurrent=True), learning_rate=1e-12)
    params = {"logits": jnp.zeros(2), "value": jnp.float32(0)}
    state = LearnerState(params, learner.optimizer.init(params), *[None] * 5)  # type: ignore[arg-type]
    assert learner.minibatches() == (2, 4)
    names = jnp.arange(8.0)[:, None]
    batch = samples(8, inputs=jnp.broadcast_to(names[..., None], (2, 8, 1, 1)))
    update_epochs = jax.jit(
        lambda batch, carry: learner.update_epochs(state, batch, carry, imitating(0), jax.random.key(1))[2]
    )
    assert update_epochs(batch, (names,))["value_loss"] == 0
    assert update_epochs(batch, (names[::-1],))["value_loss"] > 1
    # Each environment's error counts as often as the others'.
    errors = batch._replace(returns=jnp.broadcast_to(names, (2, 8, 1)), value=jnp.broadcast_to(names, (2, 8, 1)))
    np.testing.assert_allclose(update_epochs(errors, (names,))["value_loss"], np.mean(np.arange(8.0) ** 2), rtol=1e-5)


@pytest.mark.parametrize("active", [None, jnp.array([True, True, False])])
def test_advantages_are_scaled_by_their_deviation_but_never_blown_up(active):
    """Catches noise that is made as large as a signal; the third agent has finished where there is a mask."""
    values = jnp.array([1.0, 3.0, 2.0]) if active is None else jnp.array([1.0, 3.0, 700.0])
    std = np.std([1, 3, 2] if active is None else [1, 3])
    scaled, small = (_standardized(values * unit, active, 0.01) for unit in (1, 1e-5))
    np.testing.assert_allclose(scaled[:2], [-1 / std, 1 / std], rtol=1e-5)
    np.testing.assert_allclose(small[:2], [-1e-3, 1e-3], rtol=1e-3)


def test_schedules_of_the_teacher_s_weight():
    halving = PPOConfig(distill_half_life=2000)
    given = [float(halving.coefficient(jnp.int32(i), 1000)) for i in (0, 2, 4, 23, 24)]
    np.testing.assert_allclose(given, [10, 5, 2.5, 10 * 0.5**11.5, 0], rtol=1e-5)
    line = PPOConfig(distill_schedule="linear")
    given = [float(line.coefficient(jnp.int32(i), 1000)) for i in (0, 100, 1990, 2999, 3000)]
    np.testing.assert_allclose(given, [10, 9.5, 0.1, 0.1, 0], rtol=1e-4)


def rollout(network_name="egocentric", recurrent=False, length=12, max_steps=7, num_envs=16):
    env = envs_jax.make("SimpleDoorKey", max_steps=max_steps)
    world = AgentAxisWrapper(env)
    venv, network = VectorEnv(world, num_envs), make_network(network_name, world, recurrent)

    def play():
        actor = start(venv, network, jax.random.key(0))
        inputs = jax.vmap(jax.vmap(network.prepare))(actor.obs)
        params = network.init(jax.random.key(1), inputs[None], actor.first[None], actor.carry)
        return params, actor, *collect(venv, network, params, actor, jax.random.key(2), length)

    return env, network, *jax.jit(play)()


def replay(env, actor, trajectory):
    """The values of the observations that followed each step, from single environments."""
    finals, step, reset = [], jax.jit(env.step), jax.jit(env.reset)
    for n in range(trajectory.action.shape[1]):
        state = jax.tree.map(lambda leaf, n=n: leaf[n], actor.env.env)
        row = []
        for t in range(trajectory.action.shape[0]):
            state, timestep = step(state, trajectory.action[t, n, 0])
            row.append((timestep.observation, timestep.discount))
            if timestep.last():
                state, _ = reset(state.key)
        finals.append(row)
    return finals


def test_truncated_episodes_are_bootstrapped_from_their_final_observation():
    env, network, params, actor, after, trajectory = rollout(num_envs=4)
    assert trajectory.last.sum() >= 4
    assert (trajectory.action[1:] != trajectory.action[:-1]).any(), "each step draws anew"

    @jax.jit
    def value_of(obs):
        inputs = network.prepare(obs)[None, None, None]
        return forward(network, params, inputs, jnp.zeros((1, 1), bool), ())[0].value[0, 0]

    for n, row in enumerate(replay(env, actor, trajectory)):
        for t, (obs, discount) in enumerate(row):
            assert trajectory.discount[t, n, 0] == discount
            if discount == 0:
                continue
            np.testing.assert_allclose(trajectory.next_value[t, n], value_of(obs), atol=1e-5)
    assert after.obs.shape == actor.obs.shape


def test_recurrent_rollouts_equal_the_network_run_along_them():
    """What the student said step by step is what the loss computes in one go, resets included."""
    *_, network, params, actor, _, trajectory = rollout("reference", recurrent=True, num_envs=4)
    run_network = jax.jit(forward, static_argnums=0)
    output, _ = run_network(network, params, trajectory.inputs, trajectory.first, trajectory.carry)
    np.testing.assert_allclose(output.value, trajectory.value, atol=1e-5)
    log_probs = jax.nn.log_softmax(output.logits)
    chosen = jnp.take_along_axis(log_probs, trajectory.action[..., None], -1)[..., 0]
    np.testing.assert_allclose(chosen, trajectory.log_prob, atol=1e-5)
    assert trajectory.first[1:].any()
    chex.assert_trees_all_equal(trajectory.carry, actor.carry)


def test_the_reference_network_is_the_reference_s():
    """Convolutions of 16, 32, 64 channels, heads of 64: the number of parameters by hand."""
    network = make_network("reference", AgentAxisWrapper(envs_jax.make("SimpleDoorKey")), False)
    params = network.init(jax.random.key(0), jnp.zeros((1, 1, 1, 10, 10, 4)), jnp.ones((1, 1), bool), ())
    convolutions = 4 * 9 * 16 + 16 + 16 * 9 * 32 + 32 + 32 * 9 * 64 + 64
    heads = 2 * (6400 * 64 + 64) + 64 * 7 + 7 + 64 + 1
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == convolutions + heads


def test_the_small_cnn_is_that_of_minigrid_s_baselines():
    """Its windows and products are 2 x 2 convolutions as XLA has them; the number of parameters by hand."""
    network = make_network("cnn", AgentAxisWrapper(envs_jax.make("SimpleDoorKey")), False)
    inputs, first = jax.random.normal(jax.random.key(1), (2, 3, 1, 10, 10, 4)), jnp.ones((2, 3), bool)
    params = network.init(jax.random.key(0), inputs, first, ())
    convolutions = 4 * 4 * 16 + 16 + 16 * 4 * 32 + 32 + 32 * 4 * 64 + 64
    heads = 2 * (2 * 2 * 64 * 64 + 64) + 64 * 7 + 7 + 64 + 1
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == convolutions + heads
    layers, hidden = params["params"], inputs.reshape(6, 10, 10, 4)
    for i in range(3):
        kernel = layers[f"Dense_{i}"]["kernel"]
        kernel = kernel.reshape(2, 2, -1, kernel.shape[-1])
        hidden = jax.lax.conv_general_dilated(
            hidden, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        hidden = nn.relu(hidden + layers[f"Dense_{i}"]["bias"])
        if i == 0:
            hidden = nn.max_pool(hidden, (2, 2), (2, 2))
    hidden = hidden.reshape(2, 3, 1, 256)
    actor = nn.relu(hidden @ layers["Dense_3"]["kernel"] + layers["Dense_3"]["bias"])
    logits = actor @ layers["Dense_5"]["kernel"] + layers["Dense_5"]["bias"]
    np.testing.assert_allclose(forward(network, params, inputs, first, ())[0].logits, logits, atol=1e-6)
    small = AgentAxisWrapper(envs_jax.make("SimpleDoorKey", world_size=6, room_size=(6, 6)))
    with pytest.raises(ValueError, match="at least 7 x 7"):
        make_network("cnn", small, False)


@pytest.mark.parametrize("direction", range(4))
def test_features_turn_with_the_agent(direction):
    """A key two ahead and one to the right is at the same place of the features for every direction."""
    ahead = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
    x, y = np.array([5, 4]) + 2 * ahead[direction] + ahead[(direction + 1) % 4]
    obs = np.zeros((10, 10, 4), np.uint8)
    obs[..., 0], obs[..., 3] = 1, 4
    obs[5, 4, 3], obs[x, y] = direction, (5, 3, 0, 4)
    features = np.asarray(egocentric_features(jnp.asarray(obs)))
    near, lines = features[: 11 * 49].reshape(11, 7, 7), features[11 * 49 :].reshape(2, 11, 19)
    key = 3
    assert np.argwhere(near[key]).tolist() == [[NEAR + 2, NEAR + 1]]
    assert [int(np.argmax(line)) for line in lines[:, key]] == [9 + 2, 9 + 1]
    assert lines[:, key].sum() == 2
    # Colour 3 is 0b011: the first two bits of keys, none of doors.
    assert near[5:, NEAR + 2, NEAR + 1].tolist() == [1, 1, 0, 0, 0, 0]


def test_what_the_agent_carries_shows_in_its_own_cell_only():
    obs = np.zeros((10, 10, 4), np.uint8)
    obs[..., 0], obs[..., 3] = 1, 4
    obs[2, 2] = (5, 0, 0, 1)
    features = np.asarray(egocentric_features(jnp.asarray(obs)))
    assert features[: 11 * 49].reshape(11, 7, 7)[3, NEAR, NEAR] == 1
    assert features[11 * 49 :].sum() == 0


def test_boxes_have_a_channel_where_the_world_has_them():
    """Catches a student that takes a box for an empty cell, and features of other worlds that have changed."""
    obs = np.zeros((10, 10, 4), np.uint8)
    obs[..., 0], obs[..., 3] = 1, 4
    obs[5, 4, 3], obs[7, 4], obs[6, 4] = 0, (7, 3, 0, 4), (5, 3, 0, 4)
    boxed, plain = (
        make_network("egocentric", AgentAxisWrapper(envs_jax.make(t)), False) for t in ("KeyInBox", "TwoDoor")
    )
    features = np.asarray(boxed.prepare(jnp.asarray(obs)))
    near, lines = features[: 12 * 49].reshape(12, 7, 7), features[12 * 49 :].reshape(2, 12, 19)
    assert np.argwhere(near[-1]).tolist() == [[NEAR + 2, NEAR]]
    assert [np.argwhere(line).tolist() for line in lines[:, -1]] == [[[9 + 2]], [[9]]]
    without = np.concatenate([near[:-1].reshape(-1), lines[:, :-1].reshape(-1)])
    np.testing.assert_array_equal(plain.prepare(jnp.asarray(obs)), without)
    np.testing.assert_array_equal(egocentric_features(jnp.asarray(obs)), without)


def small(**changes):
    ppo = PPOConfig(rollout_length=16, batch_size=64, **changes.pop("ppo", {}))
    return TrainConfig("SimpleDoorKey", num_envs=16, total_steps=4096, eval_interval=2, num_eval=20, ppo=ppo, **changes)


def run_chunks(*configs, chunks=2):
    experiment = Experiment(*configs)
    program, state = experiment.compile_updates(), experiment.init()
    rows = []
    for i in range(chunks):
        state, metrics = program(state, experiment.table, experiment.hparams, jnp.int32(2 * i), jnp.int32(2))
        rows.append(jax.device_get(metrics))
    return state, {name: np.concatenate([row[name] for row in rows], 1) for name in rows[0]}


@pytest.mark.slow
def test_a_seed_s_bits_do_not_depend_on_those_beside_it():
    """Catches a program whose sums take another order for another number of seeds; on CPUs alone that is promised."""
    (together, rows), (alone, row) = run_chunks(small(seed_list=(0, 1, 2))), run_chunks(small(seed_list=(1,)))
    chex.assert_trees_all_equal(jax.tree.map(lambda leaf: leaf[1:2], together.params), alone.params)
    chex.assert_trees_all_equal({name: leaf[1:2] for name, leaf in rows.items()}, row)
    assert any((leaf[0] != leaf[1]).any() for leaf in jax.tree.leaves(together.params)), "another seed is another run"


@pytest.mark.slow
def test_batched_as_on_gpus_runs_have_their_own_numbers(monkeypatch):
    """Catches a number of one run that the batch gives to another; after two updates all agree to rounding."""
    first = small(seed_list=(0, 1))
    other = replace(first, ppo=replace(first.ppo, distill_coef=1.0, learning_rate=2e-3, gamma=0.9))
    each = [run_chunks(config, chunks=1) for config in (first, other)]
    monkeypatch.setattr(experiment_module, "over_seeds", jax.vmap)
    batched = run_chunks(first, other, chunks=1)
    in_turn = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *each)
    chex.assert_trees_all_close((batched[0].params, batched[1]), (in_turn[0].params, in_turn[1]), atol=1e-5)


def test_a_chunk_may_be_cut_short():
    experiment = Experiment(small())
    program, inputs, number = experiment.compile_updates(), (experiment.table, experiment.hparams), jnp.int32
    whole, metrics = program(experiment.init(), *inputs, number(0), number(2))
    half, _ = program(experiment.init(), *inputs, number(0), number(1))
    half, rest = program(half, *inputs, number(1), number(1))
    chex.assert_trees_all_equal(whole.params, half.params)
    np.testing.assert_array_equal(metrics["loss"][:, 1], rest["loss"][:, 0])


def test_the_student_stops_asking_when_the_teacher_has_no_weight():
    """The labels are left out once the coefficient is 0, and the loss says so."""
    config = small(ppo={"distill_half_life": 20})
    _, metrics = run_chunks(config, chunks=2)
    np.testing.assert_array_equal(metrics["kickstarting_coef"][0] > 0, [True, False, False, False])
    np.testing.assert_array_equal(metrics["teacher_coverage"][0], [1, 0, 0, 0])
    np.testing.assert_array_equal(metrics["kickstarting_loss"][0, 1:], 0)


def test_without_a_teacher_nothing_is_distilled():
    experiment = Experiment(small(no_teacher=True))
    state = jax.eval_shape(experiment.learner.init, jax.random.key(0))
    _, metrics = jax.eval_shape(experiment.learner.update, state, None, jnp.int32(0))
    assert "kickstarting_loss" not in metrics
    assert max(experiment.learner._schedule(jnp.int32(0))) == 0


def assert_traced_once(experiment):
    """An update gives the state in the shapes and dtypes, weak ones too, in which it takes it; returns the trace."""
    state = jax.eval_shape(experiment.learner.init, jax.random.key(0))
    traced = jax.jit(experiment.learner.update).trace(state, experiment.table, jnp.int32(0))
    count = len(jax.tree.leaves(state))
    assert traced.jaxpr.out_avals[:count] == traced.jaxpr.in_avals[:count]
    return traced


def test_an_update_traces_once():
    experiment = Experiment(small())
    assert "callback" not in assert_traced_once(experiment).lower().as_text()


@pytest.mark.parametrize(
    ("schedule", "other"),
    [("exponential", ["distill_decay", "distill_end", "distill_floor"]), ("linear", ["distill_half_life"])],
)
def test_numbers_of_ppo_are_inputs_of_the_program(schedule, other):
    """Catches one that is a constant: runs that try its values would compile anew, or all get the same."""
    experiment = Experiment(small(ppo={"distill_schedule": schedule}))
    state = jax.tree.map(lambda leaf: leaf[0], experiment.init())

    def update(numbers):
        return experiment.learner.with_hparams(numbers).update(state, experiment.table, jnp.int32(1))

    program = jax.make_jaxpr(update)(experiment.hparams[0]).jaxpr
    used = {id(variable) for step in program.eqns for variable in step.invars}
    unused = [name for name, variable in zip(sorted(experiment.hparams[0]), program.invars) if id(variable) not in used]
    of_others = ["agreement_coef", "clone_until", "label_budget", "potential_coef", "prior_beta"]
    assert unused == sorted(other + of_others), "what belongs to the other schedule, and to other ways of guidance"


@pytest.mark.slow
def test_a_student_learns_from_a_teacher_in_a_small_room():
    """A few thousand steps in a 5 x 5 room: the student succeeds far more often than it did."""
    world = AgentAxisWrapper(envs_jax.make("SimpleDoorKey", room_size=(5, 5)))
    network, teacher = make_network("egocentric", world, False), make_teacher("SimpleDoorKey")
    learner = Learner(VectorEnv(world, 32), network, PPOConfig(rollout_length=32, batch_size=128), teacher, 20)

    @jax.jit
    def success(params):
        policy = student_policy(network, params, False)
        return run_episodes(world, policy, (), jax.random.key(9), 200).success.mean()

    state = jax.jit(learner.init)(jax.random.key(0))
    before = success(state.params)
    state, _ = jax.jit(learner.run_updates, static_argnums=4)(state, teacher.table, jnp.int32(0), jnp.int32(20), 20)
    assert before < 0.6
    assert success(state.params) > 0.9


@pytest.mark.parametrize(
    ("task", "low", "high"),
    [
        ("SimpleDoorKey", 0.98, 1.0),
        ("LavaDoorKey", 0.50, 0.72),
        pytest.param("ColoredDoorKey", 0.48, 0.72, marks=pytest.mark.slow),
        pytest.param("TwoDoor", 0.15, 0.35, marks=pytest.mark.slow),
    ],
)
def test_the_teacher_succeeds_as_often_as_the_reference_s(task, low, high):
    """The reference's, over 200 episodes with 10 % random actions: 1.00, 0.60-0.62, 0.55-0.63, 0.21-0.28."""
    world, teacher = AgentAxisWrapper(envs_jax.make(task)), make_teacher(task)
    memory, policy = jnp.tile(teacher.reset(), (300, 1)), with_random_actions(teacher_policy(teacher), 0.1, (7,))
    played = jax.jit(lambda key: run_episodes(world, policy, memory, key, 300))(jax.random.key(0))
    assert low <= played.success.mean() <= high
    # What would be paid after an episode's end is left out.
    np.testing.assert_allclose(
        played.episode_return, np.where(played.success, 1 - 0.9 * played.length / world.max_steps, 0), atol=1e-5
    )


def test_options_are_one_thing_in_configuration_and_learner():
    config = replace(small(), n_itr=9, total_steps=None)
    assert config.iterations == 9
    assert small().iterations == 4096 // 256


@pytest.mark.parametrize("count", [8, 6])  # in chunks, and all at once
def test_the_convolution_is_flax_s(count):
    """Catches a kernel that is turned or shifted, forward or in either gradient."""
    image = jax.random.normal(jax.random.key(0), (count, 5, 6, 3))
    target = jax.random.normal(jax.random.key(2), (count, 5, 6, 4))
    theirs, ours = nn.Conv(4, (3, 3), padding="SAME"), Convolution(4)
    params = theirs.init(jax.random.key(1), image)
    kernel, bias = params["params"]["kernel"], params["params"]["bias"]
    same = {"params": {"kernel": kernel.reshape(27, 4), "bias": bias}}
    np.testing.assert_allclose(ours.apply(same, image), theirs.apply(params, image), atol=1e-5)

    def gradients(net, params):
        return jax.grad(lambda params, image: (net.apply(params, image) * target).sum(), (0, 1))(params, image)

    (grads, by_image), (their_grads, their_by_image) = gradients(ours, same), gradients(theirs, params)
    np.testing.assert_allclose(
        grads["params"]["kernel"].reshape(3, 3, 3, 4), their_grads["params"]["kernel"], atol=1e-4
    )
    np.testing.assert_allclose(by_image, their_by_image, atol=1e-5)


def test_an_update_is_traced_once(monkeypatch):
    """Catches a second trace of the whole program, only for the shapes of its metrics."""
    traces, update = [], Learner.update
    monkeypatch.setattr(Learner, "update", lambda self, *given: traces.append(0) or update(self, *given))
    options = {"num_envs": 4, "n_itr": 2, "batch_size": 32}
    experiment = Experiment(with_options(default_config("SimpleDoorKey"), options))
    learner = experiment.learner
    state = jax.eval_shape(learner.init, jax.random.key(0))
    jax.eval_shape(
        lambda *given: learner.run_updates(given[0], experiment.table, *given[1:], 5), state, np.int32(0), np.int32(2)
    )
    assert len(traces) == 1
