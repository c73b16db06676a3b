"""What holds after every step of every world, whatever the agents do; each test counts the steps that break it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from envs_jax.grid.constants import AGENT, BOX, DIR_TO_VEC, DOOR, EMPTY, GREY, KEY, LAVA, LOCKED, OPEN, WALL, Actions
from envs_jax.vector import vectorize

ROOMS = [task for task in envs_jax.tasks() if task.endswith(("DoorKey", "TwoDoor", "KeyInBox", "RandomBoxKey"))]
HALLWAYS = [task for task in envs_jax.tasks() if task.startswith("LockedHallway")]
PARTICLES = [task for task in envs_jax.tasks() if task.startswith("simple")]


FEW = ["LavaDoorKey", "RandomBoxKey", "LockedHallway-2Rooms", "simple_world_comm"]


def test_every_world_is_of_one_kind():
    """Catches a new world that no test here drives."""
    assert sorted(ROOMS + HALLWAYS + PARTICLES) == sorted(envs_jax.tasks())


def judge_room(env, before, action, after, timestep):
    """Names of what must hold after one step of a one-room world, each with whether it does."""
    world = env.to_arrays(after)
    grid, seen, (x, y) = world["grid"], world["seen"], world["agent_pos"]
    kind, under = grid[..., 0], grid[x, y, 0]
    was = env.to_arrays(before)["grid"]
    held, held_before = world["carrying"], env.to_arrays(before)["carrying"]
    boxed = (world["contents"][..., 0] == KEY).sum() + (world["carrying_contents"][0] == KEY)
    boxes = (kind == BOX).sum() + (held[0] == BOX)
    boxes_before = (was[..., 0] == BOX).sum() + (held_before[0] == BOX)
    obs = timestep.extras["next_obs"]
    here = (np.arange(env.size)[:, None] == x) & (np.arange(env.size) == y)
    hand = jnp.where(held[0] > 0, jnp.append(held, 0), jnp.array([EMPTY, 0, 0]))
    shown = jnp.where(here[..., None], hand, grid) * seen[..., None]
    facing = jnp.where(here, after.agent_dir, 4)
    is_door = kind == DOOR
    opened = (action == Actions.toggle) & (is_door & (grid[..., 2] == OPEN)).any()
    in_lava = under == LAVA
    last = timestep.last()
    stays = (kind == WALL) | is_door | (kind == LAVA)
    at_border = np.zeros((env.size, env.size), bool)
    at_border[0, :] = at_border[:, 0] = True
    return {
        "the agent is in the world, on a cell that can be entered": (after.agent_cell >= 0)
        & (after.agent_cell < env.size**2)
        & ((under == EMPTY) | in_lava),
        "keys are conserved": (kind == KEY).sum() + (held[0] == KEY) + boxed == env.num_keys,
        "a box goes only when it is opened": (boxes <= env.num_boxes)
        & (boxes_before - boxes <= (action == Actions.toggle))
        & (boxes <= boxes_before),
        "doors stay, in one of their three states": (grid[..., 2] <= jnp.where(is_door, 2, 0)).all()
        & (is_door.sum() == env.num_doors),
        "what was seen stays seen": ~(env.to_arrays(before)["seen"] & ~seen).any() & seen[x, y],
        "the furniture stays": jnp.where(stays[..., None], grid == was, True)[..., :2].all(),
        "walls surround the room": (kind == WALL).sum() == 2 * ((stays & at_border).sum() - 1) - env.num_doors,
        "the observation is the painted world that was seen": (obs[..., -4:-1] == shown).all(),
        "one agent is observed": (obs[..., -1] == facing).all(),
        "the reward is that of the spec": (timestep.reward >= 0)
        & (timestep.reward <= 1)
        & ((timestep.reward > 0) == opened),
        "steps are counted": after.step_count == before.step_count + 1,
        "episodes end when they must": last == (opened | in_lava | (after.step_count >= env.max_steps)),
        "terminal is success or lava": (timestep.discount == 0) == (opened | in_lava),
    }


def judge_hallway(env, before, action, after, timestep):
    """As `judge_room`, of a hallway with locked rooms."""
    world, layout = env.to_arrays(after), env._layout
    grid, position = world["grid"], world["agent_pos"]
    under = grid[position[:, 0], position[:, 1], 0]
    was, unlocked = env.to_arrays(before), world["unlocked"]
    held = world["carrying"]
    lying = jnp.where(grid[..., 0] == KEY, grid[..., 1].astype(jnp.int32), -1)
    key_colors = jnp.append(lying, jnp.where(held[:, 0] == KEY, held[:, 1], -1))
    doors, doors_before = (g.reshape(-1, 3)[layout.door_cell] for g in (grid, was["grid"]))
    status, status_before = doors[:, 2], doors_before[:, 2]
    bounds = env.reward_spec
    obs = timestep.extras["next_obs"]
    views = jax.vmap(partial(expected_view, env, world))(np.arange(env.num_agents))
    hidden = obs.view[..., 0] == 0
    return {
        "agents stand in the world, on no wall and no key": (
            (after.agent_cell >= 0) & (after.agent_cell < layout.walls.size) & ((under == EMPTY) | (under == DOOR))
        ).all(),
        "agents look in a direction": ((after.agent_dir >= 0) & (after.agent_dir < 4)).all(),
        "each key lies or is carried, once": ((key_colors[:, None] == doors[:, 1]).sum(0) == 1).all()
        & ((key_colors >= 0).sum() == env.num_rooms),
        "doors stay, in one of their three states": (status <= 2).all()
        & ((grid[..., 0] == DOOR).sum() == env.num_rooms)
        & (doors[:, :2] == doors_before[:, :2]).all(),
        "an unlocked door is never locked again": (was["unlocked"] <= unlocked).all()
        & ~((status_before != LOCKED) & (status == LOCKED)).any()
        & ~(unlocked & (status == LOCKED)).any(),
        "what an agent sees is what is there": (hidden[..., None] | (obs.view == views)).all(),
        "an agent sees its own hand, and its direction": ~hidden[:, env.agent_view_size // 2, -1].any()
        & (obs.direction == after.agent_dir).all(),
        "the reward is that of the spec": (
            (timestep.reward >= bounds.minimum) & (timestep.reward <= bounds.maximum)
        ).all()
        & ((timestep.reward > 0).any() == (unlocked != was["unlocked"]).any()),
        "steps are counted": after.step_count == before.step_count + 1,
        "episodes end when they must": timestep.last() == (unlocked.all() | (after.step_count >= env.max_steps)),
        "terminal is all doors unlocked": ((timestep.discount == 0) == unlocked.all()).all(),
    }


def expected_view(env, world, agent):
    """uint8[V, V, 3], what an agent would see if nothing hid anything."""
    size = env.agent_view_size
    i, j = np.indices((size, size))
    side, ahead = i - size // 2, size - 1 - j
    dx, dy = jnp.asarray(DIR_TO_VEC)[world["agent_dir"][agent]]
    (ax, ay), grid = world["agent_pos"][agent], world["grid"]
    x, y = ax + dx * ahead - dy * side, ay + dy * ahead + dx * side
    inside = (x >= 0) & (x < grid.shape[0]) & (y >= 0) & (y < grid.shape[1])
    view = jnp.where(inside[..., None], grid[x, y], jnp.array([WALL, GREY, 0]))
    for other in range(env.num_agents):
        there = (x == world["agent_pos"][other, 0]) & (y == world["agent_pos"][other, 1])
        view = jnp.where(there[..., None], jnp.stack([AGENT, other, world["agent_dir"][other]]), view)
    hand = jnp.where(world["carrying"][agent, 0] == 0, jnp.array([EMPTY, 0]), world["carrying"][agent])
    return view.at[size // 2, size - 1].set(jnp.append(hand, 0))


def judge_particles(env, before, action, after, timestep):
    """As `judge_room`, of a particle world."""
    world, agents = env.world, env.num_agents
    speed = jnp.linalg.norm(after.p_vel, axis=-1)
    leaves = (after.p_pos, after.p_vel, after.c, timestep.reward, timestep.extras["next_obs"])
    words = jnp.where(world.speaks, 1.0, 0.0)
    return {
        "all numbers are finite": jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all(),
        "nobody is faster than it can be": (speed * (1 - 1e-5) <= world.max_speed).all(),
        "who can't move stays": ((after.p_pos == before.p_pos).all(-1)[:agents] | world.moves).all(),
        "landmarks and goals stay": (after.p_pos == before.p_pos)[agents:].all() & (after.goals == before.goals).all(),
        "goals are landmarks": ((after.goals >= 0) & (after.goals < max(1, world.num_landmarks))).all(),
        "speakers say one word, others none": (after.c.sum(-1) == (words if world.dim_c else 0)).all(),
        "steps are counted": after.step_count == before.step_count + 1,
        "episodes last exactly max_cycles": timestep.last() == (after.step_count == env.max_cycles),
        "there is no terminal state": (timestep.discount == 1).all(),
    }


JUDGES = {
    **dict.fromkeys(ROOMS, judge_room),
    **dict.fromkeys(HALLWAYS, judge_hallway),
    **dict.fromkeys(PARTICLES, judge_particles),
}


def draw_actions(env, key, num_envs):
    """Uniform actions of all agents of all worlds."""
    if hasattr(env, "num_actions"):
        return jax.random.randint(key, (num_envs, env.num_agents), 0, np.array(env.num_actions))
    shape = (num_envs, env.num_agents) if hasattr(env, "num_agents") else (num_envs,)
    return jax.random.randint(key, shape, 0, len(Actions))


def judge_all(env, before, action, after, timestep):
    """The kind's invariants, and those of automatic resets: bool[N] each."""
    played = timestep.extras["next_state"]
    limit = env.max_cycles if hasattr(env, "max_cycles") else env.max_steps
    begun = jnp.where(timestep.last(), after.env.step_count == 0, after.env.step_count == played.step_count)
    lengths = timestep.extras["episode_length"] == played.step_count
    return jax.vmap(partial(JUDGES[env.task], env))(before.env, action, played, timestep) | {
        "an ended episode is followed by a fresh one": begun & (after.env.step_count < limit),
        "lengths are counted": lengths & (after.episode_length == after.env.step_count),
    }


