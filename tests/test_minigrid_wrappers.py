"""The observation wrappers against those of the package `minigrid`."""

import copy
import pickle

import jax
import jax.numpy as jnp
import minigrid.wrappers as theirs
import numpy as np
import pytest
from minigrid.core.world_object import Ball, Goal

import envs_jax
from envs_jax import minigrid as ours
from envs_jax.vector import vectorize
from envs_jax.wrappers import AgentAxisWrapper
from tests.minigrid_reference import make_reference, state_of

WORLDS = ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-LavaGapS5-v0", "MiniGrid-DistShift1-v0"]
"""Two in which walls hide things, with a door and a key, and one in which nothing hides."""
WRAPPERS = {
    "FullyObsWrapper": {},
    "RGBImgObsWrapper": {"tile_size": 8},
    "RGBImgPartialObsWrapper": {"tile_size": 5},
    "DirectionObsWrapper": {"type": "angle_atan2"},
}


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@pytest.mark.parametrize("name", WORLDS)
def test_observations_are_minigrid_s(name):
    """Catches light, tiles, axes or carried objects other than MiniGrid's: on a random walk not a byte differs."""
    reference, env, rng = make_reference(name), envs_jax.make(name), np.random.default_rng(0)
    wrapped = {wrapper: getattr(theirs, wrapper)(reference, **options) for wrapper, options in WRAPPERS.items()}
    obs, _ = wrapped["DirectionObsWrapper"].reset(seed=3)
    wanted, states = [{wrapper: one.observation(obs) for wrapper, one in wrapped.items()}], [state_of(env, reference)]
    for step, action in enumerate(rng.choice(6, 24, p=[0.15, 0.15, 0.4, 0.15, 0, 0.15])):
        if step == 12:
            reference.carrying = Ball("purple")
        obs, _, terminated, truncated, _ = reference.step(int(action))
        wanted.append({wrapper: one.observation(obs) for wrapper, one in wrapped.items()})
        states.append(state_of(env, reference))
        if terminated or truncated:
            wrapped["DirectionObsWrapper"].reset()
    same = {wrapper: getattr(ours, wrapper)(env, **options) for wrapper, options in WRAPPERS.items()}
    observe = jax.jit(jax.vmap(lambda state: {wrapper: one.observe(state) for wrapper, one in same.items()}))
    seen = observe(stacked(states))
    for wrapper, found in seen.items():
        np.testing.assert_array_equal(found.image, [obs[wrapper]["image"] for obs in wanted], err_msg=wrapper)
        np.testing.assert_array_equal(found.direction, [obs[wrapper]["direction"] for obs in wanted])
        same[wrapper].observation_spec.validate(jax.tree.map(lambda leaf: leaf[0], found))
    directions = [obs["DirectionObsWrapper"]["goal_direction"] for obs in wanted]
    np.testing.assert_allclose(seen["DirectionObsWrapper"].goal_direction, directions, rtol=1e-6)


def test_directions_to_the_goal_are_minigrid_s():
    """In every cell, also straight above or beside the goal, and on it."""
    reference, env = make_reference("MiniGrid-Empty-5x5-v0"), envs_jax.make("MiniGrid-Empty-5x5-v0")
    wrapped = {type: theirs.DirectionObsWrapper(reference, type=type) for type in ("slope", "angle", "angle_atan2")}
    first, wanted, states = reference.reset(seed=0)[0], [], []
    reference.put_obj(Goal(), 2, 2)
    for x, y in np.ndindex(3, 3):
        reference.agent_pos = (x + 1, y + 1)
        states.append(state_of(env, reference))
    for type, one in wrapped.items():
        one.goal_position, wanted = (2, 2), []
        for x, y in np.ndindex(3, 3):
            reference.agent_pos = (x + 1, y + 1)
            wanted.append(one.observation(first)["goal_direction"])
        found = jax.jit(jax.vmap(ours.DirectionObsWrapper(env, type=type).observe))(stacked(states))
        np.testing.assert_allclose(found.goal_direction, wanted, rtol=1e-6)


def test_wrapped_worlds_reset_and_step_in_batches():
    """Catches observations of another state than the batch's, as after a reset."""
    wrapped = ours.RGBImgObsWrapper(envs_jax.make("MiniGrid-Empty-5x5-v0", max_steps=3))
    batch, observe = vectorize(wrapped, 4), jax.jit(jax.vmap(wrapped.observe))
    state, timestep = batch.reset(jax.random.key(0))
    for action, length in ((2, 1), (2, 2), (1, 3), (1, 1)):
        state, timestep = batch.step(state, jnp.full(4, action))
        np.testing.assert_array_equal(timestep.observation.image, observe(state.env).image)
        assert timestep.extras["episode_length"].tolist() == [length] * 4
    assert AgentAxisWrapper(wrapped).max_steps == 3


def test_wrappers_wrap_wrappers():
    """Catches a wrapper that loses what the one inside has changed."""
    env = envs_jax.make("MiniGrid-Empty-5x5-v0")
    both = [
        ours.DirectionObsWrapper(ours.FullyObsWrapper(env)),
        ours.FullyObsWrapper(ours.DirectionObsWrapper(env)),
    ]
    state, _ = jax.jit(both[0].reset)(jax.random.key(0))
    for wrapped in both:
        observation = jax.jit(wrapped.observe)(state)
        wrapped.observation_spec.validate(observation)
        assert observation.image.shape == (5, 5, 3)
        assert float(observation.goal_direction) == 1


def test_wrapped_worlds_are_equal_and_can_be_copied():
    env = envs_jax.make("MiniGrid-Empty-5x5-v0")
    wrapped = ours.RGBImgObsWrapper(env)
    for same in (ours.RGBImgObsWrapper(envs_jax.make("MiniGrid-Empty-5x5-v0"), 8), copy.deepcopy(wrapped)):
        assert same == wrapped
        assert hash(same) == hash(wrapped)
    assert pickle.loads(pickle.dumps(wrapped)) == wrapped
    assert ours.RGBImgObsWrapper(env, 4) != wrapped != ours.RGBImgPartialObsWrapper(env)
    assert repr(ours.RGBImgObsWrapper(env, 4)) == "RGBImgObsWrapper(env=Empty(size=5), tile_size=4)"


MISTAKES = {
    "another world": (lambda: ours.FullyObsWrapper(envs_jax.make("simple")), "wraps a world of envs_jax.minigrid"),
    "no world": (lambda: ours.FullyObsWrapper(3), "wraps a world of envs_jax.minigrid, not 3"),
    "no image": (lambda: ours.RGBImgObsWrapper(envs_jax.make("KeyInBox")), "changes an observation's image, which "),
    "no goal": (lambda: ours.DirectionObsWrapper(envs_jax.make("MiniGrid-Unlock-v0")), "has no goal to which"),
    "no type": (lambda: ours.DirectionObsWrapper(envs_jax.make("MiniGrid-Empty-5x5-v0"), "degrees"), "must be one of"),
    "no pixels": (lambda: ours.RGBImgObsWrapper(envs_jax.make("MiniGrid-Empty-5x5-v0"), 0), "tile_size must be within"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_worlds_that_can_t_be_wrapped(mistake):
    make, told = MISTAKES[mistake]
    with pytest.raises(ValueError, match=told):
        make()
