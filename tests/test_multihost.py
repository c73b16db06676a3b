"""Several processes, here on one machine, train the student of one and write its files once."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxteach.cli import parse
from jaxteach.config import TrainConfig, default_config
from jaxteach.distributed.multihost import HostsConfig
from jaxteach.errors import UserError
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.runs.metrics_log import read_metrics
from jaxteach.runs.run_folder import read_config
from jaxteach.training.programs import Experiment

ROOT = Path(__file__).parents[1]
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
SMALL = ["--task", "SimpleDoorKey", "--savedir", "run", "--num_envs", "16", "--rollout_length", "8"]
SMALL += ["--batch_size", "64", "--eval_interval", "4", "--save_interval", "4"]
SMALL += ["--num_eval", "10", "--final_eval", "20", "--max_steps", "20"]
GUIDE = (ROOT / "docs" / "scale.md").read_text("utf-8")
CLOCKS = ("wall_s", "steps_per_s")
STARTED = []


@pytest.fixture(autouse=True)
def leave_no_process():
    """A process that waits for ever, or a test that fails, takes no time from other tests."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


def start(folder, *options, **environment):
    """One process with a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-m", "jaxteach.train", *SMALL, *options]
    STARTED.append(
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    )
    return STARTED[-1]


def start_two(folder, *options, second=(), **environment):
    """Two processes that meet, in `folder/0` and `folder/1`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = ["--coordinator", f"127.0.0.1:{free.getsockname()[1]}", "--processes", "2", "--process_id"]
    first = start(folder / "0", *options, *meeting, "0", **environment)
    return first, start(folder / "1", *options, *meeting, "1", *second, **environment)


def end(process):
    """The exit code, and the last line on the standard error."""
    lines = process.communicate(timeout=300)[1].strip().splitlines() or [""]
    return process.returncode, lines[-1]


def succeed(*processes):
    told = [end(process) for process in processes]
    assert all(code == 0 for code, _ in told), told


def run_of(folder):
    return folder / "log" / "ppo" / "SimpleDoorKey" / "run"


def arrays(folder):
    """The arrays of a run's last checkpoint, by name."""
    experiment = Experiment(read_config(run_of(folder)))
    with_names = {}
    for name, leaf in Checkpoints(run_of(folder)).restore_params(experiment.abstract_state.params)[1]["params"].items():
        with_names |= {f"{name}/{part}": np.asarray(values) for part, values in leaf.items()}
    return with_names


def points(folder):
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in read_metrics(run_of(folder))]


def difference(one, other):
    a, b = arrays(one), arrays(other)
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with runs of eight iterations: of two processes in `0`, of one with two devices in `one`."""
    folder = tmp_path_factory.mktemp("hosts")
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    succeed(*start_two(folder, "--n_itr", "8", **cache))
    succeed(start(folder / "one", "--n_itr", "8", "--devices", "0", **cache, **TWO_DEVICES))
    return folder, cache


@pytest.mark.slow
def test_two_processes_train_the_student_of_one_with_two_devices(trained):
    """Catches draws, minibatches or sums that depend on which process has a device."""
    folder, _ = trained
    assert points(folder / "0") == points(folder / "one")
    assert difference(folder / "0", folder / "one") == 0.0


@pytest.mark.slow
def test_the_first_process_writes_all_files(trained):
    """Catches a second process that writes beside the first, in the same folder on a shared disk."""
    folder, _ = trained
    assert os.listdir(folder / "1") == []
    names = {path.name.split(".")[0] for path in run_of(folder / "0").iterdir()}
    assert names == {"checkpoints", "config", "events", "metrics", "plans", "sessions", "summary", ""}
    assert sorted(os.listdir(run_of(folder / "0") / "checkpoints")) == ["4", "8"]
    assert "coordinator" in json.loads((run_of(folder / "0") / "config.json").read_text())["hosts"]


@pytest.mark.slow
def test_runs_go_on_with_other_processes(trained, tmp_path):
    """Catches a checkpoint that knows how many processes wrote it, and one that only the first process gets."""
    folder, cache = trained
    for name, origin in (("0", "one"), ("alone", "0"), ("devices", "one")):
        shutil.copytree(folder / origin, tmp_path / name)
    more = ["--n_itr", "12", "--resume"]
    succeed(*start_two(tmp_path, *more, **cache))
    succeed(start(tmp_path / "devices", *more, "--devices", "0", **cache, **TWO_DEVICES))
    succeed(start(tmp_path / "alone", *more, **cache))
    assert points(tmp_path / "0") == points(tmp_path / "devices")
    assert difference(tmp_path / "0", tmp_path / "devices") == 0.0
    assert [row["iteration"] for row in points(tmp_path / "alone")] == [4, 8, 12]
    assert difference(tmp_path / "0", tmp_path / "alone") < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_process_ends_the_other_with_one_sentence(victim, trained, tmp_path):
    """Catches a process that waits for ever for one that is gone, and a run that can't go on then."""
    _, cache = trained
    both = start_two(tmp_path, "--n_itr", "4000", **cache)
    checkpoints = Checkpoints(run_of(tmp_path / "0"))
    while not checkpoints.iterations and all(process.poll() is None for process in both):
        time.sleep(0.1)
    both[victim].send_signal(signal.SIGKILL)
    both[victim].communicate()
    code, line = end(both[1 - victim])
    assert code == 2
    assert line.startswith("error: another process was lost (")
    begun = json.loads((run_of(tmp_path / "0") / "metrics.jsonl").read_text().splitlines()[-1])["iteration"]
    succeed(start(tmp_path / "0", "--n_itr", str(begun + 4), "--resume", **cache))


