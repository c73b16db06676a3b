"""Data-parallel training: the environments spread over devices, the student on each of them."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxteach.errors import UserError
from jaxteach.learner import LearnerState


def take_devices(count: int, num_envs: int) -> list[Any]:
    """The first `count` devices, all of them for 0.

    Raises:
        UserError: there are fewer, or the environments can't be dealt out evenly.
    """
    devices = jax.devices()
    if count > len(devices):
        raise UserError(f"--devices {count} is more than there are here: {len(devices)} ({devices[0].platform})")
    taken = devices[:count] if count else devices
    if num_envs % len(taken):
        raise UserError(f"--num_envs {num_envs} can't be dealt out evenly to {len(taken)} devices; take a multiple")
    return taken


def spread(state: LearnerState, devices: list[Any]) -> LearnerState:
    """Where the leaves of a state [seeds, ...] lie: those of environments, [seeds, N, ...], in N / devices parts.

    Args:
        state: the state, or its shapes and dtypes.
        devices: at least two.

    Returns:
        A `NamedSharding` for each leaf.
    """
    mesh = Mesh(np.array(devices), ("environments",))
    parts, copies = NamedSharding(mesh, PartitionSpec(None, "environments")), NamedSharding(mesh, PartitionSpec())

    def place(tree: Any, sharding: NamedSharding) -> Any:
        return jax.tree.map(lambda _: sharding, tree)

    everywhere = place(state, copies)
    return everywhere._replace(actor=place(state.actor, parts), memory=place(state.memory, parts))
