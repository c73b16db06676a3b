"""Faults in a user's world or task: one sentence that names the world, not fifty lines of JAX."""

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jumanji import specs

from envs_jax.checks import WorldError
from envs_jax.minigrid import COLORS, MiniGridEnv
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.api.registry import register_task
from jaxteach.config import PPOConfig, TeacherConfig, TrainConfig
from jaxteach.errors import UserError
from jaxteach.teacher.plans import save_plans
from jaxteach.teacher.tasks.plain import PlainDomain, Words
from jaxteach.training.loop import train
from jaxteach.training.nonfinite import world_fault
from jaxteach.training.programs import Experiment
from tests.combination_lock import DIGITS, DOMAIN, Lock, lock_plans
from tests.test_own_worlds import Counter

WORLD = """
from tests.test_own_worlds import Counter
from jaxteach.api.registry import register_task
from jaxteach.config import TrainConfig


class Faulty(Counter):
    def step(self, state, action):
        return super().step(state, action + undefined)


register_task(Faulty, TrainConfig("Faulty", total_steps=64, network="mlp"))
"""


def run(folder, **environment):
    (folder / "faulty.py").write_text(WORLD)
    path = os.pathsep.join([str(folder), os.getcwd()])
    command = [sys.executable, "-m", "jaxteach.train", "--task", "Faulty", "--logdir", str(folder)]
    variables = os.environ | {"PYTHONPATH": path, "JAXTEACH_IMPORT": "faulty"} | environment
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_a_bug_in_a_world_ends_with_its_file_and_line(tmp_path):
    ended = run(tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "error: NameError: name 'undefined' is not defined" in line
    assert f"({tmp_path / 'faulty.py'}, line 9); JAX_TRACEBACK_FILTERING=off shows" in line


class Shaped(Counter):
    observation_spec = specs.Array((5,), jnp.float32)


class Grown(Counter):
    def step(self, state, action):
        state, timestep = super().step(state, action)
        return state, timestep.replace(observation=jnp.zeros(9))


def test_observations_have_one_shape():
    with pytest.raises(WorldError, match=r"observe gives .*\[8\] in Shaped, and its observation_spec has float32\[5\]"):
        AgentAxisWrapper(Shaped())
    with pytest.raises(WorldError, match=r"step gives .*\[9\] in Grown, and its observe gives .*\[8\]"):
        AgentAxisWrapper(Grown())


class Unpaid(Counter):
    def step(self, state, action):
        state, timestep = super().step(state, action)
        return state, timestep.replace(reward=jnp.float32(jnp.nan))


@pytest.mark.slow
def test_a_loss_that_the_world_spoils_is_the_world_s(tmp_path):
    ppo = PPOConfig(rollout_length=4, batch_size=16, epochs=1)
    config = TrainConfig("Unpaid", total_steps=16, network="mlp", num_envs=4, num_eval=2, final_eval=0, ppo=ppo)
    register_task(Unpaid, config)
    with pytest.raises(UserError, match=r"in iteration 1; .*correct the world: its rewards are not all finite"):
        train(replace(config, logdir=str(tmp_path)), 0.0)


def test_a_fault_is_searched_in_the_steps_of_the_run(tmp_path):
    """Catches steps that the student alone would take, where the teacher acts in its place."""
    ppo = PPOConfig(rollout_length=4, batch_size=16, epochs=1, guidance="dagger")
    config = TrainConfig("Lock", total_steps=16, network="mlp", num_envs=4, num_eval=2, final_eval=0, ppo=ppo)
    register_task(Lock, config, DOMAIN)
    save_plans(lock_plans(right=1 - 1e-6), tmp_path / "plans.json")
    experiment = Experiment(replace(config, teacher=TeacherConfig(plans=str(tmp_path / "plans.json"))))
    _, played = experiment.collect(experiment.init(), 0)
    np.testing.assert_array_equal(played.action[0, ..., 0], np.repeat([DIGITS[:4]], 4, 0).T)


@pytest.mark.parametrize(
    ("wrong", "after", "told"),
    [
        ({}, 0, None),
        ({"reward": [1e9, -1e9]}, 0, None),
        ({"reward": [0, np.inf]}, 0, "its rewards are not all finite"),
        ({"discount": [1, np.nan]}, 0, "its discounts are not all finite"),
        ({"obs": {"view": [0, 1], "speed": [0.5, np.nan]}}, 0, "its observations are not all finite"),
        ({}, np.nan, "its observations are not all finite"),
        ({"discount": [0, 1.5]}, 0, "its discounts must be within 0..1, and are 0 to 1.5"),
        ({"discount": [-1, 1]}, 0, "its discounts must be within 0..1, and are -1 to 1"),
    ],
)
def test_what_a_world_may_give(wrong, after, told):
    given = {"obs": [0.5, 0.5], "reward": [0, 1], "discount": [0, 1]} | wrong
    trajectory = SimpleNamespace(**jax.tree.map(np.float32, given, is_leaf=lambda leaf: isinstance(leaf, list)))
    assert world_fault((np.float32(after), trajectory)) == told


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: register_task(Counter, TrainConfig("Odd", total_steps=1, network="mlp"), 5), "must be a Domain"),
        (lambda: register_task(Counter, TrainConfig("Odd", total_steps=1, network="wide")), "unknown network 'wide'"),
        (lambda: register_task(Counter, {"task": "Odd"}), "defaults are a TrainConfig"),
        (lambda: register_task(Counter, TrainConfig("Odd", total_steps=1, network="mlp"), None, 5), "prompt of Odd"),
        (lambda: Words([["key"]], None), "object_names of a vocabulary must be a list"),
        (lambda: Words(None, ["key"]), "sees of a vocabulary must be a list"),
        (lambda: Words([["key"]], ["key"], "goto"), "skills of a vocabulary must be a list"),
        (lambda: Words([["key"]], ["key"], (["goto"],)), "skills are some of"),
        (
            lambda: register_task(
                Counter, TrainConfig("Odd", total_steps=1, network="mlp"), PlainDomain(None, 3, None, None)
            ),
            "object_names of a vocabulary must be a list",
        ),
    ],
)
def test_what_is_registered_is_checked(make, told):
    with pytest.raises(UserError, match=told):
        make()


