"""Sweeps on one machine: what a file may say, which runs come of it, and how they go on."""

import json
import sys

import pytest

import jaxteach.sweep
from jaxteach.config import TrainConfig
from jaxteach.errors import UserError, run_command
from jaxteach.files import write_json
from jaxteach.sweepfile import read_sweep
from jaxteach.trials import runs_of

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
    run_command(jaxteach.sweep.main)


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
    assert runs[2].network == "team", "what is not named is the task's own default"
    assert runs[1].savedir == "s-no_teacher-True-seeds-0+1+2+5"


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
    "nothing": ("", "must have the tables"),
    "another table": ("[fixed]\ntask = 'SimpleDoorKey'\n[gird]\n", "must have the tables"),
    "no task": ("[fixed]\nn_itr = 1", "names no task"),
    "an unknown task": ("[fixed]\ntask = 'Nowhere'", "unknown task 'Nowhere'"),
    "an unknown option": ("[fixed]\ntask = 'SimpleDoorKey'\ndistil_coef = 1", "did you mean distill_coef?"),
    "an option that is nothing like one": ("[fixed]\ntask = 'SimpleDoorKey'\nxyzzy = 1", "has no option xyzzy; python"),
    "the sweep's own option": ("[fixed]\ntask = 'SimpleDoorKey'\nresume = true", "the sweep itself gives resume"),
    "a word for a number": ("[fixed]\ntask = 'SimpleDoorKey'\ngamma = 'high'", "gamma can't be 'high'"),
    "a number that makes no sense": ("[fixed]\ntask = 'SimpleDoorKey'\ngamma = 2", "--gamma must be within 0..1"),
    "a number for a flag": ("[fixed]\ntask = 'SimpleDoorKey'\nno_teacher = 1", "no_teacher can't be 1"),
    "a flag for a number": ("[fixed]\ntask = 'SimpleDoorKey'\nn_itr = false", "n_itr can't be False"),
    "a list for a number": ("[fixed]\ntask = 'SimpleDoorKey'\nn_itr = [1, 2]", "n_itr can't be [1, 2]"),
    "no list": ("[fixed]\ntask = 'SimpleDoorKey'\n[grid]\ngamma = 0.9", "gamma in [grid] must be a list"),
    "an empty list": ("[fixed]\ntask = 'SimpleDoorKey'\n[grid]\ngamma = []", "gamma in [grid] must be a list"),
    "both": ("[fixed]\ntask = 'SimpleDoorKey'\ngamma = 0.9\n[grid]\ngamma = [0.8]", "gamma is both"),
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
    monkeypatch.setattr("jaxteach.finishing.train", lambda *_: None)
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
    sweep("s.toml", "--show", monkeypatch=monkeypatch)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["new", "finished"]
    (good / "summary.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in (good / "checkpoints").rglob("*")}
    (tmp_path / "s.toml").write_text((tmp_path / "s.toml").read_text().replace('"none.json", ', ""))
    sweep("s.toml", "--show", monkeypatch=monkeypatch)
    assert "begun" in capsys.readouterr().out
    sweep("s.toml", monkeypatch=monkeypatch)
    assert "all 1 runs are finished" in capsys.readouterr().out
    assert (good / "summary.json").is_file(), "what was missing is done"
    assert times == {path: path.stat().st_mtime_ns for path in (good / "checkpoints").rglob("*")}
    before = (good / "summary.json").stat().st_mtime_ns
    sweep("s.toml", monkeypatch=monkeypatch)
    assert "finished before" in capsys.readouterr().out
    assert (good / "summary.json").stat().st_mtime_ns == before


def test_an_error_of_ours_ends_one_run_only(tmp_path, monkeypatch, capsys):
    """Catches an exception of whatever kind, such as memory that is used up, that ends the sweep."""
    trained = []

    def train(config: TrainConfig, _started):
        trained.append(config.ppo.gamma)
        if config.ppo.gamma == 0.5:
            raise MemoryError("no room")

    monkeypatch.setattr("jaxteach.finishing.train", train)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text('[fixed]\ntask = "SimpleDoorKey"\n[grid]\ngamma = [0.5, 0.9]')
    with pytest.raises(SystemExit):
        sweep("s.toml", monkeypatch=monkeypatch)
    assert trained == [0.5, 0.9]
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("1 of 2 runs failed: SimpleDoorKey/s-gamma-0.5-seed-0: MemoryError: no room\n")
