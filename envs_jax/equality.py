"""Environments that are equal if they were made alike, so that equal ones share their compiled programs."""

import inspect
from typing import Any, Self

import jax
import numpy as np

from envs_jax.forking import NotForked


class EqualByArguments(NotForked):
    """Objects that are equal if they are of one class and were made with equal arguments.

    Numbers and strings among their attributes must be equal too, so that an object that was changed
    later, or a subclass that takes them from elsewhere, is not mistaken for another. Arguments that
    can't be hashed are compared by value if they are NumPy arrays, lists or dicts, else by identity.
    """

    _arguments: dict[str, Any]
    _key: tuple[Any, ...]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        made._arguments = _bind(cls, args, kwargs)
        made._key = _frozen(made._arguments)
        return made

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, EqualByArguments):
            return NotImplemented
        return self is other or (self._key == other._key and _plain(self) == _plain(other))

    def __hash__(self) -> int:
        return hash((type(self), self._key))

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self._arguments.items()
            if _frozen(value) != _frozen(defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


class _Same:
    """Stands for an object that is equal to itself only."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return object.__hash__(self.value)


def _bind(cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments by name; none if they don't fit, as while unpickling: `__init__` is to complain."""
    try:
        bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    return {name: _scalar(value) for name, value in list(bound.arguments.items())[1:]}


def _scalar(value: Any) -> Any:
    """Scalars of NumPy or JAX as Python's, also in tuples, lists and dicts: equal worlds may be made with either."""
    if type(value) in (tuple, list):
        return type(value)(map(_scalar, value))
    if type(value) is dict:
        return {name: _scalar(item) for name, item in value.items()}
    return value.item() if isinstance(value, np.generic | np.ndarray | jax.Array) and np.shape(value) == () else value


def _frozen(value: Any) -> Any:
    """A hashable stand-in that is equal to another if the values are."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, dict):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return value


def _plain(value: Any) -> dict[str, Any]:
    return {name: item for name, item in vars(value).items() if isinstance(item, bool | int | float | str | None)}
