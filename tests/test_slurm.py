"""Sweeps on a SLURM cluster, of which this machine plays the part: submitit talks to scripts with SLURM's names."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import submitit

from jaxteach.config import SweepConfig
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.sweep import main as sweep_main
from jaxteach.sweeps.scheduler import state_of
from jaxteach.sweeps.slurm import Job, train_on_cluster
from jaxteach.sweeps.spec import read_sweep
from jaxteach.sweeps.trials import runs_of
from jaxteach.system.command import run_command

SHORT = """
[fixed]
task = "SimpleDoorKey"
n_itr = 2
num_envs = 8
num_eval = 10
final_eval = 10
max_steps = 20
eval_interval = 1

[grid]
distill_coef = [1.0, 2.0]
"""
SBATCH = f"""#!{sys.executable}
import os, pathlib, re, subprocess, sys
script = pathlib.Path(sys.argv[-1])
tasks = re.search(r"--array=0-(\\d+)", script.read_text())
for task in range(int(tasks[1]) + 1) if tasks else [None]:
    names = {{"SLURM_JOB_ID": "70", "SLURM_JOBID": "70", "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}}
    names |= {{"SLURM_NODEID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "here"}}
    if task is not None:
        names |= {{"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": str(task)}}
    subprocess.Popen(["bash", script], env=os.environ | names, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
pathlib.Path(os.environ["SBATCH_SEEN"]).open("a").write(script.read_text())
print("Submitted batch job 70")
"""
SRUN = """#!/bin/bash
while [[ $1 != *python* ]]; do shift; done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
for task in 70 70_0 70_1; do echo "$task|RUNNING|here"; done
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A machine with SLURM's commands; gives the file with the scripts that were submitted."""
    place = tmp_path / "slurm"
    place.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    monkeypatch.setenv("SBATCH_SEEN", str(tmp_path / "submitted"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "submitted"


def call(*arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep", *map(str, arguments), "--engine", "slurm"])
    run_command(sweep_main)


def runs_in(folder, text):
    (folder / "s.toml").write_text(text)
    return [run for trial in read_sweep(folder / "s.toml") for run in runs_of(trial, str(folder / "log"))]


@pytest.mark.slow
def test_runs_are_jobs_of_the_cluster(cluster, tmp_path, monkeypatch, capsys):
    """Catches jobs without what was asked for, runs that are not trained, failures not told, and jobs sent twice."""
    (tmp_path / "s.toml").write_text(SHORT)
    spoiled = tmp_path / "log" / "ppo" / "SimpleDoorKey" / "s-distill_coef-2.0-seed-0"
    spoiled.mkdir(parents=True)
    (spoiled / "strange.txt").write_text("This is no run's.")
    asked = ["--partition", "fast", "--minutes", 30, "--gpus", 1, "--cpus", 3, "--memory", 5, "--max_jobs", 1]
    with pytest.raises(SystemExit) as end:
        call("s.toml", *asked, monkeypatch=monkeypatch)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert "1 of 2 runs failed: SimpleDoorKey/s-distill_coef-2.0-seed-0" in said.err
    assert "has no readable config.json" in said.err
    assert "finished: SimpleDoorKey/s-distill_coef-1.0-seed-0" in said.out
    options = dict(re.findall(r"#SBATCH --([\w-]+)=(\S+)", cluster.read_text()))
    wanted = {"partition": "fast", "time": "30", "gpus-per-node": "1", "cpus-per-task": "3", "mem": "5GB"}
    assert wanted.items() <= options.items()
    assert options["array"] == "0-1%1"
    assert set(json.loads((tmp_path / "log" / "sweep" / "s" / "jobs.json").read_text()).values()) == {"70_0", "70_1"}
    (spoiled / "strange.txt").unlink()
    call("s.toml", monkeypatch=monkeypatch)
    assert "--array" not in cluster.read_text().split("#!/bin/bash")[-1], "the finished run is not sent again"
    call("s.toml", monkeypatch=monkeypatch)
    assert cluster.read_text().count("#!/bin/bash") == 2, "nor is anything where all are finished"
    assert "all 2 runs are finished" in capsys.readouterr().out


def test_a_job_that_still_runs_is_waited_for(cluster, tmp_path, monkeypatch):
    """Catches a second job that trains in the folder of a first one."""
    runs = {str(run.savedir): run for run in runs_in(tmp_path, SHORT)}
    (tmp_path / "jobs.json").write_text(json.dumps(dict(zip(runs, ("70_0", "70_1")))))
    waited = []
    monkeypatch.setattr(submitit.helpers, "as_completed", lambda jobs, **_: waited.extend(jobs) or ())
    assert list(train_on_cluster(runs, SweepConfig(tmp_path / "s.toml"), tmp_path)) == []
    assert [job.job_id for job in waited] == ["70_0", "70_1"]
    assert not cluster.exists(), "nothing was submitted"


@pytest.mark.slow
def test_a_job_that_the_cluster_interrupts_goes_on_in_the_next(tmp_path, monkeypatch):
    """Catches a run that ends with its job's time, or begins anew in the next one."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    (run,) = runs_in(
        tmp_path, SHORT.replace("n_itr = 2", "n_itr = 100\nsave_interval = 1").replace("[1.0, 2.0]", "[1.0]")
    )
    folder = tmp_path / "log" / "ppo" / run.task / str(run.savedir)
    job = submitit.LocalExecutor(tmp_path / "jobs").submit(Job(), run).cancel_at_deletion()
    give_up = time.monotonic() + 120
    while max(Checkpoints(folder).iterations, default=0) < 10:
        assert time.monotonic() < give_up, job.stderr()
        assert state_of(run) in ("new", "begun")
        time.sleep(0.05)
    controller = job._process.pid
    os.kill(int(Path(f"/proc/{controller}/task/{controller}/children").read_text()), signal.SIGUSR2)
    assert job.result() is None
    assert state_of(run) == "finished"
    iterations = [json.loads(line)["iteration"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert iterations == list(range(1, 101))
    assert len(list(folder.glob("events.out.tfevents.*"))) == 2, "it went on once"


def test_a_machine_without_slurm_says_so(tmp_path, monkeypatch, capsys):
    """Catches a traceback where there is no cluster, and where submitit is not installed."""
    (tmp_path / "s.toml").write_text(SHORT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit) as end:
        call("s.toml", monkeypatch=monkeypatch)
    assert end.value.code == 2
    assert "error: SLURM does not accept jobs" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SystemExit) as end:
        call("s.toml", monkeypatch=monkeypatch)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: --engine slurm needs the package submitit: pip install submitit\n"
