"""The particle worlds against PyPI `mpe2`: every transition from the reference's own state."""

import importlib
from collections import Counter
from functools import cache
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs_jax.mpe import SCENARIOS
from envs_jax.mpe.world import contact_forces
from envs_jax.vector import vectorize

TOLERANCE = 1e-5
VERSIONS = {"simple_speaker_listener": 4}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "simple": [{}, {"max_cycles": 7}],
    "simple_adversary": [{}, {"N": 4}, {"N": 3, "num_agent_neighbors": 2, "num_landmark_neighbors": 5}],
    "simple_crypto": [{}, {"max_cycles": 7}],
    "simple_push": [{}, {"max_cycles": 7}],
    "simple_reference": [{}, {"local_ratio": 0.2}],
    "simple_speaker_listener": [{}, {"max_cycles": 7}],
    "simple_spread": [
        {},
        {"N": 5, "local_ratio": 0.9, "max_cycles": 10},
        {"N": 1, "terminate_on_success": True},
        {"N": 4, "num_agent_neighbors": 2, "num_landmark_neighbors": 6, "curriculum": True},
        {"curriculum": True, "curriculum_stage": 1},
    ],
    "simple_tag": [
        {},
        {"num_good": 2, "num_adversaries": 2, "num_obstacles": 3, "terminate_on_success": True},
        {"num_good": 3, "num_agent_neighbors": 4, "num_landmark_neighbors": 3, "curriculum": True},
        {"num_obstacles": 0, "curriculum": True, "curriculum_stage": 1},
        {"num_good": 0, "num_adversaries": 2, "terminate_on_success": True},
        {"num_good": 2, "num_adversaries": 0, "num_agent_neighbors": 3},
    ],
    "simple_world_comm": [
        {},
        {"num_good": 3, "num_adversaries": 2, "num_obstacles": 2, "num_food": 3, "num_forests": 1},
        {"num_good": 1, "num_adversaries": 1, "num_obstacles": 0, "num_food": 1, "num_forests": 0},
    ],
}
CASES = [
    pytest.param(name, {**options, "continuous_actions": continuous}, id=f"{name}-{i}-{kind}")
    for name, variants in VARIANTS.items()
    for i, options in enumerate(variants)
    for continuous, kind in ((False, "discrete"), (True, "continuous"))
]
DEFAULT_CASES = [case for case in CASES if "-0-" in str(case.id)]
QUICK_CASES = [case for case in CASES if "continuous" not in str(case.id) or case in DEFAULT_CASES]
every_kind = pytest.mark.parametrize(
    ("name", "continuous"), [(name, continuous) for name in VARIANTS for continuous in (False, True)]
)
every_scenario = pytest.mark.parametrize("name", VARIANTS)


def make(name, **options):
    factory, defaults = SCENARIOS[name]
    return factory(**{**defaults, **options})


class Compiled(NamedTuple):
    """An environment with its compiled functions and how often each was traced."""

    env: Any
    reset: Any
    step: Any
    traces: Counter[str]


@cache
def compiled(name, continuous=False):
    env, traces = make(name, continuous_actions=continuous), Counter()

    def reset(key):
        traces["reset"] += 1
        return env.reset(key)

    def step(state, action):
        traces["step"] += 1
        return env.step(state, action)

    return Compiled(env, jax.jit(reset), jax.jit(step), traces)


class Transition(NamedTuple):
    """One step of the reference; observations are padded with zeros."""

    before: dict[str, np.ndarray]
    obs_before: np.ndarray
    action: np.ndarray
    after: dict[str, np.ndarray]
    obs: np.ndarray
    reward: np.ndarray
    terminated: bool
    truncated: bool


