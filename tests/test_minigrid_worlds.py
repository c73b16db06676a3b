"""MiniGrid's worlds against the package `minigrid`, and LLM4RL's against its recordings."""

from collections import Counter

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2_contingency

import envs_jax
from envs_jax.grid.constants import BALL, BOX, DOOR, EMPTY, GOAL, KEY, LAVA, WALL
from envs_jax.minigrid import WORLDS
from tests import traces
from tests.distributions import contingency_table
from tests.minigrid_reference import carrying_of, contents_of, facts_of, make_reference, state_of

IDS = [name for name in WORLDS if name.startswith("MiniGrid-")]
FEW = [
    "MiniGrid-Empty-Random-6x6-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-RedBlueDoors-6x6-v0",
    "MiniGrid-BlockedUnlockPickup-v0",
    "MiniGrid-KeyCorridorS3R2-v0",
    "MiniGrid-Fetch-6x6-N2-v0",
    "MiniGrid-PutNear-8x8-N3-v0",
    "MiniGrid-MemoryS7-v0",
    "MiniGrid-ObstructedMaze-2Dlhb-v1",
    "MiniGrid-Dynamic-Obstacles-Random-5x5-v0",
    "MiniGrid-MultiRoom-N4-S5-v1",
]
"""One of each family whose rules differ."""
PROBABILITIES = [0.14, 0.14, 0.36, 0.12, 0.06, 0.16, 0.02]


def play_beside(name, num_worlds, steps, seed):
    """Random walks from worlds of MiniGrid's own making in both; what differs, and what happened, as counts."""
    env, references = envs_jax.make(name), [make_reference(name) for _ in range(num_worlds)]
    firsts = [reference.reset(seed=1000 * seed + i)[0] for i, reference in enumerate(references)]
    states = [state_of(env, reference) for reference in references]
    assert [env.mission(state) for state in states] == [first["mission"] for first in firsts]
    assert [state.facts.tolist() for state in states] == [facts_of(reference) for reference in references]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    images = np.asarray(jax.vmap(env.observe)(states).image)
    differ, done = Counter(), Counter()
    differ["first image"] = sum((ours != first["image"]).any() for ours, first in zip(images, firsts))
    step, moves_too = jax.jit(jax.vmap(lambda *given: with_arrays(env, *env.step(*given)))), "Dynamic" in name
    alive, rng = np.ones(num_worlds, bool), np.random.default_rng(seed)
    for t in range(steps):
        actions = rng.choice(7, num_worlds, p=PROBABILITIES).astype(np.int32)
        before = [what_is_in_front(reference) for reference in references]
        theirs = [reference.step(int(actions[i])) if alive[i] else None for i, reference in enumerate(references)]
        moves = [np.array([facts_of(reference) for reference in references], np.int32)] if moves_too else []
        states, *ours = step(states, actions, *moves)
        ours = jax.device_get(ours)
        for i in np.flatnonzero(alive):
            alive[i] = not (theirs[i][2] or theirs[i][3])
            compare(differ, i, ours, theirs[i], references[i], whole=t % 10 == 9 or not alive[i])
            count_deeds(done, actions[i], before[i], references[i], theirs[i])
        if not alive.any():
            break
    return +differ, done


def with_arrays(env, state, timestep):
    return state, timestep, env.to_arrays(state)


def compare(differ, i, ours, theirs, reference, whole):
    """Counts what differs; the `whole` grid takes long to read."""
    timestep, world = ours
    obs, reward, terminated, truncated, _ = theirs
    for name, equal in {
        "image": (timestep.observation.image[i] == obs["image"]).all(),
        "direction": timestep.observation.direction[i] == obs["direction"],
        "reward": abs(timestep.reward[i] - reward) < 1e-6,
        "termination": (timestep.discount[i] == 0) == terminated,
        "end": (timestep.step_type[i] == 2) == (terminated or truncated),
        "carrying": tuple(world["carrying"][i]) == tuple(carrying_of(reference)),
        "grid": not whole or (world["grid"][i] == reference.grid.encode()).all(),
        "contents": not whole or (world["contents"][i] == contents_of(reference)).all(),
    }.items():
        differ[name] += not equal


