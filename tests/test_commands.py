"""The commands as a user types them: what they write, how they go on, and what they say to mistakes."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

import jaxteach.eval
import jaxteach.report
import jaxteach.runs.run_writer
import jaxteach.teach
from jaxteach.config import EvalConfig, PPOConfig
from jaxteach.distributed.sharding import describe
from jaxteach.errors import UserError
from jaxteach.evaluation.command import evaluate, student_players
from jaxteach.ppo.episodes import Episodes, evaluation_key
from jaxteach.reports.curves import Curve
from jaxteach.system.command import run_command
from jaxteach.system.memory import explain_out_of_memory
from jaxteach.train import main as train_main
from jaxteach.training.nonfinite import first_nonfinite
from tests.command_line import last_counts

SMALL = ["--num_envs", "8", "--rollout_length", "16", "--batch_size", "64", "--eval_interval", "2", "--num_eval", "10"]
SMALL += ["--max_steps", "20"]
TRAIN = ["--task", "simpledoorkey", "--final_eval", "20", *SMALL]
MAINS = {"train": train_main, "eval": jaxteach.eval.main, "report": jaxteach.report.main, "teach": jaxteach.teach.main}


def call(command, *arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [command, *last_counts(arguments)])
    run_command(MAINS[command])


def refuse(command, *arguments, monkeypatch, capsys):
    """The one sentence with which a command refuses; it ends with exit code 2."""
    with pytest.raises(SystemExit) as end:
        call(command, *arguments, monkeypatch=monkeypatch)
    assert end.value.code == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    """Two short runs: `done`, of the seeds 0 and 5, and `single`, of the seed 11, that clips nothing."""
    folder = tmp_path_factory.mktemp("log")
    with pytest.MonkeyPatch.context() as patch:
        # The same rate for all iterations, so that a run may be cut anywhere.
        seeds = ["--seed_list", 0, 5, "--n_itr", 5, "--final_learning_rate", 1e-3, "--savedir", "done"]
        call("train", *TRAIN, "--logdir", folder, *seeds, monkeypatch=patch)
        unlimited = ["--max_grad_norm", "inf", "--clip", "inf", "--save_interval", "9999999999", "--savedir", "single"]
        call("train", *TRAIN, "--logdir", folder, "--seed_list", 11, "--n_itr", 5, *unlimited, monkeypatch=patch)
    return folder


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tags_of(folder):
    """The scalar tags and steps in a folder's event files, read from TensorBoard's record format."""
    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
            data = data[16 + length :]
    return found


def test_a_run_s_folder(logdir):
    folder = logdir / "ppo" / "SimpleDoorKey" / "single"
    assert json.loads((folder / "config.json").read_text())["task"] == "SimpleDoorKey"
    rows = rows_of(folder)
    assert [row["iteration"] for row in rows] == [2, 4, 5]
    assert [row["env_steps"] for row in rows] == [256, 512, 640]
    assert {"wall_s", "success_rate", "return_mean"} <= set(rows[0])
    assert (folder / "checkpoints" / "5").is_dir()
    (result,) = json.loads((folder / "summary.json").read_text())
    assert result["episodes"] == 20
    tags = tags_of(folder)
    names = ["Return Mean", "Return Std", "Eplen", "Success Rate", "Loss", "Mean Entropy", "Kickstarting Loss"]
    names += ["Policy Loss", "Value Loss", "Kickstarting Coef"]
    test = {f"Test/{name}" for name in ("Return", "Eplen", "Success Rate")}
    assert {f"Train/{name}" for name in names} | test <= set(tags)
    assert tags["Train/Loss"] == [1, 2, 3, 4, 5]
    assert tags["EnvSteps/Train/Loss"] == [128, 256, 384, 512, 640]
    assert tags["Test/Return"] == [2, 4, 5]


def test_seeds_of_one_run_are_told_apart(logdir):
    folder = logdir / "ppo" / "SimpleDoorKey" / "done"
    assert [(row["iteration"], row["seed"]) for row in rows_of(folder)] == [(i, s) for i in (2, 4, 5) for s in (0, 5)]
    assert tags_of(folder / "seed_5")["Train/Loss"] == [1, 2, 3, 4, 5]


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(logdir, tmp_path, monkeypatch, capsys):
    """Four iterations, then the rest: the same points and the same parameters as in one session."""
    arguments = [
        *TRAIN,
        "--logdir",
        tmp_path,
        "--savedir",
        "halves",
        "--seed_list",
        0,
        5,
        "--final_learning_rate",
        1e-3,
    ]
    call("train", *arguments, "--n_itr", 4, monkeypatch=monkeypatch)
    halves = tmp_path / "ppo" / "SimpleDoorKey" / "halves"
    with (halves / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 5, "env_steps": 0, "wall_s": 0, "success_rate": 0, "return_mean": 0}\n{"itera')
    assert f"\non {describe(jax.devices()[:1])}\ncompiling takes about 20 s" in capsys.readouterr().out
    call("train", *arguments, "--n_itr", 5, "--resume", monkeypatch=monkeypatch)
    out, last = capsys.readouterr().out, rows_of(halves)[-1]
    assert "\ngoes on after iteration 4 (512 steps, " in out
    (seconds,) = re.findall(r"640 steps  .* steps/s, all seeds +([0-9.]+) s\n", out)
    assert float(seconds) < last["wall_s"], "the screen counts from now on, the metrics from the run's beginning"
    assert len(re.findall(r"after 640 steps and [0-9.]+ s in all\n", out)) == 2
    whole = logdir / "ppo" / "SimpleDoorKey" / "done"
    assert [strip_times(row) for row in rows_of(halves)] == [strip_times(row) for row in rows_of(whole)]
    assert [row["wall_s"] for row in rows_of(halves)] == sorted(row["wall_s"] for row in rows_of(halves))


def strip_times(row):
    return {name: value for name, value in row.items() if name not in ("wall_s", "steps_per_s")}


def test_evaluation_writes_results_and_videos(logdir, monkeypatch, capsys):
    arguments = ["--task", "SimpleDoorKey", "--logdir", logdir, "--loaddir", "done", "--seed", 5, "--num_eval", 6]
    more = ["--env_seed_list", 3, 4, "--num_videos", 1, "--savedir", "watched"]
    call("eval", *arguments, *more, monkeypatch=monkeypatch)
    folder = logdir / "ppo" / "SimpleDoorKey" / "watched"
    result = json.loads((folder / "eval.json").read_text())
    assert result["episodes"] == len(result["returns"]) == 12
    assert result["mean_return"] == pytest.approx(np.mean(result["returns"]))
    assert result["success_rate"] == np.mean(np.array(result["returns"]) > 0)
    assert result["mean_length"] == np.mean(result["lengths"])
    assert result["success"] == [x > 0 for x in result["returns"]]
    low, high = result["success_rate_interval"]
    share, n, z = result["success_rate"], 12, 1.959964
    ends = np.roots([1 + z**2 / n, -(2 * share + z**2 / n), share**2])
    assert [high, low] == pytest.approx(ends, abs=1e-6), "where a share's own normal interval ends at this one"
    assert f"{share:.4f}, 95% interval [{low:.4f}, {high:.4f}]" in capsys.readouterr().out
    frames = iio.imread(folder / "videos" / "env_seed_4_episode_0.gif")
    # A GIF holds a picture that does not change once, for longer.
    assert 1 < len(frames) <= result["lengths"][6] + 1
    assert frames.shape[1:] == (240, 240, 3)
    assert "error: the folder" in refuse_again(monkeypatch, capsys, *arguments, *more)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["simple_spread", "LockedHallway-2Rooms"])
def test_several_agents_are_trained_and_watched_by_the_same_commands(task, tmp_path, monkeypatch, capsys):
    here = ["--task", task.upper(), "--logdir", tmp_path]
    short = [*SMALL[:-1], "6", "--n_itr", 2, "--final_eval", 10]
    call("train", *here, *short, "--savedir", "run", "--recurrent", monkeypatch=monkeypatch)
    assert "written by hand" in capsys.readouterr().out
    folder = tmp_path / "ppo" / task
    config = json.loads((folder / "run" / "config.json").read_text())
    assert (config["network"], config["ppo"]["normalize_values"]) == ("mlp", True)
    (row,) = rows_of(folder / "run")
    assert np.isfinite([row["return_mean"], row["value_loss"], row["train_return_mean"]]).all()
    more = ["--loaddir", "run", "--num_eval", 4, "--num_videos", 1, "--savedir", "watched"]
    call("eval", *here, *more, monkeypatch=monkeypatch)
    result = json.loads((folder / "watched" / "eval.json").read_text())
    assert result["mean_length"] == 6
    frames = iio.imread(folder / "watched" / "videos" / "env_seed_0_episode_0.gif")
    assert 1 < len(frames) <= 7
    call("eval", *here, "--eval_teacher", "--num_eval", 4, "--num_videos", 0, "--max_steps", 6, monkeypatch=monkeypatch)
    assert "soft teacher with shipped plans" in capsys.readouterr().out
    assert "has no teacher" in refuse(
        "eval", "--task", "simple", "--eval_teacher", monkeypatch=monkeypatch, capsys=capsys
    )


def test_the_reference_s_way_to_evaluate(logdir, tmp_path, monkeypatch, capsys):
    """Catches names of the reference that are lost, seeds mixed up, and results lost with a full disk."""

    def full_disk(path, document):
        written.append(document)
        raise UserError(f"can't write {path}: No space left on device")

    written = []
    monkeypatch.setattr("jaxteach.evaluation.command.write_json", full_disk)
    arguments = ["--loaddir", logdir / "ppo" / "SimpleDoorKey" / "done", "--logdir", tmp_path, "--num_videos", 0]
    old = ["--seed_list", 5, 0, "--loadmodel", "acmodel", "--recurrent", "--n_itr", "1e5", "--num_eval", 3]
    with pytest.raises(SystemExit) as end:
        call("eval", *arguments, *old, monkeypatch=monkeypatch)
    assert end.value.code == 2
    told = capsys.readouterr()
    lines = [line.split()[0] for line in told.err.splitlines()]
    assert lines == ["--recurrent", "--n_itr", "acmodel", "error:"]
    assert "episodes: 6" in told.out
    (result,) = written
    assert list(result["players"]) == ["seed 5", "seed 0"]
    each = [player["mean_return"] for player in result["players"].values()]
    assert result["mean_return"] == pytest.approx(np.mean(each))
    assert np.mean(result["returns"][:3]) == pytest.approx(each[0])


def test_mistakes_in_paths_of_runs(logdir, monkeypatch, capsys):
    path = logdir / "ppo" / "SimpleDoorKey" / "single"
    assert "is a run of SimpleDoorKey, not of TwoDoor" in refuse_again(
        monkeypatch, capsys, "--loaddir", path, "--task", "TwoDoor"
    )
    assert "there is no run" in refuse_again(monkeypatch, capsys, "--loaddir", path / "nowhere")
    assert "give --task, or the run's path" in refuse_again(monkeypatch, capsys, "--loaddir", "single")


def refuse_again(monkeypatch, capsys, *arguments):
    return refuse("eval", *arguments, monkeypatch=monkeypatch, capsys=capsys)


def test_the_teacher_itself_is_evaluated(tmp_path, monkeypatch, capsys):
    arguments = ["--task", "SimpleDoorKey", "--logdir", tmp_path, "--eval_teacher", "--num_eval", 40, "--num_videos", 0]
    call("eval", *arguments, "--savedir", "teacher", monkeypatch=monkeypatch)
    result = json.loads((tmp_path / "ppo" / "SimpleDoorKey" / "teacher" / "eval.json").read_text())
    assert result["success_rate"] >= 0.95
    assert "soft teacher" in capsys.readouterr().out


def test_evaluation_takes_the_run_s_first_seed(logdir):
    """Catches a run without the seed 0 that needs to be told which seed it has."""
    _, players = student_players(EvalConfig("SimpleDoorKey", loaddir="single", logdir=str(logdir)))
    assert players.description == "student single, seed 11, iteration 5"


@pytest.mark.parametrize("seed", [0, 3])
def test_evaluation_and_training_draw_from_streams_of_their_own(seed, tmp_path, monkeypatch):
    """Catches episodes of an evaluation that a run of the same seed was trained or judged with."""

    def drawn(world, policy, memory, key, episodes, filmed):
        """Returns that tell the key's draws."""
        draws = jax.random.uniform(key, (episodes,))
        return Episodes(draws, jnp.ones(episodes, int), draws > 2, draws > 2, {}), None

    monkeypatch.setattr("jaxteach.evaluation.command.film_episodes", drawn)
    config = EvalConfig("SimpleDoorKey", eval_teacher=True, env_seed_list=(seed,), num_videos=0, logdir=str(tmp_path))
    returns = json.loads((evaluate(config) / "eval.json").read_text())["returns"]
    np.testing.assert_allclose(returns, jax.random.uniform(evaluation_key(seed), (100,)))
    many = 1000
    training, judged = jax.random.split(jax.random.key(seed))
    roots = {"split by training": training, "split by evaluations": judged, "the seed's": jax.random.key(seed)}
    roots |= {f"evaluation {i}": jax.random.fold_in(judged, i) for i in range(3)}
    roots |= {f"part {i} of training": key for i, key in enumerate(jax.random.split(training, 3))}
    for name, root in roots.items():
        roots = roots | {f"{name}, part {i}": key for i, key in enumerate(jax.random.split(root))}
    theirs = {tuple(row) for key in roots.values() for row in key_rows(key, many)}
    key = evaluation_key(seed)
    ours = {tuple(row) for part in (key, *jax.random.split(key)) for row in key_rows(part, many)}
    assert not ours & theirs


