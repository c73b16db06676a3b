"""The students of MiniGrid's worlds: what they read, and what a policy makes of MiniGrid's observations."""

import sys
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
import jaxteach as jt
from envs_jax.grid.constants import BALL, BOX, CLOSED, COLOR_TO_IDX, DOOR, EMPTY, GOAL, KEY, LAVA, LOCKED, OPEN, WALL
from envs_jax.minigrid.map_memory import MapObservation
from envs_jax.vector import VectorEnv
from jaxteach.api.run import Policy
from jaxteach.config import WorldConfig
from jaxteach.networks.features import image_features, map_features
from jaxteach.networks.registry import make_network
from jaxteach.ppo.episodes import student_policy
from jaxteach.system.command import run_command
from tests.command_line import last_counts
from tests.minigrid_teaching import minigrid_id

YELLOW, BLUE, GREEN = (COLOR_TO_IDX[color] for color in ("yellow", "blue", "green"))
RADIUS, VIEW = 5, 7
SIDE = 2 * RADIUS + 1
MISSION = (YELLOW, BALL)
CHANNELS = dict(
    unseen=0, wall=1, key=2, ball=3, box=4, goal=5, lava=6, open=7, closed=8, locked=9, bits=slice(10, 13), colors=13
)
NUM_CHANNELS = 13 + 2 * len(MISSION)


def observation():
    """A map with a few things, and an image in whose hand is a yellow key."""
    shown, image = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((VIEW, VIEW, 3), np.uint8)
    shown[RADIUS - 1 : RADIUS + 2, RADIUS - 1 : RADIUS + 2, 0] = EMPTY
    things = {
        (0, 0): (WALL, 5, 0),
        (RADIUS + 1, RADIUS): (BALL, YELLOW, 0),
        (RADIUS, 1): (DOOR, BLUE, LOCKED),
        (RADIUS, SIDE - 1): (DOOR, YELLOW, CLOSED),
        (3, 4): (DOOR, GREEN, OPEN),
        (4, 4): (BOX, BLUE, 0),
        (6, 4): (GOAL, GREEN, 0),
        (2, 2): (LAVA, 0, 0),
    }
    for place, thing in things.items():
        shown[place] = thing
    image[VIEW // 2, VIEW - 1] = (KEY, YELLOW, 0)
    return MapObservation(image, np.int32(1), np.array(MISSION, np.int32), shown), things


def taken_apart(features):
    """What is in hand [C], near [7, 7, C], in each row [S, C] and in each column [S, C]."""
    near = 7 * 7 * NUM_CHANNELS
    assert features.shape == ((1 + 49 + 2 * SIDE) * NUM_CHANNELS,)
    hand, near, *rest = np.split(np.asarray(features), np.cumsum([NUM_CHANNELS, near, SIDE * NUM_CHANNELS]))
    return hand, near.reshape(7, 7, NUM_CHANNELS), *(part.reshape(SIDE, NUM_CHANNELS) for part in rest)


def test_features_of_a_map_by_hand():
    """Catches channels that are exchanged, a square that is not around the agent, and counts along the wrong axis."""
    obs, things = observation()
    hand, near, rows, columns = taken_apart(map_features(obs))
    assert np.flatnonzero(hand).tolist() == [CHANNELS["key"], 12, 13], "a key; yellow is 4, the mission's first number"
    at = {(x, y): near[x - RADIUS + 3, y - RADIUS + 3] for x, y in things if max(abs(x - 5), abs(y - 5)) <= 3}
    assert np.flatnonzero(at[6, 5]).tolist() == [CHANNELS["ball"], 12, 13, 16], "as the mission says: colour and type"
    assert np.flatnonzero(at[3, 4]).tolist() == [CHANNELS["open"], 10, 15], "a door's type is 4, as yellow is"
    assert np.flatnonzero(at[4, 4]).tolist() == [CHANNELS["box"], 11]
    assert np.flatnonzero(at[6, 4]).tolist() == [CHANNELS["goal"]], "a goal has no colour"
    assert np.flatnonzero(at[2, 2]).tolist() == [CHANNELS["lava"]]
    assert not near[3, 3].any(), "an empty cell"
    assert near[..., CHANNELS["locked"]].sum() == near[..., CHANNELS["wall"]].sum() == 0, "too far away"
    for along, axis in ((rows, 0), (columns, 1)):
        for channel, place in (("wall", (0, 0)), ("locked", (5, 1)), ("closed", (5, 10)), ("ball", (6, 5))):
            counts = np.zeros(SIDE, int)
            counts[place[1 - axis]] = 1
            np.testing.assert_array_equal(along[:, CHANNELS[channel]], counts)
        unseen = (obs.map[..., 0] == 0).sum(axis)
        np.testing.assert_array_equal(along[:, CHANNELS["unseen"]], unseen)


def test_features_of_an_image_by_hand():
    obs, _ = observation()
    features = np.asarray(image_features(obs))
    assert features.shape == (VIEW**2 * NUM_CHANNELS + 4,)
    assert features[-4:].tolist() == [0, 1, 0, 0], "the direction"
    cells = features[:-4].reshape(VIEW, VIEW, NUM_CHANNELS)
    assert np.flatnonzero(cells[VIEW // 2, VIEW - 1]).tolist() == [CHANNELS["key"], 12, 13]
    assert cells[..., CHANNELS["unseen"]].sum() == VIEW**2 - 1


def wild(network, world):
    """Parameters with which an action depends on all that the network reads."""
    obs = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), world.abstract_observation)
    inputs = jax.vmap(jax.vmap(network.prepare))(obs)
    shapes = jax.eval_shape(
        network.init, jax.random.key(0), inputs[None], jnp.ones((1, 1), bool), network.initial_carry(1)
    )
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    return structure.unflatten([0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)])


