"""The world in which the student decides when to ask, its rules of play, and training in it."""

import json
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
import jaxteach
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import default_config, with_options
from jaxteach.errors import UserError
from jaxteach.eval import main as eval_main
from jaxteach.evaluation.questions import ask_policy
from jaxteach.guidance.ask_world import AskWorld, student_world
from jaxteach.networks.registry import make_network
from jaxteach.ppo.episodes import run_episodes
from jaxteach.runs.metrics_log import read_metrics
from jaxteach.system.command import run_command
from jaxteach.teacher import make_teacher
from jaxteach.teacher.plans import save_plans, shipped_plans
from jaxteach.train import main as train_main

EPISODES = 400
TABLE = {
    ("KeyInBox", 0.0): (0.61, 2.4),
    ("KeyInBox", 0.5): (1.00, 14.9),
    ("KeyInBox", 1.0): (1.00, 26.4),
    ("RandomBoxKey", 0.0): (0.55, 2.1),
    ("RandomBoxKey", 0.5): (0.96, 16.3),
    ("RandomBoxKey", 1.0): (0.95, 29.6),
}
"""Success and questions an episode of LLM4RL without a student, by the task and the share of steps in which it asks."""
TINY = {"num_envs": 4, "rollout_length": 8, "batch_size": 16, "n_itr": 2, "num_eval": 4, "final_eval": 0}


@cache
def ask_world(task="KeyInBox", **options):
    return AskWorld(envs_jax.make(task, **options), make_teacher(task, "shipped", True, **options))


def played(world, count):
    """The time steps of `count` questions in one episode and those before them, and the states after them."""

    def step(state, _):
        state, timestep = world.step(state, jnp.int32(1))
        return state, (state, timestep)

    @jax.jit
    def play(key):
        state, first = world.reset(key)
        states, rest = jax.lax.scan(step, state, length=count)[1]
        return states, jax.tree.map(lambda one, more: jnp.concatenate([jnp.asarray(one)[None], more]), first, rest)

    states, timestep = play(jax.random.key(1))
    return timestep, states


@pytest.mark.slow
@pytest.mark.parametrize(("task", "share"), TABLE)
def test_success_and_questions_without_a_student(task, share):
    """Catches wrong plans, coins and counts: the reference's table, whose 200 episodes have their own noise."""
    world = AgentAxisWrapper(ask_world(task))
    outcome = jax.jit(lambda key: run_episodes(world, ask_policy(share), (), key, EPISODES))(jax.random.key(0))
    success, questions = TABLE[task, share]
    spread = np.sqrt(max(success * (1 - success), 0.01) * (1 / 200 + 1 / EPISODES))
    assert abs(outcome.success.mean() - success) < 3.5 * spread
    asked = outcome.metrics["questions"]
    spread = np.std(asked) * np.sqrt(1 / 200 + 1 / EPISODES)
    assert abs(asked.mean() - questions) < 3.5 * spread + 0.05


def test_observations_are_differences_modulo_256():
    timestep, states = played(ask_world(), 12)
    assert timestep.observation.dtype == np.uint8
    assert not timestep.observation[0].any()
    np.testing.assert_array_equal(timestep.observation[1:], states.obs - states.previous_obs)
    assert (timestep.observation > 127).any()
    np.testing.assert_array_equal(states.previous_obs[1:], states.obs[:-1])


def test_a_stack_is_observed_as_it_is():
    world = ask_world(frame_stack=2)
    state, timestep = jax.jit(world.reset)(jax.random.key(0))
    np.testing.assert_array_equal(timestep.observation, world.env.observe(state.world))


