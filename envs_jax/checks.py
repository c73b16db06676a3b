"""Checks of the worlds' parameters and actions, each with one clear sentence."""

import operator
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.errors import TracerArrayConversionError

MOST_STEPS: Final = 2**31 - 1
"""Steps are counted in int32."""
MOST_FRAMES: Final = 256
MOST_ENTITIES: Final = 128
"""Of one kind: in particle worlds the matrix of contacts grows with the cube of all."""


class WorldError(ValueError):
    """A world lacks what is asked of it; the message is one sentence for whoever wrote it."""


def check_observations(env: Any) -> None:
    """Checks that all observations of a user's world have the shapes and dtypes of its `observation_spec`.

    Without a spec they are compared with those of `observe`. A dtype of 64 bits counts as its one of 32.

    Raises:
        WorldError: they differ.
    """
    if type(env).__module__.partition(".")[0] == "envs_jax":
        return
    state, first = jax.eval_shape(env.reset, jax.random.key(0))
    action = jax.eval_shape(lambda: jnp.asarray(env.action_spec.generate_value(), env.action_spec.dtype))
    given = {"reset": first.observation, "step": jax.eval_shape(env.step, state, action)[1].observation}
    if callable(getattr(env, "observe", None)):
        given = {"observe": jax.eval_shape(env.observe, state), **given}
    spec = getattr(env, "observation_spec", None)
    source = "observation_spec has" if spec is not None else "observe gives"
    expected = _leaf_types(given["observe"] if spec is None else spec.generate_value())
    for method, observation in given.items():
        found = _leaf_types(observation)
        if found != expected:
            raise WorldError(
                f"{method} gives observations {', '.join(found)} in {type(env).__name__}, "
                f"and its {source} {', '.join(expected)}"
            )


def _leaf_types(tree: Any) -> list[str]:
    """Dtypes and shapes of the leaves, such as float32[5]."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda: jax.tree.map(jnp.zeros_like, tree)))
    return [f"{_NARROWER.get(str(leaf.dtype), leaf.dtype)}{[*leaf.shape]}" for leaf in leaves]


def narrow(leaf: Any) -> jax.Array:
    """A world's array as it is without `jax_enable_x64`: training keeps to 32 bits."""
    leaf = jnp.asarray(leaf)
    return leaf.astype(_NARROWER.get(str(leaf.dtype), leaf.dtype))


_NARROWER: Final = {"float64": "float32", "int64": "int32", "uint64": "uint32"}


def concrete_array(name: str, value: Any) -> np.ndarray:
    """A value that is concrete, not traced, as a NumPy array.

    Raises:
        ValueError: it is traced, or has rows of different lengths.
    """
    try:
        return np.asarray(value)
    except TracerArrayConversionError:
        raise ValueError(
            f"{name} must be known, but is traced; states are made on the host, outside jax.jit and jax.vmap"
        ) from None
    except ValueError:
        raise ValueError(f"{name} must be an array, not rows of different lengths") from None


def checked_integer(name: str, value: Any, least: int, most: int) -> int:
    """An integer of Python or NumPy, as a Python int.

    Raises:
        ValueError: it is of another type, or not within `least`..`most`.
    """
    number = _integer(name, value)
    if not least <= number <= most:
        raise ValueError(f"{name} must be {f'within {least}..{most}' if least < most else most}, not {number}")
    return number


def checked_odd(name: str, value: Any, least: int, most: int) -> int:
    """As `checked_integer`, for an odd one."""
    number = _integer(name, value)
    if number % 2 == 0 or not least <= number <= most:
        raise ValueError(f"{name} must be odd and within {least}..{most}, not {number}")
    return number


def checked_count(name: str, value: Any, least: int = 1, most: int = MOST_ENTITIES) -> int:
    """As `checked_integer`, for a number of things; the message names only the bound that is broken."""
    number = _integer(name, value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    if number > most:
        raise ValueError(f"{name} must be at most {most}, not {number}")
    return number


def checked_neighbors(name: str, value: Any) -> int | None:
    """As `checked_count`; None stands for all."""
    return None if value is None else checked_count(name, value)


def checked_steps(name: str, value: Any) -> int:
    """As `checked_count`, for the steps of an episode."""
    return checked_count(name, value, most=MOST_STEPS)


def _integer(name: str, value: Any) -> int:
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise ValueError(f"{name} must be an integer, not {value!r}")
    return number


def checked_flag(name: str, value: Any) -> bool:
    """A bool of Python or NumPy, as a Python bool.

    Raises:
        ValueError: it is of another type.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def checked_ratio(name: str, value: Any) -> float:
    """A number of Python or NumPy within 0..1, as a Python float.

    Raises:
        ValueError: it is of another type, or not within 0..1.
    """
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, not {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be within 0..1, not {value}")
    return float(value)


def checked_action(action: Any, counts: Any) -> jax.Array:
    """Discrete actions as an array, for a step.

    While a program is traced, the values are unknown, and an invalid action does nothing.

    Args:
        action: int[...], of the shape of `counts`.
        counts: int[...], the number of actions, for each element.

    Raises:
        ValueError: the shape or the type is wrong, or a known value is not an action.
    """
    given, counts = action if isinstance(action, jax.Array) else np.asarray(action), np.asarray(counts)
    if given.shape != counts.shape or given.dtype.kind not in "iu":
        raise ValueError(
            f"an action must be integers of shape {counts.shape}, not {given.dtype} of shape {given.shape}"
        )
    if not isinstance(given, Tracer):
        values = np.asarray(given)
        if not ((values >= 0) & (values < counts)).all():
            raise ValueError(f"an action must be at least 0 and below {counts.tolist()}, not {values.tolist()}")
    if given.dtype.itemsize > 4:  # An invalid action of 64 bits must not wrap into a valid one.
        given = given.clip(-1, np.iinfo(np.int32).max)
    return jnp.asarray(given, jnp.int32)


def checked_push(action: Any, shape: tuple[int, ...]) -> jax.Array:
    """As `checked_action`, for continuous actions, as float32[...]; known values must be finite."""
    given = action if isinstance(action, jax.Array) else np.asarray(action)
    if given.shape != shape or given.dtype.kind not in "iuf":
        raise ValueError(
            f"an action must be floats or integers of shape {shape}, not {given.dtype} of shape {given.shape}"
        )
    if not isinstance(given, Tracer) and not np.isfinite(np.asarray(given)).all():
        raise ValueError(f"an action must be finite, not {np.asarray(given).tolist()}")
    return jnp.asarray(given, jnp.float32)
