"""Runs a command: mistakes of a user end it with one sentence, Ctrl-C and closed pipes without a traceback."""

import importlib
import os
import sys
from collections.abc import Callable
from importlib import metadata
from typing import NoReturn

from jaxteach.errors import UserError, did_you_mean, error_line
from jaxteach.system.interrupt import INTERRUPTED, exit_on_interrupt
from jaxteach.system.plugins import place_of, plugins

FULL_TRACEBACK = "JAX_TRACEBACK_FILTERING"
"""JAX's own variable; with "off", errors in users' modules keep their traceback too."""

COMMANDS = {
    "train": "trains a student on a task",
    "eval": "evaluates a trained student, or the teacher itself",
    "teach": "asks a language model for a teacher's plans, and shows or shares them",
    "sweep": "trains with all combinations of lists of options",
    "report": "compares runs",
}
"""The commands, and what each does."""
PROGRAM = "jaxteach"


def main() -> None:
    """`jaxteach COMMAND ...`, which is `python -m jaxteach.COMMAND ...`."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in COMMANDS:
        sys.argv[:2] = [PROGRAM]
        if not sys.flags.safe_path:
            sys.path.insert(0, os.getcwd())  # as with `python -m`, for `--import`
        run_command(importlib.import_module(f"jaxteach.{command}").main)
    elif command == "--version":
        print(f"jaxteach {metadata.version('jaxteach')}")
    elif command in ("-h", "--help"):
        print(f"usage: jaxteach {{{','.join(COMMANDS)}}} ...; jaxteach COMMAND --help lists the options of a command")
        for name, what in COMMANDS.items():
            print(f"  {name:8}{what}")
    else:
        advice = did_you_mean(command, COMMANDS, f"there are {', '.join(COMMANDS)}")
        _fail(f"jaxteach has no command {command!r}; {advice}")


def program_name(command: str) -> str:
    """How a person called a command."""
    return f"{PROGRAM} {command}" if sys.argv[0] == PROGRAM else f"python -m jaxteach.{command}"


def run_command(command: Callable[[], None]) -> None:
    """Runs a command; a user's mistake, or an exception in a user's module, ends it with one sentence and code 2.

    Ctrl-C ends it at once with exit code 130, see `exit_on_interrupt`, and a closed pipe with 141, without a message.
    """
    try:
        try:
            _run(command)
        finally:
            # Python itself would only write as it exits, and complain there.
            print(end="", flush=True)
    except (BrokenPipeError, SystemExit) as error:
        # Rich ends the program with 1 where it can't write.
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        # Whoever read the output has gone; what Python still holds for them goes nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        sys.exit(141)


def _run(command: Callable[[], None]) -> None:
    try:
        with exit_on_interrupt():
            command()
    except UserError as error:
        _fail(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if _is_of_a_world(error):
            _fail(error)
        if not _lacks_devices():
            place = place_of(error) if plugins() else ""
            if not place or os.environ.get(FULL_TRACEBACK) == "off":
                raise
            _fail(f"{type(error).__name__}: {error}{place}; {FULL_TRACEBACK}=off shows the whole traceback")
        _fail(
            f"JAX finds no device here for JAX_PLATFORMS={os.environ['JAX_PLATFORMS']}; "
            'install JAX for it, such as pip install "jax[cuda13]", or set JAX_PLATFORMS=cpu'
        )


def _fail(reason: object) -> NoReturn:
    """Ends the command for a mistake of its user."""
    print(error_line(reason), file=sys.stderr)
    sys.exit(2)


def _lacks_devices() -> bool:
    """Whether the environment wants devices that JAX can't have here; then it fails wherever it is used first."""
    if not os.environ.get("JAX_PLATFORMS"):
        return False
    import jax  # noqa: PLC0415 - commands import it after they have looked at the clock

    try:
        jax.devices()
    except Exception:
        return True
    return False


def _is_of_a_world(error: Exception) -> bool:
    """Whether a world itself lacks what training needs, which may show only as it is traced."""
    from envs_jax.checks import WorldError  # noqa: PLC0415 - as `jax` below

    return isinstance(error, WorldError)
