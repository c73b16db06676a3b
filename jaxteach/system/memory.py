"""Memory: what a program is known to need, compared with what there is; a lack of it gets one sentence."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jaxteach.errors import UserError

ADVICE = "lower --num_envs, --rollout_length, --num_eval, --frame_stack or the number of seeds"
CGROUP = Path("/sys/fs/cgroup/memory.max")


def num_bytes(tree: Any) -> int:
    """The bytes of arrays, or of their shapes and dtypes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def check_memory(needed: int) -> None:
    """Raises `UserError` where a device has less memory than `needed` bytes."""
    there = _there_is()
    if there is not None and needed > there:
        raise UserError(f"this takes at least {_told(needed)} of memory, and there are {_told(there)}; {ADVICE}")


def check_program(program: Any) -> None:
    """As `check_memory`, for a compiled program with its arguments and results."""
    analysis = program.memory_analysis()
    if analysis is not None:
        own = analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
        check_memory(analysis.argument_size_in_bytes + own)


def compile_checked(function: Callable[..., Any], *arguments: Any) -> Any:
    """A function compiled for its arguments; see `check_program`."""
    program = jax.jit(function).lower(*arguments).compile()
    check_program(program)
    return program


@contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Turns an error for lack of memory inside the block into a `UserError`."""
    try:
        yield
    except MemoryError:
        raise UserError(f"the memory is used up; {ADVICE}") from None
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower():
            raise UserError(f"the memory is used up; {ADVICE}") from None
        raise


def _there_is() -> int | None:
    """The bytes of a device's memory, or of the machine's for a CPU; None where they are not known."""
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return stats.get("bytes_limit")
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else ""
    return min(machine, int(limit)) if limit.isdecimal() else machine


def _told(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
