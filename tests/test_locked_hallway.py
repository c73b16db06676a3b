"""LockedHallway against the recorded episodes and against the package it reimplements."""

from itertools import permutations
from math import factorial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jumanji.types import StepType
from scipy.stats import chi2_contingency, chisquare

from envs_jax.grid.cells import color_of
from envs_jax.grid.constants import AGENT, CLOSED, DOOR, KEY, LOCKED, OPEN, WALL, Actions
from envs_jax.locked_hallway import WORLDS, LockedHallway
from envs_jax.vector import vectorize
from tests import traces
from tests.distributions import contingency_table

STATE_NAMES = {
    "grid": "grid",
    "agent_pos": "agent_pos",
    "agent_dir": "agent_dir",
    "carrying": "carrying",
    "unlocked": "n_unlocked",
    "step_count": "step_count",
}
ACTION_ODDS = (0.12, 0.12, 0.26, 0.12, 0.12, 0.24, 0.02)
WORLDS_PLAYED, STEPS_PLAYED, LAYOUTS_DRAWN = 80, 20, 4000
LEAST_P = 1e-4


def stack_states(states):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(state._replace(key=np.uint32(0)) for state in states))
    return stacked._replace(key=jax.random.split(jax.random.key(0), len(states)))


def drop(arrays, *names):
    return {name: value for name, value in arrays.items() if name not in names}


def world(**changes):
    """A valid world of two rooms, changed; a grid change is a dict from cells to contents."""
    grid = np.full((13, 5, 3), (WALL, 5, 0), np.uint8)
    for columns in (slice(1, 4), slice(5, 8), slice(9, 12)):
        grid[columns, 1:4] = (1, 0, 0)
    grid[4, 2], grid[8, 2], grid[6, 1], grid[10, 1] = (DOOR, 1, LOCKED), (DOOR, 2, OPEN), (KEY, 1, 0), (KEY, 2, 0)
    for cell, content in changes.pop("cells", {}).items():
        grid[cell] = content
    facts = dict(agent_pos=[[5, 1], [7, 3]], agent_dir=[0, 3], carrying=[[0, 0], [0, 0]], unlocked=1, step_count=3)
    return {"grid": grid, **facts, **changes}


# The recorded episodes


