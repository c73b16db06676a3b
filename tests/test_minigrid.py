"""The physics and the view against the real `minigrid` package, on its own Door, Key, Wall and Lava."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.core.constants import IDX_TO_COLOR
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Door, Key, Lava, Wall
from minigrid.minigrid_env import MiniGridEnv

import envs_jax
from envs_jax.grid.historical import unpack_seen, visible_cells
from envs_jax.grid.views import look
from envs_jax.grid.visibility import spread_light

STEPS, WORLDS = 80, 10


class CopiedWorld(MiniGridEnv):
    """MiniGrid on a world given as an array."""

    def __init__(self, arrays, view_size):
        self.arrays = arrays
        mission = MissionSpace(mission_func=lambda: "")
        super().__init__(mission, grid_size=len(arrays["grid"]), max_steps=10**6, agent_view_size=view_size)
        self.reset(seed=0)

    def _gen_grid(self, width, height):
        self.grid = Grid(width, height)
        for (x, y), kind in np.ndenumerate(self.arrays["grid"][..., 0]):
            color = IDX_TO_COLOR[self.arrays["grid"][x, y, 1]]
            made = {2: Wall, 4: lambda c=color: Door(c, is_locked=True), 5: lambda c=color: Key(c), 9: Lava}
            if kind in made:
                self.grid.set(x, y, made[kind]())
        self.agent_pos, self.agent_dir = tuple(self.arrays["agent_pos"].tolist()), int(self.arrays["agent_dir"])
        self.mission = ""

    def visible(self):
        """bool[W, H], the cells of the world that are seen now."""
        _, mask = self.gen_obs_grid()
        seen = np.zeros((self.width, self.height), bool)
        left, ahead = self.agent_view_size // 2, self.agent_view_size - 1
        for column, row in np.argwhere(mask):
            x, y = self.agent_pos + self.dir_vec * (ahead - row) + self.right_vec * (column - left)
            if 0 <= x < self.width and 0 <= y < self.height:
                seen[x, y] = True
        return seen

    def facts(self):
        """What is compared, as `env.to_arrays` names it, and what is visible."""
        held = [5, self.carrying.encode()[1]] if self.carrying else [0, 0]
        place = {"agent_pos": np.array(self.agent_pos), "agent_dir": np.array(self.agent_dir)}
        return place | {"carrying": np.array(held), "grid": self.grid.encode(), "visible": self.visible()}


def in_front_of_the_world_s_edge(env):
    x, y = env.front_pos
    return not (0 <= x < env.width and 0 <= y < env.height)


def walk(env, state, actions):
    """The facts along a walk in JAX, each with a leading axis of steps."""

    def step(state, action):
        state, _ = env.step(state, action)
        now = unpack_seen(visible_cells(state, env.size, env.view_size), env.size**2)
        return state, env.to_arrays(state) | {"visible": now.reshape(env.size, env.size)}

    return jax.lax.scan(step, state, actions)[1]


def assert_equal_walks(ours, theirs):
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values, err_msg=name)


@pytest.mark.parametrize("view_size", [3, 7])
@pytest.mark.parametrize("task", ["SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "TwoDoor"])
def test_random_walks_equal_minigrid_s(task, view_size):
    env = envs_jax.make(task, view_size=view_size)
    states, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(view_size), WORLDS))
    starts = jax.device_get(jax.jit(jax.vmap(env.to_arrays))(states))
    rng = np.random.default_rng(view_size)
    actions, facts = np.zeros((WORLDS, STEPS), np.int32), []
    for world in range(WORLDS):
        real = CopiedWorld({name: array[world] for name, array in starts.items()}, view_size)
        for i in range(STEPS):
            # Mostly forward, so that walks get somewhere; never off the world, where MiniGrid fails.
            action = int(rng.choice([0, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6]))
            actions[world, i] = 0 if in_front_of_the_world_s_edge(real) else action
            real.step(int(actions[world, i]))
            facts.append(real.facts())
    theirs = {
        name: np.stack([f[name] for f in facts]).reshape(WORLDS, STEPS, *facts[0][name].shape) for name in facts[0]
    }
    ours = jax.jit(jax.vmap(lambda state, acts: walk(env, state, acts)))(states, jnp.asarray(actions))
    assert_equal_walks(ours, theirs)
    assert task == "TwoDoor" or theirs["carrying"].any(), "no walk picked a key up"


def scripted_walk(env, things, actions):
    """MiniGrid's facts, equal to ours, along a walk from (2, 2) to the east in a room of 6 x 6."""
    grid = np.tile(np.array([1, 0, 0], np.uint8), (10, 10, 1))
    grid[0, :6] = grid[5, :6] = grid[:6, 0] = grid[:6, 5] = (2, 5, 0)
    for cell, thing in things.items():
        grid[cell] = thing
    arrays = {"grid": grid, "agent_pos": np.array([2, 2]), "agent_dir": np.int32(0)}
    state = env.make_state(**arrays, carrying=(0, 0), seen=np.zeros((10, 10), bool), step_count=0)
    real, facts = CopiedWorld(arrays, env.view_size), []
    for action in actions:
        real.step(action)
        facts.append(real.facts())
    theirs = {name: np.stack([f[name] for f in facts]) for name in facts[0]}
    assert_equal_walks(jax.jit(lambda state: walk(env, state, jnp.asarray(actions)))(state), theirs)
    return theirs


