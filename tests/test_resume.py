"""Nothing lost: killed, damaged and disk-less runs end with the bits of an undisturbed one, or with one sentence."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from jaxteach.config import PPOConfig, TrainConfig
from jaxteach.errors import UserError
from jaxteach.runs import checkpoints as checkpoints_module
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.runs.events import EventFile
from jaxteach.runs.files import lock_folder, write_json
from jaxteach.runs.metrics_log import MetricsLog, read_metrics
from jaxteach.runs.run_folder import begin_session, check_resumable, read_config
from jaxteach.runs.sessions import read_sessions
from jaxteach.sweeps.scheduler import state_of
from jaxteach.system.command import run_command
from jaxteach.teacher.loading import digest_of
from jaxteach.train import main as train_main
from tests.command_line import last_counts
from tests.test_commands import TRAIN, rows_of, strip_times, tags_of

STATE = {
    "params": {"w": jnp.arange(12.0).reshape(3, 4), "empty": jnp.zeros((0, 2))},
    "count": jnp.int32(7),
    "key": jax.random.split(jax.random.key(3), 2),
}


def train(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["train", *last_counts(arguments)])
    run_command(train_main)


def refuse(monkeypatch, capsys, *arguments):
    """The one sentence with which training ends, with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        train(monkeypatch, *arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def bits(state):
    """The leaves of a state as NumPy arrays."""
    leaves = jax.tree.leaves(state)
    return [np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x) for x in leaves]


def assert_same_bits(one, other):
    for a, b in zip(bits(one), bits(other), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def stored_arrays(run):
    """The iteration and every array of a run's newest checkpoint, as Orbax itself reads them."""
    newest = max(int(path.name) for path in (run / "checkpoints").iterdir())
    with ocp.PyTreeCheckpointer() as reader:
        return newest, reader.restore(run / "checkpoints" / str(newest) / "default")


def assert_same_checkpoints(one, other):
    """The newest ones of two runs: their iteration, and every array's bits."""
    (step, arrays), (other_step, other_arrays) = stored_arrays(one), stored_arrays(other)
    assert step == other_step
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        assert np.asarray(array).tobytes() == np.asarray(other_arrays[name]).tobytes(), name


def assert_same_runs(one, other):
    """Checkpoint, metrics, summary and TensorBoard's points; wall times excepted."""
    assert_same_checkpoints(one, other)
    assert [strip_times(row) for row in rows_of(one)] == [strip_times(row) for row in rows_of(other)]
    summaries = ([strip_times(row) for row in json.loads((run / "summary.json").read_text())] for run in (one, other))
    assert next(summaries) == next(summaries)


def state_at(iteration):
    """`STATE` with weights that tell the iteration."""
    return jax.tree.map(lambda x: x + iteration if x.dtype == jnp.float32 else x, STATE)


def write_some(folder, *iterations):
    folder.mkdir(exist_ok=True)
    with closing(Checkpoints(folder)) as checkpoints:
        for i in iterations:
            checkpoints.save(i, state_at(i))


def restored_iteration(folder):
    with closing(Checkpoints(folder)) as checkpoints:
        iteration, state = checkpoints.restore(STATE)
    assert_same_bits(state, state_at(iteration))
    return iteration


def test_a_checkpoint_holds_what_was_saved_though_the_next_update_reuses_the_memory(tmp_path):
    """Catches a writer that reads the state's buffers after they were donated."""
    overwrite = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    with closing(Checkpoints(tmp_path)) as checkpoints:
        for i in range(3):
            value = jnp.arange(100_000.0) + i
            checkpoints.save(i, {"x": value})
            overwrite(value).block_until_ready()
    with closing(Checkpoints(tmp_path)) as checkpoints:
        for i in range(3):
            state = checkpoints.restore({"x": jnp.zeros(100_000)}, i)[1]
            np.testing.assert_array_equal(state["x"], np.arange(100_000.0) + i)


def test_the_last_checkpoints_are_kept_and_leftovers_removed(tmp_path):
    """Catches old checkpoints that pile up, and unfinished ones that stay or are taken for whole."""
    (tmp_path / "checkpoints" / "9.partial" / "default.orbax-checkpoint-tmp").mkdir(parents=True)
    write_some(tmp_path, 1, 2, 3, 4)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "3", "4"]
    (tmp_path / "checkpoints" / "5.partial").mkdir()
    assert restored_iteration(tmp_path) == 4


