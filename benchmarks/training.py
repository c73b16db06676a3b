"""`python -m benchmarks.training`: training from a cold start, and where the time of an update goes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_benchmark
from benchmarks.machine import describe_machine
from jaxteach.config import default_config
from jaxteach.errors import UserError
from jaxteach.ppo.learner import Batch
from jaxteach.ppo.rollout import collect
from jaxteach.system.command import run_command
from jaxteach.tasks import canonical_task
from jaxteach.training.programs import Experiment

THRESHOLDS = (0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class Options:
    """Trains each task and seed as a user would, with nothing compiled before, and reports."""

    task: tuple[str, ...] = ("SimpleDoorKey",)
    """tasks"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """a process each"""
    no_teacher: tyro.conf.FlagCreatePairsOff[bool] = False
    """pure reinforcement learning"""
    total_steps: int | None = None
    """environment steps, by default the task's own"""
    repeats: int = 7
    """timings of each part of an update, of which the median counts"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write the figures to this file"""


def main() -> None:
    run_benchmark("training", Options, measure, _print)


def measure(options: Options) -> dict[str, Any]:
    """All figures, ready for JSON.

    Raises:
        UserError: an unknown task, or a run that failed.
    """
    tasks = [canonical_task(task) for task in options.task]
    runs = [train_cold(task, seed, options) for task in tasks for seed in options.seeds]
    updates = [profile_update(task, options) for task in tasks]
    return {"machine": describe_machine(), "runs": runs, "updates": updates}


def train_cold(task: str, seed: int, options: Options) -> dict[str, Any]:
    """One run of the command in a process of its own, with an empty compilation cache."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jaxteach.train", "--task", task, "--seed_list", str(seed)]
        command += ["--logdir", folder, "--savedir", "run"]
        command += ["--no_teacher"] if options.no_teacher else []
        command += ["--total_steps", str(options.total_steps)] if options.total_steps is not None else []
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        began = time.perf_counter()
        if subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL).returncode:
            raise UserError(f"training {task} failed; its error stands above")
        process_s = time.perf_counter() - began
        run = Path(folder) / "ppo" / task / "run"
        (result,) = json.loads((run / "summary.json").read_text("utf-8"))
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    reached = {}
    for threshold in THRESHOLDS:
        row = next((row for row in rows if row["success_rate"] >= threshold), None)
        reached[str(threshold)] = row and {"env_steps": row["env_steps"], "wall_s": row["wall_s"]}
    facts = {"teacher": not options.no_teacher, "process_s": process_s, "first_reached": reached}
    return {"task": task} | result | facts


def profile_update(task: str, options: Options) -> dict[str, Any]:
    """Milliseconds of an update and of its parts, each compiled alone."""
    config = replace(default_config(task), no_teacher=options.no_teacher)
    experiment = Experiment(config)
    learner, table = experiment.learner, experiment.table
    update = jax.jit(lambda state, iteration: learner.update(state, table, iteration))
    state = jax.jit(learner.init)(jax.random.key(0))
    for i in range(5):
        state, _ = update(state, jnp.int32(i))
    key, length = jax.random.key(1), config.ppo.rollout_length
    rollout = jax.jit(lambda state: collect(learner.venv, learner.network, state.params, state.actor, key, length))
    trajectory = rollout(state)[1]
    label = jax.jit(lambda state, trajectory: learner.label(state.memory, table, trajectory, key, jnp.bool_(True)))
    probs = label(state, trajectory)[1]
    shared = {name: getattr(trajectory, name) for name in ("inputs", "first", "active", "action", "log_prob", "value")}
    batch = Batch(
        **shared,
        improved_by=trajectory.active,
        advantage=trajectory.reward,
        returns=trajectory.value,
        teacher_probs=probs,
    )
    schedule = learner._schedule(jnp.int32(0))
    update_epochs = jax.jit(lambda state, batch: learner.update_epochs(state, batch, trajectory.carry, schedule, key))
    milliseconds = {
        "update": _median(lambda: update(state, jnp.int32(0)), options.repeats),
        "rollout": _median(lambda: rollout(state), options.repeats),
        "labels": _median(lambda: label(state, trajectory), options.repeats),
        "epochs": _median(lambda: update_epochs(state, batch), options.repeats),
    }
    return {
        "task": task,
        "env_steps": config.steps_per_iteration,
        "ms": milliseconds,
        "steps_per_s": 1e3 * config.steps_per_iteration / milliseconds["update"],
        "label_share": milliseconds["labels"] / milliseconds["update"],
    }


def _median(run: Callable[[], Any], repeats: int) -> float:
    """Milliseconds, the first run left out."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times[1:]))


def _print(figures: dict[str, Any]) -> None:
    table = Table("task", "seed", "steps", "success", "seconds", *(f"to {level}" for level in THRESHOLDS))
    for run in figures["runs"]:
        reached = [at and f"{at['env_steps'] // 1000}k, {at['wall_s']:.1f} s" for at in run["first_reached"].values()]
        numbers = (f"{run['env_steps']:,}", f"{run['success_rate']:.3f}", f"{run['wall_s']:.1f}")
        table.add_row(run["task"], str(run["seed"]), *numbers, *(text or "-" for text in reached))
    profile = Table("task", "steps/s", "update ms", "rollout", "labels", "epochs", "labels' share")
    for part in figures["updates"]:
        times = [f"{value:.1f}" for value in part["ms"].values()]
        profile.add_row(part["task"], f"{part['steps_per_s']:,.0f}", *times, f"{part['label_share']:.1%}")
    console = Console(width=160)
    console.print(table)
    console.print(profile)


if __name__ == "__main__":
    run_command(main)
