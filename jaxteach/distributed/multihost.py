"""Several processes that train as one, on one machine or many: the first alone touches the disk and the terminal."""

import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import numpy as np
import tyro
from jax.experimental import multihost_utils

from jaxteach.config import HostsConfig
from jaxteach.errors import UserError, error_line
from jaxteach.options.arguments import check_arguments
from jaxteach.options.integers import INTEGERS

Tree = TypeVar("Tree")

MAX_TEXT_BYTES = 2**16
SPARE_S = 60
"""JAX gives up later than we do: it ends the process with a page of C++."""


def init_distributed(arguments: list[str]) -> None:
    """Waits for the other processes, if a command line tells of any.

    It must come before all else: JAX takes no others in once it has computed anything, and Jumanji
    computes as it is imported.

    Raises:
        UserError: the options don't say where the others are, or these don't come.
    """
    if not any(argument.startswith("--coordinator") for argument in arguments) or {"-h", "--help"} & {*arguments}:
        return
    check_arguments(HostsConfig, arguments, others_too=True)
    with INTEGERS:
        config, _ = tyro.cli(HostsConfig, args=arguments, return_unknown_args=True, use_underscores=True)
    config.check()
    late = f"the others have not come within {config.join_timeout} s; see that all are started, with the same "
    late += "--coordinator and --processes, and that its port can be reached, or give a longer --join_timeout"
    timer = threading.Timer(config.join_timeout, abort, [late])
    timer.daemon = True
    timer.start()
    try:
        _meet(config)
    finally:
        timer.cancel()


def _meet(config: HostsConfig) -> None:
    is_auto = config.coordinator == "auto"
    place, late = None if is_auto else config.coordinator, config.join_timeout + SPARE_S
    try:
        jax.distributed.initialize(place, config.processes, config.process_id, initialization_timeout=late)
    except (ValueError, RuntimeError) as error:
        if is_auto and isinstance(error, ValueError):
            nowhere = "--coordinator auto finds no SLURM, Open MPI or TPU slice here"
            raise UserError(f"{nowhere}; give host:port, --processes and --process_id") from None
        raise UserError(f"the processes can't meet at --coordinator {config.coordinator}: {error}") from None


def abort(reason: str) -> None:
    """Ends this process at once with a sentence: in an orderly exit JAX would wait for the others."""
    print(error_line(reason), file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(2)


def is_main_process() -> bool:
    """Whether this process writes and prints; one alone does."""
    return jax.process_index() == 0


@contextmanager
def sync_failures() -> Iterator[None]:
    """What fails in one process ends all, and nobody waits for one that has ended.

    All processes must come here, and use no other function of this module inside.

    Raises:
        UserError: another process failed, whose output says why.
    """
    if jax.process_count() == 1:
        yield
        return
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = np.flatnonzero(multihost_utils.process_allgather(np.bool_(failure is not None)))
    if failure is not None:
        raise failure
    if failed.size:
        raise UserError(f"process {failed[0]} can't go on; its output says why")


def on_main_process(action: Callable[[], Tree]) -> Tree | None:
    """What the first process alone does; None in the others.

    Raises:
        UserError: it could not, in all processes.
    """
    with sync_failures():
        return action() if is_main_process() else None


def broadcast(tree: Tree | None, like: Any) -> Tree:
    """Arrays of the first process, in all.

    Args:
        tree: the arrays; only the first process's count.
        like: a tree of the same structure with their shapes and dtypes.
    """
    if jax.process_count() == 1:
        assert tree is not None
        return tree
    given = tree if is_main_process() else jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    return multihost_utils.broadcast_one_to_all(given)


def broadcast_text(text: str | None) -> str:
    """A text of the first process, of at most `MAX_TEXT_BYTES`, in all."""
    buffer = np.zeros(MAX_TEXT_BYTES, np.uint8)
    content = np.frombuffer((text or "").encode(), np.uint8)
    buffer[: len(content)] = content
    return bytes(broadcast(buffer, buffer)).rstrip(b"\0").decode()


def assert_same_config(fingerprint: Mapping[str, Any]) -> None:
    """Raises `UserError` in all processes where one of them has another fact than the first; facts are plain JSON."""
    own = {name: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16] for name, value in fingerprint.items()}
    firsts = json.loads(broadcast_text(json.dumps(own)))
    other = ", ".join(name for name, digest in own.items() if firsts.get(name) != digest)
    with sync_failures():
        if other:
            raise UserError(
                f"process {jax.process_index()} has another {other} than the first; start all with the same"
            )


def gather_to_host(array: Any) -> np.ndarray:
    """A copy of an array, of which each process may have only a part."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable and not array.is_fully_replicated:
        return np.array(multihost_utils.process_allgather(array, tiled=True))
    return np.array(array)


@contextmanager
def exit_on_lost_peer() -> Iterator[None]:
    """Says in one sentence that another process was lost in the block, and ends this one."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        lost = jax.process_count() > 1 and re.search("gloo|nccl|connection|unavailable", str(error), re.IGNORECASE)
        if lost and not isinstance(error, UserError):
            reason = str(error).splitlines()[0][:200]
            abort(f"another process was lost ({reason}); start all again with --resume: the last checkpoint is intact")
        raise