def data_file(checkpoint):
    return max((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def list_another_digest(folder):
    """As if a file had changed in a way that Orbax overlooks."""
    manifest = folder / "manifest.json"
    listed = json.loads(manifest.read_text())
    next(iter(listed.values()))[1] = "0" * 64
    manifest.write_text(json.dumps(listed))


DAMAGES = {
    "a flipped bit": lambda folder: flip(data_file(folder)),
    "another digest": list_another_digest,
    "a file cut short": lambda folder: os.truncate(data_file(folder), 10),
    "an empty file": lambda folder: os.truncate(data_file(folder), 0),
    "a file missing": lambda folder: data_file(folder).unlink(),
    "all arrays missing": lambda folder: shutil.rmtree(folder / "default"),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "half a manifest": lambda folder: os.truncate(folder / "manifest.json", 40),
    "a manifest of garbage": lambda folder: (folder / "manifest.json").write_bytes(bytes(range(128, 256))),
    "an empty folder": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
    "a file in its place": lambda folder: [shutil.rmtree(folder), folder.write_text("")],
    "Orbax's own list garbled": lambda folder: (folder / "default" / "_METADATA").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_named_and_passed_over(damage, tmp_path, capsys):
    """Catches damage that is read as parameters, ends in a traceback, or is passed over in silence."""
    write_some(tmp_path, 1, 2)
    damage(tmp_path / "checkpoints" / "2")
    assert restored_iteration(tmp_path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "damaged" in line
    assert "checkpoint 2 (" in line
    damage(tmp_path / "checkpoints" / "1")
    with (
        closing(Checkpoints(tmp_path)) as checkpoints,
        pytest.raises(UserError, match="no checkpoint that can be read"),
    ):
        checkpoints.restore(STATE)
    write_some(tmp_path, 2)
    assert restored_iteration(tmp_path) == 2


def test_checkpoints_of_other_networks_are_no_damage(tmp_path):
    """Catches a user's mistake told as damage, and arrays of another shape or dtype let in."""
    write_some(tmp_path, 1)
    wider = jax.eval_shape(lambda: STATE | {"params": {"w": jnp.zeros((3, 5)), "empty": jnp.zeros((0, 2))}})
    doubled = jax.eval_shape(lambda: STATE | {"count": jnp.zeros((), jnp.float32)})
    more = jax.eval_shape(lambda: STATE | {"more": jnp.zeros(2)})
    for like in (wider, doubled, more):
        with (
            closing(Checkpoints(tmp_path)) as checkpoints,
            pytest.raises(UserError, match="another network, task or seed_list"),
        ):
            checkpoints.restore(like)


def test_a_failing_write_is_told_and_leaves_the_one_before(tmp_path, monkeypatch):
    """Catches a background error that nobody sees; the lowest write is patched."""
    write_some(tmp_path, 1)

    def full(*_arguments, **_options):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing [os_error_code='28']")

    monkeypatch.setattr(ocp.Checkpointer, "save", full)
    with pytest.raises(UserError, match="No space left on device; put that right"):
        write_some(tmp_path, 2)
    assert os.listdir(tmp_path / "checkpoints") == ["1"]
    assert restored_iteration(tmp_path) == 1


def point(iteration, seed=0):
    row = {"iteration": iteration, "env_steps": 10 * iteration, "wall_s": float(iteration), "seed": seed}
    return row | {"success_rate": 0.5, "return_mean": 0.25}


TEN_STEPS = TrainConfig("SimpleDoorKey", num_envs=1, ppo=PPOConfig(rollout_length=10))


@pytest.mark.parametrize("tail", ["", '{"iteration": 6, "env', '{"iteration": 6}'[:-1], "{"])
def test_metrics_go_on_after_the_checkpoint_without_gap_or_repeat(tail, tmp_path):
    """Catches points written twice, and a torn last line that spoils the file."""
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(point(i)) + "\n" for i in range(1, 6)) + tail)
    with closing(MetricsLog(tmp_path, TEN_STEPS, 3)) as log:
        assert log.wall_s == 3.0
        log.points([point(4), point(5)])
    assert [row["iteration"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5]


def test_events_reach_the_disk_with_every_point_and_survive_a_torn_file(tmp_path):
    """Catches events kept in memory, lost with a killed run, and a second session of the same second."""
    first = MetricsLog(tmp_path, TEN_STEPS, 0)
    first.scalars(0, {"Loss": 1.0}, 1, 10)
    first.points([point(1)])
    assert tags_of(tmp_path)["Loss"] == [1]
    (torn,) = tmp_path.glob("events.*")
    with torn.open("ab") as file:
        file.write(b"\x80\x00\x00")
    with closing(MetricsLog(tmp_path, TEN_STEPS, 1)) as log:
        log.scalars(0, {"Loss": 1.0}, 2, 20)
        log.points([point(2)])
    assert len(list(tmp_path.glob("events.*"))) == 2
    first.close()


def session(folder, first, last, steps=2048):
    """Logs a point for each iteration after the checkpoint of `first` up to `last`, every other with a test."""
    with closing(MetricsLog(folder, TrainConfig("SimpleDoorKey"), first)) as log:
        for i in range(first + 1, last + 1):
            log.scalars(0, {"Train/Loss": i / 8, "Train/Mean Entropy": 1.0}, i, i * steps)
            if i % 2 == 0:
                log.scalars(0, {"Test/Return": i / 4}, i, i * steps)
                log.points([point(i)])


def test_tensorboard_shows_each_point_once_after_two_sessions_more(tmp_path):
    """Catches points that TensorBoard forgets, or shows twice, by either of its axes: its steps are two things here."""
    for first, last in ((0, 10), (6, 10), (8, 12)):
        session(tmp_path, first, last)
    found = EventAccumulator(str(tmp_path)).Reload()
    wanted = {"Train/Loss": range(1, 13), "Train/Mean Entropy": range(1, 13), "Test/Return": range(2, 13, 2)}
    for tag, iterations in wanted.items():
        assert [event.step for event in found.Scalars(tag)] == list(iterations)
        assert [event.step for event in found.Scalars(f"EnvSteps/{tag}")] == [2048 * i for i in iterations]
    assert [event.value for event in found.Scalars("Train/Loss")] == [i / 8 for i in range(1, 13)]


def test_an_older_run_s_restarts_are_undone(tmp_path):
    """Catches TensorBoard's forgetting of a run that went on before runs cut their files themselves."""
    session(tmp_path, 0, 10)
    older = EventFile(tmp_path)
    older.add(Event(session_log=SessionLog(status=SessionLog.START), step=7))
    for i in range(7, 11):
        for tag, step in (("Train/Loss", i), ("EnvSteps/Train/Loss", i * 2048)):
            older.add(Event(summary=Summary(value=[Summary.Value(tag=tag, simple_value=i / 2)]), step=step))
    older.close()
    (tmp_path / "events.out.tfevents.1.here.0000.partial").write_bytes(b"left by a kill")
    session(tmp_path, 9, 10)
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in found.Scalars("Train/Loss")] == [i / 8 for i in range(1, 7)] + [3.5, 4, 4.5, 1.25]
    assert [event.step for event in found.Scalars("EnvSteps/Train/Loss")] == [2048 * i for i in range(1, 11)]


def test_metrics_of_two_writers_are_no_curve(tmp_path):
    """Catches lines of two trainings taken for one; the seeds of a run stand beside each other."""
    rows = [point(i, seed) for i in (5, 10) for seed in (0, 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(read_metrics(tmp_path)) == 4
    for again in (point(10, 1), point(5, 0)):
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, again]))
        with pytest.raises(UserError, match="as if two trainings had written to it at once"):
            read_metrics(tmp_path)


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """Catches a half-written config.json or summary.json, and a planted link that is followed."""
    path, outside = tmp_path / "config.json", tmp_path / "outside"
    write_json(path, {"old": 1})
    outside.write_text("mine")
    path.with_name("config.json.partial").symlink_to(outside)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", no_space)
        with pytest.raises(UserError, match="No space left"):
            write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"new": 2}
    assert outside.read_text() == "mine"


