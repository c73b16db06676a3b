"""Mistakes of a user, each explained in one sentence."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

MAX_MESSAGE = 2000
ELSEWHERE: Final = {
    "lr": "learning_rate",
    "num_steps": "rollout_length",
    "unroll_length": "rollout_length",
    "update_epochs": "epochs",
    "minibatch_size": "batch_size",
    "gae_lambda": "lam",
    "clip_coef": "clip",
    "clip_eps": "clip",
    "vf_coef": "value_coef",
    "ent_coef": "entropy_coef",
    "seed": "seed_list",
    "env_id": "task",
    "env_name": "task",
}
"""Our options by their names in CleanRL, PureJaxRL and RLlib."""


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says how."""


def did_you_mean(name: object, known: Iterable[str], otherwise: str, prefix: str = "", left_out: str = "") -> str:
    """'did you mean NAME?' for the known name most similar to `name`; `otherwise` if none is similar.

    `prefix` stands before NAME; `left_out` is how known names may begin without being typed so.
    """
    whole = {word.lower(): word for word in known}
    by_lower = {word.removeprefix(left_out.lower()): whole[word] for word in whole} | whole
    typed = str(name).lower()
    similar = [word for word in (ELSEWHERE.get(typed), *get_close_matches(typed, by_lower, 1)) if word in by_lower]
    return f"did you mean {prefix}{by_lower[similar[0]]}?" if similar else otherwise


def printable(text: str) -> str:
    """A text of a stranger as one line fit for a terminal: without line ends, escapes, or megabytes."""
    short = text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + " ..."
    return "".join(char if char.isprintable() else " " if char.isspace() else repr(char)[1:-1] for char in short)


def error_line(reason: object) -> str:
    """A mistake as a line for the terminal."""
    return f"error: {printable(str(reason))}"
