"""The teacher of simple_spread: its captions, its flight, and its plans."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from jaxteach.errors import UserError
from jaxteach.teacher import make_teacher
from jaxteach.teacher.plans import CaptionPlans, Plan, PlanFile, save_plans, shipped_plans
from jaxteach.teacher.tasks.spread import SpreadCaptions, SpreadDomain, fly_to

TASK = "simple_spread"


def states_of(env, count, seed=0):
    return jax.vmap(env.reset)(jax.random.split(jax.random.key(seed), count))


def play(env, policy, episodes):
    """(rewards [T, N, A], observations [T, N, A, 18] after the steps) of whole episodes; policy(obs, key) of one."""

    def step(carry, key):
        state, obs = carry
        action = jax.vmap(policy)(obs, jax.random.split(key, episodes))
        state, timestep = jax.vmap(env.step)(state, action)
        return (state, timestep.observation), (timestep.reward, timestep.observation)

    state, timestep = states_of(env, episodes)
    keys = jax.random.split(jax.random.key(1), env.max_cycles)
    return jax.jit(lambda carry: jax.lax.scan(step, carry, keys)[1])((state, timestep.observation))


def teacher_policy(teacher):
    return lambda obs, key: teacher(teacher.reset(), obs, key)[1].argmax(-1)


@pytest.mark.parametrize(
    ("agents", "landmarks", "captions"),
    [
        # All landmarks are free for an agent that is the nearest to each.
        ([(0, 0), (5, 5), (6, 6)], [(0, 1), (0, 2), (0, 3)], "<nearest>, <second>, <third>"),
        # The second agent stands on the landmark that is nearest to the first.
        ([(0, 0), (1, 0), (9, 9)], [(1, 0), (0, 2), (0, 3)], "<taken nearest>, <second>, <third>"),
        # The others are nearer to two landmarks, but both have the same one nearest.
        ([(0, 0), (4, 0), (4.5, 0)], [(4, 0), (3.9, 1), (-1, 0)], "<nearest>, <taken second>, <third>"),
        ([(0, 0), (1, 0), (0, 2)], [(0, 2), (1, 0), (0, 3)], "<taken nearest>, <taken second>, <third>"),
    ],
)
def test_captions_of_drawn_worlds(agents, landmarks, captions):
    env, teacher = envs_jax.make(TASK), make_teacher(TASK)
    state = env.make_state(np.array([*agents, *landmarks], float), np.zeros((3, 2)))
    number = teacher.caption(teacher.reset(), env.observe(state))[0]
    assert teacher.captions[number].replace(" landmark", "") == f"Agent sees {captions}."


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_captions_are_those_that_can_occur(count):
    """Ranks and taken landmarks computed by sorting; all 2^N - 1 captions and no other occur in 1,000 worlds."""
    env, vocabulary = envs_jax.make(TASK, N=count), SpreadCaptions(count)
    assert len(set(vocabulary.texts)) == len(vocabulary.texts) == 2**count - 1
    state, timestep = states_of(env, 1000)
    teacher = make_teacher(TASK).replace(domain=_domain(count))
    captions = np.asarray(jax.jit(jax.vmap(teacher.caption, in_axes=(None, 0)))(teacher.reset(), timestep.observation))
    position = np.asarray(state.p_pos, np.float64)
    gaps = np.linalg.norm(position[:, :count, None] - position[:, None, count:], axis=-1)  # [N, A, L]
    for world, agent in itertools.product(range(1000), range(count)):
        order = np.argsort(gaps[world, agent])
        heads_for = gaps[world].argmin(-1)
        taken = [
            any(heads_for[other] == k and gaps[world, other, k] < gaps[world, agent, k] for other in range(count))
            for k in order
        ]
        assert captions[world, agent] == sum(bit << i for i, bit in enumerate(taken))
    if count <= 3:
        assert set(np.unique(captions)) == set(range(2**count - 1))


def _domain(count):

    return SpreadDomain(SpreadCaptions(count), 5.0)


def test_a_push_by_hand():
    """At rest a push gives a speed of 0.5, that is 0.05 and 0.0375 in the next two steps: worth it from half of it."""
    still = jnp.zeros(2)
    pushes = [int(fly_to(jnp.array([x, 0.0]), still, 5.0)) for x in (0.04, 0.048, -0.048)]
    assert pushes == [0, 2, 1]
    # A velocity of 0.4 carries on by 0.04 + 0.03 + 0.0225: the agent brakes, or flies on.
    assert [int(fly_to(jnp.array([x, 0.0]), jnp.array([0.4, 0.0]), 5.0)) for x in (0.04, 0.09, 0.15)] == [1, 0, 2]


def test_an_agent_stops_at_its_target_and_stays():
    """From anywhere in the arena and up to full speed; the physics are the world's own."""
    env = envs_jax.make("simple", max_cycles=60)
    random = np.random.default_rng(0)
    count = 2000
    start = random.uniform(-1, 1, (count, 2, 2)).astype(np.float32)
    velocity = random.uniform(-1, 1, (count, 1, 2)).astype(np.float32)
    state = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), count))[0]._replace(p_pos=start, p_vel=velocity)

    def step(state, _):
        offset = state.p_pos[:, 1] - state.p_pos[:, 0]
        action = jax.vmap(fly_to, in_axes=(0, 0, None))(offset, state.p_vel[:, 0], 5.0)
        return jax.vmap(env.step)(state, action[:, None])[0], jnp.linalg.norm(offset, axis=-1)

    gaps = np.asarray(jax.jit(lambda state: jax.lax.scan(step, state, length=60)[1])(state))
    late = gaps > 0.1
    arrival = np.where(late.any(0), 60 - np.argmax(late[::-1], 0), 0)
    # A push moves an agent on by 0.2 in all, along one axis: the farthest corner costs twenty of them.
    apart = np.abs(start[:, 1] - start[:, 0]).sum(-1)
    near = apart < 1.0
    assert arrival[near].max() <= 14
    assert np.median(arrival) <= 11
    assert arrival.max() <= 25


