"""The teacher of a MiniGrid world at play in many copies of it, as all tests of it share."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import envs_jax
from envs_jax.minigrid.environment import Observation
from envs_jax.minigrid.map_memory import MapWrapper
from envs_jax.vector import VectorEnv
from jaxteach.teacher import make_teacher
from tests.minigrid_reference import make_reference

COPIES, CHUNK = 256, 50
USUAL = np.log(np.array([2, 2, 5, 1, 1, 1, 0.2], np.float32))
"""Random actions walk more than they turn, or nobody would come far."""


class Steps(NamedTuple):
    """What happened, [T, N, ...]."""

    cells: np.ndarray  # uint32, the true grid
    agent: np.ndarray  # int32, its true cell
    direction: np.ndarray
    obs: Any  # with the map
    words: np.ndarray  # uint32, the agent's map
    position: np.ndarray  # int32[..., 2], where the agent believes to be
    caption: np.ndarray
    probs: np.ndarray
    action: np.ndarray
    last: np.ndarray  # bool, the episode ended with this action
    reward: np.ndarray


def minigrid_id(name):
    """The id of a world, by its name without "MiniGrid-" and, for version 0, without "-v0"."""
    return f"MiniGrid-{name}{'' if name[-3:-1] == '-v' else '-v0'}"


@cache
def world(task):
    """A task's world with a map, and its teacher."""
    return MapWrapper(envs_jax.make(task)), make_teacher(task)


@cache
def player(task):
    """The start of a game, and `(game, key, random_share) -> game, Steps` for the next steps of all copies."""
    env, teacher = world(task)
    venv = VectorEnv(env, COPIES)
    memories = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (COPIES, *leaf.shape)), teacher.reset())

    def begin(key):
        state, timestep = venv.reset(key)
        return state, timestep.observation, memories

    def step(share, game, key):
        state, obs, memory = game
        keys = jax.random.split(key, 4)
        captions = jax.vmap(teacher.caption)(memory, obs)
        memory, probs = jax.vmap(teacher, in_axes=(0, 0, None))(memory, obs, keys[0])
        planned = jax.random.categorical(keys[1], jnp.log(probs))
        # From none at all in the first copy to twice the share in the last.
        chance = jax.random.uniform(keys[2], (COPIES,)) < share * 2 * jnp.arange(COPIES) / COPIES
        action = jnp.where(chance, jax.random.categorical(keys[3], jnp.asarray(USUAL), shape=(COPIES,)), planned)
        action = action.astype(jnp.int32)
        after, timestep = venv.step(state, action)
        memory = jax.vmap(teacher.advance)(memory, action)
        done = timestep.last()
        memory = jax.tree.map(
            lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old), memories, memory
        )
        true, seen = state.env.world, state.env.seen
        record = Steps(
            *(true.cells, true.agent_cell, true.agent_dir, obs, seen.words, seen.position),
            *(captions, probs, action, done, timestep.reward),
        )
        return (after, timestep.observation, memory), record

    def play(game, key, share):
        return jax.lax.scan(lambda game, key: step(share, game, key), game, jax.random.split(key, CHUNK))

    return jax.jit(begin), jax.jit(play)


def played(task, chunks, random_share, seed=0):
    """Chunks of `Steps`; without a number of chunks until the first episode of every copy has ended."""
    begin, play = player(task)
    game, over, number = begin(jax.random.key(seed)), np.zeros(COPIES, bool), 0
    while number < chunks if chunks else not over.all():
        game, steps = play(game, jax.random.fold_in(jax.random.key(seed + 1), number), random_share)
        over, number = over | np.asarray(steps.last).any(0), number + 1
        yield steps


def success(task):
    """bool[N], whether the teacher alone succeeds in the first episode of each copy."""
    solved, over = np.zeros(COPIES, bool), np.zeros(COPIES, bool)
    for steps in played(task, None, 0.0):
        ends = np.asarray(steps.last)
        first = ends & (ends.cumsum(0) == 1) & ~over
        solved |= (first & (np.asarray(steps.reward) > 0)).any(0)
        over |= ends.any(0)
    return solved


def solved_of_minigrid_s(task, episodes):
    """How many episodes of the package `minigrid` itself the teacher solves."""
    env, teacher = envs_jax.make(task), make_teacher(task)
    numbers, reference = env.missions(), make_reference(task)

    @jax.jit
    def act(memory, obs):
        memory, probs = teacher(memory, obs, jax.random.key(0))
        action = probs.argmax().astype(jnp.int32)
        return teacher.advance(memory, action), action

    solved = 0
    for seed in range(episodes):
        seen, memory, over = reference.reset(seed=seed)[0], teacher.reset(), False
        while not over:
            mission = np.array(numbers[seen["mission"]], np.int32)
            memory, action = act(memory, Observation(seen["image"], np.int32(seen["direction"]), mission))
            seen, reward, terminated, truncated, _ = reference.step(int(action))
            over = terminated or truncated
        solved += reward > 0
    return solved
