"""Runs, plan files and names of jaxteach 0.1.0 still work: `fixtures/run_0.1.0` was trained by it."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from jaxteach.config import TrainConfig, default_config, from_json, with_options
from jaxteach.errors import UserError
from jaxteach.eval import main as eval_main
from jaxteach.options.legacy import current_arguments
from jaxteach.report import main as report_main
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.sweeps.spec import read_sweep
from jaxteach.system.command import run_command
from jaxteach.teacher.plans import load_plans
from jaxteach.train import main as train_main

FORMER = Path(__file__).with_name("fixtures") / "run_0.1.0"
TRAINED = ["--num_envs", "2", "--eval_interval", "1", "--num_eval", "2", "--batch_size", "50", "--save_interval", "2"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy of the run, in `log`, and a way to call commands beside it."""
    folder = tmp_path / "log" / "ppo" / "simple_spread" / "old"
    shutil.copytree(FORMER, folder)
    monkeypatch.chdir(tmp_path)

    def call(main, *arguments):
        monkeypatch.setattr("sys.argv", ["jaxteach", *map(str, arguments)])
        run_command(main)

    return folder, call


def test_a_run_goes_on_and_is_evaluated_and_reported(run, capsys):
    folder, call = run
    names = ["--network", "team", "--distill_schedule", "halving"]
    place = ["--task", "simple_spread", "--savedir", "old", "--resume"]
    call(train_main, *place, *names, *TRAINED, "--n_itr", 4, "--final_eval", 3)
    assert "goes on after iteration 2" in capsys.readouterr().out
    rows = json.loads((folder / "sessions.json").read_text())
    assert [row["from_iteration"] for row in rows] == [0, 2]
    assert rows[1]["versions"]["jax"] == rows[1]["jax"]
    assert "versions" not in rows[0]
    call(eval_main, "--loaddir", folder, "--loadmodel", 2, "--num_eval", 3, "--num_videos", 0, "--savedir", "played")
    assert "iteration 2" in capsys.readouterr().out
    call(report_main, folder, "--films", 0, "--apart", "--out", "report")
    assert "4 iterations" not in capsys.readouterr().err
    page = (folder.parents[3] / "report" / "report.md").read_text()
    digest = rows[0]["plans_sha256"][:12]
    assert f"plans shipped with SHA-256 {digest}" in page
    assert f"old: jax {rows[0]['jax']}, 1 x cpu, then jaxteach {version('jaxteach')}, jax " in page
    assert digest in (folder.parents[3] / "report" / "report.html").read_text()


def test_its_parameters_are_read_by_their_names():
    iteration, names = Checkpoints(FORMER).iterations[-1], json.loads((FORMER / "config.json").read_text())
    config = from_json(names)
    assert (iteration, config.network, config.ppo.distill_schedule) == (2, "mlp", "exponential")
    assert config == with_options(default_config("simple_spread"), _options_of(config))


def _options_of(config):
    own = {"num_envs": 2, "n_itr": 2, "eval_interval": 1, "num_eval": 2, "final_eval": 2, "save_interval": 2}
    return own | {"batch_size": 50, "savedir": "old", "network": "team", "distill_schedule": "halving"}


def test_its_plans_teach():
    plans = load_plans(FORMER / "plans.json", "simple_spread")
    assert plans.digest == json.loads((FORMER / "sittings.json").read_text())[0]["plans_sha256"]


def test_former_names_stand_for_the_present_ones(tmp_path):
    line = ["--network=team", "--distill-schedule", "halving", "--films", "3", "--savedir", "team"]
    known = {"network", "distill_schedule", "num_videos", "savedir"}
    assert current_arguments(line, known) == [
        *["--network=mlp", "--distill-schedule", "exponential", "--num_videos", "3", "--savedir", "team"],
    ]
    assert current_arguments(["--films", "3"], {"network"}) == ["--films", "3"], "named as it was typed"
    sweep = tmp_path / "old.toml"
    sweep.write_text(
        '[fixed]\ntask = "simple_spread"\nnetwork = "team"\n[grid]\ndistill_schedule = ["halving", "linear"]\n'
    )
    trials = read_sweep(sweep)
    assert [trial.config.ppo.distill_schedule for trial in trials] == ["exponential", "linear"]
    assert {trial.config.network for trial in trials} == {"mlp"}
    assert trials[0].name == "old-distill_schedule-halving", "the folders of a former sweep are found again"
    assert with_options(TrainConfig("simple_spread"), {"network": "team"}).network == "mlp"
    with pytest.raises(UserError, match="grammar is an older name of structured; leave it out"):
        with_options(TrainConfig("simple_spread"), {"grammar": True, "structured": False})