@pytest.mark.slow
def test_what_fails_in_one_process_ends_both(trained, tmp_path):
    """Catches a process that waits for one that met with a user's mistake."""
    folder, _ = trained
    shutil.copytree(folder / "0", tmp_path / "0")
    first, second = map(end, start_two(tmp_path))
    assert first[0] == second[0] == 2
    assert "exists; choose another --savedir" in first[1]
    assert second[1] == "error: process 0 can't go on; its output says why"
    first, second = map(end, start_two(tmp_path / "other", second=["--gamma", "0.5"]))
    assert first == (2, "error: process 1 can't go on; its output says why")
    assert second == (2, "error: process 1 has another --gamma than the first; start all with the same")


def test_slurm_tells_where_the_processes_meet(tmp_path):
    """Catches a job script of the guide whose processes do not find each other."""
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    run_of(tmp_path / "0").mkdir(parents=True)
    (run_of(tmp_path / "0") / "mine").write_text("")
    ranks = [{"SLURM_PROCID": number, "SLURM_LOCALID": number} for number in ("0", "1")]
    both = [start(tmp_path / rank["SLURM_PROCID"], "--coordinator", "auto", **job, **rank) for rank in ranks]
    first, second = map(end, both)
    assert first[0] == second[0] == 2
    assert "exists; choose another --savedir" in first[1], "the first writes"
    assert second[1] == "error: process 0 can't go on; its output says why"


@pytest.mark.parametrize("line", re.findall(r"jaxteach\.train ([^\n\"]+)", GUIDE))
def test_the_options_of_the_guide_are_known(line):
    """Catches an option that the guide has and the command lacks, or that it refuses."""
    parse(TrainConfig, "train", shlex.split(line), default_config).check()


@pytest.mark.parametrize("process", ["0", "1"])
def test_others_that_do_not_come_are_told_in_one_sentence(process, tmp_path):
    """Catches an endless wait, and JAX's own end of it: a page of C++."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    meeting = ["--coordinator", place, "--processes", "2", "--process_id", process, "--join_timeout", "1"]
    code, line = end(start(tmp_path, *meeting))
    assert code == 2
    assert line.startswith("error: the others have not come within 1 s; see that all are started")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (HostsConfig("here"), "must be host:port or auto, not here"),
        (HostsConfig("here:port"), "must be host:port or auto, not here:port"),
        (HostsConfig("here:80"), "needs --processes and --process_id"),
        (HostsConfig("here:80", 0, 0), "--processes must be within 1..16777216, not 0"),
        (HostsConfig("here:80", 2, 2), "must be within 0..1, not 2"),
        (HostsConfig(None, 2), "need a --coordinator"),
        (HostsConfig("auto", join_timeout=0), "--join_timeout must be within 1..1000000, not 0"),
    ],
)
def test_options_that_name_no_meeting_are_refused(config, words):
    with pytest.raises(UserError, match=words):
        config.check()
