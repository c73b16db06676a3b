"""Ways of guidance: each one's term by hand, who acts, what is learnt from whose samples, and that each teaches."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import LABELLING, PPOConfig
from jaxteach.errors import UserError
from jaxteach.guidance import METHODS, Advice, CombinedGuidance, Guidance, Steps
from jaxteach.guidance.potential import Potential, caption_values
from jaxteach.networks.base import forward
from jaxteach.networks.registry import make_network, with_hint
from jaxteach.ppo.episodes import run_episodes, student_policy
from tests.combination_lock import DIGITS, PLACES, SILENT, lock_learner, lock_plans, lock_teacher

TEACHER = lock_teacher(lock_plans(silent=(SILENT,)))


def advice(probs, captions=None, fade=1.0):
    """What a teacher says of samples [..., actions]."""
    probs = jnp.asarray(probs, jnp.float32)
    captions = jnp.zeros(probs.shape[:-1], jnp.int32) if captions is None else jnp.asarray(captions, jnp.int32)
    return Advice(probs, captions, jnp.float32(fade))


def steps(action, discount=None, last=None, next_captions=None):
    """Steps of a student that takes each of three actions as often."""
    action = jnp.asarray(action, jnp.int32)
    policy = jnp.full((*action.shape, 3), 1 / 3, jnp.float32)
    discount = jnp.ones(action.shape) if discount is None else jnp.asarray(discount, jnp.float32)
    last = jnp.zeros(action.shape, bool) if last is None else jnp.asarray(last)
    captions = jnp.zeros_like(action) if next_captions is None else jnp.asarray(next_captions, jnp.int32)
    return Steps(action, policy, discount, last, captions)


def method(name, max_steps=64, **numbers):
    return METHODS[name](PPOConfig(guidance=name, **numbers), max_steps)


def test_options_and_methods_have_the_same_names():
    """Catches a method that no option names, and a name behind which there is none."""
    assert tuple(METHODS) == LABELLING


def test_agreement_by_hand():
    """0.1, half faded: 0.05 times the teacher's probability less the expected 1/3; nothing without plans."""
    said = advice([[0.7, 0.3, 0]] * 3 + [[0, 0, 0]], fade=0.5)
    gains = method("agreement", agreement_coef=0.1).bonus(steps([0, 1, 2, 0]), said)
    np.testing.assert_allclose(gains, [0.05 * (0.7 - 1 / 3), 0.05 * (0.3 - 1 / 3), -0.05 / 3, 0], atol=1e-7)
    half = method("agreement", agreement_coef=0.1).bonus(steps([0, 1, 2, 0]), said._replace(probs=said.probs / 2))
    np.testing.assert_allclose(half, gains / 2, atol=1e-7)


def test_potentials_by_hand():
    """gamma 1/2, weight 2, values 0.2 and 0.8: 2 * (value(next) / 2 - value); a caption without a value has 0."""
    cases = {  # caption, caption of what followed, discount, last: bonus
        "on": ((0, 1, 1, False), 2 * (0.4 - 0.2)),
        "into a caption that is none": ((1, -1, 1, False), -1.6),
        "out of it": ((-1, 1, 1, False), 0.8),
        "terminal": ((1, 0, 0, True), -1.6),
        "truncated: not what the next episode begins with": ((1, 0, 1, True), 2 * (0.4 - 0.8)),
        "finished before the others": ((1, 1, 0, False), -1.6),
        "the world's own discount": ((0, 1, 0.5, False), 2 * (0.2 - 0.2)),
        "outside the list": ((2, 1, 1, False), 0.8),
    }
    captions, following, discount, last = zip(*(case for case, _ in cases.values()))
    potential = Potential(PPOConfig(gamma=0.5, potential_coef=2.0), 64, (0.2, 0.8))
    said = advice(jnp.zeros((len(cases), 3)), captions)
    bonus = potential.bonus(steps([0] * len(cases), discount, last, following), said)
    for name, got, (_, expected) in zip(cases, bonus, cases.values()):
        np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=name)


def optimal_q(rewards, following, discount, gamma):
    """[S, A], by value iteration."""
    q = np.zeros_like(rewards)
    for _ in range(500):
        q = rewards + gamma * discount * q.max(1)[following]
    return q


