"""Command lines of tests: common options, of which some are given anew."""

from collections.abc import Iterable


def last_counts(arguments: Iterable[object]) -> list[str]:
    """The arguments as texts, with each option only where it is given last: a command takes an option once."""
    options: dict[str, list[str]] = {}
    name = ""
    for argument in map(str, arguments):
        if argument.startswith("--"):
            name = argument.partition("=")[0].replace("-", "_")
            options.pop(name, None)
        options.setdefault(name, []).append(argument)
    return [word for words in options.values() for word in words]
