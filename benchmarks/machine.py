"""What a figure was measured on: the machine, the versions, the revision."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from jaxteach.system.cores import visible_cores

VERSIONED = ("jax", "jaxlib", "numpy", "jumanji", "flax")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, load, devices, versions and git revision, for a benchmark's JSON."""
    return {
        "processor": _processor(),
        "cores": visible_cores(),
        "load_average": round(os.getloadavg()[0], 2),
        "devices": [device.device_kind for device in jax.devices()],
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in VERSIONED},
        "revision": _revision(),
    }


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _revision() -> str | None:
    """The git revision, with `+` behind it where tracked files differ from it."""
    folder = Path(__file__).resolve().parent
    try:
        revision = _git(folder, "rev-parse", "--short", "HEAD")
        return revision + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