def key_rows(key, count):
    """The numbers of a key and of those that it is split into."""
    keys = jax.random.split(key, count)
    return np.concatenate([np.asarray(jax.random.key_data(key))[None], np.asarray(jax.random.key_data(keys))])


def test_reports(logdir, tmp_path, monkeypatch, capsys):
    """Catches runs that are not told apart, and students that are not filmed, or at any length."""
    folder = logdir / "ppo" / "SimpleDoorKey"
    monkeypatch.setattr("jaxteach.evaluation.videos.MOST_FRAMES", 4)
    runs = [folder / "done", folder / "single"]
    call("report", *runs, "--out", tmp_path / "r", "--threshold", 0.5, "--apart", monkeypatch=monkeypatch)
    text = (tmp_path / "r" / "report.md").read_text()
    assert "normalised AULC" in text
    assert "single" in capsys.readouterr().out
    assert iio.imread(tmp_path / "r" / "report.png").shape[1] > 1000
    films = re.findall(r"data:image/gif;base64,([^\"]*)", (tmp_path / "r" / "report.html").read_text())
    assert [1 < len(iio.imread(base64.b64decode(film))) <= 4 for film in films] == [True, True]
    assert (tmp_path / "r" / "films" / "1.gif").is_file()
    assert (tmp_path / "r" / "films" / "2.gif").is_file()
    (tmp_path / "r" / "films" / "7.gif").touch()
    call("report", *runs, "--out", tmp_path / "r", "--films", 1, "--apart", monkeypatch=monkeypatch)
    assert capsys.readouterr().err == "1 of 2 students are filmed; --num_videos 2 films all\n"
    kept = {path.stem for path in (tmp_path / "r" / "films").iterdir()}
    assert kept == {"1", "7"}, "the film that the earlier report wrote is gone, a file of somebody else is not"


