"""Checkpoints: written in the background, whole or not at all, and read only if every byte is as written.

Orbax writes the arrays. Its `CheckpointManager` was tried and left out: of 40 single flipped bits, it restored two as
if nothing were wrong, and it has no other checkpoint to fall back on where the newest one is damaged.
"""

import math
import os
import re
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxteach.distributed.multihost import broadcast, gather_to_host, is_main_process, on_main_process, sync_failures
from jaxteach.errors import UserError
from jaxteach.runs.manifest import DamagedError, check_manifest, write_manifest

KEPT_CHECKPOINTS = 3
ADVICE = "; put that right and go on with --resume: what was saved before is intact"
ARRAYS = "default"
NEWER = (".cohorts",)
"""Parts of a state that older checkpoints lack; they begin as zeros."""
MAX_METADATA_BYTES = 2**24
SPARE_BYTES = 2**20


class Checkpoints:
    """The last checkpoints of a run, by iteration.

    `checkpoints/<iteration>` has the arrays as Orbax writes them, and a manifest with the size and
    SHA-256 of every file. It is written as `<iteration>.partial` and moved to its place last, so
    that what stands there is whole.

    Where several processes train one student, all call `save` and `restore`, and the first touches the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "checkpoints"
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    @property
    def iterations(self) -> list[int]:
        """The iterations of all checkpoints, damaged ones too, in order."""
        if not self._folder.is_dir():
            return []
        names = (entry.name for entry in self._folder.iterdir())
        return sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]{0,17}", name))

    def save(self, iteration: int, state: Any) -> None:
        """Begins to write a checkpoint, after the one before it is written.

        Raises:
            UserError: the one before could not be written.
        """
        with sync_failures():
            self._wait()
        # Copies, since the next update reuses the memory of the state that it is given.
        leaves = {name: gather_to_host(leaf) for name, leaf in _named_leaves(state).items()}
        if is_main_process():
            self._pending = self._writer.submit(self._write, iteration, leaves)

    def restore(self, like: Any, iteration: int | None = None) -> tuple[int, Any]:
        """The newest checkpoint that is not damaged, or that of an iteration.

        Args:
            like: a state, or its shapes and dtypes, with shardings where arrays go to certain devices.
            iteration: which checkpoint.

        Returns:
            The iteration, and the state.

        Raises:
            UserError: there is none, it is damaged, or it is of another network, task or seed_list.
        """
        return self._restore(like, "", iteration)

    def restore_params(self, like: Any, iteration: int | None = None) -> tuple[int, Any]:
        """As `restore`, of the network's parameters alone."""
        return self._restore(like, ".params", iteration)

    def newest(self, seconds: float) -> int | None:
        """The iteration of the newest checkpoint, None if there is none; waits `seconds` for one being written."""
        pending = self._pending
        if pending is not None:
            wait([pending], seconds)
        return max(self.iterations, default=None)

    def close(self) -> None:
        """Waits until all is written.

        Raises:
            UserError: it could not be written.
        """
        try:
            self._wait()
        finally:
            self._writer.shutdown()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _write(self, iteration: int, leaves: Mapping[str, np.ndarray]) -> None:
        place, partial = self._folder / str(iteration), self._folder / f"{iteration}.partial"
        try:
            self._folder.mkdir(exist_ok=True)
            _remove(partial)
            partial.mkdir()
            _check_room(partial / "room", sum(leaf.nbytes for leaf in leaves.values()) + SPARE_BYTES)
            ocp = _orbax()
            with _checkpointer() as checkpointer:
                checkpointer.save(partial / ARRAYS, args=ocp.args.PyTreeSave(dict(leaves)))
            write_manifest(partial, sync=True)
            _remove(place)  # A damaged one, which was passed over.
            os.rename(partial, place)
            self._tidy(iteration)
        # Orbax and TensorStore raise errors of many kinds where the disk is full or gone.
        except Exception as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise UserError(f"can't write the checkpoint {place}: {_reason(error)}{ADVICE}") from None

    def _tidy(self, iteration: int) -> None:
        """Removes old checkpoints, unfinished ones, and later ones, which were passed over as damaged."""
        kept = [step for step in self.iterations if step <= iteration][-KEPT_CHECKPOINTS:]
        for entry in self._folder.iterdir():
            if re.fullmatch(r"\d+(\.partial)?", entry.name) and entry.name not in map(str, kept):
                _remove(entry)

    def _restore(self, like: Any, prefix: str, iteration: int | None) -> tuple[int, Any]:
        names = _named_leaves(like)
        wanted = {prefix + name: leaf for name, leaf in names.items()}
        found = on_main_process(lambda: self._newest(wanted, iteration))
        step, leaves = broadcast(found, (np.int64(), wanted))
        return int(step), _with_leaves(like, {name: leaves[prefix + name] for name in names})

    def _newest(self, wanted: Mapping[str, Any], iteration: int | None) -> tuple[np.int64, dict[str, np.ndarray]]:
        """The iteration of the newest checkpoint that is not damaged, or the one wanted, and its arrays."""
        self._wait()
        steps, damaged = self.iterations, []
        if not steps or (iteration is not None and iteration not in steps):
            listed = f"it has those of iterations {', '.join(map(str, steps))}" if steps else "it has none"
            raise UserError(f"{self._folder} has no such checkpoint: {listed}")
        for step in reversed(steps) if iteration is None else [iteration]:
            try:
                leaves = _read(self._folder / str(step), wanted)
            except DamagedError as error:
                damaged.append(f"{step} ({error})")
                continue
            if damaged:
                print(f"damaged: checkpoint {', '.join(damaged)}; taken instead: {step}", file=sys.stderr)
            return np.int64(step), leaves
        raise UserError(f"{self._folder} has no checkpoint that can be read, it is damaged: {', '.join(damaged)}")


