"""The benchmark command, and that its C loop plays by the same rules."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import envs_jax
from benchmarks import training
from benchmarks.mappo import play
from benchmarks.peers import CLoop, MissingPeer
from benchmarks.purejaxrl_ppo import PureJaxPPO
from benchmarks.throughput import Options, measure
from envs_jax.grid.constants import DOOR, KEY, WALL
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import PPOConfig
from jaxteach.errors import UserError
from jaxteach.networks.egocentric import EgocentricNet
from jaxteach.ppo.episodes import run_episodes
from jaxteach.system.command import run_command

ROOT = Path(__file__).resolve().parents[1]


def measured(tmp_path, *arguments):
    """The JSON and the error output of a tiny run of the command."""
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.throughput", "--num_envs", "8", "--steps", "4", "--repeats", "2"]
    done = subprocess.run(
        [*command, "--json", str(out), *arguments], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return json.loads(out.read_text("utf-8")), done.stdout


def c_loop(num_envs):
    try:
        return CLoop(num_envs)
    except MissingPeer as reason:
        pytest.skip(str(reason))


def test_a_task_alone(tmp_path):
    figures, printed = measured(tmp_path, "--task", "simple_SPREAD", "--peer", "none")
    assert figures["task"] == "simple_spread"
    assert (figures["num_envs"], figures["steps"], figures["repeats"]) == (8, 4, 2)
    assert len(figures["steps_per_s_of_repeats"]) == 2
    assert figures["ns_per_step"] == pytest.approx(1e9 / figures["steps_per_s"])
    assert figures["observation_bytes_per_env"] == 3 * 18 * 4
    assert figures["state_bytes_per_env"] > 0
    assert figures["peers"] == {}
    assert figures["machine"]["versions"]["jax"] == jax.__version__
    assert "simple_spread, 8 environments" in printed


def test_a_task_beside_the_c_loop(tmp_path):
    c_loop(1)
    figures, printed = measured(tmp_path, "--task", "SimpleDoorKey", "--peer", "c")
    loop = figures["peers"]["c"]
    assert loop["ratio"] == pytest.approx(figures["steps_per_s"] / loop["steps_per_s"])
    assert figures["observation_bytes_per_env"] == 10 * 10 * 4
    assert "C loop" in printed


def test_a_hallway_beside_multigrid(tmp_path):
    figures, _ = measured(tmp_path, "--task", "LockedHallway-2Rooms")
    theirs = figures["peers"]["multigrid"]
    assert theirs["version"] == "0.1.0"
    assert theirs["ratio"] == pytest.approx(figures["steps_per_s"] / theirs["steps_per_s"])


def test_an_unknown_task_is_one_sentence():
    with pytest.raises(UserError, match="known are SimpleDoorKey"):
        measure(Options(task="DoorKey"))


def test_a_missing_compiler_is_one_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(MissingPeer, match="no C compiler"):
        CLoop(1)


def test_the_c_loop_plays_by_the_same_rules():
    """Same layouts, same actions: same observations and rewards until an episode ends."""
    count, steps = 64, 149
    loop, env = c_loop(count), envs_jax.make("SimpleDoorKey")
    states, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), count))
    grids = np.asarray(jax.vmap(env.to_arrays)(states)["grid"])
    kinds, rows = grids[..., 0].reshape(count, -1), np.arange(count)
    doors, keys = (kinds == DOOR).argmax(1), (kinds == KEY).argmax(1)
    sides = [np.isin(line, (WALL, DOOR)).sum(1) for line in (grids[:, :, 0, 0], grids[:, 0, :, 0])]
    colors = grids[..., 1].reshape(count, -1)[rows, doors]
    layouts = [*sides, doors, colors, keys, states.agent_cell, states.agent_dir]
    for world, layout in enumerate(np.column_stack(layouts).tolist()):
        loop.start(world, *layout)
    # Mostly forward, pick up and toggle, so that keys are carried and doors opened.
    weights = [0.15, 0.15, 0.35, 0.15, 0.04, 0.15, 0.01]
    actions = np.random.default_rng(0).choice(7, (steps, count), p=weights).astype(np.int8)
    step, alive = jax.jit(jax.vmap(env.step)), np.ones(count, bool)
    for action in actions:
        loop.play(action[None])
        states, timestep = step(states, action.astype(np.int32))
        np.testing.assert_allclose(loop.rewards[alive], timestep.reward[alive], atol=1e-6)
        alive &= ~np.asarray(timestep.last())
        np.testing.assert_array_equal(loop.obs[alive], timestep.observation[alive])
    assert 0 < alive.sum() < count


@pytest.mark.slow
def test_mappo_beside_jaxmarl_s(tmp_path):
    """Two updates each: both are judged in mpe2, or the peer says why it is missing."""
    out = tmp_path / "mappo.json"
    command = [sys.executable, "-m", "benchmarks.mappo", "--total_steps", "4096", "--episodes", "50"]
    subprocess.run([*command, "--json", str(out)], capture_output=True, cwd=ROOT, check=True)
    figures = json.loads(out.read_text("utf-8"))
    assert figures["machine"]["versions"]["jax"] == jax.__version__
    names = [run["who"] for run in figures["runs"]]
    assert names == ["jaxteach"] if figures["missing"] else ["jaxteach", "JaxMARL"]
    for run in figures["runs"]:
        assert -120 < run["return_sampled"] < -15
        assert 0 < run["error_greedy"] < 10


def test_returns_in_mpe2_are_ours_for_the_same_policy():
    """A policy that always stands still: the same mean return in mpe2 and in our world."""

    def stay(memory, obs, first, key):
        del first, key
        return memory, np.zeros(obs.shape[:2], np.int32)

    played, world = play(stay, (), 200, 0), AgentAxisWrapper(envs_jax.make("simple_spread"))
    ours = jax.jit(lambda key: run_episodes(world, stay, (), key, 4000))
    expected = ours(jax.random.key(0)).episode_return.mean()
    assert played.mean() == pytest.approx(float(expected), abs=4 * played.std() / 200**0.5)


@pytest.mark.slow
def test_purejaxrl_s_structure_learns():
    """A stand-in that does not learn might be fast: in small rooms its episodes must end sooner and sooner."""
    env = envs_jax.make("SimpleDoorKey", world_size=5, room_size=(5, 5), max_steps=50)
    trainer = PureJaxPPO(env, EgocentricNet(7), PPOConfig(rollout_length=64, entropy_coef=0.01), 32, 60)
    runner = jax.jit(trainer.init)(jax.random.key(0))
    _, info = jax.jit(lambda runner: jax.lax.scan(lambda r, _: trainer.update(r), runner, length=60))(runner)
    returns = info["returned_episode_returns"][:, -1].mean(-1)
    assert returns[-1] > returns[1] + 0.3


@pytest.mark.parametrize("options", [["--task", "Nowhere"], ["--total_steps", "0"]])
def test_mistakes_in_a_measured_training_are_told(options, monkeypatch, capfd):
    """Catches a traceback for a task that is none, and for a run that ends with an error of its own."""
    monkeypatch.setattr(sys, "argv", ["training", "--seeds", "0", *options])
    with pytest.raises(SystemExit) as end:
        run_command(training.main)
    assert end.value.code == 2
    lines = capfd.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in lines), lines