def no_space(*_arguments, **_options):
    raise OSError(28, "No space left on device")


ONE_SEED = [*TRAIN, "--seed_list", 3, "--save_interval", 2, "--n_itr", 5]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        train(patch, *ONE_SEED, "--logdir", folder, "--savedir", "run")
    return folder / "ppo" / "SimpleDoorKey" / "run"


def test_a_run_whose_newest_checkpoint_is_damaged_ends_with_the_same_bits(whole, tmp_path, monkeypatch, capsys):
    """Catches a restart from a checkpoint that is not the state of its iteration."""
    run = tmp_path / "ppo" / "SimpleDoorKey" / "run"
    shutil.copytree(whole, run)
    (run / "summary.json").unlink()
    (run / "summary.json.partial").write_text("{")
    for iteration in ("4", "5"):
        flip(data_file(run / "checkpoints" / iteration))
    arguments = [*ONE_SEED, "--logdir", tmp_path, "--savedir", "run", "--resume"]
    train(monkeypatch, *arguments)
    assert "checkpoint 5 (" in (line := capsys.readouterr().err)
    assert "taken instead: 2" in line
    assert_same_runs(whole, run)
    for folder in (run / "checkpoints").iterdir():
        flip(data_file(folder))
    assert "no checkpoint that can be read" in refuse(monkeypatch, capsys, *arguments)


