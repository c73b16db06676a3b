"""What a figure was measured on: the machine, the versions, the revision."""

import os
import platform
from typing import Any

import jax

from jaxteach.system.cores import visible_cores
from jaxteach.system.machine import git_revision, processor, versions_of

VERSIONED = ("jax", "jaxlib", "numpy", "jumanji", "flax")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, load, devices, versions and git revision, for a benchmark's JSON."""
    return {
        "processor": processor(),
        "cores": visible_cores(),
        "load_average": round(os.getloadavg()[0], 2),
        "devices": [device.device_kind for device in jax.devices()],
        "python": platform.python_version(),
        "versions": versions_of(VERSIONED),
        "revision": git_revision(),
    }
