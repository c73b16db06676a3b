"""Ctrl-C: every command is left at once, whatever is computed, and says what is kept."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxteach.training.loop import TrainingLoop

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 120
ENDLESS_LOOP = """
import jax
from jaxteach.system.interrupt import on_interrupt

def main():
    loop = jax.jit(lambda x: jax.lax.while_loop(lambda x: x < 2, abs, x)).lower(1.0).compile()
    with on_interrupt(lambda: " here"):
        print("begins")
        jax.block_until_ready(loop(1.0))
"""
# A shell may have switched the signal off for what it runs in the background.
LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
RUN = "from jaxteach.system.command import run_command; run_command(main)\n"
WORLD = """
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import restart, transition, truncation

from jaxteach.config import TrainConfig
from jaxteach.api.registry import register_task
from jaxteach.teacher.tasks.plain import PlainDomain, Words


class State(NamedTuple):
    place: jax.Array
    step_count: jax.Array
    key: jax.Array


class Line(Environment):
    max_steps = 5
    action_spec = specs.DiscreteArray(2)
    observation_spec = specs.BoundedArray((1,), jnp.float32, 0, 1)

    def reset(self, key):
        state = State(jnp.float32(1), jnp.int32(0), key)
        return state, restart(self.observe(state))

    def step(self, state, action):
        if "ENDLESS" in os.environ:
            Path(os.environ["ENDLESS"]).touch()
            state = state._replace(place=jax.lax.while_loop(lambda place: place < 2, abs, state.place))
        state = state._replace(step_count=state.step_count + 1)
        ends = state.step_count >= self.max_steps
        return state, jax.lax.cond(ends, truncation, transition, state.place, self.observe(state))

    def observe(self, state):
        return state.place[None]

    def render(self, state):
        return jnp.zeros((8, 8, 3), jnp.uint8)


words = Words([["exit"]], ["exit"], ("wait",))
domain = PlainDomain(words, 2, caption=lambda obs: jnp.int32(0), actions=lambda obs: {("wait", None): jnp.int32(0)})
register_task(Line, TrainConfig("Line", total_steps=100, network="mlp", num_envs=4), domain)
"""
PLANS = {"sees": ["exit"], "holds": None, "plans": [{"p": 1.0, "skills": [["wait", None]]}]}
NOTHING_SAVED = "nothing is saved yet: a checkpoint comes every 25 iterations (--save_interval)"
SHORT = ["--task", "Line", "--plans", "plans.json", "--num_eval", "2", "--final_eval", "2", "--n_itr", "1"]


def start(code, *arguments, **options):
    command = [sys.executable, "-u", "-c", LISTENING + code + RUN, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def stop_twice(process):
    """What a process says after Ctrl-C and Ctrl-C again, of which no traceback may be left."""
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        _, error = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "Exception" not in error
    return error


def test_a_compiled_loop_without_an_end_is_left():
    """Catches a signal that is heard only after the present computation, and words that are not said."""
    process = start(ENDLESS_LOOP, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    time.sleep(0.3)
    assert stop_twice(process) == "stopped here\n"


def test_whoever_cares_for_the_signal_already_keeps_it():
    """Catches a command that takes the signal from a program around it, or keeps it after its end."""
    code = """
from jaxteach.system.interrupt import exit_on_interrupt
def main():
    with exit_on_interrupt():
        assert signal.getsignal(signal.SIGINT) is HANDLER
HANDLER = signal.SIG_IGN
for HANDLER in (signal.SIG_IGN, signal.default_int_handler):
    signal.signal(signal.SIGINT, HANDLER)
    HANDLER is signal.SIG_IGN and main()
    with exit_on_interrupt():
        pass
    assert signal.getsignal(signal.SIGINT) is HANDLER
