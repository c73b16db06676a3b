"""Weights & Biases gets the curves of every seed, and a run that goes on goes on there."""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.runs.metrics_log import MetricsLog

CONFIG = TrainConfig("SimpleDoorKey", seed_list=(0, 3), wandb=True, wandb_project="test")


def test_curves_are_logged_offline_and_resumed(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logged, init = [], wandb.init

    def watched(**options):
        run = init(**options)
        log = run.log
        run.log = lambda values: (logged.append((options["id"], values)), log(values))
        return run

    monkeypatch.setattr(wandb, "init", watched)
    for iteration in (0, 1):
        with closing(MetricsLog(tmp_path, CONFIG, iteration)) as log:
            log.scalars(3, {"Train/Loss": 0.5}, iteration + 1, 2048 * (iteration + 1))
    ids = json.loads((tmp_path / "wandb.json").read_text())
    assert set(ids) == {"0", "3"}
    first = {"Train/Loss": 0.5, "iteration": 1, "env_steps": 2048}
    assert logged == [(ids["3"], first), (ids["3"], first | {"iteration": 2, "env_steps": 4096})]
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 4


def test_a_missing_package_and_damaged_ids_are_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "wandb.json").write_text("[1]")
    with pytest.raises(UserError, match=r"wandb\.json is damaged"):
        MetricsLog(tmp_path, CONFIG, 0)
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        MetricsLog(tmp_path, replace(CONFIG, seed_list=(0,)), 0)