def test_a_run_that_ended_before_its_first_checkpoint_begins_again(whole, tmp_path, monkeypatch, capsys):
    """Catches --resume that refuses a run killed early: before its config.json, or before a checkpoint."""
    run = tmp_path / "ppo" / "SimpleDoorKey" / "run"
    run.mkdir(parents=True)
    (run / "config.json.partial").write_text('{"ta')
    arguments = [*ONE_SEED, "--logdir", tmp_path, "--savedir", "run", "--resume"]
    with monkeypatch.context() as patch:
        patch.setattr(ocp.Checkpointer, "save", no_space)
        assert "No space left on device" in refuse(patch, capsys, *arguments)
    assert (run / "config.json").exists()
    assert len(rows_of(run)) > 0
    train(monkeypatch, *arguments)
    assert_same_runs(whole, run)


def resumable(whole, logdir):
    """A copy of the undisturbed run, and the arguments with which it goes on."""
    run = logdir / "ppo" / "SimpleDoorKey" / "run"
    shutil.copytree(whole, run)
    return run, [*ONE_SEED[:-2], "--logdir", logdir, "--savedir", "run", "--resume"]


def test_a_run_that_goes_on_to_another_length_says_what_that_changes(whole, tmp_path, monkeypatch, capsys):
    """Catches a learning rate that jumps unsaid, a config.json of a length that was, and a session not written down."""
    run, arguments = resumable(whole, tmp_path)
    rates = [row["learning_rate"] for row in rows_of(run)]
    assert rates == pytest.approx([1e-3 * (1 - i / 5) for i in (0.5, 2.5, 4)])
    train(monkeypatch, *arguments, "--n_itr", 8)
    said = capsys.readouterr().out
    assert "the learning rate goes from 0 to 0.000375: it falls over 8 iterations now, not over 5\n" in said
    assert rows_of(run)[-1]["learning_rate"] == pytest.approx(1e-3 * (1 - 7 / 8))
    assert tags_of(run)["Train/Learning Rate"] == list(range(1, 9))
    config = json.loads((run / "config.json").read_text())
    assert (config["n_itr"], config["resume"]) == (8, False)
    first, second = read_sessions(run)
    assert [(row["from_iteration"], row["to_iteration"]) for row in (first, second)] == [(0, 5), (5, 8)]
    assert second["changed"] == {"n_itr": {"from": 5, "to": 8}}
    assert first["cores"] == second["cores"] == len(os.sched_getaffinity(0))
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    told = refuse(monkeypatch, capsys, *arguments, "--n_itr", 7)
    assert "has come to 1,024 steps a seed (8 iterations), further than the 896 (7) asked for" in told
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*") if path.name != ".lock") == [
        entry for entry in before if entry[0].name != ".lock"
    ]