def what_is_in_front(reference):
    """What is carried, and the cell in front of the agent with the object in it."""
    place = tuple(int(coordinate) for coordinate in reference.front_pos)
    inside = 0 <= place[0] < reference.width and 0 <= place[1] < reference.height
    thing = reference.grid.get(*place) if inside else None
    return carrying_of(reference), place, None if thing is None else thing.encode()


def count_deeds(done, action, before, reference, theirs):
    """What took effect."""
    carried, place, thing = before
    done["success"] += theirs[1] > 0
    done["failure"] += theirs[2] and theirs[1] <= 0
    done["picked up"] += carried == (0, 0) and carrying_of(reference) != (0, 0)
    done["dropped"] += carried != (0, 0) and carrying_of(reference) == (0, 0)
    if action == 5 and thing is not None:
        now = reference.grid.get(*place)
        changed = now is None or now.encode() != thing
        done["door"] += changed and thing[0] == DOOR
        done["box"] += changed and thing[0] == BOX


@pytest.mark.parametrize("name", FEW)
def test_random_walks_equal_minigrid_s(name):
    differ, _ = play_beside(name, 8, 60, 0)
    assert not differ


@pytest.mark.slow
@pytest.mark.parametrize("names", [IDS[start::4] for start in range(4)], ids=range(4))
def test_every_world_equals_minigrid_s(names):
    done = Counter()
    for name in names:
        differ, counts = play_beside(name, 16, 80, 1)
        assert not differ, (name, differ)
        done += counts
    assert all(done[effect] for effect in ("success", "failure", "picked up", "dropped", "door", "box")), done


def features(grid, contents, agent_pos, agent_dir, missions):
    """int[n] each, by name: what a layout is like."""
    kinds = grid[..., 0].reshape(len(grid), -1)
    colors = grid[..., 1].reshape(len(grid), -1)
    x, y = np.divmod(np.arange(kinds.shape[1]), grid.shape[2])
    rows = np.arange(len(grid))
    found = {
        "agent x": agent_pos[:, 0],
        "agent y": agent_pos[:, 1],
        "direction": agent_dir,
        "contents": contents.reshape(len(grid), -1).sum(1),
        "mission": np.unique(missions, return_inverse=True)[1],
        "door states": (grid[..., 2].reshape(len(grid), -1) * (kinds == DOOR)).sum(1),
    }
    for kind in (EMPTY, WALL, DOOR, KEY, BALL, BOX, GOAL, LAVA):
        here = kinds == kind
        count, first = here.sum(1), np.where(here.any(1), here.argmax(1), -1)
        found |= {
            f"{kind} number": count,
            f"{kind} x": ((here * x).sum(1) * 2 / np.maximum(count, 1)).round().astype(int),
            f"{kind} y": ((here * y).sum(1) * 2 / np.maximum(count, 1)).round().astype(int),
            f"{kind} color": np.where(first >= 0, colors[rows, first], -1),
            f"{kind} distance": np.where(
                first >= 0, abs(agent_pos[:, 0] - x[first]) + abs(agent_pos[:, 1] - y[first]), -1
            ),
        }
    return found


def p_value(ours, theirs):
    """How likely so different counts are for equal distributions; rare values count as one."""
    table = contingency_table(ours, theirs, lambda counts: counts.sum(0) < 20)
    return chi2_contingency(table)[1] if table.shape[1] > 1 else 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FEW, "MiniGrid-FourRooms-v0", "MiniGrid-LockedRoom-v0", "MiniGrid-GoToDoor-8x8-v0"])
