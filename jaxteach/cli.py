"""The command line: options made from the configuration, and those of the reference that have lost their meaning."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import tyro

from jaxteach.config import TrainConfig, with_options
from jaxteach.errors import UserError
from jaxteach.options.arguments import check_arguments, option_names
from jaxteach.options.integers import INTEGERS
from jaxteach.options.legacy import current_arguments
from jaxteach.options.markers import refuse_idle, without_effect
from jaxteach.system.plugins import import_plugins
from jaxteach.tasks import canonical_task

Config = TypeVar("Config")

OPPOSITES: Final = {"use_teacher_policy": "no_teacher", "soft_planner": "hard_planner"}
ALREADY_SO: Final = (*OPPOSITES, "offline_planner")
"""The teacher is on by default, and soft, and the plans are always asked for before training."""
WITHOUT_MEANING: Final = {
    "traj_per_itr": "an iteration has --rollout_length steps of each of --num_envs environments",
    "policy": "the algorithm is PPO, for several agents MAPPO",
    "device": "JAX takes the best device; set JAX_PLATFORMS=cpu, cuda or tpu to choose",
}
WITHOUT_VALUE: Final = ("recurrent",)
OF_TRAINING: Final[dict[str, str]] = dict.fromkeys(
    (*WITHOUT_VALUE, "n_itr", "batch_size", "lam", "gamma", "eval_interval", "save_interval"),
    "a student is played with the network and the numbers of its run",
)
"""What the reference's commands share and a trained student does not need, with the reason."""


def parse(
    config: type[Config],
    program: str,
    arguments: list[str] | None = None,
    defaults: Callable[[str], Config] | None = None,
    aside: Mapping[str, str] | None = None,
) -> Config:
    """The configuration that the command line gives; a wrong option ends the program with exit code 2.

    Arguments as of `read_options`.

    Raises:
        UserError: an option has no effect beside the others, or the task is unknown.
    """
    parsed, idle = read_options(config, program, arguments, defaults, aside)
    refuse_idle(idle, "--")
    return parsed


def read_options(
    config: type[Config],
    program: str,
    arguments: list[str] | None = None,
    defaults: Callable[[str], Config] | None = None,
    aside: Mapping[str, str] | None = None,
) -> tuple[Config, dict[str, str]]:
    """As `parse`, and the options that have no effect beside the others, with the reasons.

    Users' own modules are imported first, so that their tasks are known.

    Args:
        config: its type.
        program: what the help calls the command.
        arguments: the command line, `sys.argv`'s if None.
        defaults: gives the options that are not named, from the task that is.
        aside: more options that the command takes without a meaning, with the reasons.
    """
    given, modules = _without_imports(
        current_arguments(sys.argv[1:] if arguments is None else arguments, option_names(config))
    )
    import_plugins(modules)
    _check_no_empty(given)
    kept = _set_aside(given, WITHOUT_MEANING | dict(aside or {}))
    names = {_name(argument) for argument in given}
    for option, opposite in OPPOSITES.items():
        if {option, opposite} <= names:
            raise UserError(f"--{option} and --{opposite} are opposites; give one of them")
    if not {"-h", "--help"} & {*kept}:
        check_arguments(config, kept)
    task, preset = (None if defaults is None else _given(kept, name) for name in ("task", "preset"))
    default: Any = tyro.MISSING_NONPROP if defaults is None or task is None else defaults(task)
    if preset is not None and isinstance(default, TrainConfig):
        default = with_options(default, {"preset": preset})
    markers = (tyro.conf.OmitArgPrefixes,)
    with INTEGERS:
        parsed: Any = tyro.cli(config, prog=program, args=kept, default=default, use_underscores=True, config=markers)
    if getattr(parsed, "task", None) is not None:
        parsed = replace(parsed, task=canonical_task(parsed.task))
    return parsed, without_effect(parsed, names | {name.removeprefix("no_") for name in names})


def _without_imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without `--import`, which comes before all others, and the modules that it names."""
    kept: list[str] = []
    modules: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if _name(argument) != "import":
            kept.append(argument)
            continue
        value = argument.partition("=")[2] or next(rest, "")
        if not value or value.startswith("--"):
            raise UserError("--import needs the name of a Python module")
        modules += [name.strip() for name in value.split(",")]
    return kept, modules


def _check_no_empty(arguments: list[str]) -> None:
    """Raises `UserError` for an empty text, which paths and numbers would read in ways of their own."""
    for before, argument in zip(["", *arguments], arguments):
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            name = _name(argument) or _name(before)
            raise UserError(f"--{name} is empty; give it a value, or leave it out" if name else "an argument is empty")


def _name(argument: str) -> str:
    """What an argument names, in the form of a configuration; nothing if it is a value."""
    return argument[2:].partition("=")[0].replace("-", "_") if argument.startswith("--") else ""


def _given(arguments: list[str], name: str) -> str | None:
    """What the last option of this name says, which counts; None where it is not given."""
    value = None
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        if _name(argument) == name:
            value = argument.partition("=")[2] or following
    return value


def _set_aside(arguments: list[str], without_meaning: Mapping[str, str]) -> list[str]:
    """The arguments less those that change nothing, which get a line each unless all is as they say."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name = _name(argument)
        if name in ALREADY_SO:
            continue
        if name in without_meaning:
            print(f"--{name} has no effect: {without_meaning[name]}", file=sys.stderr)
            if "=" not in argument and name not in WITHOUT_VALUE:
                next(rest, None)
        else:
            kept.append(argument)
    return kept
