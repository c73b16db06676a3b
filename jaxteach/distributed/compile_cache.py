"""Compiled programs kept on disk, so that a second start need not compile."""

import hashlib
import os
import platform
from pathlib import Path

import jax
from platformdirs import user_cache_path

from envs_jax.wrappers import AgentAxisWrapper

MIN_COMPILE_S = 0.3
CACHE_SINCE = (0, 10, 2)  # JAX versions before it print a wall of errors when they read their own cache on a CPU


def use_cache() -> None:
    """Turns JAX's persistent compilation cache on, unless the user has set it.

    Programs for the CPU hold for one kind of processor, so each kind has a folder of its own:
    a home folder may be shared by different machines.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.values["jax_compilation_cache_dir"]:
        return
    if jax.__version_info__ < CACHE_SINCE:
        return
    folder = user_cache_path("jaxteach") / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_S)


def compile_notice(world: AgentAxisWrapper) -> str:
    """What a person should know before compilation begins; seconds as measured on one core of a Xeon."""
    view = getattr(world.env, "view_size", 0)
    seconds = f"about {round(15 + view**2 / 4, -1):.0f} s the first time"
    if view <= 5:
        return f"compiling takes {seconds}"
    return f"a view of {view} x {view} takes {seconds} to compile, a smaller --view_size less"


def _processor() -> str:
    """A short name for the kind of processor and its instructions."""
    description = platform.machine() + platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        wanted = ("model name", "flags", "Features", "CPU part")
        description += "".join(sorted({line for line in info.read_text().splitlines() if line.startswith(wanted)}))
    return hashlib.sha256(description.encode()).hexdigest()[:16]