def test_fresh_layouts_are_distributed_as_minigrid_s(name):
    count, env, reference = 1000, envs_jax.make(name), make_reference(name)
    theirs = []
    for seed in range(count):
        reference.reset(seed=seed)
        agent = [int(coordinate) for coordinate in reference.agent_pos], int(reference.agent_dir)
        theirs.append((reference.grid.encode(), contents_of(reference), *agent, reference.mission))
    states, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(5), count))
    arrays = jax.device_get(jax.vmap(env.to_arrays)(states))
    missions = {numbers: text for text, numbers in env.missions().items()}
    texts = [missions[tuple(numbers)] for numbers in arrays["mission"].tolist()]
    ours = features(*(arrays[part] for part in ("grid", "contents", "agent_pos", "agent_dir")), texts)
    other = features(*map(np.array, zip(*theirs)))
    assert min(p_value(ours[feature], other[feature]) for feature in ours) > 1e-5


LLM4RL = {
    "keyinbox": ("KeyInBox", {}),
    "randomboxkey": ("RandomBoxKey", {}),
    "llm4rl_simpledoorkey": ("SimpleDoorKey", {"max_steps": 100}),
    "llm4rl_coloreddoorkey": ("ColoredDoorKey", {"max_steps": 100, "free_colors": True}),
}
"""The worlds of its recordings."""


@pytest.mark.parametrize(
    "recording",
    [
        "randomboxkey_fuzz",
        *(
            pytest.param(f"{name}_{mode}", marks=pytest.mark.slow)
            for name, mode in (
                ("keyinbox", "fuzz"),
                ("keyinbox", "always"),
                ("llm4rl_simpledoorkey", "always"),
                ("llm4rl_coloreddoorkey", "always"),
            )
        ),
    ],
)
def test_every_recorded_transition(recording):
    data = traces.load(recording, "traces_llm4rl")
    name, options = LLM4RL[recording.rpartition("_")[0]]
    env, before = envs_jax.make(name, **options), traces.transition_frames(data)
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(recorded_state(env, data, frame) for frame in before))
    np.testing.assert_array_equal(jax.vmap(env.observe)(states), data["obs"][before])
    states, timestep = jax.jit(jax.vmap(env.step))(states, jnp.asarray(data["action"], jnp.int32))
    arrays = jax.vmap(env.to_arrays)(states)
    for ours, recorded in {"grid": "grid", "agent_pos": "agent_pos", "carrying": "carrying", "seen": "mask"}.items():
        np.testing.assert_array_equal(arrays[ours], data[recorded][before + 1], err_msg=ours)
    np.testing.assert_array_equal(timestep.observation, data["obs"][before + 1])
    np.testing.assert_allclose(timestep.reward, data["reward"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(timestep.discount == 0, data["terminated"])
    np.testing.assert_array_equal(timestep.last(), data["terminated"] | data["truncated"])


def recorded_state(env, data, frame):
    (x, y), inner, carrying = data["box_pos"][frame], data["box_contains"][frame], data["carrying"][frame]
    contents = np.zeros((env.size, env.size, 2), np.uint8)
    if x < env.size:
        contents[x, y] = inner
    return env.make_state(
        grid=data["grid"][frame],
        contents=contents,
        agent_pos=data["agent_pos"][frame],
        agent_dir=data["agent_dir"][frame],
        carrying=carrying,
        carrying_contents=inner if carrying[0] == BOX else (0, 0),
        seen=data["mask"][frame],
        step_count=data["step_count"][frame],
    )


@pytest.mark.parametrize("recording", [name for name in LLM4RL if name != "llm4rl_simpledoorkey"])
def test_fresh_layouts_are_distributed_as_recorded(recording):
    data, (name, options) = traces.load(f"{recording}_resets", "traces_llm4rl"), LLM4RL[recording]
    env = envs_jax.make(name, **options)
    states, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(2), len(data["door_pos"])))
    arrays = jax.device_get(jax.vmap(env.to_arrays)(states))
    doors, boxes = (first_of(kind, arrays["grid"]) for kind in (DOOR, BOX))
    ours = {
        "agent": arrays["agent_pos"] @ [32, 1],
        "direction": arrays["agent_dir"],
        "door": doors[:, :2] @ [32, 1],
        "door's colour": doors[:, 2],
        "in the box": arrays["contents"][..., 0].max((1, 2)),
    }
    theirs = {
        "agent": data["agent_pos"].astype(int) @ [32, 1],
        "direction": data["agent_dir"],
        "door": data["door_pos"].astype(int) @ [32, 1],
        "door's colour": data["door_color"],
        "in the box": data["box_contains"][:, 0],
    }
    if name == "ColoredDoorKey":
        kinds, colors = arrays["grid"][..., 0], arrays["grid"][..., 1]
        ours["keys' colours"] = np.where(kinds == KEY, 7 ** colors.astype(int), 0).sum((1, 2))
        theirs["keys' colours"] = (7 ** data["key_color"].astype(int)).sum(1)
    else:
        ours["box"], theirs["box"] = boxes[:, :2] @ [32, 1], data["box_pos"].astype(int) @ [32, 1]
    assert min(p_value(ours[name], theirs[name]) for name in ours) > 1e-4