class Reference:
    """The `mpe2` environment of a scenario, with its state as the arguments of `make_state`."""

    def __init__(self, name, options):
        module = importlib.import_module(f"mpe2.{name}_v{VERSIONS.get(name, 3)}")
        own = {option: value for option, value in options.items() if option != "curriculum_stage"}
        self.name, self.parallel = name, module.parallel_env(**own)
        self.env = self.parallel.unwrapped
        if "curriculum_stage" in options:
            # A property without effect in the base class keeps `set_curriculum_stage` from doing anything.
            staged = {"curriculum_stage": options["curriculum_stage"]}
            self.env.scenario.__class__ = type("Staged", (type(self.env.scenario),), staged)
        self.names = self.env.possible_agents
        self.width = max(space.shape[0] for space in self.env.observation_spaces.values())

    def reset(self, seed):
        return self.pad(self.parallel.reset(seed=seed)[0])

    def crowd(self, rng):
        """Puts everything close together, so that much is touched, eaten and hidden; a third of the agents at rest."""
        for landmark in self.env.world.landmarks:
            landmark.state.p_pos *= 0.25
        for agent in self.env.world.agents:
            agent.state.p_pos *= 0.15
            if agent.movable and rng.random() < 2 / 3:
                agent.state.p_vel = rng.uniform(-1, 1, 2)
        return self.pad({name: self.env.observe(name) for name in self.names})

    def pad(self, observations):
        rows = [observations[name] for name in self.names]
        return np.stack([np.pad(row, (0, self.width - len(row))) for row in rows])

    def state(self):
        world = self.env.world
        return {
            "p_pos": np.stack([entity.state.p_pos for entity in world.entities]),
            "p_vel": np.stack([agent.state.p_vel for agent in world.agents]),
            "c": np.stack([agent.state.c for agent in world.agents]).astype(np.float64),
            "goals": np.array(self.goals(), np.int32),
            "step_count": np.int32(self.env.steps),
        }

    def goals(self):
        agents, landmarks = self.env.world.agents, self.env.world.landmarks
        if self.name in ("simple_adversary", "simple_push"):
            return [landmarks.index(agents[0].goal_a)]
        if self.name == "simple_crypto":
            return [landmarks.index(agents[0].goal_a), int(np.argmax(agents[2].key))]
        if self.name == "simple_reference":
            return [landmarks.index(agent.goal_b) for agent in agents]
        if self.name == "simple_speaker_listener":
            return [landmarks.index(agents[0].goal_b)]
        return []

    def draw_actions(self, rng, favourites):
        """One action for each agent, its favourite one (where it has one) most of the time."""
        actions = {}
        for name, favourite in zip(self.names, favourites):
            space = self.env.action_space(name)
            if hasattr(space, "n"):
                actions[name] = rng.integers(space.n)
            else:  # sometimes nothing at all, which is silence for those who speak
                actions[name] = rng.random(space.shape, np.float32) * np.float32(rng.random() < 0.9)
            if favourite is not None and rng.random() < 0.8:
                actions[name] = favourite
        return actions


def random_action(env, rng):
    if env.continuous_actions:
        return jnp.asarray(rng.random(env.action_spec.shape, np.float32))
    return jnp.asarray(rng.integers(0, env.num_actions), jnp.int32)


def stack_actions(actions, names):
    rows = [np.asarray(actions[name]) for name in names]
    if rows[0].ndim == 0:
        return np.array(rows, np.int32)
    width = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, width - len(row))) for row in rows])


def record(name, options, episodes, seed=0):
    """Transitions of the reference: episodes as they come, crowded ones, and ones that run off in a direction."""
    reference, rng = Reference(name, options), np.random.default_rng(seed)
    transitions = []
    for episode in range(episodes):
        obs = reference.reset(seed + episode)
        if episode % 3 == 1:
            obs = reference.crowd(rng)
        favourites = [None] * len(reference.names)
        if episode % 3 == 2:
            favourites = reference.draw_actions(rng, favourites).values()
        done = False
        while not done:
            before, actions = reference.state(), reference.draw_actions(rng, favourites)
            before = {fact: np.copy(value) for fact, value in before.items()}
            next_obs, reward, terminated, truncated, _ = reference.parallel.step(actions)
            after = {fact: np.copy(value) for fact, value in reference.state().items()}
            rewards = np.array([reward[agent] for agent in reference.names])
            ended = (any(terminated.values()), any(truncated.values()))
            action = stack_actions(actions, reference.names)
            transitions.append(Transition(before, obs, action, after, obs := reference.pad(next_obs), rewards, *ended))
            done = any(ended)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *transitions)


