"""Sweeps on one machine: what a file may say, which runs come of it, and how they go on."""

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jaxteach.config import to_json
from jaxteach.errors import UserError
from jaxteach.runs.files import write_json
from jaxteach.sweep import main as sweep_main
from jaxteach.sweeps.scheduler import group_by_program
from jaxteach.sweeps.spec import read_sweep
from jaxteach.sweeps.trials import runs_of
from jaxteach.system.command import run_command
from jaxteach.training.loop import TrainingLoop, train
from tests.test_resume import assert_same_runs

SMALL = """
n_itr = 2
num_envs = 8
rollout_length = 16
eval_interval = 1
num_eval = 10
final_eval = 10
max_steps = 20
"""


def runs_in(folder, text, seeds_per_run=None):
    (folder / "s.toml").write_text(text)
    return [run for trial in read_sweep(folder / "s.toml") for run in runs_of(trial, str(folder), seeds_per_run)]


def sweep(*arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep", *map(str, arguments)])
    run_command(sweep_main)


def test_all_combinations_of_tasks_and_options_are_runs_with_all_seeds_side_by_side(tmp_path):
    """Catches a combination left out, an option that gets lost on the way, and seeds that train alone."""
    runs = runs_in(
        tmp_path,
        """
        [fixed]
        gamma = 0.5
        normalize_values = false
        [grid]
        task = ["simpledoorkey", "simple_spread"]
        no_teacher = [false, true]
        seed_list = [0, 1, [2, 5]]
        """,
    )
    assert [(run.task, run.no_teacher) for run in runs] == [
        ("SimpleDoorKey", False),
        ("SimpleDoorKey", True),
        ("simple_spread", False),
        ("simple_spread", True),
    ]
    assert {(run.ppo.gamma, run.ppo.normalize_values, run.seed_list) for run in runs} == {(0.5, False, (0, 1, 2, 5))}
    assert runs[2].network == "mlp", "what is not named is the task's own default"
    assert runs[1].savedir == "s-no_teacher-True-seeds-0+1+2+5"


def test_numbers_of_toml_and_options_without_effect_in_some_runs(tmp_path):
    """Catches 1e5 and inf, which TOML has as floats, and options that some combinations ignore in silence."""
    (tmp_path / "s.toml").write_text(
        """
        [fixed]
        task = "SimpleDoorKey"
        total_steps = 1e5
        max_grad_norm = inf
        distill_coef = 2
        [grid]
        no_teacher = [false, true]
        """
    )
    taught, alone = read_sweep(tmp_path / "s.toml")
    assert (taught.config.total_steps, taught.config.ppo.max_grad_norm) == (100_000, math.inf)
    assert (taught.idle, alone.idle) == ((), ("distill_coef has no effect without a teacher",))


def test_each_task_has_files_of_its_own(tmp_path):
    """Catches the name of a task that is left in its braces."""
    text = '[grid]\ntask = ["SimpleDoorKey", "TwoDoor"]\nplans = ["shipped", "made/{task}.json"]'
    plans = [(run.task, run.teacher.plans) for run in runs_in(tmp_path, text)]
    tasks = ("SimpleDoorKey", "TwoDoor")
    assert plans == [(task, plans) for task in tasks for plans in ("shipped", f"made/{task}.json")]


def test_the_sweep_over_ways_of_guidance_is_one():
    """Catches a sweep of the benchmarks that names an option, a method or a task that is no more."""
    trials = read_sweep(Path(__file__).parents[1] / "benchmarks" / "guidance.toml")
    tried = {(trial.config.task, trial.config.ppo.guidance, trial.config.teacher.plans) for trial in trials}
    assert len(tried) == len(trials) == 2 * 8 * 3


def test_seeds_are_dealt_to_runs(tmp_path):
    """Catches a seed lost, or trained twice, where a run has room for few."""
    text = '[fixed]\ntask = "SimpleDoorKey"\nseed_list = [0, 1, 2, 3, 4]'
    runs = runs_in(tmp_path, text, seeds_per_run=2)
    assert [(run.seed_list, run.savedir) for run in runs] == [
        ((0, 1), "s-seeds-0..1"),
        ((2, 3), "s-seeds-2..3"),
        ((4,), "s-seed-4"),
    ]


def test_seeds_added_later_are_runs_of_their_own(tmp_path):
    """Catches runs on the disk that are trained again, or refused, because the sweep has grown."""
    text = '[fixed]\ntask = "SimpleDoorKey"\nseed_list = '
    for run in runs_in(tmp_path, text + "[0, 1]"):
        folder = tmp_path / "ppo" / "SimpleDoorKey" / str(run.savedir)
        folder.mkdir(parents=True)
        write_json(folder / "config.json", {"task": "SimpleDoorKey", "seed_list": [0, 1]})
    assert [run.seed_list for run in runs_in(tmp_path, text + "[0, 1, 2]")] == [(0, 1), (2,)]
    assert [run.seed_list for run in runs_in(tmp_path, text + "[1, 2]")] == [(1, 2)], "it has no run of seed 0"
    other = text + "[0, 1, 2]\ngamma = 0.5"
    assert [run.seed_list for run in runs_in(tmp_path, other)] == [(0, 1, 2)], "a run with another option is another"


def test_names_of_folders_differ_and_are_names(tmp_path):
    """Catches two runs in one folder, where values differ only in what no folder can be called, or are long."""
    values = ["a/b", "a_b", "a b", "x" * 300, "x" * 301]
    runs = runs_in(tmp_path, f'[fixed]\ntask = "SimpleDoorKey"\n[grid]\nplans = {json.dumps(values)}')
    assert len({run.savedir for run in runs}) == len(values)
    assert all(run.savedir is not None and len(run.savedir) < 200 and "/" not in run.savedir for run in runs)


MISTAKES = {
    "no TOML": ("[fixed", "is not TOML"),
    "nothing": ("", "the table [fixed], the table [grid] or both"),
    "another table": ("[fixed]\ntask = 'SimpleDoorKey'\n[gird]\n", "the table [fixed], the table [grid] or both"),
    "no task": ("[fixed]\nn_itr = 1", "names no task"),
    "an unknown task": ("[fixed]\ntask = 'Nowhere'", "unknown task 'Nowhere'"),
    "an unknown option": ("[fixed]\ntask = 'SimpleDoorKey'\ndistil_coef = 1", "did you mean distill_coef?"),
    "an option that is nothing like one": ("[fixed]\ntask = 'SimpleDoorKey'\nxyzzy = 1", "has no option xyzzy; python"),
    "the sweep's own option": ("[fixed]\ntask = 'SimpleDoorKey'\nresume = true", "the sweep itself sets resume"),
    "a word for a number": ("[fixed]\ntask = 'SimpleDoorKey'\ngamma = 'high'", "--gamma takes a number"),
    "a number that makes no sense": ("[fixed]\ntask = 'SimpleDoorKey'\ngamma = 2", "--gamma must be within 0..1"),
    "a number for a flag": ("[fixed]\ntask = 'SimpleDoorKey'\nno_teacher = 1", "--no_teacher takes no value"),
    "a flag for a number": ("[fixed]\ntask = 'SimpleDoorKey'\nn_itr = false", "n_itr can't be False"),
    "a list for a number": ("[fixed]\ntask = 'SimpleDoorKey'\nn_itr = [1, 2]", "n_itr can't be [1, 2]"),
    "no list": ("[fixed]\ntask = 'SimpleDoorKey'\n[grid]\ngamma = 0.9", "gamma in [grid] must be a list"),
    "an empty list": ("[fixed]\ntask = 'SimpleDoorKey'\n[grid]\ngamma = []", "gamma in [grid] must be a list"),
    "a value twice": ("[fixed]\ntask = 'SimpleDoorKey'\n[grid]\ngamma = [1, 1.0]", "are the same; leave one out"),
    "a value under two names": ("[fixed]\ntask = 'SimpleDoorKey'\n[grid]\nnetwork = ['mlp', 'team']", "are the same"),
    "both": ("[fixed]\ntask = 'SimpleDoorKey'\ngamma = 0.9\n[grid]\ngamma = [0.8]", "gamma is both"),
    "an option without effect": ("[fixed]\ntask = 'SimpleDoorKey'\nno_teacher = true\ndistill_coef = 1.0",
        "distill_coef has no effect without a teacher; leave it out"),
    "a part of an iteration": ("[fixed]\ntask = 'SimpleDoorKey'\nn_itr = 1.5", "--n_itr takes a whole number"),
    "an option in disguise": ("[fixed]\ntask = 'SimpleDoorKey'\nseed_list = [0, '--resume']", "seed_list can't be"),
    "too many": ("[grid]\ntask = ['SimpleDoorKey']\n" + "".join(f"{o} = [1,2,3,4,5,6,7,8,9,10]\n" for o in
                 ("n_itr", "num_envs", "epochs", "num_eval", "batch_size")), "more than 1,000 combinations"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_in_a_file(text, message, tmp_path, monkeypatch, capsys):
    """Catches a mistake that begins to train, one whose sentence does not name it, and pages of the parser's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(SystemExit) as end:
        sweep("s.toml", monkeypatch=monkeypatch)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: s.toml")
    assert message in line
    assert not (tmp_path / "log").exists()


def test_a_sweep_whose_file_has_spaces(tmp_path, monkeypatch, capsys):
    """Catches an advice that leads nowhere, where a run's folder can't be called as the file."""
    monkeypatch.setattr("jaxteach.sweeps.scheduler.train_group", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my sweep.toml").write_text('[fixed]\ntask = "SimpleDoorKey"')
    sweep("my sweep.toml", monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    assert "SimpleDoorKey/my_sweep-seed-0" in said
    assert said.endswith("python -m jaxteach.report log/ppo/SimpleDoorKey/my_sweep-*\n")


def test_a_file_that_is_not_there(tmp_path):
    """Catches a traceback for a wrong path."""
    with pytest.raises(UserError, match=r"can't read the sweep .*: No such file"):
        read_sweep(tmp_path / "none.toml")


@pytest.mark.slow
def test_a_sweep_goes_on_past_a_failure_and_later_where_it_was(tmp_path, monkeypatch, capsys):
    """Catches one run's end that ends the others, a silent failure, and work that is done again."""
    monkeypatch.chdir(tmp_path)
    grid = '[grid]\nplans = ["none.json", "shipped"]'
    (tmp_path / "s.toml").write_text(f'[fixed]\ntask = "SimpleDoorKey"\n{SMALL}{grid}')
    with pytest.raises(SystemExit) as end:
        sweep("s.toml", monkeypatch=monkeypatch)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert "1 of 2 runs failed: SimpleDoorKey/s-plans-none.json-seed-0: can't read the plan file" in said.err
    good = tmp_path / "log" / "ppo" / "SimpleDoorKey" / "s-plans-shipped-seed-0"
    with pytest.raises(SystemExit):
        sweep("s.toml", "--show", monkeypatch=monkeypatch)
    shown = capsys.readouterr()
    assert [line.strip().split("  ")[0][:8] for line in shown.out.splitlines()[1:]] == ["can't re", "finished"]
    assert shown.err == "error: 1 of 2 runs can't be trained, for the reasons listed\n"
    (good / "summary.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in (good / "checkpoints").rglob("*")}
    (tmp_path / "s.toml").write_text((tmp_path / "s.toml").read_text().replace('"none.json", ', ""))
    sweep("s.toml", "--show", monkeypatch=monkeypatch)
    assert "begun" in capsys.readouterr().out
    sweep("s.toml", monkeypatch=monkeypatch)
    assert "the run is finished" in capsys.readouterr().out
    assert (good / "summary.json").is_file(), "what was missing is done"
    assert times == {path: path.stat().st_mtime_ns for path in (good / "checkpoints").rglob("*")}
    before = (good / "summary.json").stat().st_mtime_ns
    sweep("s.toml", monkeypatch=monkeypatch)
    assert "already finished" in capsys.readouterr().out
    assert (good / "summary.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("engine", ["local", "slurm"])
def test_a_run_that_has_come_further_than_asked_is_told_and_the_others_go_on(engine, tmp_path, monkeypatch, capsys):
    """Catches a sweep that never finishes after its runs were made shorter."""
    trained = []
    monkeypatch.setattr("jaxteach.sweeps.scheduler.train_group", lambda runs, _: trained.extend(runs))
    monkeypatch.setattr(
        "jaxteach.sweeps.command.train_on_cluster", lambda runs, *_: trained.extend(runs.values()) or ()
    )
    monkeypatch.chdir(tmp_path)
    text = f'[fixed]\ntask = "SimpleDoorKey"\n{SMALL}[grid]\ngamma = [0.5, 0.9]'.replace(
        "n_itr = 2", "total_steps = 256"
    )
    for run in runs_in(tmp_path, text)[:1]:
        folder = tmp_path / "log" / "ppo" / "SimpleDoorKey" / str(run.savedir)
        (folder / "checkpoints" / "5").mkdir(parents=True)
        write_json(folder / "config.json", to_json(replace(run, total_steps=640)))
        write_json(folder / "summary.json", [{"env_steps": 640, "wall_s": 1, "success_rate": 0, "return_mean": 0}])
    told = f"the run {folder} has come to 640 steps a seed (5 iterations), further than the 256 (2) asked for"
    with pytest.raises(SystemExit):
        sweep("s.toml", "--show", monkeypatch=monkeypatch)
    first, second = capsys.readouterr().out.splitlines()[1:]
    assert first.startswith(told)
    assert second.split()[0] == "new"
    for _ in range(2):
        with pytest.raises(SystemExit):
            sweep("s.toml", "--engine", engine, monkeypatch=monkeypatch)
        assert f"1 of 2 runs failed: SimpleDoorKey/s-gamma-0.5-seed-0: {told}" in capsys.readouterr().err
    assert [run.ppo.gamma for run in trained] == [0.9, 0.9]


def test_an_error_of_ours_ends_one_run_only(tmp_path, monkeypatch, capsys):
    """Catches an exception of whatever kind, such as memory that is used up, that ends the sweep."""
    trained = []

    def failing(configs, _started):
        trained.append([config.ppo.gamma for config in configs])
        if 0.5 in trained[-1]:
            raise MemoryError("no room")

    monkeypatch.setattr("jaxteach.sweeps.scheduler.train_group", failing)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text('[fixed]\ntask = "SimpleDoorKey"\n[grid]\ngamma = [0.5, 0.9]')
    with pytest.raises(SystemExit):
        sweep("s.toml", monkeypatch=monkeypatch)
    assert trained == [[0.5, 0.9], [0.5], [0.9]], "what fails side by side is tried alone"
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("1 of 2 runs failed: SimpleDoorKey/s-gamma-0.5-seed-0: MemoryError: no room\n")


def test_runs_of_the_same_shapes_train_side_by_side(tmp_path):
    """Catches runs that can't share a program put into one, and those that can kept apart."""
    text = """
        [fixed]
        seed_list = [0, 1]
        [grid]
        task = ["SimpleDoorKey", "LavaDoorKey"]
        learning_rate = [1e-3, 1e-4]
        gamma = [0.9, 0.99]
        epochs = [3, 4]
        """
    runs = runs_in(tmp_path, text)
    groups = list(group_by_program(runs, 32))
    told = [{(run.task, run.ppo.epochs) for run in group} for group in groups]
    assert told == [{(task, epochs)} for task in ("SimpleDoorKey", "LavaDoorKey") for epochs in (3, 4)]
    assert [len(group) for group in groups] == [4] * 4
    assert [len(group) for group in group_by_program(runs[::2], 6)] == [3, 1, 3, 1], "no more seeds than wanted"
    assert [len(group) for group in group_by_program(runs, 1)] == [1] * 16
    (tmp_path / "ppo" / "SimpleDoorKey" / str(runs[0].savedir) / "checkpoints" / "5").mkdir(parents=True)
    assert [len(group) for group in group_by_program(runs[::2], 32)] == [1, 3, 4], "they have not come equally far"


def small_sweep(folder, n_itr, grid):
    """A sweep's file, and its runs."""
    small = SMALL.replace("n_itr = 2", f"n_itr = {n_itr}\nsave_interval = 2")
    return runs_in(folder, f'[fixed]\ntask = "SimpleDoorKey"\nseed_list = [0, 1]\n{small}[grid]\n{grid}')


def assert_as_alone(run, logdir, folder):
    """Whether a run of a sweep is the one that trains alone, in its own folder; on CPUs alone that is promised."""
    alone = train(replace(run, logdir=str(folder)), time.perf_counter())
    assert_same_runs(alone, logdir / "ppo" / run.task / run.savedir)


@pytest.mark.slow
def test_side_by_side_a_run_has_the_bits_of_one_alone(tmp_path, monkeypatch, capsys):
    """Catches numbers, states or files that runs get of each other, also where they are stopped and go on."""
    runs = small_sweep(tmp_path, 6, "learning_rate = [1e-3, 2e-3]\ndistill_coef = [1.0, 10.0]")
    record = TrainingLoop._record

    def ending(self, done, *arguments):
        record(self, done, *arguments)
        if done == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "_record", ending)
        with pytest.raises(SystemExit):
            sweep(tmp_path / "s.toml", "--logdir", tmp_path, monkeypatch=patch)
    sweep(tmp_path / "s.toml", "--logdir", tmp_path, monkeypatch=monkeypatch)
    assert capsys.readouterr().out.count("compiled ") == 2, "one program in each session"
    for run in runs:
        assert_as_alone(run, tmp_path, tmp_path / "alone")


@pytest.mark.slow
def test_a_run_that_computes_no_numbers_does_not_end_those_beside_it(tmp_path, monkeypatch, capsys):
    """Catches a loss of one run that is lost among others, or that others are blamed or ended for."""
    good, bad = small_sweep(tmp_path, 4, "learning_rate = [1e-3, 1e18]")
    with pytest.raises(SystemExit):
        sweep(tmp_path / "s.toml", "--logdir", tmp_path, monkeypatch=monkeypatch)
    error = capsys.readouterr().err
    assert "together they fail, so each trains alone: the " in error
    assert f"1 of 2 runs failed: SimpleDoorKey/{bad.savedir}: the " in error
    assert_as_alone(good, tmp_path, tmp_path / "alone")