@pytest.mark.parametrize(
    ("name", "network", "recurrent"),
    [
        ("Fetch-5x5-N2", "mlp", True),
        pytest.param("ObstructedMaze-1Dl", "egocentric", False, marks=pytest.mark.slow),
    ],
)
def test_a_policy_acts_on_minigrid_s_observations_as_the_student_on_its_map(name, network, recurrent):
    """Catches a policy whose map is not the one of the training, or is not cleared when an episode ends."""
    copies, world = 4, WorldConfig(max_steps=9).make(minigrid_id(name))
    made = make_network(network, world, recurrent)
    params = wild(made, world)
    policy, student = Policy.of(params, made, world), student_policy(made, params, greedy=False)
    venv, plain = VectorEnv(world, copies), VectorEnv(world.env.unwrapped, copies)
    act, act_on_map = jax.jit(lambda obs, carry, first, key: policy(obs, carry, first=first, key=key)), jax.jit(student)
    state, timestep = venv.reset(jax.random.key(1))
    bare, seen = plain.reset(jax.random.key(1))
    carry, own, first = made.initial_carry(copies), policy._initial_carry(copies), jnp.ones(copies, bool)
    done, ends = [], 0
    for t in range(30):
        carry, expected = act_on_map(carry, timestep.observation, first, jax.random.key(t))
        action, own = act(seen.observation, own, first, jax.random.key(t))
        np.testing.assert_array_equal(action, expected[:, 0])
        state, timestep = venv.step(state, expected)
        bare, seen = plain.step(bare, action)
        first = seen.last()
        np.testing.assert_array_equal(first, timestep.last())
        done.append(np.asarray(action))
        ends += first.sum()
    assert ends >= 3 * copies
    assert len(np.unique(done)) >= 4


def test_one_observation_of_minigrid_s_is_enough_for_a_policy():
    """Catches a batch that is needed, and a carry that does not hold the map from step to step."""
    world = WorldConfig().make("MiniGrid-Empty-5x5-v0")
    network = make_network("egocentric", world, False)
    policy, env = Policy.of(wild(network, world), network, world), envs_jax.make("MiniGrid-Empty-5x5-v0")
    timestep = jax.jit(env.reset)(jax.random.key(0))[1]
    action, carry = policy(timestep.observation)
    again, _ = policy(jax.tree.map(lambda leaf: leaf[None], timestep.observation))
    assert action.shape == ()
    assert again.tolist() == [action]
    assert int(np.count_nonzero(carry[0].words)) > 9
    image, *others = timestep.observation
    with pytest.raises(ValueError, match="an observation of this student is uint8"):
        policy(type(timestep.observation)(image[:5], *others))
    with pytest.raises(ValueError, match="an observation of this student is uint8"):
        policy(image)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--network", "reference"], "use --network egocentric or mlp"),
        (["--recurrent"], "add --network mlp to --recurrent"),
        (["--network", "nonsense"], "nonsense"),
    ],
)
def test_networks_that_don_t_fit_are_refused_in_one_sentence(options, sentence, monkeypatch, capsys, tmp_path):
    arguments = ["--task", "MiniGrid-Unlock-v0", "--logdir", tmp_path, "--savedir", "run", *options]
    monkeypatch.setattr(sys, "argv", ["train", *last_counts(arguments)])
    with pytest.raises(SystemExit) as end:
        run_command(import_module("jaxteach.train").main)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_recurrent_student_is_trained_and_loaded(tmp_path):
    """Catches a folder whose student lost its map or its memory."""
    size = {"num_envs": 8, "rollout_length": 16, "n_itr": 3, "batch_size": 64, "num_eval": 4, "eval_interval": 3}
    run = jt.train("MiniGrid-Unlock-v0", network="mlp", recurrent=True, logdir=tmp_path, savedir="run", **size)
    assert np.isfinite(run.metrics["policy_loss"]).all()
    policy = jt.load_policy(run.folder)
    assert policy.network.recurrent
    env = envs_jax.make("MiniGrid-Unlock-v0")
    state, timestep = jax.jit(env.reset)(jax.random.key(0))
    act, step, carry = jax.jit(policy), jax.jit(env.step), None
    action, carry = policy(timestep.observation)
    for _ in range(5):
        action, carry = act(timestep.observation, carry)
        state, timestep = step(state, action)
    maps, memory = carry
    assert int(np.count_nonzero(maps.words)) > 5
    assert all(np.asarray(leaf).any() for leaf in memory)
