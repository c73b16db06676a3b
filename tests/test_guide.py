"""What the guide shows works as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import jax
import nbformat
import pytest
from nbclient import NotebookClient

import envs_jax
import jaxteach as jt
from envs_jax.doorkey import DoorKey
from envs_jax.grid.constants import BALL, EMPTY, Actions
from jaxteach.api.registry import register_task
from jaxteach.config import TrainConfig, WorldConfig
from jaxteach.errors import UserError
from jaxteach.llm.prompts import task_prompt
from jaxteach.ppo.distillation import initial_memory
from jaxteach.ppo.episodes import run_episodes, teacher_policy
from jaxteach.system.plugins import import_plugins
from jaxteach.tasks import TASKS
from jaxteach.teacher.policy import make_teacher

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "guide.md").read_text("utf-8")
TINY = ["--n_itr", "2", "--num_envs", "8", "--num_eval", "5", "--final_eval", "5"]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def python_with(words):
    """The guide's one piece of Python that has these words."""
    (text,) = (text for text in blocks("python") if words in text)
    return text


def write_files(folder):
    """Writes the guide's files under the names that it gives them."""
    files = {
        "switches.py": python_with("class Switches"),
        "switches.json": blocks("json")[0],
        "switches.md": blocks("text")[0],
        "wide.py": python_with("class Wide"),
        "tidy.py": python_with("class Tidy"),
    }
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")


@pytest.fixture
def folder(tmp_path):
    write_files(tmp_path)
    return tmp_path


def run(folder, arguments, modules="switches"):
    paths = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "JAXTEACH_IMPORT": modules}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def train(folder, name, *options, modules="switches"):
    """Trains as told, and gives the run's folder."""
    done = run(folder, ["jaxteach.train", "--task", "Switches", "--savedir", name, *options], modules)
    assert done.returncode == 0, done.stderr
    return folder / "log" / "ppo" / "Switches" / name


@pytest.mark.slow
def test_the_task_and_the_network_of_the_guide_train(folder):
    """Catches a registered task, plan file or network that the commands don't take."""
    options = ["--plans", "switches.json", "--network", "wide", *TINY]
    ran = train(folder, "both", *options, modules="switches,wide")
    config = json.loads((ran / "config.json").read_text())
    assert (config["task"], config["network"]) == ("Switches", "wide")
    assert (ran / "summary.json").is_file()


def test_a_task_takes_no_more_than_sixty_lines():
    """Catches an interface that asks more and more of a user's task."""
    assert len(python_with("class Switches").splitlines()) <= 60


def test_a_module_that_is_not_there_is_told_in_one_sentence(monkeypatch):
    """Catches a traceback for a misspelt module."""
    monkeypatch.setenv("JAXTEACH_IMPORT", "swiches")
    with pytest.raises(UserError, match="JAXTEACH_IMPORT names swiches, and"):
        import_plugins()


def test_a_taken_name_is_refused():
    """Catches a task of a user that silently takes the place of one of ours."""
    with pytest.raises(ValueError, match="there is a task SimpleDoorKey already"):
        register_task(DoorKey, TrainConfig("SimpleDoorKey", total_steps=1))


@pytest.mark.slow
def test_the_teacher_makes_the_difference(folder, monkeypatch):
    """Catches a teacher that does not reach the student of a user's world, and an example too easy to show it."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")  # As users have it: luck depends on rounding.
    success = {}
    for name, options in {"taught": ["--plans", "switches.json"], "alone": ["--no_teacher"]}.items():
        summary = json.loads((train(folder, name, *options) / "summary.json").read_text())
        success[name] = summary[0]["success_rate"]
    assert success["taught"] > 0.95
    assert success["alone"] < 0.5


@pytest.mark.slow
def test_the_commands_of_the_guide_run(folder):
    """Catches an option that the guide has and the commands don't."""
    for line in (line for block in blocks("sh") for line in block.splitlines()):
        if line.startswith("export"):
            continue
        interpreter, flag, *arguments = shlex.split(line)
        assert (interpreter, flag) == ("python", "-m")
        short = TINY if arguments[0] == "jaxteach.train" else []
        done = run(folder, [*arguments, *short], "switches,wide,tidy")
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_an_environment_and_a_teacher_by_themselves(capsys):
    exec(compile(python_with("vectorize(env, 1024)"), "guide.md", "exec"), {})
    assert "Agent sees" in capsys.readouterr().out


def test_a_gridworld_of_one_s_own(capsys):
    """Catches an example that does not run, or whose rule of success is not what its mission says."""
    text = python_with("class Delivery")
    assert len(text.splitlines()) <= 45
    names = {"__name__": "delivery"}
    exec(compile(text, "guide.md", "exec"), names)
    assert "ball to the other room (7, 7, 3)" in capsys.readouterr().out
    assert names["picture"].shape == (5 * 24, 11 * 24, 3)
    env, state = names["env"], names["state"]
    arrays, step = jax.device_get(env.to_arrays(state)), jax.jit(env.step)
    wall = int(state.facts[0])
    for x, delivered in ((1, False), (wall + 1, True)):
        grid = arrays["grid"].copy()
        grid[wall + 1 :, 1:-1][:-1] = grid[1:wall, 1:-1] = EMPTY, 0, 0
        changes = {"grid": grid, "agent_pos": (x, 2), "agent_dir": 3, "carrying": (BALL, state.mission[0])}
        _, timestep = step(env.make_state(**arrays | changes), Actions.drop)
        assert (timestep.reward > 0, timestep.last()) == (delivered, delivered)


def test_a_teacher_for_a_gridworld_of_one_s_own(tmp_path, monkeypatch):
    """Catches an example whose plans don't fulfil its mission, or whose *drop* is that of other worlds."""
    text = python_with("class Tidy")
    assert len(text.splitlines()) <= 60
    monkeypatch.setitem(TASKS, "Tidy", None)
    monkeypatch.setitem(envs_jax._TASKS, "Tidy", None)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__", "print": lambda *values: None}
    monkeypatch.setattr(jt, "train", lambda task, teacher: MagicMock())
    exec(compile(text, "guide.md", "exec"), names)
    world, teacher = WorldConfig().make("Tidy"), make_teacher("Tidy", "tidy.json")
    memory = initial_memory(teacher, 32)
    played = jax.jit(lambda key: run_episodes(world, teacher_policy(teacher), memory, key, 32))(jax.random.key(0))
    assert played.success.all()
    prompt = task_prompt("Tidy", teacher.vocabulary).text
    assert "into a corner; drop does" in prompt
    assert "- drop <object>" in prompt
    assert "toggle <object>" not in prompt
    assert make_teacher("Tidy", "tidy.json", size=12).domain.size == (12, 12)


@pytest.mark.slow
def test_a_teacher_of_one_s_own_makes_the_difference(folder):
    """Catches a teacher that does not reach the student of a user's gridworld, and a world too easy to show it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    command = [sys.executable, "tidy.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    success = dict(line.split() for line in done.stdout.splitlines() if line.startswith(("tidy.json ", "None ")))
    assert float(success["tidy.json"]) > 0.9
    assert float(success["None"]) < 0.1


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """Catches an API that the notebook has and jaxteach doesn't, and outputs that are committed."""
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment)
    (success,) = (cell.outputs[-1] for cell in notebook.cells if "success.mean" in cell.source)
    rates = [float(rate) for rate in re.findall(r"\d\.\d*", success["data"]["text/plain"])]
    assert len(rates) == 2
    assert min(rates) > 0.9
