"""Mistakes of a user, told in one sentence."""

import os
import sys
from collections.abc import Callable

from jaxteach.system.interrupt import INTERRUPTED, exit_on_interrupt

MAX_MESSAGE = 2000


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says how."""


def printable(text: str) -> str:
    """A text of a stranger as one line fit for a terminal: without line ends, escapes, or megabytes."""
    short = text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + " ..."
    return "".join(char if char.isprintable() else " " if char.isspace() else repr(char)[1:-1] for char in short)


def told(reason: object) -> str:
    """How a mistake is told on the terminal."""
    return f"error: {printable(str(reason))}"


def run_command(command: Callable[[], None]) -> None:
    """Runs a command; a user's mistake ends it with one sentence and exit code 2, a closed pipe in silence with 141.

    Ctrl-C ends it at once with exit code 130, see `exit_on_interrupt`.
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
        print(told(error), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception:
        if not _lacks_devices():
            raise
        print(
            told(
                f"JAX finds no device here for JAX_PLATFORMS={os.environ['JAX_PLATFORMS']}; "
                'install JAX for it, such as pip install "jax[cuda13]", or set JAX_PLATFORMS=cpu'
            ),
            file=sys.stderr,
        )
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
