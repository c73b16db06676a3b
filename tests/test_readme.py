"""Every command and every piece of code in the README, and in the pages that go on where it ends, runs."""

import glob
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import pytest

import jaxteach
from jaxteach.cli import parse
from jaxteach.config import TeachConfig, TrainConfig, default_config
from tests.language_model import MODEL

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PAGES_RUN = ("sweeps", "teaching", "guidance", "figures")
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in PAGES_RUN}
SHORT = {
    "jaxteach.train": ["--n_itr", "2", "--num_envs", "8", "--final_eval", "10"],
    "jaxteach.eval": ["--num_eval", "5"],
    "jaxteach.report": ["--num_videos", "1"],
    "jaxteach.sweep": [],
    "jaxteach.teach": [],
    "benchmarks.training": ["--total_steps", "4096", "--repeats", "1"],
    "benchmarks.students": ["--num_envs", "8", "--updates", "1", "--repeats", "1"],
    "benchmarks.scaling": ["--num_envs", "64", "--steps", "2", "--repeats", "1"],
    "benchmarks.throughput": ["--num_envs", "64", "--steps", "8"],
}


def shell_lines():
    text = "\n".join([README, *PAGES.values()])
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def test_the_set_up_takes_two_commands():
    setup = [line for line in shell_lines() if "pip install" in line]
    assert len(setup) == 2
    assert setup[0].endswith("-m jaxteach.train --task SimpleDoorKey")
    assert setup[1].endswith("-m pytest -q")
    assert setup == shell_lines()[:2], "CI runs the first two commands"


def short_sweep():
    """The file of a sweep in docs, for two iterations, with one coefficient, in a program that is compiled already."""
    (text,) = re.findall(r"```toml\n(.*?)```", PAGES["sweeps"], re.DOTALL)
    text = text.replace("[1.0, 10.0]", "[10.0]").replace('["SimpleDoorKey", "LavaDoorKey"]', '["SimpleDoorKey"]')
    text = text.replace("[0, 1, 2, 3, 4]", "[0, 1, 2]")
    return text.replace("[fixed]", "[fixed]\nn_itr = 2\nnum_envs = 8\nfinal_eval = 10")


def run_all(lines, folder):
    """Runs commands as they stand, but shorter: training for two iterations of eight environments."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for line in lines:
        interpreter, *arguments = shlex.split(line)
        assert interpreter == ".venv/bin/python"
        short = SHORT[arguments[1]]
        if "--resume" in arguments:
            place = arguments.index("--total_steps")
            arguments, short = (
                arguments[:place] + arguments[place + 2 :],
                ["--n_itr", "3", *SHORT["jaxteach.train"][2:]],
            )
        found = [path for argument in arguments if "*" in argument for path in glob.glob(argument, root_dir=folder)]
        command = [sys.executable, *(argument for argument in arguments if "*" not in argument), *found, *short]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def is_benchmark(line):
    return "-m benchmarks." in line


def needs_values(line):
    """Whether a command needs a model that gives values to situations; small ones answer anything else."""
    return "valued.json" in line


@pytest.mark.slow
def test_the_other_commands_run_one_after_the_other(tmp_path):
    (tmp_path / "model.gguf").symlink_to(MODEL)
    (tmp_path / "distill.toml").write_text(short_sweep())
    run_all([line for line in shell_lines()[2:] if not (is_benchmark(line) or needs_values(line))], tmp_path)
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_commands_of_values_are_taken():
    """Catches options that the commands don't have; tests/test_values.py runs the same with a model of its own."""
    asks, trains = (shlex.split(line)[3:] for line in shell_lines() if needs_values(line))
    parse(TeachConfig, "teach", asks).check()
    parse(TrainConfig, "train", trains, default_config).check()


@pytest.mark.slow
def test_the_benchmarks_run(tmp_path):
    """Catches figures that are not those of what was measured, and costs that do not grow with the agents."""
    run_all(filter(is_benchmark, shell_lines()), tmp_path)
    (student,) = json.loads((tmp_path / "students.json").read_text("utf-8"))["students"]
    rates = student["steps_per_s"]
    assert all(rate > 0 for rate in rates.values())
    assert student["taught_to_alone"] == rates["taught"] / rates["alone"]
    assert student["alone_to_purejaxrl"] == rates["alone"] / rates["purejaxrl"]
    rows = json.loads((tmp_path / "scaling.json").read_text("utf-8"))["rows"]
    spread = [row for row in rows if row["line"] == "simple_spread"]
    assert [row["value"] for row in spread] == [1, 2, 3, 5, 8]
    assert [row["memory_bytes"] for row in spread] == sorted(row["memory_bytes"] for row in spread)
    assert iio.imread(tmp_path / "scaling.png").shape[0] > 100


@pytest.mark.slow
def test_training_in_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[0].replace("50_000", "4_096").replace("range(3)", "[0]"), "README.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.splitlines()[-1]) <= 1


@pytest.mark.slow
def test_a_student_plays_in_the_package_minigrid(tmp_path, monkeypatch):
    """Catches an example of docs/running.md that does not run, and observations that the student can't read."""
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "running.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    jaxteach.train("MiniGrid-UnlockPickup-v0", savedir="mine", n_itr=1, num_envs=8, final_eval=0, teacher=None)
    names = {}
    exec(compile(text, "running.md", "exec"), names)
    assert names["terminated"] or names["truncated"]
    assert int(names["carry"][0].words.astype(bool).sum()) > 20, "the map has what was seen"
    assert names["world"].missions()["pick up the grey box"] == (5, 7)


def test_every_python_example_is_run():
    assert len(PYTHON) == 1


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_the_files_that_the_pages_show_are_there(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_every_picture_of_docs_is_shown():
    """Catches a picture that nobody sees, and that grows old."""
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    for picture in (ROOT / "docs").glob("*.[pg][ni][gf]"):
        assert f"{picture.name})" in text, picture