def test_areas_by_hand():
    """Returns 0, 0.5, 1 at iterations 10, 20, 40: trapezoids 2.5 and 15, over a span of 30."""
    points = np.array([10, 20, 40])
    curve = Curve(
        points, 100 * points, points / 10, np.array([0.0, 0.6, 1.0]), np.array([0.0, 0.5, 1.0]), 1.0, 1.0, False
    )
    assert curve.area() == 17.5
    assert curve.normalised_area(1.0) == pytest.approx(17.5 / 30)
    assert curve.normalised_area(2.0) == pytest.approx(17.5 / 60)
    assert [curve.first_at(level) for level in (0.5, 0.6, 0.95, 1.0, 1.1)] == [1, 1, 2, 2, None]


def test_options_of_the_reference_that_mean_nothing_get_a_line_each(tmp_path, monkeypatch, capsys):
    old = ["--traj_per_itr", 10, "--device", "cpu", "--policy", "ppo", "--use_teacher_policy", "--soft_planner"]
    last = ["--logdir", tmp_path, "--n_itr", 5, "--final_eval", 0]
    call("train", *TRAIN, *old, "--offline_planner", *last, monkeypatch=monkeypatch)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("--")] == ["--traj_per_itr", "--device", "--policy"]
    call("train", *TRAIN, *last, monkeypatch=monkeypatch)
    assert len(list((tmp_path / "ppo" / "SimpleDoorKey").iterdir())) == 2, "each run gets a name of its own"


