"""Mistakes on a command line: each gets one sentence, whatever the parser would say."""

import os
import subprocess
import sys

import pytest

from jaxteach.cli import parse
from jaxteach.config import EvalConfig, HostsConfig, ReportConfig, SweepConfig, TeachConfig, TrainConfig, default_config
from jaxteach.errors import UserError
from jaxteach.options.arguments import check_arguments
from tests.test_layers import ROOT

INTEGER = "a whole number, such as 150000 or 1.5e5"
MISTAKES = [
    (TrainConfig, "", "--task is missing; --help lists the options"),
    (TrainConfig, "SimpleDoorKey", "'SimpleDoorKey' belongs to no option; an option begins with --"),
    (TrainConfig, "--task x y", "--task takes one value, but is given 2: x y"),
    (TrainConfig, "--task x --no_teacher=1", "--no_teacher takes no value, but is given '1'"),
    (TrainConfig, "--no-teacher 1 --task x", "--no_teacher takes no value, but is given '1'"),
    (TrainConfig, "--task x --normalize_values=True", "--normalize_values takes no value, but is given 'True'"),
    (TrainConfig, "--task x --num_envs x", f"--num_envs takes {INTEGER}, not 'x'"),
    (TrainConfig, "--task x --num_envs=1.5", f"--num_envs takes {INTEGER}, not '1.5'"),
    (TrainConfig, "--task x --view_size x", f"--view_size takes {INTEGER}, not 'x'"),
    (TrainConfig, "--task x --seed_list 1 a", f"--seed_list takes {INTEGER}, not 'a'"),
    (TrainConfig, "--task x --processes two", f"--processes takes {INTEGER}, not 'two'"),
    (TrainConfig, "--task x --num_envs", f"--num_envs needs {INTEGER}"),
    (TrainConfig, "--task x --gamma abc", "--gamma takes a number, such as 0.5 or 1e-3, not 'abc'"),
    (TrainConfig, "--task x --logdir", "--logdir needs a value"),
    (TrainConfig, "--task x --num_env 3", "there is no option --num_env; did you mean --num_envs?"),
    (TrainConfig, "--task x --lr 3", "there is no option --lr; did you mean --learning_rate?"),
    (TrainConfig, "--task x --qqq 3", "there is no option --qqq; --help lists the options"),
    (
        TrainConfig,
        "--task x --distill_schedule foo",
        "--distill_schedule takes one of exponential, linear, not 'foo'",
    ),
    (TrainConfig, "--task x --num_envs 8 --num-envs=16", "--num_envs is given twice; give it once"),
    (TrainConfig, "--task x --task y", "--task is given twice; give it once"),
    (TrainConfig, "--task x --no_teacher --no_teacher", "--no_teacher is given twice; give it once"),
    (
        TrainConfig,
        "--task x --no_normalize_values --normalize_values",
        "--normalize_values and --no_normalize_values are opposites; give one of them",
    ),
    (EvalConfig, "--loadmodel 3 --checkpoint 4", "--checkpoint is given twice; give it once"),
    (EvalConfig, "--checkpoint x", f"--checkpoint takes {INTEGER} or acmodel, not 'x'"),
    (TeachConfig, "--score yes", "--score takes no value, but is given 'yes'"),
    (SweepConfig, "", "file is missing; see --help"),
    (SweepConfig, "a.toml b.toml", "'b.toml' belongs to no option; an option begins with --"),
    (SweepConfig, "--max_jobs 3 a.toml b.toml", "'b.toml' belongs to no option; an option begins with --"),
    (ReportConfig, "--no_merge=1 a", "--no_merge takes no value, but is given '1'"),
    (ReportConfig, "a --out", "--out needs a value"),
]


@pytest.mark.parametrize(("config", "line", "told"), MISTAKES)
def test_a_mistake_gets_one_sentence(config, line, told):
    with pytest.raises(UserError) as refusal:
        parse(config, "jaxteach", line.split(), default_config if config is TrainConfig else None)
    assert str(refusal.value) == told


def test_what_is_right_is_read_as_before():
    """Catches a check that knows less than the parser."""
    line = "--task SimpleDoorKey --seed-list=3 4 --clip inf --gamma 1 --total_steps None --no_normalize_values"
    config = parse(TrainConfig, "train", line.split(), default_config)
    assert (config.seed_list, config.ppo.clip, config.ppo.normalize_values) == ((3, 4), float("inf"), False)
    report = parse(ReportConfig, "report", ["--no_merge", "a", "b", "--out", "c"])
    assert ([path.name for path in report.runs], report.no_merge) == (["a", "b"], True)
    assert parse(EvalConfig, "eval", ["--task", "SimpleDoorKey", "--checkpoint", "acmodel"]).checkpoint == "acmodel"


def test_other_processes_are_met_only_with_options_that_can_be_read():
    """Catches a mistake in an option of several processes that is noticed before all others are read."""
    check_arguments(HostsConfig, ["--task", "x", "y", "--num_envs", "z", "--coordinator", "auto"], others_too=True)
    with pytest.raises(UserError, match="--process_id takes a whole number"):
        check_arguments(HostsConfig, ["--coordinator", "a:1", "--process_id", "x", "--task", "y"], others_too=True)


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("--version", 0, "jaxteach 0."),
        ("--help", 0, "usage: jaxteach {train,eval,teach,sweep,report}"),
        ("trian", 2, "error: jaxteach has no command 'trian'; did you mean train?"),
        ("zzz", 2, "error: jaxteach has no command 'zzz'; there are train, eval, teach, sweep, report"),
        ("sweep", 2, "error: file is missing"),
        ("sweep --help", 0, "usage: jaxteach sweep"),
    ],
)
def test_the_command_jaxteach(line, code, told):
    """Catches a door that opens another command, and a mistake that ends in a traceback."""
    program = "from jaxteach.system.command import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split()], capture_output=True, text=True, check=False, timeout=120
    )
    output = done.stdout if code == 0 else done.stderr
    assert done.returncode == code, done.stderr
    assert told in output
    assert code == 0 or len(output.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_package_lists_its_commands(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "jaxteach", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["train", "eval", "teach", "sweep", "report"]


def test_the_command_jaxteach_imports_modules_of_the_current_folder(tmp_path):
    """Catches a plug-in that only `python -m jaxteach.train` finds, since the script lies in another folder."""
    script, folder = tmp_path / "bin" / "jaxteach", tmp_path / "work"
    script.parent.mkdir()
    folder.mkdir()
    script.write_text("from jaxteach.system.command import main\nmain()\n")
    (folder / "my_plugin.py").write_text("print('here I am')")
    done = subprocess.run(
        [sys.executable, script, "train", "--import", "my_plugin", "--qqq"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, "here I am\n"), done.stderr