def test_a_walk_with_two_keys_equals_minigrid_s():
    """The hands hold one key; a key of another colour than the door's opens nothing."""
    blue, red = 2, 0
    things = {(5, 2): (4, blue, 2), (3, 2): (5, red, 0), (2, 1): (5, blue, 0)}
    # Take the red key, try to take the blue one and to put the red one on it; try the door.
    actions = [3, 0, 3, 4, 1, 2, 2, 5, 5]
    # Put the red key down, fetch the blue one, open the door.
    actions += [1, 4, 0, 0, 0, 2, 2, 1, 3, 1, 2, 2, 5, 5]
    theirs = scripted_walk(envs_jax.make("ColoredDoorKey", view_size=3, room_size=(6, 6)), things, actions)
    assert theirs["carrying"][:9].tolist() == [[5, red]] * 9
    assert theirs["grid"][:, 5, 2, 2].tolist() == [2] * 21 + [0, 1]


@pytest.mark.parametrize("view_size", [3, 7])
def test_a_walk_through_a_door_equals_minigrid_s(view_size):
    """A door locked, unlocked by the key, looked and walked through, closed behind."""
    env = envs_jax.make("SimpleDoorKey", view_size=view_size, room_size=(6, 6))
    actions = [5, 3, 2, 2, 5, 5, 4, 5, 2, 2, 2, 0, 2, 1, 1, 4, 3, 0, 0, 5, 1, 1, 2, 2, 2]
    theirs = scripted_walk(env, {(5, 2): (4, 1, 2), (3, 2): (5, 1, 0)}, actions)
    assert set(theirs["grid"][:, 5, 2, 2]) == {0, 1, 2}
    assert theirs["agent_pos"][-1][0] > 5


@pytest.mark.parametrize("size", [3, 5, 7])
def test_light_spreads_as_minigrid_s(size):
    """Any walls, also mazes that no room has: light follows a whole row, and goes round corners."""
    walls = np.random.default_rng(size).random((200, size, size)) < 0.35
    expected = []
    for wall in walls:
        grid = Grid(size, size)
        for x, y in np.argwhere(wall):
            grid.set(x, y, Wall())
        expected.append(grid.process_vis((size // 2, size - 1)))
    bits = np.uint32(1) << np.arange(size, dtype=np.uint32)
    rows = [jnp.asarray((walls[:, :, ahead] * bits).sum(1, dtype=np.uint32)) for ahead in reversed(range(size))]
    lit = spread_light(rows, jnp.uint32(1 << size // 2), jnp.uint32((1 << size) - 1))
    np.testing.assert_array_equal(np.stack(lit[::-1], 1)[:, None] & bits[:, None] > 0, expected)


@pytest.mark.parametrize(("size", "view_size"), [(32, 3), pytest.param(30, 9, marks=pytest.mark.slow)])
def test_the_cells_seen_are_those_of_the_egocentric_view(size, view_size):
    """Catches bits that are lost at the far side of a large world."""
    env = envs_jax.make("SimpleDoorKey", world_size=size, view_size=view_size, room_size=(size, size))
    states, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 4))

    def both(state, cell, direction):
        state = state._replace(agent_cell=cell, agent_dir=direction)
        view = look(state, size, size, view_size)
        count = state.cells.shape[0]
        lit = jnp.zeros(count, bool).at[view.cells].max(view.lit)[: size**2]
        return unpack_seen(visible_cells(state, size, view_size), size**2), lit

    cells = np.flatnonzero(np.pad(np.ones((size - 2, size - 2), bool), 1)).astype(np.int32)
    cells = np.random.default_rng(0).permutation(cells)[:24]
    cells = np.append(cells, (size - 2) * (size + 1)).astype(np.int32)
    places = jax.vmap(jax.vmap(both, (None, 0, None)), (None, None, 0))
    seen, lit = jax.jit(jax.vmap(places, (0, None, None)))(states, cells, np.arange(4, dtype=np.int32))
    np.testing.assert_array_equal(seen, lit)
    assert seen[..., np.arange(len(cells)), cells].all()