@pytest.mark.parametrize("seed", range(5))
def test_shaping_leaves_the_optimal_policy(seed):
    """In random worlds with ends and with discounts of their own, and values that mean nothing.

    A bonus for valued situations that is no difference of potentials changes the policy in some of them.
    """
    rng, states, actions = np.random.default_rng(seed), 7, 3
    shape, gamma = (states, actions), 0.9
    following, rewards = rng.integers(0, states, shape), rng.normal(size=shape)
    discount = rng.choice([0.0, 0.5, 1.0, 1.0], shape)
    values = rng.random(states)
    potential = Potential(PPOConfig(gamma=gamma, potential_coef=5.0), 64, tuple(values))
    captions = np.broadcast_to(np.arange(states)[:, None], shape)
    said = advice(np.zeros((*shape, actions)), captions)
    bonus = np.asarray(potential.bonus(steps(np.zeros(shape), discount, discount == 0, following), said))
    plain, shaped = (optimal_q(given, following, discount, gamma) for given in (rewards, rewards + bonus))
    np.testing.assert_array_equal(plain.argmax(1), shaped.argmax(1))
    np.testing.assert_allclose(shaped, plain - 5 * values[:, None], atol=1e-4)
    if seed == 0:
        paid = optimal_q(rewards + 5 * values[following], following, discount, gamma)
        assert (paid.argmax(1) != plain.argmax(1)).any()


def test_a_joint_policy_by_hand():
    """Probabilities 1/2 and 1/2, and the teacher's 1 and 0, which count as 1 and 0.01, to the power of 2 * 0.5."""
    prior, logits = method("prior", prior_beta=2.0), jnp.log(jnp.array([[0.5, 0.5]] * 2))
    joint = prior.policy_logits(logits, jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.float32(0.5))
    np.testing.assert_allclose(jax.nn.softmax(joint)[0], np.array([1, 0.01]) / 1.01, rtol=1e-5)
    np.testing.assert_array_equal(joint[1], logits[1])
    np.testing.assert_array_equal(prior.policy_logits(logits, jnp.eye(2), jnp.float32(0)), logits)


def test_the_guide_plays_the_first_steps():
    """Of 4 environments for 64 * 0.5 * ((i + 1/2) / 4)^3 steps: 0.06, 1.7, 7.8 and 21.4; silent, it plays none."""
    said, key = advice([[[1.0, 0, 0]]] * 4, fade=0.5), jax.random.key(0)
    takes_over = {k: method("guide").takes_over(jnp.full(4, k), said, key)[:, 0].tolist() for k in (0, 1, 7, 8, 21, 22)}
    no, yes = False, True
    rows = [[yes] * 4, [no, yes, yes, yes], [no, no, yes, yes], [no, no, no, yes], [no, no, no, yes], [no] * 4]
    assert list(takes_over.values()) == rows
    assert not method("guide").takes_over(jnp.zeros(4, jnp.int32), advice(jnp.zeros((4, 1, 3))), key).any()


def test_the_teacher_of_dagger_acts_with_the_schedule_s_probability():
    said = advice(jnp.ones((20_000, 1, 3)) / 3)
    share = {
        fade: method("dagger").takes_over(None, said._replace(fade=jnp.float32(fade)), jax.random.key(0)).mean()
        for fade in (0, 0.3, 1)
    }
    np.testing.assert_allclose(list(share.values()), [0, 0.3, 1], atol=0.02)
    assert not method("dagger").takes_over(None, advice(jnp.zeros((4, 1, 3))), jax.random.key(0)).any()


def test_cloning_has_two_phases():
    """The weight is whole until the schedule falls to 0.4, and PPO's own loss counts from then on."""
    clone, said = method("clone", clone_until=0.4, distill_coef=5.0), advice([[[1.0, 0, 0]], [[0, 0, 0]]])
    for fade, cloning in ((0.41, True), (0.39, False)):
        share = jnp.float32(fade)
        took = clone.takes_over(None, said._replace(fade=share), None)[:, 0]
        assert took.tolist() == [cloning, False]
        assert float(clone.imitation_coef(5 * share)) == (5 if cloning else 0)
        assert float(clone.policy_coef(share)) == (0 if cloning else 1)


def test_labels_are_gated_by_hand():
    """1 - H / log 4: 1 for certainty, 1/2 for two alike, 0 for four; nothing once the budget is spent."""
    said = advice([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4])
    gate = method("gate", label_budget=100.0)
    np.testing.assert_allclose(gate.gate(said, jnp.float32(99)), [1, 0.5, 0], atol=1e-6)
    np.testing.assert_array_equal(gate.gate(said, jnp.float32(100)), 0)


def test_the_one_action_of_a_world_is_certain():
    """Catches 0 / 0, which is NaN in all labels."""
    np.testing.assert_array_equal(method("gate").gate(advice([[1], [0]]), jnp.float32(0)), 1)


