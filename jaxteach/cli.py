"""The command line: options made from the configuration, and those of the reference that have lost their meaning."""

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import tyro

from jaxteach.own import import_own

Config = TypeVar("Config")

ALREADY_SO: Final = {
    "--use_teacher_policy": "the teacher is on by default",
    "--soft_planner": "the soft teacher is the default",
    "--offline_planner": "the plans are always asked for before training",
}
WITHOUT_MEANING: Final = {
    "--traj_per_itr": "an iteration has --rollout_length steps of each of --num_envs environments",
    "--policy": "the algorithm is PPO, for several agents MAPPO",
    "--device": "JAX takes the best device; set JAX_PLATFORMS=cpu, cuda or tpu to choose",
}


def parse(
    config: type[Config],
    program: str,
    arguments: list[str] | None = None,
    defaults: Callable[[str], Config] | None = None,
) -> Config:
    """The configuration that the command line gives; a wrong option ends the program with exit code 2.

    Users' own modules are imported first, so that their tasks are known.

    Args:
        config: its type.
        program: what the help calls the command.
        arguments: the command line, `sys.argv`'s if None.
        defaults: gives the options that are not named, from the task that is.
    """
    import_own()
    given = _set_aside(sys.argv[1:] if arguments is None else arguments)
    conflicts = {"--use_teacher_policy": "--no_teacher", "--soft_planner": "--hard_planner"}
    kept, names = given
    for option, opposite in conflicts.items():
        if option in names and opposite in {name.replace("-", "_").replace("__", "--") for name in kept}:
            print(f"error: {option} and {opposite} are opposites; give one of them", file=sys.stderr)
            sys.exit(2)
    task = None if defaults is None else _task_of(kept)
    default = tyro.MISSING_NONPROP if defaults is None or task is None else defaults(task)
    markers = (tyro.conf.OmitArgPrefixes,)
    parsed: Any = tyro.cli(config, prog=program, args=kept, default=default, use_underscores=True, config=markers)
    return parsed


def _task_of(arguments: list[str]) -> str | None:
    """What `--task` says, None where it is not given."""
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        name, _, value = argument.partition("=")
        if name == "--task":
            return value or following
    return None


def _set_aside(arguments: list[str]) -> tuple[list[str], set[str]]:
    """Takes out the options that change nothing, and says so in one line each."""
    kept: list[str] = []
    names: set[str] = set()
    rest = iter(arguments)
    for argument in rest:
        name = argument.split("=")[0].replace("-", "_").replace("__", "--", 1)
        if name in ALREADY_SO:
            names.add(name)
        elif name in WITHOUT_MEANING:
            print(f"{name} has no effect: {WITHOUT_MEANING[name]}", file=sys.stderr)
            if "=" not in argument:
                next(rest, None)
        else:
            kept.append(argument)
    return kept, names