def _orbax() -> Any:
    """Orbax, which takes long to import and is needed only now."""
    import orbax.checkpoint  # noqa: PLC0415

    return orbax.checkpoint


def _checkpointer() -> Any:
    """A checkpointer of the first process alone: Orbax would wait for the others."""
    ocp = _orbax()
    alone = ocp.options.MultiprocessingOptions(active_processes={jax.process_index()})
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _read(path: Path, wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The wanted arrays of a checkpoint, of which the manifest and the shapes are checked first."""
    check_manifest(path, _most_bytes)
    # Orbax raises errors of many kinds for files that are not as it wrote them.
    try:
        with _checkpointer() as checkpointer:
            stored: Any = checkpointer.metadata(path / ARRAYS)
            listed = stored.item_metadata.tree
            there = {name: leaf for name, leaf in wanted.items() if name in listed or not name.startswith(NEWER)}
            fits = _fit(listed, there)
            leaves = checkpointer.restore(path / ARRAYS, args=_request(there)) if fits else {}
    except Exception:
        raise DamagedError("it is not as Orbax writes it") from None
    if not fits:
        raise UserError(
            f"the checkpoint {path} can't be read: its arrays have other shapes; "
            "it is of another network, task or seed_list"
        )
    new = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in wanted.items() if name not in there}
    arrays = new | {name: np.asarray(leaves[name]) for name in there}
    if any((arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype) for name, leaf in wanted.items()):
        raise DamagedError("its arrays are not those it lists")
    return arrays


def _request(wanted: Mapping[str, Any]) -> Any:
    """Asks Orbax for the wanted arrays alone."""
    ocp = _orbax()
    targets = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in wanted.items()}
    kinds = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in wanted}
    return ocp.args.PyTreeRestore(targets, restore_args=kinds, partial_restore=True)


def _fit(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a checkpoint lists the wanted arrays, in pieces that are no larger than they are."""

    def fits(name: str, leaf: Any) -> bool:
        fingerprint = stored.get(name)
        if fingerprint is None or (fingerprint.shape, fingerprint.dtype) != (leaf.shape, leaf.dtype):
            return False
        pieces = fingerprint.storage.chunk_shape if fingerprint.storage is not None else leaf.shape
        return pieces is None or all(piece <= side for piece, side in zip(pieces, leaf.shape))

    return all(fits(name, leaf) for name, leaf in wanted.items())


def _most_bytes(file: Path) -> float:
    """How large a file of a checkpoint may be: only those with the arrays' data are large."""
    return math.inf if "d" in file.parts[-2:-1] else MAX_METADATA_BYTES


def _remove(path: Path) -> None:
    """Removes a folder with all it has; a link or a file in its place, alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_room(path: Path, size: int) -> None:
    """Writes and removes a file: a full disk gives an `OSError` here, but pages of tracebacks inside Orbax."""
    try:
        path.write_bytes(bytes(size))
    finally:
        path.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """The operating system's words for an error, else the error's own."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return os.strerror(int(code[1])) if code else " ".join(repr(error).split())[:300]


def _named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves by their paths, less the empty arrays, which Orbax does not store; PRNG keys as their numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): _plain(leaf) for path, leaf in leaves if leaf.size > 0}


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    if not _is_key(leaf):
        return leaf
    is_array = isinstance(leaf, jax.Array)
    return jax.random.key_data(leaf) if is_array else jax.eval_shape(jax.random.key_data, leaf)


def _with_leaves(like: Any, leaves: Mapping[str, np.ndarray]) -> Any:
    """The inverse of `_named_leaves` for a tree of the structure of `like`, on its devices."""

    def pick(path: Any, leaf: Any) -> Any:
        if leaf.size == 0:
            return jnp.zeros(leaf.shape, leaf.dtype)
        numbers = leaves[jax.tree_util.keystr(path)]
        array = jnp.array(numbers) if leaf.sharding is None else jax.device_put(numbers, leaf.sharding)
        return jax.random.wrap_key_data(array) if _is_key(leaf) else array

    return jax.tree_util.tree_map_with_path(pick, like)