TRAIN_MISTAKES = {
    "an unknown task": (["--task", "Nowhere"], "known are SimpleDoorKey"),
    "a bad number": ([*TRAIN, "--num_envs", "0"], "--num_envs"),
    "a bad share": ([*TRAIN, "--gamma", "1.5"], "--gamma"),
    "two lengths": ([*TRAIN, "--n_itr", "3", "--total_steps", "1000"], "not both"),
    "one seed twice": ([*TRAIN, "--seed_list", "1", "1"], "different seeds"),
    "recurrence without a network for it": ([*TRAIN, "--recurrent"], "--network reference"),
    "a network for other worlds": (["--task", "simple_spread", "--network", "reference"], "use --network mlp"),
    "plans for a task without a teacher": (["--task", "simple_tag", "--plans", "p.json"], "has no teacher"),
    "a world's option that it lacks": (["--task", "simple_tag", "--num_agents", "3"], "options are --max_steps"),
    "an even view": ([*TRAIN, "--view_size", "4"], "--view_size must be odd"),
    "a world with another name for it": (["--task", "LockedHallway-2Rooms", "--view_size", "4"], ": --view_size must"),
    "a task that is nearly one": (["--task", "SimplDoorKey"], "did you mean SimpleDoorKey?"),
    "a task of one's own": (["--task", "Nowhere"], "JAXTEACH_IMPORT"),
    "keys without words": ([*TRAIN, "--num_keys", "2"], "words for one key, not for --num_keys 2"),
    "shipped plans for another world": (
        ["--task", "simple_spread", "--num_agents", "5"],
        "plans that ship with jaxtea",
    ),
    "shipped plans for fewer keys": (
        ["--task", "ColoredDoorKey", "--num_keys", "1"],
        "ColoredDoorKey with --num_keys 1",
    ),
    "a rollout that no memory holds": (
        [*TRAIN, "--num_envs", "1e6", "--rollout_length", "1e6"],
        "of memory, and there",
    ),
    "a number that is none": ([*TRAIN, "--gamma", "nan"], "--gamma must be within 0..1, not nan"),
    "more than 64 bits": ([*TRAIN, "--save_interval", "1e30"], "--save_interval must be at most"),
    "an empty name": ([*TRAIN, "--savedir", ""], "--savedir is empty"),
    "an empty folder for runs": ([*TRAIN, "--logdir", ""], "--logdir is empty"),
    "a model that is not named": ([*TRAIN, "--online", "--savedir", "untold"], "needs --model"),
    "an option without effect": ([*TRAIN, "--no_teacher", "--plans", "shipped"], "--plans has no effect"),
    "a missing plan file": ([*TRAIN, "--plans", "none.json"], "can't read the plan file"),
    "a name that leads elsewhere": ([*TRAIN, "--savedir", "../up"], "can't name a run"),
    "resuming nothing": ([*TRAIN, "--resume", "--savedir", "nothing"], "there is no run"),
    "resuming without a name": ([*TRAIN, "--resume"], "--savedir"),
    "an existing run": ([*TRAIN, "--savedir", "single"], "exists"),
    "resuming with other options": (
        [*TRAIN, "--savedir", "single", "--resume", "--gamma", "0.5"],
        "--gamma 0.99, not 0.5",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), TRAIN_MISTAKES.values(), ids=TRAIN_MISTAKES.keys())