def test_the_logged_learning_rate_is_adam_s():
    """Catches a rate of other steps than those that Adam counts."""
    config = TrainConfig("SimpleDoorKey", n_itr=7, num_envs=8, ppo=PPOConfig(final_learning_rate=1e-4, batch_size=32))
    steps = 3 * 8
    schedule = optax.linear_schedule(1e-3, 1e-4, 7 * steps)
    for i in (0, 3, 7, 9):
        assert config.learning_rate_at(i) == pytest.approx(float(schedule(i * steps)))


def test_a_run_goes_on_with_its_own_plans_alone(whole, tmp_path, monkeypatch, capsys):
    """Catches another teacher taken in silence, whatever the file is called, and the same one refused."""
    run, arguments = resumable(whole, tmp_path)
    arguments += ["--n_itr", 8]
    document = json.loads((run / "plans.json").read_text())
    mine, config = tmp_path / "mine.json", read_config(run)
    mine.write_text(json.dumps(document | {"provenance": {"date": "another"}}))
    with_mine = replace(config, teacher=replace(config.teacher, plans=str(mine)))
    check_resumable(with_mine, config, run, digest_of(with_mine))
    document["captions"][0]["plans"] = [{"p": 1.0, "skills": [["wait", None]]}]
    mine.write_text(json.dumps(document))
    told = refuse(monkeypatch, capsys, *arguments, "--plans", mine)
    assert told.startswith(f"error: --plans {mine} are other plans than the run {run} began with; ")
    assert f"give --plans {run / 'plans.json'} for those, or start another run" in told
    config = replace(config, savedir="run", logdir=str(tmp_path))
    with pytest.raises(UserError, match="are other plans"):
        state_of(replace(config, teacher=with_mine.teacher))
    mine.unlink()
    assert state_of(config) == "finished"
    (run / "sessions.json").unlink()
    with pytest.raises(UserError, match="has other options: --plans "):
        check_resumable(with_mine, config, run, digest_of(with_mine))
    check_resumable(config, config, run, digest_of(config))


def test_another_machine_is_told(whole, tmp_path):
    """Catches bits that differ from one session's unsaid, where XLA divides sums among other cores."""
    run, _ = resumable(whole, tmp_path)
    config, rows = read_config(run), read_sessions(run)
    assert begin_session(run, config, 6, digest_of(config)) == []
    write_json(run / "sessions.json", [rows[0] | {"cores": 77, "jax": "0.1"}])
    (line,) = begin_session(run, config, 6, digest_of(config))
    assert f"(cores {len(os.sched_getaffinity(0))}, not 77, jax {jax.__version__}, not 0.1)" in line
    (run / "sessions.json").unlink()
    assert begin_session(run, config, 6, digest_of(config)) == [], "an older run"
    (run / "sessions.json").write_text("[3]")
    with pytest.raises(UserError, match="is damaged"):
        begin_session(run, config, 6, digest_of(config))


def test_a_run_has_one_writer(whole, tmp_path, monkeypatch, capsys):
    """Catches two trainings whose lines and checkpoints mix."""
    run, arguments = resumable(whole, tmp_path)
    before = (run / "metrics.jsonl").read_text()
    with lock_folder(run):
        told = refuse(monkeypatch, capsys, *arguments, "--n_itr", 8)
        assert told == f"error: another process trains in {run}; wait for it, or choose another --savedir"
    assert (run / "metrics.jsonl").read_text() == before
    assert len(read_sessions(run)) == 1
    with lock_folder(run):
        pass


