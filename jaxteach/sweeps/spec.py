"""A sweep's file: options that all its runs share, and lists of options of which they try all combinations."""

import hashlib
import io
import itertools
import math
import tomllib
from contextlib import redirect_stderr
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from jaxteach.cli import read_options
from jaxteach.config import PARTS, TrainConfig, default_config
from jaxteach.errors import UserError, did_you_mean
from jaxteach.options.legacy import current_options
from jaxteach.runs.files import fit_for_a_folder, read_text

MAX_BYTES = 2**20
MOST_TRIALS = 1000
LONGEST_NAME = 150
GIVEN_BY_SWEEP = {"savedir", "logdir", "resume"}
OPTIONS: dict[str, Any] = {
    option.name: get_type_hints(kind, include_extras=True)[option.name]
    for kind in (TrainConfig, *PARTS.values())
    for option in fields(kind)
    if option.name not in {*PARTS, *GIVEN_BY_SWEEP}
}
"""The options of training that a file may have, with their types."""


@dataclass(frozen=True)
class Trial:
    """One combination of a sweep's options, and the seeds that it is tried with."""

    config: TrainConfig  # without seeds and folder
    name: str  # what the names of its runs' folders begin with
    seeds: tuple[int, ...]
    idle: tuple[str, ...] = ()  # which options have no effect in this combination, in sentences


def read_sweep(path: Path) -> list[Trial]:
    """The trials that a file describes; combinations that differ only in seeds are one.

    Args:
        path: a TOML file with `[fixed]`, options of `python -m jaxteach.train` with their values, and
            `[grid]`, options with lists of values.

    Raises:
        UserError: there is no such file, or training has no such option or value.
    """
    return trials_of(path, *_read(path))


def trials_of(path: Path, fixed: dict[str, Any], grid: dict[str, list[Any]]) -> list[Trial]:
    """The trials of a sweep's two tables, whose name is that of `path`; as `read_sweep`."""
    _check_options(path, fixed, grid)
    if math.prod(map(len, grid.values())) > MOST_TRIALS:
        raise UserError(f"{path} has more than {MOST_TRIALS:,} combinations; split it into several sweeps")
    names: dict[TrainConfig, str] = {}
    seeds: dict[TrainConfig, dict[int, None]] = {}
    idle: dict[TrainConfig, dict[str, str]] = {}
    combinations: dict[TrainConfig, dict[str, Any]] = {}
    for values in itertools.product(*grid.values()):
        tried = dict(zip(grid, values))
        config, without_effect = _config(path, _for_task(fixed | tried))
        if config in combinations:
            raise UserError(f"{path}: {combinations[config]} and {tried} in [grid] are the same; leave one out")
        combinations[config] = tried
        alike = replace(config, seed_list=())
        names.setdefault(alike, _name(sweep_name(path), tried))
        seeds.setdefault(alike, {}).update(dict.fromkeys(config.seed_list))
        idle[alike] = without_effect
    for name in sorted(set.intersection(*map(set, idle.values()))):
        reason = next(iter(idle.values()))[name]
        raise UserError(f"{path}: {name} has no effect {reason}; leave it out")
    return [
        Trial(
            alike, names[alike], tuple(found), tuple(f"{name} has no effect {why}" for name, why in idle[alike].items())
        )
        for alike, found in seeds.items()
    ]


def _for_task(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a run with its task in the place of `{task}`, so that each task can have its own plan file."""
    task = str(options["task"])
    return {name: x.replace("{task}", task) if isinstance(x, str) else x for name, x in options.items()}


def sweep_name(path: Path) -> str:
    """What a sweep is called: as its file."""
    return fit_for_a_folder(path.stem)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The two tables of a file."""
    try:
        document = tomllib.loads(read_text(path, MAX_BYTES))
    except OSError as error:
        raise UserError(f"can't read the sweep {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    fixed, grid = document.pop("fixed", {}), document.pop("grid", {})
    if document or not isinstance(fixed, dict) or not isinstance(grid, dict) or not fixed | grid:
        raise UserError(f"{path} must have the table [fixed], the table [grid] or both, and nothing else")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: {name} in [grid] must be a list of values, such as [1, 2]")
    return current_options(fixed, f"{path}: "), current_options(grid, f"{path}: ")


def _check_options(path: Path, fixed: dict[str, Any], grid: dict[str, list[Any]]) -> None:
    """Raises `UserError` for unknown options, and a missing task."""
    for name in (*fixed, *grid):
        if name in GIVEN_BY_SWEEP:
            raise UserError(f"{path}: the sweep itself sets {name}; leave it out")
        if name not in OPTIONS:
            advice = did_you_mean(name, OPTIONS, "python -m jaxteach.train --help lists all")
            raise UserError(f"{path}: training has no option {name}; {advice}")
        if name in fixed and name in grid:
            raise UserError(f"{path}: {name} is both in [fixed] and in [grid]; leave it in one of them")
    if "task" not in fixed | grid:
        raise UserError(f'{path} names no task; add task = "SimpleDoorKey" to [fixed], or a list of tasks to [grid]')


def _config(path: Path, options: dict[str, Any]) -> tuple[TrainConfig, dict[str, str]]:
    """The configuration of a run, made by the parser of `python -m jaxteach.train`, and options without effect."""
    try:
        return _parsed(options)
    except SystemExit:
        wrong = next(name for name in options if not _is_good(name, options))
        raise UserError(f"{path}: {wrong} can't be {options[wrong]!r}; see python -m jaxteach.train --help") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _parsed(options: dict[str, Any]) -> tuple[TrainConfig, dict[str, str]]:
    arguments = [argument for name, value in options.items() for argument in _arguments(name, value)]
    with redirect_stderr(io.StringIO()):
        config, idle = read_options(TrainConfig, "python -m jaxteach.train", arguments, default_config)
    config.check()
    return config, idle


def _is_good(name: str, options: dict[str, Any]) -> bool:
    """Whether the parser takes an option's value alone."""
    try:
        _parsed({"task": options["task"], name: options[name]})
    except SystemExit:
        return False
    except UserError:
        pass
    return True


def _arguments(name: str, value: Any) -> list[str]:
    """An option as the command line has it; what it can't have ends the program, as the parser does."""
    kind = OPTIONS[name]
    if value is False and kind is bool:
        return [f"--no_{name}"]
    if isinstance(value, bool):
        if kind is not bool and not (get_origin(kind) is Annotated and get_args(kind)[0] is bool):
            raise SystemExit(2)
        return [f"--{name}"] if value else []
    if isinstance(value, list) and name == "seed_list" and value and all(type(seed) is int for seed in value):
        return [f"--{name}", *map(str, value)]
    if not isinstance(value, int | float | str):
        raise SystemExit(2)
    return [f"--{name}={value}"]


def _name(sweep: str, tried: dict[str, Any]) -> str:
    """The beginning of a folder's name: the sweep's name and the options that it tries."""
    options = {name: value for name, value in tried.items() if name not in ("task", "seed_list")}
    exact = "-".join([sweep, *(f"{name}-{value}" for name, value in options.items())])
    name = fit_for_a_folder(exact)
    if name == exact and len(name.encode()) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME // 4]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
