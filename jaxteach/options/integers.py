"""How the command line reads whole numbers: also as 1e5 and 1_000."""

from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

MOST_DIGITS: Final = 30

INTEGERS: Final = ConstructorRegistry()
"""What the parser is run within."""


def whole_number(text: str) -> int:
    """An integer, also as 1e5 or 1_000.

    Raises:
        ValueError: it is none.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number.adjusted() > MOST_DIGITS or number != number.to_integral_value():
        raise ValueError(f"{text!r} is not a whole number, such as 150000 or 1.5e5")
    return int(number)


@INTEGERS.primitive_rule
def _whole_numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How the parser reads integers, and those that may be left out."""
    kinds = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in get_args(info.type)]
    optional = set(kinds) == {int, NoneType}
    if info.type is not int and not optional:
        return None

    def read(words: list[str]) -> int | None:
        return None if optional and words == ["None"] else whole_number(words[0])

    def is_one(value: Any) -> bool:
        return type(value) is int or (optional and value is None)

    return PrimitiveConstructorSpec(1, "INT", read, is_one, lambda value: [str(value)])