def test_labels_equal_the_teacher_step_by_step():
    env, teacher = envs_jax.make(TASK), make_teacher(TASK)
    policy = lambda obs, key: jax.random.randint(key, (3,), 0, 5)  # noqa: E731
    _, obs = play(env, policy, 16)
    memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (16, *leaf.shape)), teacher.reset())
    first, action = jnp.zeros(obs.shape[:2], bool), jnp.zeros(obs.shape[:3], jnp.int32)
    _, labels, captions = jax.jit(teacher.label)(memory, obs, action, first, jax.random.key(0))
    assert labels.shape == (25, 16, 3, 5)
    step = jax.jit(jax.vmap(teacher, in_axes=(0, 0, None)))
    for t in range(25):
        np.testing.assert_allclose(labels[t], step(memory, obs[t], jax.random.key(0))[1], atol=1e-6)
    assert captions.min() >= 0
    np.testing.assert_allclose(labels.sum(-1), 1, atol=1e-6)


def test_soft_plans_are_mixed_and_hard_ones_drawn_for_each_agent(tmp_path):
    """The last caption has no plans here: its rows are zeros."""
    vocabulary = SpreadCaptions(3)
    plans = (Plan(0.75, (("goto", vocabulary.object_names[0]),)), Plan(0.25, (("wait", None),)))
    entries = tuple(CaptionPlans(tuple(sees), None, plans) for sees in vocabulary.sees[:-1])
    save_plans(PlanFile((TASK,), entries), tmp_path / "plans.json")
    env, path = envs_jax.make(TASK), str(tmp_path / "plans.json")
    soft, hard = make_teacher(TASK, plans=path), make_teacher(TASK, plans=path, soft=False)
    _, timestep = states_of(env, 64)
    mix, tell = jax.vmap(soft, in_axes=(None, 0, None)), jax.vmap(soft.caption, in_axes=(None, 0))
    _, mixed = jax.jit(mix)(soft.reset(), timestep.observation, jax.random.key(0))
    told = np.asarray(jax.jit(tell)(soft.reset(), timestep.observation) < 6)
    assert not told.all()
    np.testing.assert_allclose(mixed.sum(-1), told, atol=1e-6)
    np.testing.assert_allclose(mixed.max(-1)[told], 0.75, atol=1e-6)
    draw = jax.jit(jax.vmap(jax.vmap(hard, in_axes=(None, 0, 0)), in_axes=(None, None, 0)))
    keys = jax.random.split(jax.random.key(1), (400, 64))
    drawn = np.asarray(draw(hard.reset(), timestep.observation, keys)[1])
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(0), mixed, atol=0.12)
    waits = drawn[:, told[:, 0] & told[:, 1], :2, 0]
    assert 0.05 < waits.all(-1).mean() < 0.08  # both wait in a sixteenth of the draws: each has its own


def test_the_teacher_spreads_the_agents():
    """Far better than random play, and every landmark has its agent in the end: the mean reward of the last step."""
    env, teacher = envs_jax.make(TASK), make_teacher(TASK, plans="scripted")
    taught = np.asarray(play(env, teacher_policy(teacher), 500)[0])
    random = np.asarray(play(env, lambda obs, key: jax.random.randint(key, (3,), 0, 5), 500)[0])
    assert taught.sum(0).mean() > -10
    assert random.sum(0).mean() < -20
    assert taught[-1].mean() > -0.2


def test_the_scripted_plans_are_complete_and_say_what_they_are():
    plans = shipped_plans(TASK)
    assert plans.by_hand
    assert "model" not in plans.provenance
    np.testing.assert_allclose(make_teacher(TASK).table.probabilities.sum(1), 1, atol=1e-6)
    with pytest.raises(UserError, match="written by hand"):
        make_teacher(TASK, plans="recorded")


def test_a_plan_with_a_skill_of_other_tasks_is_refused(tmp_path):
    plans = (Plan(1.0, (("explore", None),)),)
    entry = CaptionPlans(tuple(SpreadCaptions(3).object_names), None, plans)
    save_plans(PlanFile((TASK,), (entry,)), tmp_path / "plans.json")
    with pytest.raises(UserError, match="skills are goto, wait"):
        make_teacher(TASK, plans=str(tmp_path / "plans.json"))


@pytest.mark.parametrize("override", [{"continuous_actions": True}, {"num_agent_neighbors": 1}, {"N": 8}])
def test_worlds_beyond_the_teacher_are_refused(override):
    with pytest.raises(ValueError, match="the teacher of simple_spread"):
        make_teacher(TASK, **override)
