"""Data-parallel training: the environments spread over devices, the student on each of them."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from envs_jax.sharding import AXIS
from jaxteach.errors import UserError
from jaxteach.system.cores import visible_cores

ACCELERATORS = {
    "an NVIDIA GPU": (("/dev/nvidia0", "/proc/driver/nvidia"), "nvidia-smi", "jax[cuda13]"),
    "a TPU": (("/dev/accel0", "/dev/vfio/0"), None, "jax[tpu]"),
}
"""What shows that a machine has an accelerator (files, a program), and the JAX package that uses it."""


def select_devices(count: int, num_envs: int) -> list[Any]:
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


def describe(devices: list[Any]) -> str:
    """What devices are, for a person: "cpu, 2 cores (cpu:0)", "4 x NVIDIA H100 (cuda:0, cuda:1, ...)"."""
    first, cores = devices[0], ""
    if first.platform == "cpu":
        count = visible_cores()
        cores = f", {count} core{'s' if count != 1 else ''}"
    names = ", ".join(map(str, devices[:2])) + (", ..." if len(devices) > 2 else "")
    times = f"{len(devices)} x " if len(devices) > 1 else ""
    return f"{times}{first.device_kind}{cores} ({names})"


def unused_accelerator(platform: str) -> str | None:
    """One line about an accelerator of this machine that JAX does not see; None where all is well.

    Args:
        platform: that JAX takes. A person who has chosen the CPU by `JAX_PLATFORMS` is not told.
    """
    if platform != "cpu" or jax.config.values["jax_platforms"]:
        return None
    for name, (files, program, package) in ACCELERATORS.items():
        if any(Path(file).exists() for file in files) or (program and shutil.which(program)):
            return f'warning: {name} is here, but this JAX is for the CPU; to use it: pip install -U "{package}"'
    return None


def make_mesh(devices: list[Any]) -> Mesh | None:
    """The mesh of a run; None for one device, which needs none."""
    return Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None