def inject(env, arrays):
    """The recorded states, stacked: arrays of the types that `make_state` gives them."""
    first = env.make_state(**{fact: value[0] for fact, value in arrays.items()})
    facts = {fact: jnp.asarray(value, getattr(first, fact).dtype) for fact, value in arrays.items()}
    return first._replace(**facts, key=jax.random.split(jax.random.key(0), len(arrays["step_count"])))


def compare(name, options, episodes, seed=0):
    data, env = record(name, options, episodes, seed), make(name, **options)
    states = inject(env, data.before)
    observe = jax.jit(jax.vmap(env.observe))
    np.testing.assert_allclose(observe(states), data.obs_before, rtol=0, atol=TOLERANCE)
    states, timestep = jax.jit(jax.vmap(env.step))(states, jnp.asarray(data.action))
    for fact, value in env.to_arrays(states).items():
        np.testing.assert_allclose(value, data.after[fact], rtol=0, atol=TOLERANCE, err_msg=fact)
    np.testing.assert_allclose(timestep.observation, data.obs, rtol=0, atol=TOLERANCE)
    # Far outside, a reward near -40 grows by 40 for each unit of position: there float32 positions set the limit.
    np.testing.assert_allclose(timestep.reward, data.reward, rtol=1e-6, atol=TOLERANCE)
    np.testing.assert_array_equal(timestep.last(), data.terminated | data.truncated)
    ends = np.broadcast_to(data.terminated[:, None], timestep.discount.shape)
    np.testing.assert_array_equal(timestep.discount == 0, ends)
    np.testing.assert_array_equal(data.truncated, data.after["step_count"] == env.max_cycles)
    return data