def test_a_question_in_each_step_costs_more_for_the_same_plan():
    timestep, _ = played(ask_world(), 6)
    charge = timestep.extras["game_reward"] - timestep.reward
    assert timestep.extras["questions"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(charge[:2], [0, 0.01], atol=1e-6)
    assert {round(float(price), 2) for price in charge[2:]} <= {0.06, 0.0}


@pytest.mark.slow
def test_the_last_step_of_an_episode_counts_as_failed():
    """Catches a success at `max_steps`, which the reference counts as a failure."""
    world = ask_world()
    timestep, _ = played(world, 99)
    (length,) = np.flatnonzero(timestep.discount == 0)[:1]
    assert timestep.extras["success"][length]
    shorter, _ = played(ask_world(max_steps=int(length)), int(length))
    assert shorter.discount[-1] == 0
    assert shorter.extras["game_reward"][-1] > 0
    assert not shorter.extras["success"][-1]


def test_a_network_is_made_for_the_world_in_which_it_acts():
    """Catches a network that is made before the teacher of its world is known."""
    teacher, worlds = make_teacher("KeyInBox"), []

    def network(world):
        worlds.append(world.env)
        return make_network("reference", world, False)

    jaxteach.make_train("KeyInBox", guidance="ask", teacher=teacher, network=network)
    assert all(world.asking.executor.teacher is teacher for world in worlds)


def test_a_world_that_is_an_object_is_made_to_ask_before():
    """Catches a run that can't be evaluated, as nobody has its teacher any more."""
    with pytest.raises(UserError, match="pass AskWorld"):
        jaxteach.make_train(
            envs_jax.make("KeyInBox"), guidance="ask", teacher=make_teacher("KeyInBox"), network="reference"
        )


def test_a_student_is_evaluated_with_the_plans_of_its_run(tmp_path):
    """Catches a student whose world has the plans of a file that has changed since, or a teacher nobody has now."""
    plans, path = shipped_plans("KeyInBox"), tmp_path / "plans.json"
    save_plans(plans, path)
    options = TINY | {"logdir": tmp_path, "guidance": "ask", "network": "reference", "progress": False}
    for given in ({"plans": str(path)}, {"teacher": make_teacher("KeyInBox", str(path))}):
        run = jaxteach.train("KeyInBox", savedir=next(iter(given)), **options, **given)
        before = run.evaluate(episodes=4)
        path.unlink()
        after = run.evaluate(episodes=4)
        np.testing.assert_array_equal(before.lengths, after.lengths)
        assert run.policy().single
        save_plans(plans, path)


def test_worlds_without_such_a_teacher_are_refused():
    with pytest.raises(UserError, match="DoorKey tasks"):
        AskWorld(envs_jax.make("simple_spread"), make_teacher("KeyInBox"))
    with pytest.raises(UserError, match="another size or view"):
        AskWorld(envs_jax.make("KeyInBox", view_size=5), make_teacher("KeyInBox"))


def test_the_price_is_an_option():
    options = {"guidance": "ask", "network": "cnn", "ask_lambda": 0.25}
    world = student_world(with_options(default_config("KeyInBox"), options))
    assert isinstance(world.env, AskWorld)
    assert world.env.asking.price == 0.25
    assert world.action_counts == (2,)


def call(monkeypatch, main, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    run_command(main)


@pytest.mark.slow
def test_training_and_evaluation_by_the_command_line(tmp_path, monkeypatch):
    options = [word for name, value in TINY.items() for word in (f"--{name}", value)]
    where = ["--task", "KeyInBox", "--logdir", tmp_path]
    save_plans(shipped_plans("KeyInBox"), plans := tmp_path / "plans.json")
    ask = ["--guidance", "ask", "--network", "cnn", "--savedir", "asks", "--plans", plans]
    call(monkeypatch, train_main, *where, *ask, *options)
    plans.unlink()  # The run has its own copy.
    folder = tmp_path / "ppo" / "KeyInBox"
    assert json.loads((folder / "asks" / "config.json").read_text())["ppo"]["guidance"] == "ask"
    seen = ["--loaddir", "asks", "--savedir", "seen", "--num_eval", 4, "--num_videos", 1]
    call(monkeypatch, eval_main, *where, *seen)
    assert list((folder / "seen" / "videos").glob("*.gif"))
    evaluated = json.loads((folder / "seen" / "eval.json").read_text())
    assert evaluated["mean_questions"] == np.mean(evaluated["questions"]) >= 1
    assert read_metrics(folder / "asks")[-1]["questions"] >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "add network cnn"),
        (
            {"network": "cnn", "distill_half_life": 5},
            "distill_half_life has no effect without a method that fades",
        ),
        ({"network": "cnn", "hard_planner": True}, "hard_planner has no effect with guidance ask"),
        ({"guidance": "kickstart", "ask_lambda": 0.1}, "ask_lambda has no effect without guidance ask"),
        ({"guidance": "kickstart+ask"}, "alone"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        jaxteach.make_train("KeyInBox", **({"guidance": "ask"} | options))


def test_an_environment_that_is_passed_as_an_object(tmp_path):
    """Catches a student that reads the differences as a map."""
    trained = jaxteach.train(ask_world(), teacher=None, progress=False, logdir=str(tmp_path), **TINY)
    assert trained.config.network == "cnn"