def test_mistakes_in_training(arguments, message, logdir, monkeypatch, capsys):
    folder = logdir / "ppo"
    before = sorted(folder.rglob("*"))
    assert message in refuse("train", "--logdir", logdir, *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert sorted(folder.rglob("*")) == before


def test_a_want_of_memory_is_told(logdir, monkeypatch, capsys):
    """Catches worlds, evaluations and programs that take more memory than there is, and XLA's pages about it."""
    monkeypatch.setattr("jaxteach.system.memory._there_is", lambda: 2**20)
    for more in (["--num_envs", 4096], ["--num_eval", 4096]):
        given = [*TRAIN, *more, "--logdir", logdir, "--savedir", "large"]
        line = refuse("train", *given, monkeypatch=monkeypatch, capsys=capsys)
        assert "GiB of memory, and there are 0.0 GiB; lower --num_envs" in line
    monkeypatch.setattr("jaxteach.system.memory._there_is", lambda: 2**10)
    run = ["--task", "SimpleDoorKey", "--logdir", logdir, "--loaddir", "single"]
    assert "GiB of memory" in refuse("eval", *run, monkeypatch=monkeypatch, capsys=capsys)
    plans = logdir / "ppo" / "SimpleDoorKey" / "single" / "plans.json"
    assert "GiB of memory" in refuse("teach", "--show", plans, monkeypatch=monkeypatch, capsys=capsys)
    assert not (logdir / "ppo" / "SimpleDoorKey" / "large").exists()
    for error in (MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")):
        with pytest.raises(UserError, match="the memory is used up; lower"), explain_out_of_memory():
            raise error


@pytest.mark.parametrize("option", ["--network", "--nonsense", "--n_itr"])
def test_wrong_options_end_with_code_2(option, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        call("train", *TRAIN, option, "what", monkeypatch=monkeypatch)
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_mistakes_in_evaluation(logdir, tmp_path, monkeypatch, capsys):
    def said(*arguments, task="SimpleDoorKey"):
        given = ["--task", task, "--logdir", logdir, "--num_eval", 2, *arguments]
        return refuse("eval", *given, monkeypatch=monkeypatch, capsys=capsys)

    runs = logdir / "ppo" / "SimpleDoorKey"
    assert "one of them" in said()
    assert "there is no run" in said("--loaddir", "missing")
    assert "iterations 5" in said("--loaddir", "single", "--checkpoint", 3)
    assert "--checkpoint is empty; give it" in said("--loaddir", "single", "--checkpoint", "")
    assert "has no seed 9; it has 11" in said("--loaddir", "single", "--seed", 9)
    assert "must name different seeds" in said("--loaddir", "single", "--env_seed_list", 0, 1, 0)
    (runs / "empty").mkdir()
    assert "is not a jaxteach run" in said("--loaddir", "empty")
    copy = logdir / "ppo" / "TwoDoor" / "foreign"
    shutil.copytree(runs / "single", copy)
    assert "is a run of SimpleDoorKey, not of TwoDoor" in said("--loaddir", "foreign", task="TwoDoor")
    damage(runs, "damaged", lambda path: [file.write_bytes(b"x") for file in path.rglob("*") if file.is_file()])
    assert "damaged" in said("--loaddir", "damaged")
    config = json.loads((runs / "single" / "config.json").read_text())
    shutil.copytree(runs / "single", runs / "other")
    (runs / "other" / "config.json").write_text(json.dumps(config | {"network": "reference"}))
    assert "of another network" in said("--loaddir", "other")
    (runs / "other" / "config.json").write_text("{")
    assert "not JSON" in said("--loaddir", "other")
    (runs / "other" / "config.json").write_text('{"task": 3}')
    assert "config.json" in said("--loaddir", "other")


def damage(runs, name, how):
    shutil.copytree(runs / "single", runs / name)
    how(runs / name / "checkpoints" / "5" / "default")


def test_mistakes_in_reports(logdir, tmp_path, monkeypatch, capsys):
    def said(*arguments):
        return refuse("report", *arguments, "--out", tmp_path / "r", monkeypatch=monkeypatch, capsys=capsys)

    assert "there is no run" in said(tmp_path / "nothing")
    assert "there is no run" in said(tmp_path / ("long" * 100))
    assert "is not a jaxteach run" in said(tmp_path)
    assert "--threshold" in said(logdir / "ppo" / "SimpleDoorKey" / "single", "--threshold", 2)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["jaxteach.train", "jaxteach.eval", "jaxteach.sweep", "jaxteach.report"])
def test_help_of_the_installed_commands(module, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "usage" in done.stdout


@pytest.mark.slow
def test_the_main_job_reaches_its_figure(tmp_path):
    """Default settings, from a cold start: at least 0.98 success over 1,000 episodes within 150,000 steps."""
    command = [sys.executable, "-m", "jaxteach.train", "--task", "SimpleDoorKey", "--savedir", "main"]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    folder = Path(tmp_path) / "log" / "ppo" / "SimpleDoorKey" / "main"
    (result,) = json.loads((folder / "summary.json").read_text())
    assert result["episodes"] == 1000
    assert result["env_steps"] <= 150_000
    assert result["success_rate"] >= 0.98


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run(tmp_path, monkeypatch, capsys):
    """It names the iteration; what was before it becomes the last checkpoint, from which it comes again at once."""
    monkeypatch.setattr(PPOConfig, "coefficient", lambda self, i, steps: jnp.where(i < 5, jnp.float32(1), jnp.nan))
    wild = ["--n_itr", 8, "--save_interval", 4, "--logdir", tmp_path, "--savedir", "wild"]
    first = refuse("train", *TRAIN, *wild, monkeypatch=monkeypatch, capsys=capsys)
    assert "the loss of seed 0 is nan in iteration 6; --resume goes there again from the checkpoint of iter" in first
    run = tmp_path / "ppo" / "SimpleDoorKey" / "wild"
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["4", "5"]
    assert [row["iteration"] for row in rows_of(run)] == [2, 4, 5]
    assert refuse("train", *TRAIN, *wild, "--resume", monkeypatch=monkeypatch, capsys=capsys) == first
    assert [row["iteration"] for row in rows_of(run)] == [2, 4, 5]


def test_long_runs_write_a_bounded_number_of_points(tmp_path, monkeypatch):
    """TensorBoard's training tags leave iterations out, evaluations don't; metrics.jsonl has every evaluation."""
    monkeypatch.setattr(jaxteach.runs.run_writer, "MOST_POINTS", 3)
    call("train", *TRAIN, "--n_itr", 5, "--logdir", tmp_path, "--savedir", "long", monkeypatch=monkeypatch)
    run = tmp_path / "ppo" / "SimpleDoorKey" / "long"
    tags = tags_of(run)
    assert list(tags["Train/Loss"]) == [2, 4]
    assert list(tags["Test/Return"]) == [2, 4, 5] == [row["iteration"] for row in rows_of(run)]


def test_the_gradient_alone_is_watched():
    """A bad last gradient leaves the loss of its update a number; the first trouble is told, whichever it is."""
    fine = np.ones((2, 3), np.float32)
    assert first_nonfinite({"loss": fine, "grad_norm": fine}) is None
    wild = np.array([[1, 1, np.inf], [1, np.nan, 1]], np.float32)
    trouble = first_nonfinite({"loss": np.array([[1, 1, np.nan], [1, 1, 1]], np.float32), "grad_norm": wild})
    assert trouble is not None
    assert trouble[:3] == (1, 1, "gradient's norm")
    assert np.isnan(trouble.value)


def test_a_reader_who_goes_away_is_no_trouble(logdir):
    """`jaxteach.report ... | head -1` ends without a traceback."""
    command = [sys.executable, "-m", "jaxteach.report", str(logdir / "ppo" / "SimpleDoorKey" / "single")]
    command += ["--out", str(logdir / "piped")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
