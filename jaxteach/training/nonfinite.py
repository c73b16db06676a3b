"""Whether the numbers of training are still finite."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

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
    return min(found, key=lambda trouble: trouble[:2], default=None)
