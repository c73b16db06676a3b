"""Fresh layouts: distributed as the reference's, and solvable."""

from collections import deque

import jax
import numpy as np
import pytest
from scipy.stats import chi2_contingency

import envs_jax
from envs_jax.grid.constants import DIR_TO_VEC
from tests import traces

SIGNIFICANCE = 1e-4
SAMPLES = 8000


def fresh(task, count=SAMPLES, seed=0):
    env = envs_jax.make(task)
    keys = jax.random.split(jax.random.key(seed), count)
    return env, jax.device_get(jax.jit(jax.vmap(lambda key: env.reset(key)[0]))(keys)._replace(key=None))


def same_distribution(name, ours, theirs):
    """Chi-square test that two samples of categories come from one distribution."""
    values, codes = np.unique(np.concatenate([ours, theirs]), axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    counts = np.stack([np.bincount(part, minlength=len(values)) for part in (codes[: len(ours)], codes[len(ours) :])])
    rare = counts.sum(0) < 25
    counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)]) if rare.any() else counts
    assert counts.shape[1] > 1, f"{name} never varies"
    assert chi2_contingency(counts[:, counts.sum(0) > 0]).pvalue > SIGNIFICANCE, name


def cells(array, size):
    return np.stack([array // size, array % size], -1)


def side_of(doors, rooms):
    """0 east, 1 south, 2 west, 3 north."""
    x, y = doors[..., 0], doors[..., 1]
    return np.select([x == rooms[:, None, 0] - 1, y == rooms[:, None, 1] - 1, x == 0], [0, 1, 2], 3)


@pytest.mark.parametrize("task", traces.TASKS)
def test_layouts_follow_the_reference(task):
    env, state = fresh(task)
    data = traces.load(f"{task.lower()}_resets")
    doors, their_doors = cells(state.door_cell, env.size), data["door_pos"].reshape(-1, env.num_doors, 2).astype(int)
    rooms, their_rooms = state.room_size, data["size"].astype(int)
    if task != "TwoDoor":
        same_distribution("room size", rooms, their_rooms)
    side, their_side = side_of(doors, rooms), np.sort(data["door_wall"], 1)
    same_distribution("door sides", np.sort(side, 1), their_side)
    for i in range(env.num_doors):
        places = [np.column_stack([s[:, i] % 2, d[:, i]]) for s, d in ((side, doors), (their_side, their_doors))]
        if env.num_doors == 1:
            same_distribution("door place", *places)
    same_distribution("agent", cells(state.agent_cell, env.size), data["agent_pos"].astype(int))
    same_distribution("agent direction", state.agent_dir, data["agent_dir"])
    their_keys = data["key_pos"].reshape(-1, env.num_keys, 2).astype(int)
    for i in range(env.num_keys):
        same_distribution(f"key {i}", cells(state.key_cell[:, i], env.size), their_keys[:, i])
    if task != "ColoredDoorKey":
        same_distribution("colour", state.door_color[:, 0], data["door_color"])
    if env.num_lava:
        same_distribution("lava", cells(state.lava_cell[:, 0], env.size), data["lava_pos"].astype(int))


@pytest.mark.parametrize("task", ["SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey"])
def test_objects_stand_relative_to_the_room_as_in_the_reference(task):
    """Joint facts that wrong bookkeeping of excluded cells would change."""
    env, state = fresh(task)
    data = traces.load(f"{task.lower()}_resets")
    ours = (state.room_size, cells(state.agent_cell, env.size), cells(state.key_cell, env.size)[:, 0])
    theirs = (data["size"].astype(int), data["agent_pos"].astype(int), data["key_pos"].astype(int)[:, :2])
    gaps = [np.clip(key - agent, -3, 3) for _, agent, key in (ours, theirs)]
    same_distribution("key beside agent", *gaps)
    corners = [(np.abs(key) == 1).astype(int) + 2 * (room - key == 2) for room, _, key in (ours, theirs)]
    same_distribution("key along walls", *corners)


def test_colored_keys_and_lava_keep_off_the_door():
    for task, name in (("ColoredDoorKey", "key_cell"), ("LavaDoorKey", "lava_cell")):
        env, state = fresh(task)
        doors = cells(state.door_cell[:, 0], env.size)
        inside = np.clip(doors, 1, state.room_size - 2)
        placed = cells(getattr(state, name), env.size)
        assert not (placed == inside[:, None]).all(-1).any()


def test_every_key_has_a_colour_of_its_own():
    env = envs_jax.make("SimpleDoorKey", num_keys=6)
    states = jax.jit(jax.vmap(lambda key: env.reset(key)[0]))(jax.random.split(jax.random.key(0), 50))
    np.testing.assert_array_equal(np.sort(states.key_color, 1), np.broadcast_to(np.arange(6), (50, 6)))
    np.testing.assert_array_equal(states.door_color, states.key_color[:, :1])


def reachable(start, free):
    """bool[W, H], the cells to which one can walk from `start`."""
    seen = np.zeros_like(free)
    seen[tuple(start)] = True
    queue = deque([tuple(start)])
    while queue:
        x, y = queue.popleft()
        for dx, dy in DIR_TO_VEC:
            if free[x + dx, y + dy] and not seen[x + dx, y + dy]:
                seen[x + dx, y + dy] = True
                queue.append((x + dx, y + dy))
    return seen


@pytest.mark.parametrize("task", traces.TASKS)
def test_every_fresh_layout_is_solvable(task):
    """One can walk to a cell beside the right key and, holding it, to the cell inside a door."""
    env, state = fresh(task, count=1000, seed=1)
    for i in range(1000):
        room = state.room_size[i]
        free = np.zeros((env.size + 1, env.size + 1), bool)
        free[1 : room[0] - 1, 1 : room[1] - 1] = True
        blocked = [*state.lava_cell[i], *state.key_cell[i]]
        for cell in blocked:
            free[tuple(cells(cell, env.size))] = False
        key = cells(state.key_cell[i, 0], env.size)
        seen = reachable(cells(state.agent_cell[i], env.size), free)
        assert any(seen[tuple(key + step)] for step in DIR_TO_VEC), (task, i, "key")
        free[tuple(key)] = True
        seen = reachable(key, free)
        inside = np.clip(cells(state.door_cell[i], env.size), 1, room - 2)
        assert any(seen[tuple(cell)] for cell in inside), (task, i, "door")