HANDLER = signal.getsignal(signal.SIGINT)
main = lambda: None
"""
    process = start(code, cwd=ROOT)
    _, error = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, error) == (0, "")


@pytest.fixture
def folder(tmp_path):
    """A task whose steps never end where the variable ENDLESS is set, its plans, a sweep, and a finished run."""
    (tmp_path / "line.py").write_text(WORLD)
    document = {"format": "jaxteach-plans", "version": 1, "tasks": ["Line"], "captions": [PLANS]}
    (tmp_path / "plans.json").write_text(json.dumps(document))
    fixed = 'task = "Line"\nplans = "plans.json"\nn_itr = 1\nnum_eval = 2\n'
    (tmp_path / "s.toml").write_text(f"[fixed]\n{fixed}[grid]\nseed_list = [[0], [1]]\n")
    done = command(tmp_path, "train", *SHORT, "--savedir", "done")
    _, error = done.communicate(timeout=TIMEOUT_S)
    assert done.returncode == 0, error
    return tmp_path


def command(folder, name, *arguments, **variables):
    """A command of jaxteach as a process."""
    paths = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "JAXTEACH_IMPORT": "line"} | variables
    return start(f"from jaxteach.{name} import main\n", *arguments, cwd=folder, env=environment)


@pytest.mark.slow
def test_every_command_is_left(folder):
    """Catches a command that computes where no signal is heard, or that does not say how to go on."""
    commands = {
        ("train", *SHORT, "--savedir", "new"): "stopped after 0 steps; "
        + NOTHING_SAVED
        + "; go on: "
        + shlex.join(["python", "-m", "jaxteach.train", *SHORT, "--savedir", "new", "--resume"]),
        ("eval", "--task", "Line", "--loaddir", "done"): "stopped",
        ("eval", "--task", "Line", "--eval_teacher", "--plans", "plans.json"): "stopped",
        ("teach", "--show", "plans.json"): "stopped",
        ("report", "log/ppo/Line/done"): "stopped",
        ("sweep", "s.toml"): NOTHING_SAVED + "; the same command goes on with the sweep",
    }
    for number, (arguments, said) in enumerate(commands.items()):
        mark = folder / f"traced {number}"
        process = command(folder, *arguments, ENDLESS=str(mark))
        began = time.monotonic()
        while not mark.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < began + TIMEOUT_S
            time.sleep(0.1)
        if arguments[0] in ("train", "sweep"):
            assert any(line.startswith("compiled") for line in process.stdout), process.communicate()
        time.sleep(3)
        assert said in stop_twice(process)


def test_training_without_a_checkpoint_says_that_nothing_is_saved():
    writer, config = (
        SimpleNamespace(kept=lambda seconds: None),
        SimpleNamespace(save_interval=25, steps_per_iteration=2),
    )
    loop = SimpleNamespace(writers=[writer], config=config, _done=3)
    assert TrainingLoop._last_words(loop) == f" after 6 steps; {NOTHING_SAVED}"


@pytest.mark.slow
def test_a_stopped_training_says_what_is_kept(tmp_path):
    """Catches a checkpoint that is named and not there, and a command that does not go on with the run."""
    arguments = ["--task", "SimpleDoorKey", "--save_interval", "2", "--eval_interval", "2", "--num_eval", "2"]
    arguments += ["--num_envs", "8", "--rollout_length", "16", "--batch_size", "64", "--max_steps", "20"]
    process = start("from jaxteach.train import main\n", *arguments, "--logdir", str(tmp_path), cwd=ROOT)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().split()[1])
    while not any(path.name.isdecimal() for path in folder.glob("checkpoints/*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    said = stop_twice(process).strip()
    kept = max(int(path.name) for path in folder.glob("checkpoints/*") if path.name.isdecimal())
    assert f"; the checkpoint of iteration {kept} is kept; go on: python -m jaxteach.train --task" in said
    assert said.endswith(f"--savedir {folder.name} --resume")
    again = shlex.split(said.split("go on: ")[1])[3:]
    steps = ["--n_itr", str(kept + 2), "--final_eval", "0"]
    going_on = start("from jaxteach.train import main\n", *again, *steps, cwd=ROOT)
    output, error = going_on.communicate(timeout=TIMEOUT_S)
    assert going_on.returncode == 0, error
    assert f"{(kept + 2) * 128:,} steps" in output
