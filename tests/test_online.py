"""Captions met without plans in training: reported, or asked about while the table grows in place."""

import json
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxteach.config import LLMConfig, PPOConfig, TrainConfig, WorldConfig
from jaxteach.errors import UserError
from jaxteach.llm.online import OnlineTeacher
from jaxteach.system.command import run_command
from jaxteach.teacher.plans import PlanFile, find_plans, load_plans, save_plans
from jaxteach.teacher.table import compile_plans
from jaxteach.train import main as train_main
from jaxteach.training.programs import Experiment
from tests.command_line import last_counts
from tests.language_model import MODEL

SMALL = ["--num_envs", "8", "--rollout_length", "16", "--batch_size", "64", "--eval_interval", "2", "--num_eval", "10"]
TRAIN = ["--task", "SimpleDoorKey", "--max_steps", "20", "--final_eval", "0", *SMALL]


def train(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["train", *last_counts([*TRAIN, *arguments])])
    run_command(train_main)


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("wall_s", "steps_per_s")} for row in rows]


def online_config(**llm):
    ppo = PPOConfig(rollout_length=16, batch_size=64)
    settings = LLMConfig(backend="random", samples=3, **llm)
    config = TrainConfig("SimpleDoorKey", num_envs=8, n_itr=4, eval_interval=2, online=True, ppo=ppo, llm=settings)
    return replace(config, teacher=replace(config.teacher, plans="none"), world=WorldConfig(max_steps=20))


def test_the_table_grows_without_a_new_shape(tmp_path):
    config = online_config()
    experiment = Experiment(config)
    online = OnlineTeacher(config, experiment.teacher, tmp_path, 0)
    before = online.table
    assert before.probabilities.sum() == 0
    assert online.learn([2, 5], 2).startswith("asked about 2 captions")
    assert online.learn([5, 2], 4) is None
    after = online.table
    assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, before)
    np.testing.assert_allclose(after.probabilities.sum(1), [0, 0, 1, 0, 0, 1], atol=1e-6)
    # The kept file is a plan file like any other, with the same plans.
    alone = compile_plans(load_plans(tmp_path / "plans.json", "SimpleDoorKey"), experiment.teacher.vocabulary)
    width = alone.probabilities.shape[1]
    np.testing.assert_array_equal(alone.probabilities, after.probabilities[:, :width])


def test_a_resumed_run_knows_what_it_knew_then(tmp_path):
    """What was asked about after the checkpoint is forgotten until it is met again, and not asked for twice."""
    config = online_config()
    experiment = Experiment(config)
    online = OnlineTeacher(config, experiment.teacher, tmp_path, 0)
    online.learn([0], 2)
    early = online.table
    online.learn([1, 3], 4)
    answers = (tmp_path / "plans.json.answers.jsonl").read_text()
    resumed = OnlineTeacher(config, experiment.teacher, tmp_path, 3)
    jax.tree.map(np.testing.assert_array_equal, resumed.table, early)
    resumed.learn([1, 3], 4)
    jax.tree.map(np.testing.assert_array_equal, resumed.table, online.table)
    assert (tmp_path / "plans.json.answers.jsonl").read_text() == answers


def test_a_resumed_run_with_other_answers_is_refused(tmp_path):
    """Catches another teacher in silence, where the answers were changed, or are asked for again and differ."""
    config = online_config()
    experiment = Experiment(config)
    OnlineTeacher(config, experiment.teacher, tmp_path, 0).learn([0, 1], 2)
    answers, plans = tmp_path / "plans.json.answers.jsonl", (tmp_path / "plans.json").read_text()
    kept = answers.read_text()
    rows = [json.loads(line) for line in kept.splitlines()]
    for row in rows:
        row["answer"] = "Action: {wait}"
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match="differ from those that the run has learnt from; put that file back"):
        OnlineTeacher(config, experiment.teacher, tmp_path, 4)
    answers.write_text(kept)
    OnlineTeacher(config, experiment.teacher, tmp_path, 4)
    assert (tmp_path / "plans.json").read_text() == plans


def test_captions_without_plans_are_reported(monkeypatch, tmp_path, capsys):
    shipped = find_plans("recorded", "SimpleDoorKey")
    save_plans(PlanFile(shipped.tasks, shipped.captions[:1]), tmp_path / "few.json")
    train(monkeypatch, "--logdir", tmp_path, "--savedir", "r", "--n_itr", 4, "--plans", tmp_path / "few.json")
    printed = capsys.readouterr().out
    assert printed.count("no plans for: Agent sees <key>, holds <nothing>.") == 1
    assert "no plans for: Agent sees <nothing>, holds <nothing>." not in printed
    (row, _) = rows_of(tmp_path / "ppo" / "SimpleDoorKey" / "r")
    assert 0 < row["teacher_coverage"] < 1


@pytest.mark.slow
def test_a_model_is_asked_in_the_midst_of_training(monkeypatch, tmp_path, capsys):
    """With a real model: the teacher knows nothing at first, and every question is asked once."""
    asks = ["--plans", "none", "--online", "--model", MODEL, "--structured", "--samples", 2, "--threads", 1]
    asks += ["--max_tokens", 48, "--logdir", tmp_path, "--save_interval", 2]
    train(monkeypatch, *asks, "--savedir", "whole", "--n_itr", 6)
    assert "captions without plans" in capsys.readouterr().out
    whole = tmp_path / "ppo" / "SimpleDoorKey" / "whole"
    rows = rows_of(whole)
    assert rows[0]["teacher_coverage"] == 0
    assert rows[-1]["teacher_coverage"] > 0
    lines = (whole / "plans.json.answers.jsonl").read_text().splitlines()
    keys = [(entry["prompt"], entry["sample"]) for entry in map(json.loads, lines)]
    assert len(keys) == len(set(keys))
    assert 2 <= len(load_plans(whole / "plans.json", "SimpleDoorKey").captions) <= 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--online"], "needs --model"),
        (["--online", "--no_teacher"], "--online needs a teacher"),
    ],
)
def test_mistakes_get_one_sentence(monkeypatch, tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        train(monkeypatch, *arguments, "--logdir", tmp_path, "--n_itr", 1)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
