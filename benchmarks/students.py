"""`python -m benchmarks.students`: training steps a second, with the teacher, without, and in PureJaxRL's structure."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_benchmark
from benchmarks.machine import describe_machine
from benchmarks.purejaxrl_ppo import PureJaxPPO
from benchmarks.timing import Program, compile_program, time_in_turns
from jaxteach.config import TrainConfig, default_config
from jaxteach.errors import UserError
from jaxteach.system.command import run_command
from jaxteach.tasks import canonical_task
from jaxteach.training.programs import Experiment

NAMES: Final = {
    "taught": "with the teacher",
    "alone": "without",
    "purejaxrl": "PureJaxRL's structure",
}


@dataclass(frozen=True)
class Options:
    """Measures training of the same student with the same numbers in three ways, in turns."""

    task: str = "SimpleDoorKey"
    """a task with a teacher"""
    network: tuple[Literal["egocentric", "reference"], ...] = ("egocentric", "reference")
    """the students"""
    num_envs: int = 64
    """environments"""
    updates: int = 4
    """updates in one repeat"""
    repeats: int = 7
    """repeats, of which the median counts"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write the figures to this file"""


def main() -> None:
    run_benchmark("students", Options, measure, _print)


def measure(options: Options) -> dict[str, Any]:
    """All figures, ready for JSON.

    Raises:
        UserError: an unknown task, one without a teacher or of several agents, or numbers that make no sense.
    """
    config = replace(default_config(canonical_task(options.task)), num_envs=options.num_envs)
    if not config.taught or config.network == "mlp":
        raise UserError(f"{config.task} has no teacher or several agents; take a DoorKey task")
    if min(options.num_envs, options.updates, options.repeats) < 1:
        raise UserError("--num_envs, --updates and --repeats must be at least 1")
    students = [_student(replace(config, network=name), options) for name in options.network]
    return {"task": config.task, "num_envs": options.num_envs, "students": students, "machine": describe_machine()}


def _student(config: TrainConfig, options: Options) -> dict[str, Any]:
    """Steps a second of one network in the three ways, and their ratios."""
    programs = {
        "taught": learner_program(config, options.updates),
        "alone": learner_program(replace(config, no_teacher=True), options.updates),
        "purejaxrl": purejaxrl_program(config, options.updates),
    }
    timed = time_in_turns(programs, options.repeats)
    rates = {name: figures["per_s"] for name, figures in timed.items()}
    return {
        "network": config.network,
        "steps_per_s": rates,
        "steps_per_s_of_repeats": {name: figures["per_s_of_repeats"] for name, figures in timed.items()},
        "compile_s": {name: figures["compile_s"] for name, figures in timed.items()},
        "taught_to_alone": rates["taught"] / rates["alone"],
        "alone_to_purejaxrl": rates["alone"] / rates["purejaxrl"],
    }


def learner_program(config: TrainConfig, updates: int) -> Program:
    """Updates of our learner; a teacher keeps its first weight, so that it is asked in each of them."""
    experiment = Experiment(config)
    learner = experiment.learner
    state = jax.jit(learner.init)(jax.random.key(0))

    def play(state: Any, table: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda state, _: learner.update(state, table, jnp.int32(0)), state, length=updates)

    return compile_program(play, state, experiment.table, work=updates * config.steps_per_iteration)


def purejaxrl_program(config: TrainConfig, updates: int) -> Program:
    """Updates of `PureJaxPPO` in the same world, with the same network and numbers."""
    experiment = Experiment(replace(config, no_teacher=True))
    trainer = PureJaxPPO(experiment.world.env, experiment.network, config.ppo, config.num_envs, config.iterations)
    runner = jax.jit(trainer.init)(jax.random.key(0))

    def play(runner: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda runner, _: trainer.update(runner), runner, length=updates)

    return compile_program(play, runner, work=updates * config.steps_per_iteration)


def _print(figures: dict[str, Any]) -> None:
    table = Table("network", *NAMES.values(), "taught / alone", "alone / PureJaxRL's")
    table.title = f"training steps a second, {figures['task']}, {figures['num_envs']} environments"
    for student in figures["students"]:
        rates = [f"{student['steps_per_s'][name]:,.0f}" for name in NAMES]
        ratios = [f"{student[name]:.2f}" for name in ("taught_to_alone", "alone_to_purejaxrl")]
        table.add_row(student["network"], *rates, *ratios)
    console = Console(width=120)
    console.print(table)
    machine = figures["machine"]
    console.print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load_average']}", highlight=False)


if __name__ == "__main__":
    run_command(main)
