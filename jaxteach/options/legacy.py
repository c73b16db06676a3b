"""Names of earlier versions, which still work: on the command line, in runs, in sweeps and in Python."""

from collections.abc import Collection
from typing import Any, Final

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
