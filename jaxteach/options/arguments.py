"""Checks the words of a command line against the options, so that each mistake gets one sentence."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tyro.conf import FlagCreatePairsOff, Positional

from jaxteach.errors import UserError, did_you_mean
from jaxteach.options.integers import whole_number
from jaxteach.options.markers import SHOWN, unwrapped

POSITIONAL, UNPAIRED = Positional[int].__metadata__[0], FlagCreatePairsOff[bool].__metadata__[0]  # pyright: ignore
"""How tyro marks values without a name, and flags without an opposite."""
NUMBERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (whole_number, "a whole number, such as 150000 or 1.5e5"),
    float: (float, "a number, such as 0.5 or 1e-3"),
}


@dataclass(frozen=True)
class Kind:
    """What an option takes: one value of one of the types, or several, or, a flag, none."""

    types: tuple[Any, ...]
    is_required: bool = False
    is_several: bool = False

    @property
    def is_flag(self) -> bool:
        return self.types == (bool,)

    @property
    def description(self) -> str:
        """What the option takes, for a message."""
        return " or ".join(_describe(kind) for kind in self.types if kind is not NoneType)

    def takes(self, word: str) -> bool:
        """Whether a word is a value of one of the types."""
        return any(_is_of(word, kind) for kind in self.types)


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        names = [str(name) for name in get_args(kind)]
        return f"one of {', '.join(names)}" if len(names) > 1 else names[0]
    return NUMBERS[kind][1] if kind in NUMBERS else "a value"


def _is_of(word: str, kind: Any) -> bool:
    if kind is NoneType:
        return word == "None"
    if get_origin(kind) is Literal:
        return word in map(str, get_args(kind))
    try:
        NUMBERS.get(kind, (str,))[0](word)
    except ValueError:
        return False
    return True


def check_arguments(config: type, arguments: Sequence[str], others_too: bool = False) -> None:
    """Raises `UserError` for the first word that is no option of a configuration, or no value of its option.

    Args:
        config: the configuration's dataclass.
        arguments: the command line.
        others_too: options that the configuration lacks are another's concern.
    """
    kinds, positionals = _kinds(config)
    given: dict[str, list[str]] = {}
    rest: list[str] = []  # what belongs to no option
    name = None
    for argument in arguments:
        if argument.startswith("--"):
            word, equals, value = argument[2:].partition("=")
            name = word.replace("-", "_")
            if name not in kinds and not others_too:
                advice = did_you_mean(name, kinds, "--help lists the options", "--")
                raise UserError(f"there is no option --{word[:SHOWN]}; {advice}")
            if name in kinds and name in given:
                raise UserError(f"--{name} is given twice; give it once")
            given[name] = [value] if equals else []
            if positionals and kinds[name].is_flag and not equals:
                name = None
        elif name is None or (positionals and not kinds[name].is_several and given[name]):
            rest.append(argument)
        else:
            given[name].append(argument)
    for name, words in given.items():
        if name in kinds:
            _check_words(name, kinds[name], words)
    for name in given:
        if name in kinds and f"no_{name}" in given:
            raise UserError(f"--{name} and --no_{name} are opposites; give one of them")
    if not others_too:
        _check_rest(kinds, positionals, given, rest)


def _check_words(name: str, kind: Kind, words: list[str]) -> None:
    if kind.is_flag and words:
        raise UserError(f"--{name} takes no value, but is given {words[0][:SHOWN]!r}")
    if not words and not kind.is_flag and not kind.is_several:
        raise UserError(f"--{name} needs {kind.description}")
    if len(words) > 1 and not kind.is_several:
        raise UserError(f"--{name} takes one value, but is given {len(words)}: {' '.join(words)[:SHOWN]}")
    for word in words:
        if not kind.takes(word):
            raise UserError(f"--{name} takes {kind.description}, not {word[:SHOWN]!r}")


def _check_rest(
    kinds: dict[str, Kind], positionals: dict[str, Kind], given: dict[str, list[str]], rest: list[str]
) -> None:
    """Raises `UserError` for what is too much, and what is missing."""
    most = len(positionals)
    if len(rest) > most and not any(kind.is_several for kind in positionals.values()):
        raise UserError(f"{rest[most][:SHOWN]!r} belongs to no option; an option begins with --")
    for name, kind in kinds.items():
        if kind.is_required and name not in given:
            raise UserError(f"--{name} is missing; --help lists the options")
    for name, kind in positionals.items():
        if not rest and not kind.is_several:
            raise UserError(f"{name} is missing; see --help")


def option_names(config: type) -> set[str]:
    """The names of the options of a configuration's dataclass, with those of its parts."""
    return set(_kinds(config)[0])


def _kinds(config: type) -> tuple[dict[str, Kind], dict[str, Kind]]:
    """The options of a configuration and of its parts, and the values that it takes without a name."""
    kinds: dict[str, Kind] = {}
    positionals: dict[str, Kind] = {}
    hints = get_type_hints(config, include_extras=True)
    for option in fields(config):
        kind, markers = unwrapped(hints[option.name])
        if is_dataclass(kind):
            kinds |= _kinds(kind)[0]  # pyright: ignore[reportArgumentType]
            continue
        is_required = option.default is MISSING and option.default_factory is MISSING
        (positionals if POSITIONAL in markers else kinds)[option.name] = _kind(kind, is_required)
        if kind is bool and UNPAIRED not in markers:
            kinds[f"no_{option.name}"] = Kind((bool,))
    return kinds, positionals


def _kind(hint: Any, is_required: bool) -> Kind:
    types = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    types = tuple(unwrapped(kind)[0] for kind in types)
    several = [get_args(kind)[0] for kind in types if get_origin(kind) is tuple]
    return Kind((*several, NoneType), is_required, True) if several else Kind(types, is_required)
