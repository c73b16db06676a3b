"""Mistakes of a user, each explained in one sentence."""

MAX_MESSAGE = 2000


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says how."""


def printable(text: str) -> str:
    """A text of a stranger as one line fit for a terminal: without line ends, escapes, or megabytes."""
    short = text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + " ..."
    return "".join(char if char.isprintable() else " " if char.isspace() else repr(char)[1:-1] for char in short)


def error_line(reason: object) -> str:
    """A mistake as a line for the terminal."""
    return f"error: {printable(str(reason))}"