@pytest.mark.slow
def test_the_state_before_a_bad_iteration_is_the_one_that_was_there(tmp_path, monkeypatch, capsys):
    """Catches a run that goes back to another state than its checkpoint's when its loss becomes no number."""
    monkeypatch.setattr(PPOConfig, "coefficient", lambda self, i, steps: jnp.where(i < 5, jnp.float32(1), jnp.nan))
    wild = [*TRAIN, "--n_itr", 8, "--logdir", tmp_path]
    refuse(monkeypatch, capsys, *wild, "--save_interval", 4, "--savedir", "back")
    refuse(monkeypatch, capsys, *wild, "--eval_interval", 1, "--save_interval", 5, "--savedir", "straight")
    back, straight = (tmp_path / "ppo" / "SimpleDoorKey" / name for name in ("back", "straight"))
    assert_same_checkpoints(back, straight)
    assert rows_of(back)[-1]["return_mean"] == rows_of(straight)[-1]["return_mean"]


def test_resuming_a_run_of_links_is_refused(whole, tmp_path, monkeypatch, capsys):
    """Catches a stranger's run that leads writes and removals out of its folder."""
    run, outside = tmp_path / "ppo" / "SimpleDoorKey" / "run", tmp_path / "outside"
    shutil.copytree(whole, run)
    shutil.move(run / "checkpoints", outside)
    (run / "checkpoints").symlink_to(outside)
    arguments = [*ONE_SEED, "--logdir", tmp_path, "--savedir", "run", "--resume"]
    assert "is a link" in refuse(monkeypatch, capsys, *arguments)


@contextmanager
def small_disk(folder, size):
    """A file system of its own at a folder; the test is skipped where mounting is not permitted."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def trouble_at_the_second_point(monkeypatch, run, trouble):
    """Lets something happen to the disk in the middle of a run, after its first checkpoint."""
    points, calls = MetricsLog.points, []

    def disturbed(log, rows):
        calls.append(1)
        if len(calls) == 2:
            while not (run / "checkpoints" / "2").exists():
                time.sleep(0.01)
            trouble()
        points(log, rows)

    monkeypatch.setattr(MetricsLog, "points", disturbed)


def fill(folder):
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_disk_that_fills_up_gets_one_sentence_and_the_run_goes_on_later(whole, tmp_path, monkeypatch, capsys):
    """Catches tracebacks, hanging log threads, and a last good checkpoint that is lost with the failed one."""
    disk = tmp_path / "disk"
    with small_disk(disk, "64m"):
        arguments = [*ONE_SEED, "--logdir", disk, "--savedir", "run"]
        run = disk / "ppo" / "SimpleDoorKey" / "run"
        with monkeypatch.context() as patch:
            trouble_at_the_second_point(patch, run, lambda: fill(disk))
            assert "No space left on device" in refuse(patch, capsys, *arguments)
        (disk / "filler").unlink()
        assert "2" in os.listdir(run / "checkpoints")
        train(monkeypatch, *arguments, "--resume")
        assert_same_runs(whole, run)


FILLING = """
import sys
from contextlib import closing
from pathlib import Path
import jax.numpy as jnp
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.system.command import run_command

def save():
    with closing(Checkpoints(Path(sys.argv[1]))) as checkpoints:
        for i in range(100):
            checkpoints.save(i, {str(j): jnp.full(100_000, i + j) for j in range(4)})
            open(sys.argv[1] + f"/filler{i}", "wb").write(bytes(500_000))