@pytest.mark.parametrize(("name", "options"), QUICK_CASES)
def test_every_transition(name, options):
    compare(name, options, episodes=3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_transition_of_many_episodes(name, options):
    compare(name, options, episodes=48, seed=1000)


@pytest.mark.parametrize("name", ["simple_spread", "simple_tag"])
def test_success_ends_episodes(name):
    """Enough crowded episodes that some end before they are truncated, and none is terminated by default."""
    small = {"N": 1} if name == "simple_spread" else {"num_adversaries": 2, "num_obstacles": 0}
    ended = compare(name, {**small, "terminate_on_success": True}, episodes=24)
    assert 0 < ended.terminated.sum() < len(ended.terminated)
    assert not compare(name, small, episodes=6).terminated.any()


def test_a_success_in_the_last_step_is_no_terminal_state():
    """The agent stands on its landmark; the episode is truncated all the same."""
    env = make("simple_spread", N=1, max_cycles=2, terminate_on_success=True)
    step, state = jax.jit(env.step), env.make_state(np.zeros((2, 2)), np.zeros((1, 2)))
    ends = [step(state._replace(step_count=jnp.int32(done)), jnp.zeros(1, jnp.int32))[1] for done in range(2)]
    assert [(bool(end.last()), float(end.discount[0])) for end in ends] == [(True, 0.0), (True, 1.0)]


def test_the_recordings_have_what_they_should():
    """Contacts, catches, food, forests and agents far outside occur in the transitions that are compared."""
    data, env = record("simple_world_comm", {}, episodes=3), make("simple_world_comm")
    forces = jax.vmap(lambda p_pos: contact_forces(env.world, p_pos))(data.before["p_pos"].astype(np.float32))
    assert (jnp.abs(forces).max((1, 2)) > 1).mean() > 0.1
    adversaries, good = data.reward[:, :4], data.reward[:, 4:]
    assert (adversaries > 4).any()
    assert (good > 1).any()
    assert (good < -20).any()
    offsets = data.obs[:, :4, 14:24].reshape(len(data.obs), 4, 5, 2)
    hidden = (offsets == 0).all(-1)
    assert hidden[:, 1:].any()
    assert not hidden[:, 0].any()


def test_continuous_actions_are_clipped():
    """As by the wrapper that `mpe2` puts around its environments."""
    name, options = "simple_reference", {"continuous_actions": True}
    reference, env = Reference(name, options), make(name, **options)
    reference.reset(0)
    state, rng = env.make_state(**reference.state()), np.random.default_rng(0)
    actions = {agent: rng.uniform(-1, 2, 15).astype(np.float32) for agent in reference.names}
    obs, *_ = reference.parallel.step(actions)
    state, timestep = env.step(state, jnp.asarray(stack_actions(actions, reference.names)))
    np.testing.assert_allclose(timestep.observation, reference.pad(obs), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(state.c, reference.state()["c"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_names_and_sizes(name, options):
    reference, env = Reference(name, options).env, make(name, **options)
    spaces = reference.action_spaces.values()
    assert list(env.agents) == reference.possible_agents
    assert list(env.observation_sizes) == [space.shape[0] for space in reference.observation_spaces.values()]
    assert list(env.num_actions) == [space.n if hasattr(space, "n") else space.shape[0] for space in spaces]
    np.testing.assert_allclose(env.world.size, [entity.size for entity in reference.world.entities], rtol=1e-6)


@every_scenario
def test_whole_episodes_from_the_same_start(name):
    """Nothing is injected after the reset: what one step leaves in the state is right for the next."""
    reference, (env, _, step, _) = Reference(name, {}), compiled(name)
    rng = np.random.default_rng(0)
    reference.reset(0)
    state = env.make_state(**reference.state())
    for _ in range(env.max_cycles):
        actions = reference.draw_actions(rng, [None] * env.num_agents)
        obs, reward, *_ = reference.parallel.step(actions)
        state, timestep = step(state, stack_actions(actions, reference.names))
        np.testing.assert_allclose(timestep.observation, reference.pad(obs), rtol=0, atol=1e-3)
        np.testing.assert_allclose(timestep.reward, list(reward.values()), rtol=0, atol=1e-3)
    assert timestep.last()


@every_kind
def test_an_episode_keeps_to_the_specs(name, continuous):
    env, reset, step, _ = compiled(name, continuous)
    rng = np.random.default_rng(0)
    state, timestep = reset(jax.random.key(0))
    assert timestep.first()
    lasts = []
    for _ in range(env.max_cycles):
        state, timestep = step(state, random_action(env, rng))
        env.observation_spec.validate(timestep.observation)
        env.reward_spec.validate(timestep.reward)
        env.discount_spec.validate(timestep.discount)
        assert np.isfinite(timestep.observation).all()
        assert np.isfinite(timestep.reward).all()
        np.testing.assert_array_equal(timestep.discount, np.ones(env.num_agents))
        lasts.append(bool(timestep.last()))
    assert lasts == [False] * (env.max_cycles - 1) + [True]


@every_scenario
def test_fresh_worlds_are_distributed_as_the_references(name):
    env, count = make(name), 4096
    states, timestep = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), count))
    reference = Reference(name, {})
    theirs = []
    for seed in range(400):
        reference.reset(seed)
        theirs.append({fact: np.copy(value) for fact, value in reference.state().items()})
    theirs = jax.tree.map(lambda *leaves: np.stack(leaves), *theirs)

    ours = np.asarray(states.p_pos).reshape(count, -1)
    theirs_flat = theirs["p_pos"].reshape(len(theirs["p_pos"]), -1)
    limits = np.repeat(env.world.spread, 2)
    for samples in (ours, theirs_flat):
        assert (np.abs(samples) <= limits).all()
        assert (np.abs(samples).max(0) > 0.97 * limits).all()
        error = 5 / np.sqrt(len(samples))
        np.testing.assert_allclose(samples.mean(0) / limits, 0, atol=error)
        np.testing.assert_allclose(samples.var(0) / limits**2, 1 / 3, atol=error)
    np.testing.assert_allclose(np.corrcoef(ours.T), np.eye(ours.shape[1]), atol=5 / np.sqrt(count))
    for goal in range(env.num_goals):
        shares = [
            np.bincount(goals[:, goal], minlength=env.world.num_landmarks) / len(goals)
            for goals in (np.asarray(states.goals), theirs["goals"])
        ]
        np.testing.assert_allclose(shares[0], 1 / env.world.num_landmarks, atol=2.5 / np.sqrt(count))
        np.testing.assert_allclose(shares[0], shares[1], atol=0.15)
    assert not states.p_vel.any()
    assert not states.c.any()
    assert not states.step_count.any()
    np.testing.assert_allclose(timestep.observation, jax.jit(jax.vmap(env.observe))(states), rtol=0, atol=1e-6)


@every_scenario
def test_a_reset_depends_on_all_of_its_key(name):
    """The key kept for the next episode leads to another world, and equal keys to equal worlds."""
    reset = compiled(name).reset
    first, _ = reset(jax.random.key(3))
    again, _ = reset(jax.random.key(3))
    following, _ = reset(first.key)
    np.testing.assert_array_equal(first.p_pos, again.p_pos)
    assert (first.p_pos != following.p_pos).all()


@every_kind
def test_states_survive_the_round_trip(name, continuous):
    env, reset, step, _ = compiled(name, continuous)
    state, _ = step(reset(jax.random.key(5))[0], random_action(env, np.random.default_rng(0)))
    arrays = env.to_arrays(state)
    again = env.make_state(**arrays, key=state.key)
    assert set(arrays) == set(state._fields) - {"key"}
    chex.assert_trees_all_equal(again, state)
    chex.assert_trees_all_equal_dtypes(again, state)


@every_kind
def test_one_trace_for_all_steps(name, continuous):
    """Fresh, stepped and injected states are of one type."""
    env, reset, step, traces = compiled(name, continuous)
    action = random_action(env, np.random.default_rng(0))
    fresh, _ = reset(jax.random.key(0))
    stepped, _ = step(fresh, action)
    step(stepped, action)
    step(env.make_state(**env.to_arrays(stepped)), action)
    reset(stepped.key)
    assert traces == {"reset": 1, "step": 1}


@pytest.mark.parametrize("name", ["simple", "simple_reference", "simple_tag"])
def test_finished_environments_restart(name):
    env, count = make(name, max_cycles=3), 5
    vector = vectorize(env, count)
    step = jax.jit(vector.step)
    state, _ = jax.jit(vector.reset)(jax.random.key(0))
    for t in range(1, 8):
        state, timestep = step(state, jnp.ones((count, env.num_agents), jnp.int32))
        assert timestep.reward.shape == (count, env.num_agents)
        np.testing.assert_array_equal(timestep.last(), t % 3 == 0)
        np.testing.assert_array_equal(state.env.step_count, t % 3)
        np.testing.assert_array_equal(timestep.extras["episode_length"], (t - 1) % 3 + 1)


def test_coinciding_agents_stay_finite():
    """The reference divides 0 by 0 here; one who stands exactly on another has no direction to be pushed in."""
    env = make("simple_spread", N=2)
    state = env.make_state(np.zeros((4, 2)), np.zeros((2, 2)))
    state, timestep = env.step(state, jnp.array([2, 0], jnp.int32))
    np.testing.assert_allclose(state.p_vel, [[0.5, 0], [0, 0]], rtol=1e-6)
    assert np.isfinite(timestep.observation).all()


@every_scenario
def test_every_gradient_is_a_number(name):
    """Catches roots and exponentials without a derivative: at rest, in one place, far out, at a speed limit."""
    env, count, rng = make(name, continuous_actions=True), 256, np.random.default_rng(0)
    start = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), count))[0]
    p_pos, p_vel = rng.uniform(-1, 1, start.p_pos.shape), rng.uniform(-2, 2, start.p_vel.shape)
    p_pos[:64] *= 0.1
    p_pos[64:96] = p_pos[64:96, :1]
    p_pos[96:128] *= 100
    p_pos[128:144] = 0
    p_vel[::2] = 0
    actions = rng.uniform(-0.2, 1.2, (count, *env.action_spec.shape)) * (np.arange(count) % 3 > 0)[:, None, None]
    said = rng.random(start.c.shape) * env.world.speaks[:, None] * (np.arange(count) % 2)[:, None, None]

    def told(p_pos, p_vel, c, action, state):
        state, timestep = env.step(state._replace(p_pos=p_pos, p_vel=p_vel, c=c), action)
        return timestep.reward.sum() + timestep.observation.sum() + state.p_pos.sum() + state.p_vel.sum()

    gradients = jax.jit(jax.vmap(jax.grad(told, argnums=(0, 1, 2, 3))))
    given = (jnp.asarray(leaf, jnp.float32) for leaf in (p_pos, p_vel, said, actions))
    for gradient in gradients(*given, start):
        assert (np.abs(gradient) < 1e6).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p_pos": np.zeros((4, 2))}, r"p_pos must be numbers of shape \(5, 2\), not float64 of shape \(4, 2\)"),
        ({"p_pos": np.full((5, 2), np.nan)}, "p_pos must be finite"),
        ({"p_vel": np.zeros((5, 2))}, r"p_vel must be numbers of shape \(2, 2\)"),
        ({"goals": [0]}, r"goals must be integers of shape \(2,\)"),
        ({"goals": [0.0, 1.0]}, "goals must be integers"),
        ({"goals": [0, 3]}, "goals must be at least 0 and below 3"),
        ({"step_count": -1}, "step_count must be at least 0"),
        ({"goals": [[0], [1, 2]]}, "goals must be an array, not rows of different lengths"),
        ({"c": np.zeros((2, 3))}, r"c must be numbers of shape \(2, 10\)"),
    ],
)
def test_make_state_says_what_is_wrong(changes, message):
    arrays = {"p_pos": np.zeros((5, 2)), "p_vel": np.zeros((2, 2)), "goals": [0, 1]}
    env = make("simple_reference")
    env.make_state(**arrays)
    with pytest.raises(ValueError, match=message):
        env.make_state(**{**arrays, **changes})


