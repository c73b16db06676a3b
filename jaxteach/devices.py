"""Data-parallel training: the environments spread over devices, the student on each of them."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from envs_jax.spreading import AXIS
from jaxteach.errors import UserError
from jaxteach.learner import LearnerState


def take_devices(count: int, num_envs: int) -> list[Any]:
    """The first `count` devices of each process, all of them for 0.

    Raises:
        UserError: there are fewer, or the environments can't be dealt out evenly.
    """
    here = jax.local_devices()
    if count > len(here):
        raise UserError(f"--devices {count} is more than there are here: {len(here)} ({here[0].platform})")
    all_of_them = [jax.local_devices(process_index=process) for process in range(jax.process_count())]
    taken = [device for devices in all_of_them for device in devices[: count or None]]
    if num_envs % len(taken):
        raise UserError(f"--num_envs {num_envs} can't be dealt out evenly to {len(taken)} devices; take a multiple")
    return taken


def make_mesh(devices: list[Any]) -> Mesh | None:
    """The mesh of a run; None for one device, which needs none."""
    return Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def places(state: LearnerState, mesh: Mesh) -> LearnerState:
    """Where the leaves of a state [seeds, ...] lie: those of environments, [seeds, N, ...], in parts on the devices.

    Args:
        state: the state, or its shapes and dtypes.
        mesh: of the devices.

    Returns:
        A `NamedSharding` for each leaf.
    """
    parts, copies = NamedSharding(mesh, PartitionSpec(None, AXIS)), NamedSharding(mesh, PartitionSpec())

    def place(tree: Any, sharding: NamedSharding) -> Any:
        return jax.tree.map(lambda _: sharding, tree)

    everywhere = place(state, copies)
    return everywhere._replace(actor=place(state.actor, parts), memory=place(state.memory, parts))