class Room(MiniGridEnv):
    """A gridworld without faults, as long as nothing is overridden."""

    mission_template, mission_placeholders, num_facts = "fetch the {} ball", (COLORS,), 2

    def __init__(self):
        super().__init__(5, 5, 20)

    def generate(self, layout):
        layout.place_agent()
        return [layout.rand_color()], [layout.rand_int(0, 25), 3]


@pytest.mark.parametrize(
    ("generate", "told"),
    [
        (lambda layout: ([0], [1, 2]), "places no agent; call layout.place_agent or layout.put_agent"),
        (lambda layout: ([], [1, 2]), r"returns 0 mission number\(s\), but mission_placeholders says 1"),
        (lambda layout: ([0, 0], [1, 2]), r"returns 2 mission number\(s\), but mission_placeholders says 1"),
        (lambda layout: ([0], [1]), r"returns 1 fact\(s\), but num_facts says 2"),
        (lambda layout: ([0], [1, jnp.zeros(2, jnp.int32)]), r"returns fact\(s\) with a shape; each must be a scalar"),
        (lambda layout: None, "must return two lists, the mission's numbers and the facts, not None"),
        (lambda layout: ([0], 1), r"must return two lists, the mission's numbers and the facts, not \(\[0\], 1\)"),
    ],
)
def test_what_a_gridworld_generates(generate, told):
    """Catches states with an agent outside the grid, and missions and facts that no step or text can read."""
    made = type("Faulty", (Room,), {"generate": lambda self, layout: generate(layout)})()
    with pytest.raises(WorldError, match=rf"^Faulty\.generate {told}(\n|$)"):
        jax.jit(made.reset)(jax.random.key(0))
    jax.eval_shape(Room().reset, jax.random.key(0))