run_command(save)
"""


def test_a_disk_filled_by_checkpoints_gets_one_line_and_nothing_else(tmp_path):
    """Catches the tracebacks of Orbax's threads beside the one sentence; a process of its own, as they are logged."""
    disk = tmp_path / "disk"
    with small_disk(disk, "16m"):
        done = subprocess.run(
            [sys.executable, "-c", FILLING, str(disk)], capture_output=True, text=True, check=False, cwd=os.getcwd()
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "No space left on device" in line
        steps = sorted(int(name) for name in os.listdir(disk / "checkpoints"))
        like = {str(j): jnp.zeros(100_000, jnp.int32) for j in range(4)}
        with closing(Checkpoints(disk)) as checkpoints:
            step, state = checkpoints.restore(like)
        assert step == steps[-1]
        assert int(state["3"][-1]) == step + 3


def test_a_disk_that_turns_read_only_gets_one_sentence(tmp_path, monkeypatch, capsys):
    """Catches a traceback, in the middle of a run and before it."""
    disk = tmp_path / "disk"
    with small_disk(disk, "64m"):

        def lock():
            # A second mount over the first: the run's open files would keep the first from being remounted.
            subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True)
            subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)

        arguments = [*ONE_SEED, "--logdir", disk, "--savedir"]
        try:
            with monkeypatch.context() as patch:
                trouble_at_the_second_point(patch, disk / "ppo" / "SimpleDoorKey" / "run", lock)
                assert "Read-only file system; put that right" in refuse(patch, capsys, *arguments, "run")
            assert "Read-only file system" in refuse(monkeypatch, capsys, *arguments, "other")
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_folder_that_vanishes_gets_one_sentence(tmp_path, monkeypatch, capsys):
    """Catches a run that goes on into nowhere, or makes half a folder again."""
    run = tmp_path / "ppo" / "SimpleDoorKey" / "run"
    trouble_at_the_second_point(monkeypatch, run, lambda: shutil.rmtree(tmp_path / "ppo"))
    line = refuse(monkeypatch, capsys, *ONE_SEED, "--logdir", tmp_path, "--savedir", "run")
    assert "No such file or directory" in line
    assert not run.exists()


# Long against a session of a second or two.
LONG = 400


def command(logdir, *more):
    """A training with a checkpoint every other iteration, as a process."""
    arguments = [*TRAIN, "--n_itr", LONG, "--save_interval", 2, "--logdir", logdir, "--savedir", "run", *more]
    return [sys.executable, "-m", "jaxteach.train", *map(str, arguments)]


def killed(logdir, moment, rng, *more):
    """Starts a training, or goes on with it, kills it at a moment, and tells whether that came before its end."""
    process = subprocess.Popen(command(logdir, *more), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if moment == "while it starts":
        time.sleep(rng.uniform(0.5, 5))
    else:
        lines = iter(process.stdout)
        while "compiled" not in next(lines, "compiled"):
            pass
        time.sleep(rng.uniform(0, 1.5))
    while moment == "while it writes" and process.poll() is None:
        if any((logdir / "ppo" / "SimpleDoorKey" / "run" / "checkpoints").glob("*.partial")):
            time.sleep(rng.uniform(0, 0.2))
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_run_killed_at_5_moments_ends_with_the_bits_of_an_undisturbed_one(tmp_path, monkeypatch):
    """Catches all that a kill can tear: checkpoints, metrics, events, config.json, and state that is not saved."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    rng = random.Random(0)
    logdir = tmp_path / "killed"
    whole, run = (folder / "ppo" / "SimpleDoorKey" / "run" for folder in (tmp_path / "whole", logdir))
    kills = 0
    while kills < 5:
        moment = ("while it starts", "while it runs", "while it writes", "while it writes")[kills % 4]
        if killed(logdir, moment, rng, *(["--resume"] if run.exists() else [])):
            kills += 1
        else:  # On a fast machine a run comes to its end between two kills, and another begins.
            assert_same_runs(whole, run)
            shutil.rmtree(run)
    done = subprocess.run(command(logdir, "--resume"), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same_runs(whole, run)
    assert tags_of(run)["Train/Loss"] == list(range(1, LONG + 1))
    assert len(os.listdir(run / "checkpoints")) == checkpoints_module.KEPT_CHECKPOINTS