def test_a_spent_budget_stays_spent():
    """Catches samples that are counted in int32: 2**25 iterations of 64 samples are 2**31, and -2**31 there."""
    learner = lock_learner("kickstart+gate", TEACHER, label_budget=256.0)
    said = advice(jnp.eye(3)[None])
    assert float(learner._gated(said, jnp.int32(3)).sum()) == 3
    assert float(learner._gated(said, jnp.int32(2**25)).sum()) == 0


def test_hints_are_dropped_more_and_more_often():
    said, hint = advice(jnp.full((20_000, 1, 3), 1 / 3)), method("hint")
    for fade in (0, 0.3, 1):
        shown = hint.hint(said._replace(fade=jnp.float32(fade)), jax.random.key(0))
        assert set(np.unique(shown.sum(-1).round(5))) <= {0, 1}
        np.testing.assert_allclose(shown.sum(-1).mean(), fade, atol=0.02)
    inputs = jnp.ones((100, 100, 1, 5))
    dropped = hint.drop_hints(inputs, 3, jax.random.key(0))
    assert (dropped[..., :2] == 1).all()
    assert set(np.unique(dropped[..., 2:].sum(-1))) == {0, 3}, "a hint is dropped whole"
    np.testing.assert_allclose(dropped[..., 2:].mean(), 0.5, atol=0.02)


@cache
def rollout(guidance, iteration=0):
    """A rollout, its rewards, and the rollout that follows; from the third iteration on the schedule is 0."""
    learner, play = _rollouts(guidance)
    return learner, *play(jnp.int32(iteration))


@cache
def _rollouts(guidance):
    learner = lock_learner(guidance, TEACHER, max_steps=5, distill_half_life=10)

    def play(iteration):
        state, schedule = learner.init(jax.random.key(0)), learner._schedule(iteration)
        keys = jax.random.split(jax.random.key(1), 4)
        actor, trajectory, memory, said = learner._rollout(state, TEACHER.table, schedule, *keys[:2])
        rewards = learner._rewards(state, trajectory, said, said.probs, memory, actor)
        after = state._replace(actor=actor, memory=memory)
        following = learner._rollout(after, TEACHER.table, schedule, *keys[2:])
        return state, trajectory, said, rewards, (actor.first, following[3])

    return learner, jax.jit(play)


