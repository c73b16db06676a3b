"""Fresh layouts: distributed as the reference's, and solvable."""

from collections import deque

import jax
import numpy as np
import pytest
from scipy.stats import chi2_contingency

import envs_jax
from envs_jax.grid.constants import DIR_TO_VEC, DOOR, KEY, LAVA, WALL
from tests import traces
from tests.distributions import contingency_table

SIGNIFICANCE = 1e-4
SAMPLES = 8000


def fresh(task, count=SAMPLES, seed=0):
    env = envs_jax.make(task)
    keys = jax.random.split(jax.random.key(seed), count)
    return env, Layouts(jax.device_get(jax.jit(jax.vmap(lambda key: env.to_arrays(env.reset(key)[0])))(keys)))


class Layouts:
    """What fresh worlds hold, from their arrays."""

    def __init__(self, arrays):
        kind, self.color, _ = np.moveaxis(arrays["grid"], -1, 0)
        self.kind, size = kind, kind.shape[1]
        solid = np.isin(kind, (WALL, DOOR))
        self.rooms = np.stack([solid[:, :, 0].sum(1), solid[:, 0].sum(1)], 1)
        self.agents, self.directions = arrays["agent_pos"], arrays["agent_dir"]
        self.doors = np.stack([arrays["facts"] // size, arrays["facts"] % size], -1)
        self.door_colors = self.colors_of(DOOR)[:, 0]

    def cells_of(self, kind):
        """int[n, count, 2], in the order of cells."""
        return np.argwhere(self.kind == kind)[:, 1:].reshape(len(self.kind), -1, 2)

    def colors_of(self, kind):
        """int[n, count], as `cells_of`."""
        return self.color[self.kind == kind].reshape(len(self.kind), -1)

    @property
    def keys(self):
        """int[n, K, 2], the one that fits the door first."""
        order = np.argsort(self.colors_of(KEY) != self.door_colors[:, None], axis=1, kind="stable")
        return np.take_along_axis(self.cells_of(KEY), order[..., None], 1)


def same_distribution(name, ours, theirs):
    """Chi-square test that two samples of categories come from one distribution."""
    table = contingency_table(ours, theirs, lambda counts: counts.sum(0) < 25)
    assert table.shape[1] > 1, f"{name} never varies"
    assert chi2_contingency(table).pvalue > SIGNIFICANCE, name


def side_of(doors, rooms):
    """0 east, 1 south, 2 west, 3 north."""
    x, y = doors[..., 0], doors[..., 1]
    return np.select([x == rooms[:, None, 0] - 1, y == rooms[:, None, 1] - 1, x == 0], [0, 1, 2], 3)


@pytest.mark.parametrize("task", traces.TASKS)
def test_layouts_follow_the_reference(task):
    env, ours = fresh(task)
    data = traces.load(f"{task.lower()}_resets")
    doors, their_doors = ours.doors, data["door_pos"].reshape(-1, env.num_doors, 2).astype(int)
    rooms, their_rooms = ours.rooms, data["size"].astype(int)
    if task != "TwoDoor":
        same_distribution("room size", rooms, their_rooms)
    side, their_side = side_of(doors, rooms), np.sort(data["door_wall"], 1)
    same_distribution("door sides", np.sort(side, 1), their_side)
    for i in range(env.num_doors):
        places = [np.column_stack([s[:, i] % 2, d[:, i]]) for s, d in ((side, doors), (their_side, their_doors))]
        if env.num_doors == 1:
            same_distribution("door place", *places)
    same_distribution("agent", ours.agents, data["agent_pos"].astype(int))
    same_distribution("agent direction", ours.directions, data["agent_dir"])
    their_keys = data["key_pos"].reshape(-1, env.num_keys, 2).astype(int)
    for i in range(env.num_keys):
        same_distribution(f"key {i}", ours.keys[:, i], their_keys[:, i])
    if task != "ColoredDoorKey":
        same_distribution("colour", ours.door_colors, data["door_color"])
    if env.num_lava:
        same_distribution("lava", ours.cells_of(LAVA)[:, 0], data["lava_pos"].astype(int))


@pytest.mark.parametrize("task", ["SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey"])
def test_objects_stand_relative_to_the_room_as_in_the_reference(task):
    """Joint facts that wrong bookkeeping of excluded cells would change."""
    _, layouts = fresh(task)
    data = traces.load(f"{task.lower()}_resets")
    ours = (layouts.rooms, layouts.agents, layouts.keys[:, 0])
    theirs = (data["size"].astype(int), data["agent_pos"].astype(int), data["key_pos"].astype(int)[:, :2])
    gaps = [np.clip(key - agent, -3, 3) for _, agent, key in (ours, theirs)]
    same_distribution("key beside agent", *gaps)
    corners = [(np.abs(key) == 1).astype(int) + 2 * (room - key == 2) for room, _, key in (ours, theirs)]
    same_distribution("key along walls", *corners)


def test_colored_keys_and_lava_keep_off_the_door():
    for task, kind in (("ColoredDoorKey", KEY), ("LavaDoorKey", LAVA)):
        _, layouts = fresh(task)
        inside = np.clip(layouts.doors[:, 0], 1, layouts.rooms - 2)
        placed = layouts.cells_of(kind)
        assert not (placed == inside[:, None]).all(-1).any()


def test_every_key_has_a_colour_of_its_own():
    env = envs_jax.make("SimpleDoorKey", num_keys=6)
    arrays = jax.jit(jax.vmap(lambda key: env.to_arrays(env.reset(key)[0])))(jax.random.split(jax.random.key(0), 50))
    layouts = Layouts(jax.device_get(arrays))
    np.testing.assert_array_equal(np.sort(layouts.colors_of(KEY), 1), np.broadcast_to(np.arange(6), (50, 6)))


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
    env, layouts = fresh(task, count=400, seed=1)
    keys, lava = layouts.keys, layouts.cells_of(LAVA)
    for i in range(400):
        room = layouts.rooms[i]
        free = np.zeros((env.size + 1, env.size + 1), bool)
        free[1 : room[0] - 1, 1 : room[1] - 1] = True
        for cell in (*lava[i], *keys[i]):
            free[tuple(cell)] = False
        key = keys[i, 0]
        seen = reachable(layouts.agents[i], free)
        assert any(seen[tuple(key + step)] for step in DIR_TO_VEC), (task, i, "key")
        free[tuple(key)] = True
        seen = reachable(key, free)
        inside = np.clip(layouts.doors[i], 1, room - 2)
        assert any(seen[tuple(cell)] for cell in inside), (task, i, "door")