def test_states_are_made_on_the_host():
    """Catches JAX's own message, which does not say that `make_state` can't be traced."""
    env = make("simple")
    with pytest.raises(ValueError, match="p_pos must be known, but is traced"):
        jax.jit(lambda p_pos: env.make_state(p_pos, np.zeros((1, 2))))(np.zeros((2, 2)))


def test_the_silent_say_nothing():
    env = make("simple_push")
    with pytest.raises(ValueError, match="can't speak"):
        env.make_state(np.zeros((4, 2)), np.zeros((2, 2)), [0], c=np.ones((2, 2)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("simple", {"max_cycles": 0}, "max_cycles must be at least 1, not 0"),
        ("simple_spread", {"N": 0}, "N must be at least 1, not 0"),
        ("simple_spread", {"local_ratio": 1.5}, "local_ratio must be within 0..1, not 1.5"),
        ("simple_spread", {"curriculum_stage": 2}, "curriculum_stage must be within 0..1, not 2"),
        ("simple_reference", {"local_ratio": -0.1}, "local_ratio must be within 0..1"),
        ("simple_adversary", {"num_landmark_neighbors": 0}, "num_landmark_neighbors must be at least 1"),
        ("simple_tag", {"num_obstacles": -1}, "num_obstacles must be at least 0, not -1"),
        ("simple_world_comm", {"num_food": 0}, "num_food must be at least 1"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options)
