"""Command lines of tests: common options, of which some are given anew."""

import sys
from collections.abc import Iterable

import jaxteach.teach
from jaxteach.system.command import run_command


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


def teach(monkeypatch, *arguments: object) -> None:
    """Runs `python -m jaxteach.teach` in this process."""
    monkeypatch.setattr(sys, "argv", ["teach", *last_counts(arguments)])
    run_command(jaxteach.teach.main)