def first_of(kind, grids):
    """int[n, 3], place and colour of the first object of a kind; 0 where there is none."""
    cells = [np.argwhere(grid[..., 0] == kind)[:1] for grid in grids]
    return np.array(
        [(*cell[0], grid[*cell[0], 1]) if len(cell) else (0, 0, 0) for cell, grid in zip(cells, grids)], int
    )


@pytest.mark.parametrize("name", ["MiniGrid-ObstructedMaze-Full-v1", "MiniGrid-LockedRoom-v0", "RandomBoxKey"])
def test_states_from_arrays_are_the_states(name):
    env = envs_jax.make(name)
    state, timestep = jax.jit(env.reset)(jax.random.key(3))
    made = env.make_state(**jax.device_get(env.to_arrays(state)), key=state.key)
    chex.assert_trees_all_equal(state._replace(key=0), made._replace(key=0))
    chex.assert_trees_all_equal_dtypes(state, made)
    env.observation_spec.validate(timestep.observation)
    assert env.render(state).ndim == 3


def _with(place, cell):
    """A room of 8 x 8 with one thing."""
    grid = np.tile(np.array([EMPTY, 0, 0], np.uint8), (8, 8, 1))
    grid[place] = cell
    return grid


MISTAKES = {
    "no object": (dict(grid=np.full((8, 8, 3), 255)), "which is no object of MiniGrid's"),
    "another shape": (dict(grid=np.zeros((3, 3, 3), np.uint8)), "grid must be integers of shape"),
    "a key with a state": (dict(grid=_with((3, 3), (KEY, 1, 2))), "which is no object of MiniGrid's"),
    "an agent on a wall": (dict(agent_pos=(0, 0)), "can't stand at"),
    "a wall in the hand": (dict(carrying=(WALL, 0)), "carrying must be nothing"),
    "a place outside": (dict(agent_pos=(8, 1)), "agent_pos must be within"),
    "another mission": (dict(mission="dance"), "is no mission of this world"),
    "contents of empty hands": (dict(carrying_contents=(KEY, 1)), "contents must be keys, balls or boxes"),
    "contents without a box": (dict(contents=np.full((8, 8, 2), KEY)), "contents must be keys, balls or boxes"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_worlds_that_are_none(mistake):
    changes, told = MISTAKES[mistake]
    env = envs_jax.make("MiniGrid-Fetch-8x8-N3-v0")
    arrays = jax.device_get(env.to_arrays(jax.jit(env.reset)(jax.random.key(0))[0]))
    with pytest.raises(ValueError, match=told):
        env.make_state(**(arrays | changes))


@pytest.mark.parametrize("name", ["MiniGrid-GoToDoor-5x5-v0", "SimpleDoorKey", "LockedHallway-2Rooms"])
def test_states_are_made_on_the_host(name):
    """Catches messages of JAX and NumPy, which do not say what is wrong, for traced arrays and ragged lists."""
    env = envs_jax.make(name)
    arrays = jax.device_get(env.to_arrays(jax.jit(env.reset)(jax.random.key(0))[0]))
    for argument in arrays:
        given = {other: value for other, value in arrays.items() if other != argument}
        with pytest.raises(ValueError, match=f"^{argument} must be known, but is traced; .* outside jax.jit"):
            jax.jit(lambda value, given=given, argument=argument: env.make_state(**given, **{argument: value}))(0)
        with pytest.raises(ValueError, match=f"^{argument} must be an array, not rows of different lengths"):
            env.make_state(**given, **{argument: [[1, 2], [3]]})
    with pytest.raises(ValueError, match=r"^agent_pos must be known"):
        jax.jit(lambda x: env.make_state(**arrays | {"agent_pos": [x, 1]}))(1)
    made = jax.jit(lambda key: env.make_state(**arrays, key=key))(jax.random.key(1))
    chex.assert_trees_all_equal(made, env.make_state(**arrays, key=jax.random.key(1)))


@pytest.mark.parametrize(
    "name", ["SimpleDoorKey", "TwoDoor", *FEW, "MiniGrid-Unlock-v0", "MiniGrid-GoToObject-6x6-N2-v0"]
)
def test_facts_are_cells_of_the_grid(name):
    """Catches a door, an object or an obstacle outside the grid, which no step would ever find."""
    env = envs_jax.make(name)
    arrays = jax.device_get(env.to_arrays(jax.jit(env.reset)(jax.random.key(0))[0]))
    most = env.width * env.height - 1
    env.make_state(**arrays | {"facts": [most] * env.num_facts})
    if env.num_facts:
        with pytest.raises(ValueError, match=rf"facts must be within 0\.\.{most}, not"):
            env.make_state(**arrays | {"facts": [most + 1] * env.num_facts})


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("MiniGrid-Fetch-5x5-N2-v0", {"size": 4, "num_objects": 4}, "num_objects must be within 1..3"),
        ("MiniGrid-ObstructedMaze-Full-v1", {"agent_room": (3, 3)}, r"agent_room\[0\] must be within 0..2"),
        ("MiniGrid-Empty-5x5-v0", {"agent_view_size": 17}, "agent_view_size must be odd and within 3..15"),
        ("KeyInBox", {"view_size": 11}, "view_size must be odd and within 3..10"),
        ("MiniGrid-Emty-5x5-v0", {}, "did you mean MiniGrid-Empty-5x5-v0"),
    ],
)
def test_worlds_that_can_t_be_made(name, options, told):
    with pytest.raises(ValueError, match=told):
        envs_jax.make(name, **options)