def make(task, **overrides):
    env = envs_jax.make(task, **overrides)
    env.task = task
    return env


def drive(env, num_envs, steps):
    """How often each invariant was broken in `steps` random steps of `num_envs` worlds, and how many episodes ended."""
    venv = vectorize(env, num_envs)

    def step(state, key):
        action = draw_actions(env, key, num_envs)
        after, timestep = venv.step(state, action)
        broken = {name: (~held).sum() for name, held in judge_all(env, state, action, after, timestep).items()}
        return after, (broken, timestep.last().sum())

    @jax.jit
    def run(key):
        state, (broken, ended) = jax.lax.scan(step, venv.reset(key)[0], jax.random.split(key, steps))
        # The last observation is that of one more step, given by this program and recomputed by another.
        state, timestep = venv.step(state, draw_actions(env, key, num_envs))
        return state.env, timestep.observation, jax.tree.map(jnp.sum, (broken, ended))

    state, given, (broken, ended) = run(jax.random.key(0))
    recomputed = jax.jit(jax.vmap(env.observe))(state)
    for one, other in zip(jax.tree.leaves(recomputed), jax.tree.leaves(given), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    return {name: int(count) for name, count in broken.items() if count}, int(ended)


@pytest.mark.parametrize("task", FEW)
def test_invariants_hold(task):
    """Catches states that no rule allows; 64 worlds, 10^4 steps, some resets."""
    env = make(task) if task in PARTICLES else make(task, max_steps=40)
    broken, ended = drive(env, 64, 160)
    assert broken == {}
    assert ended >= 64


@pytest.mark.slow
@pytest.mark.parametrize("task", envs_jax.tasks())
def test_invariants_hold_in_a_million_steps_of_each_kind(task):
    """As the short one, with default episodes, and resets in groups."""
    (kind,) = [tasks for tasks in (ROOMS, HALLWAYS, PARTICLES) if task in tasks]
    steps = -(-(10**6) // (len(kind) * 512))
    broken, ended = drive(make(task), 512, steps)
    assert broken == {}
    assert ended >= 512 or task in HALLWAYS


def test_invariants_hold_with_other_options():
    """Catches a wider view, a frame stack or a third key that breaks the newest frame."""
    env = make("ColoredDoorKey", view_size=5, frame_stack=2, num_keys=3, max_steps=40)
    broken, ended = drive(env, 64, 100)
    assert broken == {}
    assert ended >= 64


SPOILS = {
    "SimpleDoorKey": {
        "keys are conserved": lambda s: s._replace(cells=jnp.where(s.cells & 255 == KEY, EMPTY, s.cells)),
        "doors stay, in one of their three states": lambda s: s._replace(
            cells=jnp.where(s.cells & 255 == DOOR, s.cells + (3 << 16), s.cells)
        ),
        "what was seen stays seen": lambda s: s._replace(seen=jax.tree.map(jnp.zeros_like, s.seen)),
        "the agent is in the world, on a cell that can be entered": lambda s: s._replace(agent_cell=s.agent_cell * 0),
        "the furniture stays": lambda s: s._replace(cells=jnp.roll(s.cells, 1, -1)),
        "walls surround the room": lambda s: s._replace(cells=s.cells.at[..., 0].set(EMPTY)),
        "one agent is observed": lambda s: s._replace(agent_dir=(s.agent_dir + 1) % 4),
        "the observation is the painted world that was seen": lambda s: s._replace(
            seen=jax.tree.map(jnp.invert, s.seen)
        ),
        "steps are counted": lambda s: s._replace(step_count=s.step_count + 1),
    },
    "LockedHallway-2Rooms": {
        "each key lies or is carried, once": lambda s: s._replace(
            cells=jnp.where(s.cells & 255 == KEY, EMPTY, s.cells)
        ),
        "agents stand in the world, on no wall and no key": lambda s: s._replace(agent_cell=s.agent_cell * 0),
        "what an agent sees is what is there": lambda s: s._replace(agent_dir=(s.agent_dir + 1) % 4),
        "an unlocked door is never locked again": lambda s: s._replace(facts=1 - s.facts),
        "the reward is that of the spec": lambda s: s._replace(facts=1 - s.facts),
    },
    "simple_world_comm": {
        "all numbers are finite": lambda s: s._replace(p_vel=s.p_vel / 0),
        "nobody is faster than it can be": lambda s: s._replace(p_vel=s.p_vel + 10),
        "landmarks and goals stay": lambda s: s._replace(p_pos=s.p_pos + 1),
        "speakers say one word, others none": lambda s: s._replace(c=s.c + 1),
        "episodes last exactly max_cycles": lambda s: s._replace(step_count=s.step_count * 0 + 25),
    },
}


@pytest.mark.parametrize("task", SPOILS)
def test_broken_invariants_are_noticed(task):
    """Catches an invariant that holds whatever happens: each is broken by a state that was tampered with."""
    env = make(task)
    state, _ = jax.jit(env.reset)(jax.random.key(1))
    action = draw_actions(env, jax.random.key(2), 1)[0] * 0
    after, timestep = jax.jit(env.step)(state, action)
    timestep = timestep.replace(extras={"next_obs": timestep.observation})
    judge = jax.jit(partial(JUDGES[task], env))
    assert all(judge(state, action, after, timestep).values())
    for name, spoil in SPOILS[task].items():
        assert not judge(state, action, spoil(after), timestep)[name], name
