"""Whether the numbers of training are still finite."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import jax
import numpy as np

from jaxteach.ppo.rollout import Trajectory

WATCHED: Final = {"loss": "loss", "grad_norm": "gradient's norm"}
"""The metrics that must be finite, and what they are called."""


class NonFinite(NamedTuple):
    """The first metric that is not finite."""

    place: int  # of the iteration among those looked at
    seed: int  # its place among the seeds
    what: str
    value: float


def first_nonfinite(metrics: Mapping[str, np.ndarray]) -> NonFinite | None:
    """The first that is not finite of the watched metrics, float32[seeds, iterations] each."""
    found = []
    for name, what in WATCHED.items():
        values = metrics[name]
        found += [NonFinite(int(i), int(s), what, float(values[s, i])) for i, s in np.argwhere(~np.isfinite(values.T))]
    return min(found, key=lambda each: each[:2], default=None)


def world_fault(rollout: tuple[Any, Trajectory]) -> str | None:
    """What a world gave that nothing can be learnt from, as a sentence; None where all is well.

    Args:
        rollout: the observations after a trajectory, and the trajectory itself.
    """
    after, trajectory = jax.device_get(rollout)
    given = {"observations": (trajectory.obs, after), "rewards": trajectory.reward, "discounts": trajectory.discount}
    for what, tree in given.items():
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
        if not all(np.isfinite(leaf).all() for leaf in leaves if leaf.dtype.kind == "f"):
            return f"its {what} are not all finite"
    low, high = trajectory.discount.min(), trajectory.discount.max()
    return None if low >= 0 and high <= 1 else f"its discounts must be within 0..1, and are {low:g} to {high:g}"
