"""Which values an option may have, and with which others it has an effect: markers of its `Annotated` type."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from jaxteach.errors import UserError

MOST: Final = 2**62
"""The largest integer an option may be, unless it says otherwise: sums of a few of them fit in 64 bits."""
MOST_REAL: Final = 1e38
"""The largest finite float an option may be; float32 still holds it."""
INFINITE: Final = "inf"
"""How infinity is written in JSON, which has no number for it."""
SHOWN: Final = 60
"""How many characters of a wrong value a message shows."""


@dataclass(frozen=True)
class Bounds:
    """The bounds of a number, or of each in a tuple; `high` is `math.inf` where infinity is allowed."""

    low: float
    high: float = MOST

    def holds(self, value: float) -> bool:
        """Whether a value is within the bounds; NaN is not."""
        return self.low <= value <= min(self.high, MOST_REAL) or value == self.high

    def message(self, value: float) -> str:
        """What a value outside the bounds must be, for a message."""
        if self.high not in (MOST, math.inf):
            return f"within {self.low:.10g}..{self.high:.10g}"
        return f"at most {min(self.high, MOST_REAL):.10g}" if value > self.low else f"at least {self.low:g}"


@dataclass(frozen=True)
class OnlyWith:
    """An option has an effect only if another one has one of these values or, without values, if it is given.

    `other` is an option of the same part, or else an attribute of the whole configuration; where that lacks it,
    the option has its effect. `why` says why there is no effect, where the other's name does not.
    """

    other: str
    values: tuple[Any, ...] = ()
    why: str = ""

    def holds(self, value: Any) -> bool:
        """Whether the option has an effect with this value of the other."""
        if isinstance(value, tuple):
            return not set(value).isdisjoint(self.values)
        return value in self.values if self.values else bool(value)

    def reason(self, value: Any) -> str:
        """Why it has none with this value."""
        if self.why:
            return self.why
        words = [wanted for wanted in self.values if isinstance(wanted, str)]
        if words:
            return f"with --{self.other} {value}, only with {' or '.join(words)}"
        return f"{'with' if value else 'without'} --{self.other}"


ON_RESUME: Final = "on resume"
"""Marks an option that may change when a run is resumed."""
NOT_LEARNT: Final = "not learnt"
"""Marks an option that does not affect what a run learns: runs that differ only in such options are alike."""


class Option(NamedTuple):
    """An option of a configuration, with the value that it has there."""

    name: str
    value: Any
    kind: Any  # its type, without markers
    markers: tuple[Any, ...]
    part: Any  # the dataclass that it stands in


def options_of(config: Any) -> Iterator[Option]:
    """The options of a configuration and of its parts; those of a part have the part's markers too."""
    hints = get_type_hints(type(config), include_extras=True)
    for option in fields(config):
        value, (kind, markers) = getattr(config, option.name), unwrapped(hints[option.name])
        if not is_dataclass(value):
            yield Option(option.name, value, kind, markers, config)
            continue
        for inner in options_of(value):
            yield inner._replace(markers=(*markers, *inner.markers))


def values_of(config: Any) -> dict[str, Any]:
    """The values of a configuration and of its parts, by the options' names on the command line."""
    return {option.name: option.value for option in options_of(config)}


def marked(config: Any, marker: str) -> set[str]:
    """The names of the options that have a marker."""
    return {option.name for option in options_of(config) if marker in option.markers}


def check_values(config: Any) -> None:
    """Raises `UserError` where an option is not of its kind, not within its bounds, or an empty text."""
    for option in options_of(config):
        if not is_of(option.value, option.kind):
            raise UserError(f"--{option.name} can't be {_shown(option.value)}")
        if option.value == "":
            raise UserError(f"--{option.name} is empty; give it a value, or leave it out")
        for bounds in option.markers:
            if isinstance(bounds, Bounds) and option.value is not None:
                _check_bounds(option, bounds)


def _check_bounds(option: Option, bounds: Bounds) -> None:
    for value in option.value if isinstance(option.value, tuple) else (option.value,):
        if not isinstance(value, str) and not bounds.holds(value):
            raise UserError(f"--{option.name} must be {bounds.message(value)}, not {str(value)[:SHOWN]}")


def without_effect(config: Any, given: Collection[str]) -> dict[str, str]:
    """The given options that have no effect with the values of the others, each with the reason."""
    idle = {}
    for option in options_of(config):
        for only in option.markers:
            if not isinstance(only, OnlyWith) or option.name not in given:
                continue
            place = option.part if hasattr(option.part, only.other) else config
            value = getattr(place, only.other, None)
            if hasattr(place, only.other) and not only.holds(value):
                idle.setdefault(option.name, only.reason(value))
    return idle


def refuse_idle(idle: Mapping[str, str], prefix: str = "") -> None:
    """Raises `UserError` for options without effect, with their reasons; their names are typed with the prefix."""
    if idle:
        reasons = "; ".join(f"{prefix}{name} has no effect {reason}" for name, reason in idle.items())
        raise UserError(f"{reasons}; leave {'it' if len(idle) == 1 else 'them'} out")


def is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; a whole number is a float too."""
    try:
        if isinstance(value, str):
            value.encode()
        msgspec.convert(value, kind)
    except ValueError:  # UnicodeEncodeError included
        return False
    return not isinstance(value, list)  # msgspec takes lists for tuples.


def to_plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON has it: parts as objects, infinity as a word."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        return INFINITE if isinstance(value, float) and value == math.inf else value

    return plain(asdict(config))


def from_plain(kind: type, document: dict[str, Any]) -> Any:
    """The inverse of `to_plain` for a dataclass whose parts are made already.

    Raises:
        TypeError: an option is missing.
    """
    hints = get_type_hints(kind)
    values = {
        name: math.inf if value == INFINITE and hints.get(name) is float else value for name, value in document.items()
    }
    return kind(**values)


def unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its markers, and these; those of `Annotated[int, ...] | None` are among them."""
    if get_origin(hint) is Annotated:
        kind, markers = unwrapped(get_args(hint)[0])
        return kind, (*markers, *hint.__metadata__)
    if get_origin(hint) in (Union, UnionType):
        return hint, tuple(marker for part in get_args(hint) for marker in unwrapped(part)[1])
    return hint, ()


def _shown(value: Any) -> str:
    return repr(value)[:SHOWN]
