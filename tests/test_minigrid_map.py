"""The map that a MiniGrid agent keeps, against the true grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
from envs_jax.grid.cells import WALL_WORD
from envs_jax.grid.constants import DIR_TO_VEC, GREY, UNSEEN, WALL, Actions
from envs_jax.minigrid import FullyObsWrapper
from envs_jax.minigrid.map_memory import MapWrapper, map_size
from envs_jax.vector import VectorEnv
from tests.minigrid_teaching import minigrid_id, played, world

SHOWN = 24
"""Copies of the world that are looked at."""
MARGIN = 8
"""Cells outside the world that are kept, as views through walls show them."""
WALL_BYTES = np.array([WALL, GREY, 0])


def towards(direction, ahead, right):
    """int[N, 2], the places int[N] ahead of an agent and to its right, relative to it."""
    return ahead[:, None] * DIR_TO_VEC[direction] + right[:, None] * DIR_TO_VEC[(direction + 1) % 4]


def grid_outside(places, shape):
    return ((places < 0) | (places >= np.array(shape))).any(1)


class Witness:
    """What one agent must know of its world."""

    def __init__(self, env):
        self.env, self.shape = env, (env.unwrapped.width, env.unwrapped.height)
        self.begins = True

    def agrees(self, cells, agent, direction, obs, position, last):
        """Compares one step with the truth; how many cells of the map around the agent are known, and in view."""
        place = np.array(divmod(int(agent), self.shape[1]))
        if self.begins:
            self.start, self.known = place, np.zeros([side + 2 * MARGIN for side in self.shape], bool)
        np.testing.assert_array_equal(position, place - self.start)
        size, radius = self.env.unwrapped.agent_view_size, self.env.radius
        column, row = np.divmod(np.arange(size**2), size)
        view = place + MARGIN + towards(direction, size - 1 - row, column - size // 2)
        lit = obs.image[..., 0].reshape(-1) != UNSEEN
        self.known[tuple(view[lit].T)] = self.known[tuple(place + MARGIN)] = True
        column, row = np.divmod(np.arange((2 * radius + 1) ** 2), 2 * radius + 1)
        around = place + MARGIN + towards(direction, radius - row, column - radius)
        near = np.clip(around, 0, np.array(self.known.shape) - 1)
        known = self.known[tuple(near.T)] & (near == around).all(1)
        grid = np.pad(cells[: self.shape[0] * self.shape[1]].reshape(self.shape), MARGIN, constant_values=WALL_WORD)
        # Outside of the world there are walls, of which two may share a place on the map.
        outside, shown = grid_outside(around - MARGIN, self.shape), obs.map.reshape(-1, 3)
        known |= outside & (shown == WALL_BYTES).all(1)
        words = np.where(known, grid[tuple(near.T)], 0)
        np.testing.assert_array_equal(shown, np.stack([words >> bits & 255 for bits in (0, 8, 16)], -1))
        self.begins = last
        return known.sum(), lit.sum()


@pytest.mark.parametrize(
    "name",
    [
        "ObstructedMaze-1Dlhb",
        "Fetch-8x8-N3",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("KeyCorridorS3R3", "FourRooms", "MultiRoom-N2-S4")),
    ],
)
def test_the_map_is_what_was_seen_of_the_grid(name):
    """Catches a lost place, cells that differ from the grid or show what was not seen, and a map of an old episode."""
    env = world(minigrid_id(name))[0]
    witnesses, ends, counts = [Witness(env) for _ in range(SHOWN)], 0, []
    for chunk in played(minigrid_id(name), 3, 0.4):
        steps = jax.tree.map(lambda leaf: np.asarray(leaf)[:, :SHOWN], chunk)
        ends += steps.last.sum()
        for t, n in np.ndindex(steps.agent.shape):
            shown = (steps.cells, steps.agent, steps.direction, steps.obs, steps.position, steps.last)
            counts.append(witnesses[n].agrees(*jax.tree.map(lambda leaf, t=t, n=n: leaf[t, n], shown)))
    known, lit = np.array(counts).T
    assert ends > 10
    assert (known > lit).mean() > 0.3, "it remembers more than is in view"
    assert known.max() < (2 * env.radius + 1) ** 2, "and never knows all"


def test_the_view_lies_on_the_map():
    """Catches a map that is turned or shifted against the image; the agent's own cell shows what it carries there."""
    env = world(minigrid_id("ObstructedMaze-1Dlhb"))[0]
    radius, size = env.radius, env.unwrapped.agent_view_size
    (steps,) = played(minigrid_id("ObstructedMaze-1Dlhb"), 1, 0.4)
    images, maps = np.asarray(steps.obs.image), np.asarray(steps.obs.map)
    part = maps[..., radius - size // 2 : radius + size // 2 + 1, radius - size + 1 : radius + 1, :]
    lit = images[..., 0] != UNSEEN
    lit[..., size // 2, size - 1] = False
    np.testing.assert_array_equal(part[lit], images[lit])
    carries = images[..., size // 2, size - 1, 0] > 1
    assert carries.any()
    assert (part[..., size // 2, size - 1, 0][carries] == 1).mean() > 0.9, "the ground, mostly empty, not the thing"


def test_a_wrapped_world_steps_as_the_world_itself():
    """Catches a wrapper that changes a world, and a map that is kept beyond the end of an episode."""
    plain = envs_jax.make("MiniGrid-Empty-Random-5x5-v0", max_steps=7)
    step, wrapped = jax.jit(VectorEnv(plain, 6).step), VectorEnv(MapWrapper(plain), 6)
    step_too = jax.jit(wrapped.step)
    state, _ = VectorEnv(plain, 6).reset(jax.random.key(3))
    mapped, _ = wrapped.reset(jax.random.key(3))
    assert not np.asarray(mapped.env.seen.position).any()
    fresh = 0
    for t in range(20):
        action = jax.random.randint(jax.random.key(t), (6,), 0, 3)
        state, timestep = step(state, action)
        mapped, other = step_too(mapped, action)
        for leaf in ("reward", "discount", "step_type"):
            np.testing.assert_array_equal(getattr(timestep, leaf), getattr(other, leaf))
        for leaf in ("image", "direction", "mission"):
            np.testing.assert_array_equal(getattr(timestep.observation, leaf), getattr(other.observation, leaf))
        last = np.asarray(other.last())
        assert not np.asarray(mapped.env.seen.position)[last].any(), "a fresh map begins where the agent is"
        seen = np.asarray(mapped.env.seen.words != 0).sum(1)
        assert (seen[last] <= np.asarray(other.observation.image[..., 0] != UNSEEN).sum((1, 2))[last]).all()
        fresh += last.sum()
    assert fresh >= 6


def test_the_map_is_as_large_as_needed():
    """Catches a radius that is ignored, a map of two places for a cell, and wrapped worlds that it can't read."""
    env = envs_jax.make("MiniGrid-KeyCorridorS3R1-v0")
    assert (map_size(env), MapWrapper(env).radius) == ((7, 3), 5)
    assert map_size(envs_jax.make("MiniGrid-Fetch-5x5-N2-v0")) == (12, 12), "with a margin for what is outside"
    narrow = MapWrapper(env, radius=2)
    state, timestep = jax.jit(narrow.reset)(jax.random.key(0))
    assert timestep.observation.map.shape == (5, 5, 3)
    narrow.observation_spec.validate(timestep.observation)
    wide = jax.jit(MapWrapper(env).reset)(jax.random.key(0))[1].observation.map
    np.testing.assert_array_equal(timestep.observation.map, wide[3:8, 3:8])
    np.testing.assert_array_equal(narrow.render(state), env.render(state.world))
    with pytest.raises(ValueError, match="radius must be"):
        MapWrapper(env, radius=0)
    for other in (FullyObsWrapper(env), envs_jax.make("SimpleDoorKey")):
        with pytest.raises(ValueError, match="wraps a world of"):
            MapWrapper(other)


def test_a_blocked_step_moves_nobody_on_the_map():
    """Catches a place that is counted on where a wall or an object stops the agent."""
    env = MapWrapper(envs_jax.make("MiniGrid-Empty-5x5-v0"))
    step = jax.jit(env.step)
    state, _ = env.reset(jax.random.key(0))
    positions = []
    for action in (*[Actions.forward] * 4, Actions.right, *[Actions.forward] * 2, Actions.pickup):
        state, _ = step(state, jnp.int32(action))
        positions.append(tuple(state.seen.position.tolist()))
    assert positions == [(1, 0), (2, 0), (2, 0), (2, 0), (2, 0), (2, 1), (2, 2), (2, 2)]
