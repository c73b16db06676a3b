"""Users' own modules, which register tasks and networks.

The commands import the modules that `--import` names, and those that the environment variable `JAXTEACH_IMPORT` names,
with commas between them.
"""

import importlib
import os
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from jaxteach.errors import UserError

VARIABLE: Final = "JAXTEACH_IMPORT"
LIBRARIES: Final = tuple(
    os.path.join(folder, "")
    for folder in (
        *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
        *(str(Path(__file__).resolve().parents[2] / package) for package in ("envs_jax", "jaxteach")),
    )
)


def plugins() -> list[str]:
    """The names of the modules that the environment variable gives."""
    return list(filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))


def import_plugins(more: Iterable[str] = ()) -> None:
    """Imports the modules that the environment variable names, and more, which the variable has from then on.

    Raises:
        UserError: one can't be imported; the message says where it fails.
    """
    names = list(dict.fromkeys([*plugins(), *more]))
    if names:
        os.environ[VARIABLE] = ",".join(names)
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            what = reason if isinstance(error, ModuleNotFoundError | UserError) else f"{type(error).__name__}: {reason}"
            source = "--import" if name in more else VARIABLE
            if "/" in name or name.endswith(".py"):
                what += "; give a module's name, without .py, whose folder is on PYTHONPATH"
            raise UserError(f"{source} names {name}, and it can't be imported: {what}{place_of(error)}") from None


def place_of(error: BaseException) -> str:
    """Where in a user's module an error arose, in brackets; nothing where that is not known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if not frame.filename.startswith(LIBRARIES) and frame.filename.endswith(".py")]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