def test_rivers_may_be_many():
    """Catches a layout that draws more random numbers than it has."""
    env = envs_jax.make("MiniGrid-LavaCrossingS9N1-v0", size=31, num_crossings=20)
    assert jax.eval_shape(env.reset, jax.random.key(0))[0].cells.shape == (992,)


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in WORLDS]
)
def test_strict_types(name):
    """Catches a sum of numbers of two types, which only strict promotion shows."""
    env = envs_jax.make(name)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        state, _ = jax.eval_shape(env.reset, jax.random.key(0))
        jax.eval_shape(env.step, state, jax.ShapeDtypeStruct((), jnp.int32))


@pytest.mark.parametrize("name", ["MiniGrid-Empty-5x5-v0", "MiniGrid-Fetch-5x5-N2-v0"])
def test_observations_of_the_package_become_ours(name):
    """Catches a mission with other numbers than ours, also in a batch and where it has no gaps."""
    env, reference = envs_jax.make(name), make_reference(name)
    observed, _ = reference.reset(seed=3)
    ours = env.observe(state_of(env, reference))
    found = env.from_minigrid(observed)
    chex.assert_trees_all_equal(found, ours)
    chex.assert_trees_all_equal_dtypes(found, ours)
    batch = gymnasium.make_vec(name, num_envs=3)
    observed, _ = batch.reset(seed=0)
    several = env.from_minigrid(observed)
    chex.assert_trees_all_equal_shapes(several, jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), ours))
    texts = [env.mission(jax.tree.map(lambda leaf, i=i: leaf[i], several)) for i in range(3)]
    assert texts == list(observed["mission"])
    with pytest.raises(ValueError, match="'find me' is no mission of this world; one is"):
        env.from_minigrid({**observed, "mission": "find me"})