@pytest.mark.parametrize("rooms", [2, 4, 6])
def test_every_recorded_transition(rooms):
    data = traces.load(f"lockedhallway_{rooms}rooms_2agents")
    env = LockedHallway(rooms)
    assert env.max_steps == data["max_steps"]
    before = traces.transition_frames(data)
    assert len(before) == 7200
    starts, played = traces.whole_episodes(data)
    frames = [{name: data[recorded][i] for name, recorded in STATE_NAMES.items()} for i in before[starts]]
    states = stack_states([env.make_state(**frame, key=jax.random.key(0)) for frame in frames])

    def step(state, inputs):
        stepped, timestep = env.step(state, *inputs)
        kept = (jax.random.key_data(stepped.key) == jax.random.key_data(state.key)).all()
        return stepped, (env.observe(state), env.to_arrays(stepped), timestep, kept)

    play = jax.jit(jax.vmap(lambda state, *inputs: jax.lax.scan(step, state, inputs)[1]))
    told = play(states, *(traces.padded(data[name], played) for name in ("action", "order")))
    seen, arrays, timestep, kept = jax.tree.map(lambda leaf: np.asarray(leaf)[played], told)
    np.testing.assert_array_equal(seen.view, data["obs"][before])
    np.testing.assert_array_equal(seen.direction, data["obs_direction"][before])
    arrays["unlocked"] = arrays["unlocked"].sum(-1)
    for name, recorded in STATE_NAMES.items():
        np.testing.assert_array_equal(arrays[name], data[recorded][before + 1], err_msg=name)
    np.testing.assert_array_equal(timestep.observation.view, data["obs"][before + 1])
    np.testing.assert_array_equal(timestep.observation.direction, data["obs_direction"][before + 1])
    np.testing.assert_allclose(timestep.reward, data["reward"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(timestep.discount == 0, data["terminated"])
    np.testing.assert_array_equal(timestep.last(), (data["terminated"] | data["truncated"]).all(-1))
    assert kept.all()


# The package itself


@pytest.fixture(scope="module")
def multigrid_env():
    return pytest.importorskip(
        "multigrid.envs", reason="multigrid 0.1.0 is not installed, so nothing was compared with it"
    ).LockedHallwayEnv


class OrderSource:
    """Stands in for the package's random numbers, so that the agents act in a given order."""

    order = np.zeros(0, int)

    def random(self, size):
        assert size == len(self.order)
        return np.argsort(self.order).astype(float)


def inject(world, arrays):
    """Puts a world of the package into the state given by `make_state`'s arguments."""
    from multigrid.core.grid import Grid  # noqa: PLC0415
    from multigrid.core.world_object import WorldObj  # noqa: PLC0415

    world.grid = Grid(world.width, world.height)
    for x, y in np.ndindex(world.width, world.height):
        world.grid.set(x, y, WorldObj.from_array(arrays["grid"][x, y].astype(int)))
    doors = [world.grid.get(x, y) for x, y in np.argwhere(arrays["grid"][..., 0] == DOOR)]
    world.rooms = {door.color: None for door in doors}
    world.unlocked_doors = [door for door, is_unlocked in zip(doors, arrays["unlocked"]) if is_unlocked]
    world.step_count = int(arrays["step_count"])
    for i, agent in enumerate(world.agents):
        agent.reset()
        agent.state.pos, agent.state.dir = tuple(arrays["agent_pos"][i].tolist()), int(arrays["agent_dir"][i])
        kind, color = arrays["carrying"][i].tolist()
        agent.state.carrying = WorldObj.from_array(np.array([kind, color, 0])) if kind == KEY else None


def extract(world):
    """What `to_arrays` and a time step hold, read from a world of the package."""
    doors = [world.grid.get(x, y) for x, y in np.argwhere(world.grid.state[..., 0] == DOOR)]
    hands = [agent.state.carrying for agent in world.agents]
    seen = world.gen_obs()
    return {
        "grid": world.grid.state.copy(),
        "agent_pos": np.array([agent.state.pos for agent in world.agents]),
        "agent_dir": np.array([agent.state.dir for agent in world.agents]),
        "carrying": np.array([(0, 0) if hand is None else hand.encode()[:2] for hand in hands]),
        "unlocked": np.array([any(door is other for other in world.unlocked_doors) for door in doors]),
        "step_count": np.array(world.step_count),
        "view": np.stack([seen[i]["image"] for i in range(len(hands))]),
        "direction": np.array([seen[i]["direction"] for i in range(len(hands))]),
    }


def random_world(rng, env, template):
    """Arguments of `make_state`: doors in any state, keys anywhere, agents anywhere, many of them at work on a door."""
    grid = np.where(template == KEY, 1, template)[..., None] * np.array([1, 0, 0], np.uint8)
    grid[grid[..., 0] == WALL] = (WALL, 5, 0)
    doors = np.argwhere(template == DOOR)
    colors = rng.permutation(6)[: len(doors)]
    one, nearly_done = rng.integers(len(doors)), rng.random() < 0.4
    states = rng.choice([OPEN, CLOSED, LOCKED], len(doors), p=(0.5, 0.5, 0) if nearly_done else (0.2, 0.2, 0.6))
    states[one] = LOCKED
    grid[tuple(doors.T)] = np.stack([np.full_like(colors, DOOR), colors, states], -1)
    floor = rng.permutation(np.argwhere(grid[..., 0] == 1))
    places = np.concatenate([floor[len(doors) :], doors])
    pos = rng.choice(places, env.num_agents)
    direction = rng.integers(4, size=env.num_agents)
    carrying = np.zeros((env.num_agents, 2), int)
    for agent in np.flatnonzero(rng.random(env.num_agents) < 0.7):
        door, side = rng.choice([one, rng.integers(len(doors))]), rng.choice([-1, 1])
        pos[agent], direction[agent] = doors[door] + [side, 0], 1 + side
        if rng.random() < 0.8 and colors[door] not in carrying[carrying[:, 0] == KEY, 1]:
            carrying[agent] = (KEY, colors[door])
    lying = [color for color in colors if color not in carrying[carrying[:, 0] == KEY, 1]]
    free = [cell for cell in floor.tolist() if cell not in pos.tolist()]
    for cell, color in zip(free, lying):
        grid[tuple(cell)] = (KEY, color, 0)
    return {
        "grid": grid,
        "agent_pos": pos,
        "agent_dir": direction,
        "carrying": carrying,
        "unlocked": (states != LOCKED) & (nearly_done | (rng.random(len(doors)) < 0.7)),
        "step_count": env.max_steps - int(rng.integers(1, 40)),
    }


def play(world, arrays, orders, actions):
    """What the package does from a state, one record a step."""
    inject(world, arrays)
    records = []
    for order, action in zip(orders, actions):
        world.np_random.order = order
        _, rewards, terminations, truncations, _ = world.step(dict(enumerate(action)))
        ends = {"terminated": terminations, "truncated": truncations, "reward": rewards}
        ends = {name: np.array([values[i] for i in range(len(action))]) for name, values in ends.items()}
        records.append(extract(world) | ends)
    return records


CASES = [
    dict(num_rooms=2, num_agents=1),
    dict(num_rooms=2, num_agents=2, allow_agent_overlap=False, joint_reward=False),
    dict(num_rooms=4, num_agents=3, joint_reward=False, success_termination_mode="all"),
    pytest.param(
        dict(num_rooms=6, num_agents=3, allow_agent_overlap=False, success_termination_mode="all"),
        marks=pytest.mark.slow,
    ),
    dict(num_rooms=4, num_agents=4, agent_view_size=5, see_through_walls=True),
    pytest.param(
        dict(num_rooms=2, num_agents=3, room_size=6, agent_view_size=9, max_steps=60, failure_termination_mode="any"),
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_every_transition_of_the_package(multigrid_env, case):
    shape = (WORLDS_PLAYED, STEPS_PLAYED)
    ours = LockedHallway(**drop(case, "success_termination_mode", "failure_termination_mode"))
    theirs = multigrid_env(**drop(case, "num_agents"), agents=ours.num_agents)
    assert theirs.max_steps == ours.max_steps
    theirs.reset(seed=0)
    template = theirs.grid.state[..., 0].astype(np.uint8)
    theirs.np_random = OrderSource()
    rng = np.random.default_rng(len(str(case)))
    starts = [random_world(rng, ours, template) for _ in range(WORLDS_PLAYED)]
    orders = rng.permuted(np.broadcast_to(np.arange(ours.num_agents), (*shape, ours.num_agents)), axis=-1)
    actions = rng.choice(len(Actions), (*shape, ours.num_agents), p=ACTION_ODDS)
    records = [play(theirs, *world) for world in zip(starts, orders, actions)]
    wanted = {name: np.array([[step[name] for step in world] for world in records]) for name in records[0][0]}

    def step(state, inputs):
        state, timestep = ours.step(state, *inputs)
        return state, (ours.to_arrays(state), timestep)

    states = stack_states([ours.make_state(**start) for start in starts])
    scan = jax.jit(jax.vmap(lambda state, *inputs: jax.lax.scan(step, state, inputs)[1]))
    arrays, timestep = scan(states, actions, orders)
    for name, value in (arrays | timestep.observation._asdict()).items():
        np.testing.assert_array_equal(value, wanted[name], err_msg=name)
    np.testing.assert_allclose(timestep.reward, wanted["reward"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(timestep.discount == 0, wanted["terminated"])
    np.testing.assert_array_equal(timestep.last(), (wanted["terminated"] | wanted["truncated"]).all(-1))
    assert (wanted["reward"] > 0).any(-1).sum() > 10
    assert wanted["terminated"].any()
    assert (wanted["truncated"] & ~wanted["terminated"]).any()


# Fresh layouts


def fresh(env, count):
    """The arrays of many fresh layouts."""
    draw = jax.jit(jax.vmap(lambda key: env.to_arrays(env.reset(key)[0])))
    return {name: np.asarray(value) for name, value in draw(jax.random.split(jax.random.key(0), count)).items()}


def layouts(arrays):
    """Doors int[n, D, 3] as (x, y, colour), keys int[n, D, 3] as (colour, x, y), by colour; as recorded."""
    count = len(arrays["grid"])
    found = {}
    for kind in (DOOR, KEY):
        where = np.argwhere(arrays["grid"][..., 0] == kind)
        color = arrays["grid"][tuple(where.T)][:, 1]
        found[kind] = np.column_stack([where[:, 1:], color]).reshape(count, -1, 3)
    keys = found[KEY][..., [2, 0, 1]]
    order = np.argsort(keys[..., 0], axis=1)
    return found[DOOR], np.take_along_axis(keys, order[..., None], axis=1)


def room_of(pitch, doors, x, y):
    """The number of the door whose room holds a cell, the number of doors for the hallway."""
    left = np.where(doors[..., 0] == pitch, x < pitch, x > 2 * pitch)
    inside = left & (doors[..., 1] // pitch == y // pitch)
    return np.where(inside.any(-1), inside.argmax(-1), doors.shape[-2])


def features(pitch, doors, keys, agent_pos, agent_dir):
    """Numbers, one a layout, whose distributions make up that of the layouts."""
    num_rooms, num_agents = doors.shape[1], agent_pos.shape[1]
    owner = (keys[:, :, None, 0] == doors[:, None, :, 2]).argmax(-1)
    hosts = np.stack([room_of(pitch, doors, keys[:, k, 1, None], keys[:, k, 2, None]) for k in range(num_rooms)], 1)
    by_door = np.take_along_axis(hosts, np.argsort(owner, axis=1), axis=1)
    filled = np.sort((hosts[:, :, None] == np.arange(num_rooms)).sum(1), axis=1)
    where = agent_pos[..., 0] * 100 + agent_pos[..., 1]
    hall_keys = np.where(hosts == num_rooms, keys[..., 1] * 100 + keys[..., 2], 0)
    found = {
        "two doors' colours": doors[:, 0, 2] * 6 + doors[:, -1, 2],
        "keys in the hallway": (hosts == num_rooms).sum(1),
        "keys in the rooms": filled @ 4 ** np.arange(num_rooms),
        "key in the hallway": hall_keys.max(1),
        "rooms of the first and last doors' keys": by_door[:, 0] * 7 + by_door[:, -1],
        "cell of the first colour's key": keys[:, 0, 1] * 100 + keys[:, 0, 2],
        "directions": agent_dir @ 4 ** np.arange(num_agents),
        "first agent to the key": where[:, 0] * 10000 + hall_keys.max(1),
    }
    return found | {f"agent {i}": where[:, i] for i in range(num_agents)}


def compare_features(ours, theirs):
    for name, values in ours.items():
        table = contingency_table(
            values, theirs[name], lambda counts: counts.sum(0) * counts[1].sum() < 8 * counts.sum()
        )
        assert table.shape[1] == 1 or chi2_contingency(table).pvalue > LEAST_P, name


@pytest.mark.parametrize("rooms", [2, 4, 6])
def test_fresh_layouts_are_distributed_as_recorded(rooms):
    data = traces.load(f"lockedhallway_{rooms}rooms_resets")
    recorded_doors = data["door_xyc"][:, np.lexsort(data["door_xyc"][0, :, 1::-1].T)]
    keys = np.take_along_axis(data["key_cxy"], np.argsort(data["key_cxy"][..., :1], axis=1), axis=1)
    theirs = features(4, *(v.astype(int) for v in (recorded_doors, keys, data["agent_pos"], data["agent_dir"])))
    arrays = fresh(LockedHallway(rooms), 10000)
    doors, keys = layouts(arrays)
    np.testing.assert_array_equal(doors[:, :, :2], np.broadcast_to(recorded_doors[0, :, :2], doors[:, :, :2].shape))
    compare_features(features(4, doors, keys, arrays["agent_pos"], arrays["agent_dir"]), theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        dict(num_rooms=4, num_agents=3, max_hallway_keys=3, max_keys_per_room=4),
        dict(num_rooms=6, num_agents=1, room_size=4, max_hallway_keys=2, max_keys_per_room=3),
    ],
    ids=["4-3", "6-1"],
)
def test_fresh_layouts_are_distributed_as_the_packages(multigrid_env, case):
    theirs = multigrid_env(**drop(case, "num_agents"), agents=case["num_agents"])
    records = []
    for seed in range(LAYOUTS_DRAWN):
        theirs.reset(seed=seed)
        records.append(drop(extract(theirs), "view"))
    env = LockedHallway(**case)
    found = []
    for arrays in (fresh(env, 10000), {name: np.array([record[name] for record in records]) for name in records[0]}):
        found.append(features(env.room_size - 1, *layouts(arrays), arrays["agent_pos"], arrays["agent_dir"]))
    compare_features(*found)


@pytest.mark.parametrize("rooms", [2, 4, 6])
def test_fresh_layouts_can_be_solved(rooms):
    """Keys taken from the hallway open rooms with keys, until all doors are open."""
    arrays = fresh(LockedHallway(rooms, max_hallway_keys=2, max_keys_per_room=3), 2000)
    doors, keys = layouts(arrays)
    owner = (keys[:, :, None, 0] == doors[:, None, :, 2]).argmax(-1)
    assert (np.sort(owner, axis=1) == np.arange(rooms)).all()
    hosts = np.stack([room_of(4, doors, keys[:, k, 1, None], keys[:, k, 2, None]) for k in range(rooms)], 1)
    is_open = np.zeros((len(doors), rooms + 1), bool)
    is_open[:, rooms] = True
    for _ in range(rooms):
        reachable = np.take_along_axis(is_open, hosts, axis=1)
        is_open[:, :rooms] |= (reachable[:, :, None] & (owner[:, :, None] == np.arange(rooms))).any(1)
    assert is_open.all()


def test_the_centre_has_no_key_and_only_the_last_agent():
    arrays = fresh(LockedHallway(2, num_agents=3, max_hallway_keys=2), 20000)
    x, y = 6, 2
    assert (arrays["grid"][:, x, y, 0] == 1).all()
    in_centre = (arrays["agent_pos"] == (x, y)).all(-1).mean(0)
    assert in_centre[:2].tolist() == [0, 0]
    assert 0.1 < in_centre[2] < 0.25
    cells = arrays["agent_pos"] @ np.array([5, 1])
    assert all((cells[:, i] != cells[:, j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))


# The order in which the agents act


@pytest.mark.parametrize("agents", [2, 3, 4])
def test_the_order_is_any_order(agents):
    env = LockedHallway(2, num_agents=agents)
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(3), 12000))[0]
    stepped, orders = jax.jit(jax.vmap(env._draw_order))(states)
    ranks = {order: i for i, order in enumerate(permutations(range(agents)))}
    counts = np.bincount([ranks[tuple(order)] for order in np.asarray(orders).tolist()], minlength=factorial(agents))
    assert chisquare(counts).pvalue > LEAST_P
    assert (jax.random.key_data(stepped.key) != jax.random.key_data(states.key)).any(-1).all()


def test_a_drawn_order_is_used():
    """Two agents step towards one cell where they may not overlap: each of them wins about half of the time."""
    env = LockedHallway(2, allow_agent_overlap=False)
    arrays = env.to_arrays(env.reset(jax.random.key(0))[0])
    grid = np.where(np.asarray(arrays["grid"][..., :1]) == KEY, np.array([1, 0, 0], np.uint8), arrays["grid"])
    start = {
        **arrays,
        "grid": grid,
        "agent_pos": [[5, 2], [7, 2]],
        "agent_dir": [0, 2],
        "carrying": np.zeros((2, 2), int),
    }
    state = env.make_state(**start)
    states = jax.vmap(lambda key: state._replace(key=key))(jax.random.split(jax.random.key(1), 1000))
    go = jnp.full(2, Actions.forward, jnp.int32)
    stepped, _ = jax.jit(jax.vmap(env.step, in_axes=(0, None)))(states, go)
    moved = np.asarray(stepped.agent_cell) == 6 * 5 + 2
    assert (moved.sum(-1) == 1).all()
    assert 420 < moved[:, 0].sum() < 580
    second_first = jax.jit(env.step)(state, go, np.array([1, 0]))[0]
    assert (np.asarray(second_first.agent_cell) // 5).tolist() == [5, 6]
    assert second_first.key == state.key


# Interface


@pytest.mark.parametrize("name", WORLDS)
def test_round_trip_and_specs(name):
    factory, defaults = WORLDS[name]
    env = factory(**defaults)
    step, to_arrays = jax.jit(env.step), jax.jit(env.to_arrays)
    state, timestep = jax.jit(env.reset)(jax.random.key(5))
    for action in ([2, 2], [3, 1], [2, 5], [3, 2], [4, 3]):
        env.action_spec.validate(jnp.array(action))
        again = env.make_state(**to_arrays(state), key=state.key)
        chex.assert_trees_all_equal(again, state)
        chex.assert_trees_all_equal_shapes_and_dtypes(again, state)
        env.observation_spec.validate(timestep.observation)
        env.reward_spec.validate(timestep.reward)
        env.discount_spec.validate(timestep.discount)
        assert timestep.step_type.shape == ()
        state, timestep = step(state, jnp.array(action))


def test_one_trace():
    env = LockedHallway(2)
    reset = jax.jit(chex.assert_max_traces(env.reset, n=1))
    step = jax.jit(chex.assert_max_traces(env.step, n=1))
    state, _ = reset(jax.random.key(0))
    action = env.action_spec.generate_value()
    for state_before in (state, reset(jax.random.key(1))[0], env.make_state(**env.to_arrays(state))):
        stepped, _ = step(state_before, action)
        step(stepped, action)


def test_vectorized_episodes_restart():
    env = LockedHallway(2, num_agents=3, max_steps=5)
    vector = vectorize(env, 7)
    state, first = jax.jit(vector.reset)(jax.random.key(0))
    assert first.observation.view.shape == (7, 3, 7, 7, 3)
    step = jax.jit(vector.step)
    actions = np.random.default_rng(0).integers(7, size=(12, 7, 3), dtype=np.int32)
    for i, action in enumerate(actions):
        before = state
        state, timestep = step(state, action)
        last = i % 5 == 4
        assert (np.asarray(timestep.step_type) == StepType.LAST).tolist() == [last] * 7
        assert state.env.step_count.tolist() == [(i + 1) % 5] * 7
        doors = [color_of(s.env.cells)[:, env._layout.door_cell] for s in (before, state)]
        assert np.array_equal(*doors) != last


def test_make_state_takes_the_count_or_the_doors():
    env = LockedHallway(2)
    for unlocked in (1, np.uint8(1), [False, True]):
        assert env.make_state(**world(unlocked=unlocked)).facts.tolist() == [0, 1]
    assert env.make_state(**world(unlocked=[False, False])).facts.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(grid=np.zeros((13, 13, 3), np.uint8)), r"grid must be integers of shape \(13, 5, 3\)"),
        (dict(cells={(0, 0): (1, 0, 0)}), r"at \(0, 0\), where .* a wall"),
        (dict(cells={(4, 2): (WALL, 5, 0)}), r"at \(4, 2\), where .* a door"),
        (dict(cells={(6, 3): (WALL, 5, 0)}), r"at \(6, 3\), where .* neither"),
        (dict(cells={(6, 3): (AGENT, 0, 1)}), r"at \(6, 3\), which is no object of MiniGrid's"),
        (dict(carrying=[[DOOR, 0], [0, 0]]), "carrying must be nothing"),
        (dict(agent_pos=[[5, 1], [4, 1]]), r"can't stand at \(4, 1\)"),
        (dict(agent_pos=[[5, 1], [6, 5]]), r"can't stand at \(6, 5\)"),
        (dict(agent_pos=[[5, 1]]), r"agent_pos must be integers of shape \(2, 2\)"),
        (dict(agent_dir=[0, 4]), "agent_dir must be within 0..3"),
        (dict(step_count=-1), "step_count must be within"),
        (dict(unlocked=2), "unlocked must be"),
        (dict(unlocked=[True, True]), "unlocked must be"),
        (dict(unlocked=[0, 1]), "unlocked must be"),
    ],
)
def test_make_state_says_what_it_cant_hold(changes, message):
    with pytest.raises(ValueError, match=message):
        LockedHallway(2, see_through_walls=True).make_state(**world(**changes))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (dict(num_rooms=3), "num_rooms must be 2, 4 or 6"),
        (dict(num_agents=5), "num_agents must be within 1..4, not 5"),
        (dict(room_size=3), "room_size must be within"),
        (dict(agent_view_size=6), "agent_view_size must be odd"),
        (dict(max_steps=0), "must be at least 1"),
        (dict(max_keys_per_room=0), "must be at least 1"),
        (dict(num_rooms=2, num_agents=4, room_size=4), "leave room for 0 key"),
        (dict(num_rooms=6, room_size=4, max_keys_per_room=5), "and 4 in a room"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        LockedHallway(**parameters)


def test_an_order_names_each_agent_once():
    """Catches an agent that acts twice in a step, and another that never does."""
    env = LockedHallway(num_rooms=2)
    state = jax.eval_shape(env.reset, jax.random.key(0))[0]
    with pytest.raises(ValueError, match=r"order must name each agent once, not \[0, 0\]"):
        jax.eval_shape(lambda state: env.step(state, np.array([6, 6]), order=np.array([0, 0])), state)
