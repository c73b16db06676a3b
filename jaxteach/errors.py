"""Mistakes of a user, told in one sentence."""

import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says how."""


def run_command(command: Callable[[], None]) -> None:
    """Runs a command; a user's mistake ends it with one sentence and exit code 2."""
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
