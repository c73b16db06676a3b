"""Names of earlier versions, which still work: on the command line, in runs, in sweeps and in Python."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from jaxteach.errors import UserError

NAMES: Final = {
    "films": "num_videos",
    "loadmodel": "checkpoint",
    "at_once": "max_jobs",
    "apart": "no_merge",
    "grammar": "structured",
}
"""Options that were renamed."""
VALUES: Final = {
    "network": {"team": "mlp"},
    "distill_schedule": {"halving": "exponential"},
    "engine": {"here": "local"},
}
"""Values that were renamed, by option."""


def current_value(name: str, value: Any) -> Any:
    """What a value of an option is called today."""
    return VALUES.get(name, {}).get(value, value) if isinstance(value, str) else value


def current_options(options: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Options with today's names and values.

    Args:
        options: values by name.
        where: what messages begin with.

    Raises:
        UserError: an option is given by both of its names.
    """
    for name in options:
        if NAMES.get(name) in options:
            raise UserError(f"{where}{name} is an older name of {NAMES[name]}; leave it out")
    renamed = {NAMES.get(name, name): value for name, value in options.items()}
    return {name: current_value(name, value) for name, value in renamed.items()}


def current_arguments(arguments: list[str], known: Collection[str]) -> list[str]:
    """A command line with today's names, of the options `known` to the command; others stay as they were typed."""
    option, current = "", []
    for argument in arguments:
        if not argument.startswith("--"):
            current.append(current_value(option, argument))
            continue
        name, equals, value = argument[2:].partition("=")
        option = name.replace("-", "_")
        typed = argument[2 : 2 + len(name)]
        if NAMES.get(option) in known and option not in known:
            option = typed = NAMES[option]
        current.append(f"--{typed}{equals}{current_value(option, value)}")
    return current
