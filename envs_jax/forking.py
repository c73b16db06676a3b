"""A clear error where JAX would hang: in a process that was forked while JAX was running."""

import os
from typing import Any, Self

from jax._src import xla_bridge

_in_fork_of_jax = False


def _note_fork() -> None:
    global _in_fork_of_jax  # noqa: PLW0603  a fact about this process
    _in_fork_of_jax = xla_bridge.backends_are_initialized()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def check_process() -> None:
    """Checks that JAX works in this process.

    Raises:
        RuntimeError: this process was forked from one in which JAX was running already.
    """
    if _in_fork_of_jax:
        raise RuntimeError(
            "JAX hangs in a process that was forked after JAX had started; start the workers with "
            "context='spawn' (as in AsyncVectorEnv(..., context='spawn')), or use envs_jax.adapters.BatchedEnv"
        )


class NotForked:
    """Objects that can't be made or unpickled in such a process; see `check_process`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        del args, kwargs
        check_process()
        return super().__new__(cls)