def agreement(learner, state, played, said):
    """The probabilities of the actions by the teacher, less their means by the student's policy."""
    policy = np.asarray(learner._policy(state.params, played, said))
    chosen = np.take_along_axis(policy, np.asarray(played.action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(np.log(chosen), played.log_prob, atol=1e-4)
    probs = np.asarray(said.probs)
    agreed = np.take_along_axis(probs, np.asarray(played.action)[..., None], -1)[..., 0]
    return agreed - (policy * probs).sum(-1)


@pytest.mark.parametrize(("guidance", "iteration"), [("agreement+potential", 0), ("potential+dagger", 3)])
def test_bonuses_of_a_rollout(guidance, iteration):
    """Catches captions of the wrong step, a last step without its successor, and values that end with the schedule."""
    learner, state, played, said, rewards, (first, following) = rollout(guidance, iteration)
    assert float(learner._schedule(jnp.int32(iteration)).fade) == (iteration == 0)
    values = np.append([i / PLACES for i in range(PLACES)], 0)
    values[SILENT] = 0
    here = values[said.captions]
    after = np.concatenate([here[1:], values[following.captions[:1]]])
    assert np.asarray(played.last).any()
    assert not np.asarray(first).all(), "some rollouts end in the midst of an episode"
    after = np.where(played.last[..., None], here, after) * played.discount
    gain = 0.5 * agreement(learner, state, played, said) if "agreement" in guidance else 0
    np.testing.assert_allclose(rewards, played.reward + 0.99 * after - here + gain, atol=1e-5)
    assert (np.asarray(said.captions) >= 0).all()


def test_the_teacher_acts_in_the_rollout():
    """At first always, but where it is silent; catches actions of another state, and records of whose they are."""
    _, _, played, said, *_ = rollout("potential+dagger", 0)
    place, action = np.asarray(said.captions), np.asarray(played.action)
    np.testing.assert_array_equal(played.by_student, place == SILENT)
    right, wrong = ((np.array(DIGITS)[place] + k) % 3 for k in (0, 1))
    taught = place != SILENT
    assert ((action == right) | (action == wrong))[taught].all()
    assert (action == right)[taught].mean() > 0.8
    _, _, played, *_ = rollout("potential+dagger", 3)
    assert np.asarray(played.by_student).all()


def test_the_guide_gives_way_in_the_rollout():
    """Catches a guide that begins anew in each rollout, and not in each episode."""
    _, _, played, said, *_ = rollout("prior+guide+hint")
    shares = ((np.arange(8) + 0.5) / 8) ** 3 * 5
    elapsed = np.asarray(played.episode_length) - 1
    guided = (elapsed < shares) & (np.asarray(said.captions)[..., 0] != SILENT)
    np.testing.assert_array_equal(np.asarray(played.by_student)[..., 0], ~guided)
    assert guided[5].any(), "the second episode"
    assert not guided.all()


def test_hints_have_their_place_and_are_not_there_in_evaluations():
    learner, state, played, said, *_ = rollout("prior+guide+hint")
    np.testing.assert_array_equal(played.inputs[..., -3:], said.probs)
    np.testing.assert_array_equal(played.inputs[..., :-3], played.obs)
    assert np.asarray(said.probs).any()
    inputs = learner.network.prepare(played.obs[0, 0, 0])
    np.testing.assert_array_equal(inputs, np.append(played.obs[0, 0, 0], np.zeros(3)))
    seen, without = (
        forward(learner.network, state.params, given, played.first, ())[0].logits
        for given in (played.inputs, played.inputs.at[..., -3:].set(0))
    )
    assert (jnp.argmax(seen, -1) == jnp.argmax(said.probs, -1))[said.probs.sum(-1) > 0].all(), "hints are followed"
    assert jnp.abs(without).max() < 1


def test_log_probabilities_are_of_who_acted():
    """The joint policy, or the teacher; catches those of the student alone."""
    learner, state, played, said, *_ = rollout("prior+guide+hint")
    logits = forward(learner.network, state.params, played.inputs, played.first, ())[0].logits
    silent = np.asarray(said.captions)[..., None] == SILENT
    joint = jax.nn.log_softmax(logits + jnp.where(silent, 0, jnp.log(jnp.maximum(said.probs, 0.01))))
    acted = np.where(np.asarray(played.by_student)[..., None], joint, np.log(np.maximum(said.probs, 1e-9)))
    expected = np.take_along_axis(acted, np.asarray(played.action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(played.log_prob, expected, atol=1e-5)
    assert 0 < np.asarray(played.by_student).mean() < 1


@cache
def _update(guidance, **changes):
    teacher = lock_teacher()
    learner = lock_learner(guidance, teacher, **changes)
    state = jax.jit(learner.init)(jax.random.key(0))
    update = jax.jit(lambda state, iteration: learner.update(state, teacher.table, iteration))
    return lambda iteration: update(state, jnp.int32(iteration))[1]


def test_the_ratio_is_that_of_the_policy_that_acted():
    """Before the first gradient step all ratios are 1; catches a loss that knows another policy than the rollout."""
    metrics = _update("prior+kickstart+gate", label_budget=256.0)(0)
    np.testing.assert_allclose([metrics["approx_kl"], metrics["clip_fraction"]], 0, atol=1e-6)
    assert metrics["grad_norm"] > 0


def test_a_spent_budget_ends_the_labels_and_not_the_joint_policy():
    """64 samples in an iteration, 256 allowed: four iterations have labels."""
    metrics = [_update("prior+kickstart+gate", label_budget=256.0)(i) for i in (0, 3, 4)]
    assert [float(row["teacher_coverage"]) for row in metrics] == [1, 1, 0]
    np.testing.assert_allclose(metrics[2]["approx_kl"], 0, atol=1e-6)


def test_the_policy_is_not_improved_by_the_teacher_s_actions():
    """While the teacher always acts there is no policy loss, and values and labels are learnt all the same."""
    update = _update("dagger", epochs=3)
    metrics = update(0)
    assert float(metrics["policy_loss"]) == float(metrics["approx_kl"]) == float(metrics["clip_fraction"]) == 0
    assert min(metrics["value_loss"], metrics["kickstarting_loss"]) > 0
    metrics = update(4000)
    assert float(metrics["policy_loss"]) != 0, "the student acts alone in the end"


def test_the_guide_s_steps_improve_the_policy():
    """Ratios are to the teacher's probabilities; catches a student that learns from its own steps alone."""
    learnt = {name: float(_update(name)(0)["approx_kl"]) for name in ("guide", "dagger")}
    assert learnt["guide"] > 0.01
    assert learnt["dagger"] == 0
    assert CombinedGuidance((method("dagger"), method("guide"))).learns_from_demonstrations


def test_several_methods_are_one():
    """Weights of imitation do not add up, and what another method does stays."""
    numbers = {"distill_coef": 4.0, "clone_until": 0.5}
    both = CombinedGuidance((method("kickstart", **numbers), method("clone", **numbers)))
    assert float(both.imitation_coef(jnp.float32(3))) == 4
    assert float(both.imitation_coef(jnp.float32(1.5))) == 1.5
    assert float(both.policy_coef(jnp.float32(0.75))) == 0
    assert both.before_acting
    costs = CombinedGuidance((method("agreement"), Potential(PPOConfig(gamma=0.5), 64, (0.4,))))
    said, walked = advice([[0.5, 0.5, 0]]), steps([0])
    np.testing.assert_allclose(costs.bonus(walked, said), 0.5 * (0.5 - 1 / 3) + (0.2 - 0.4), atol=1e-6)
    gated = CombinedGuidance((method("kickstart"), method("gate", label_budget=1.0)))
    assert float(gated.gate(said, jnp.float32(1))[0]) == 0
    assert not gated.active(jnp.float32(0), jnp.float32(1)), "a gate alone asks nobody"


def program(learner, table):
    state = jax.eval_shape(learner.init, jax.random.key(0))
    return str(jax.make_jaxpr(learner.update)(state, table, jnp.int32(0)))


def test_methods_cost_nothing_where_they_are_off(monkeypatch):
    """Without a teacher all methods' programs are one; with one, kickstarting's calls no hook of the others."""
    plain, other = (program(lock_learner(name, None), None) for name in ("kickstart", "prior+guide+agreement+gate"))
    assert plain == other

    def must_not_be_called(self, *arguments):
        raise AssertionError

    for hook in ("policy_logits", "takes_over", "hint", "drop_hints", "bonus", "gate", "policy_coef"):
        monkeypatch.setattr(Guidance, hook, must_not_be_called)
    taught = program(lock_learner("kickstart", TEACHER), TEACHER.table)
    assert len(taught) > len(plain)


@pytest.mark.parametrize("guidance", ["agreement", "potential", "prior", "guide", "hint"])
def test_only_imitation_has_a_cross_entropy(guidance):
    learner = lock_learner(guidance, TEACHER)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    assert "kickstarting_loss" not in jax.eval_shape(learner.update, state, TEACHER.table, jnp.int32(0))[1]


def test_values_of_captions():
    """Catches values of other captions, and a potential that is nowhere."""
    teacher = lock_teacher(lock_plans(silent=(SILENT,)))
    assert caption_values(teacher) == tuple(0 if i == SILENT else i / PLACES for i in range(PLACES))
    with pytest.raises(UserError, match=r"have no values of situations, which --guidance potential needs; .* scores"):
        lock_learner("potential", lock_teacher(lock_plans(values=False)))


class Labels:
    """A teacher of one's own that labels trajectories and does no more."""

    table = TEACHER.table


@pytest.mark.parametrize("name", LABELLING)
def test_what_a_teacher_that_only_labels_can_do(name):
    """Catches a traceback for a teacher of a user's own."""
    guidance = "kickstart+gate" if name == "gate" else name
    if name in ("kickstart", "agreement", "gate"):
        assert lock_learner(guidance, Labels()).guidance.parts
        return
    with pytest.raises(UserError, match=f"--guidance {name} needs a jaxteach.Teacher, not Labels"):
        lock_learner(guidance, Labels())


def test_a_hint_needs_inputs_in_one_axis():
    for task, network in (("SimpleDoorKey", "reference"), ("LockedHallway-2Rooms", "mlp")):
        world = AgentAxisWrapper(envs_jax.make(task))
        with pytest.raises(ValueError, match="--guidance hint is for networks whose inputs are vectors"):
            with_hint(make_network(network, world, False), world)


@cache
def success_after(guidance, iterations=80):
    teacher = None if guidance is None else lock_teacher()
    numbers = {"rollout_length": 16, "epochs": 3, "batch_size": 128, "learning_rate": 2e-3, "entropy_coef": 0.01}
    numbers |= {"distill_half_life": 10_000, "agreement_coef": 1.0}
    learner = lock_learner(guidance or "kickstart", teacher, iterations, 32, **numbers)
    table = None if teacher is None else teacher.table

    def train():
        state = learner.init(jax.random.key(0))
        state, _ = learner.run_updates(state, table, jnp.int32(0), jnp.int32(iterations), iterations)
        policy = student_policy(learner.network, state.params, False)
        return run_episodes(learner.venv.env, policy, (), jax.random.key(9), 200).success.mean()

    return float(jax.jit(train)())


@pytest.mark.slow
@pytest.mark.parametrize("name", LABELLING)
def test_each_method_teaches(name):
    """40,000 steps at a lock that hardly opens by chance; the student is judged without its teacher."""
    assert success_after(None) < 0.1
    assert success_after("kickstart+gate" if name == "gate" else name) > 0.4
