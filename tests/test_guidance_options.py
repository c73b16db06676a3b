"""Guidance as users choose it: on the command line, in sweeps and in Python, and what becomes of such students."""

import json
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxteach as jt
from jaxteach.cli import parse
from jaxteach.config import EvalConfig, PPOConfig, TrainConfig, default_config
from jaxteach.errors import UserError
from jaxteach.evaluation import command
from jaxteach.report import main as report_main
from jaxteach.sweeps.spec import read_sweep
from jaxteach.system.command import run_command
from jaxteach.training.programs import Experiment
from tests.combination_lock import Lock, lock_teacher

SMALL = {"num_envs": 4, "rollout_length": 8, "batch_size": 32, "num_eval": 4, "final_eval": 4, "progress": False}

REFUSED = {
    "--guidance dager": "unknown --guidance 'dager'; did you mean dagger?",
    "--guidance kickstart+xyzzy": "unknown --guidance 'xyzzy'; known are kickstart, agreement",
    "--guidance kickstart+": "unknown --guidance ''",
    "--guidance dagger+gate+dagger": "--guidance dagger+gate+dagger names a method twice",
    "--guidance gate": "gate weights the labels of other methods; give it with one, as --guidance kickstart+gate",
    "--guidance prior+gate": "gate weights the labels of other methods",
    "--guidance hint --recurrent --network reference": "hint is for networks without recurrence",
}


@pytest.mark.parametrize(("line", "told"), REFUSED.items())
def test_what_makes_no_sense_is_told_in_a_sentence(line, told):
    config = parse(TrainConfig, "train", f"--task SimpleDoorKey {line}".split(), default_config)
    with pytest.raises(UserError) as refusal:
        config.check()
    assert told in str(refusal.value)


def test_a_hint_for_a_student_of_pictures_is_refused():
    config = TrainConfig("SimpleDoorKey", network="reference", ppo=PPOConfig(guidance="hint"))
    with pytest.raises(UserError, match="--guidance hint is for networks whose inputs are vectors, such as egocentric"):
        Experiment(config)


def test_a_sweep_tries_several(tmp_path):
    """Catches a list of methods that is one name, and a name of a folder that two runs share."""
    (tmp_path / "s.toml").write_text(
        """
        [fixed]
        task = "SimpleDoorKey"
        distill_coef = 2
        [grid]
        guidance = ["kickstart", "kickstart+gate", "potential"]
        """
    )
    trials = read_sweep(tmp_path / "s.toml")
    assert [trial.config.ppo.methods for trial in trials] == [("kickstart",), ("kickstart", "gate"), ("potential",)]
    assert [bool(trial.idle) for trial in trials] == [False, False, True]
    (tmp_path / "s.toml").write_text('[fixed]\ntask = "SimpleDoorKey"\nguidance = "dager"')
    with pytest.raises(UserError, match="did you mean dagger"):
        read_sweep(tmp_path / "s.toml")


def test_its_numbers_may_be_traced():
    """Catches a number that is a constant of the program, and one that has no effect in silence."""
    options = {"num_envs": 4, "rollout_length": 8, "batch_size": 32, "total_steps": 320}
    init, update = jt.make_train(
        Lock(), teacher=lock_teacher(), network="mlp", guidance="agreement", agreement_coef=0.5, **options
    )
    state = jax.jit(init)(jax.random.key(0))
    both = jax.jit(jax.vmap(lambda cost: update(state, agreement_coef=cost)[1]["value_loss"]))
    losses = both(jnp.array([0.0, 0.5, 5.0]))
    assert losses[0] < losses[1] < losses[2]
    np.testing.assert_allclose(losses[1], jax.jit(update)(state)[1]["value_loss"], rtol=1e-5)
    for name, told in (("prior_beta", "has no effect without guidance prior"), ("guidance", "shapes the program")):
        with pytest.raises(UserError, match=f"{name} {told}"):
            update(state, **{name: 1.0})


def call(monkeypatch, main, *arguments):
    monkeypatch.setattr(sys, "argv", ["jaxteach", *map(str, arguments)])
    run_command(main)


@pytest.mark.slow
def test_a_student_with_hints_is_played_and_filmed_without(tmp_path, monkeypatch):
    """Catches a student that is rebuilt without its place for hints, or that needs a teacher to play."""
    run = jt.train("SimpleDoorKey", guidance="hint", n_itr=2, savedir="h", logdir=str(tmp_path), **SMALL)
    assert json.loads((run.folder / "config.json").read_text())["ppo"]["guidance"] == "hint"
    policy, obs = jt.load_policy(run.folder), Experiment(default_config("SimpleDoorKey")).world.env.reset(KEY)[1]
    action, _ = policy(obs.observation)
    assert 0 <= int(action) < 7
    options = EvalConfig(loaddir=str(run.folder), num_eval=4, num_videos=1, logdir=str(tmp_path), savedir="played")
    folder = command.evaluate(options)
    assert len(json.loads((folder / "eval.json").read_text())["success"]) == 4
    assert list(folder.rglob("*.gif")) or list(folder.rglob("*.mp4"))
    call(monkeypatch, report_main, run.folder, "--num_videos", 1, "--out", tmp_path / "report")
    assert "hint" in (tmp_path / "report" / "report.md").read_text()


KEY = jax.random.key(3)


@pytest.mark.slow
def test_several_agents_and_seeds_are_guided():
    """Two agents, two seeds, three methods: each agent's own actions, and each seed's own draws."""
    ppo = PPOConfig(rollout_length=16, batch_size=64, guidance="kickstart+dagger+agreement", distill_half_life=64)
    config = replace(default_config("LockedHallway-2Rooms"), num_envs=4, n_itr=2, eval_interval=2, ppo=ppo)
    experiment = Experiment(replace(config, recurrent=False, seed_list=(0, 1)))
    state = experiment.init()
    program, number = experiment.compile_updates(), jnp.int32
    after, metrics = program(state, experiment.table, experiment.hparams, number(0), number(2))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
    assert (metrics["kickstarting_loss"] > 0).all()
    np.testing.assert_allclose(metrics["kickstarting_coef"], [[10, 5]] * 2, rtol=1e-5)
    assert (metrics["kickstarting_loss"][0] != metrics["kickstarting_loss"][1]).all()
    learner, alone = experiment.learner, jax.tree.map(lambda leaf: leaf[0], experiment.init())
    schedule = learner._schedule(number(0))
    act_key, label_key = jax.random.split(jax.random.key(0))
    _, played, _, said = jax.jit(lambda state: learner._rollout(state, experiment.table, schedule, act_key, label_key))(
        alone
    )
    probs = np.take_along_axis(np.asarray(said.probs), np.asarray(played.action)[..., None], -1)[..., 0]
    assert played.by_student.shape == (16, 4, 2)
    np.testing.assert_array_equal(played.by_student, said.probs.sum(-1) == 0)
    assert (probs[~np.asarray(played.by_student)] > 0).all(), "the teacher's actions are its own agent's"
