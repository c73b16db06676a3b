"""What all tests share."""

import os
import tempfile

# Before JAX is imported, here and in the workers and commands that the tests start: all keep their compiled programs
# in one folder, in which there is nothing at first, so that what was compiled earlier on a machine can't help.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _COMPILED = tempfile.TemporaryDirectory(prefix="jaxteach-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED.name
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
# Compiling takes most of the tests' time.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs of one file are of no use to the next, and take gigabytes in all."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True, scope="module")
def forget_what_is_registered():
    """Tasks and networks that one file registers are not there in the next."""
    import envs_jax  # noqa: PLC0415 - after the environment is set
    from jaxteach.networks.registry import REGISTERED  # noqa: PLC0415
    from jaxteach.tasks import TASKS  # noqa: PLC0415

    registries = (envs_jax._TASKS, TASKS, REGISTERED)
    before = [dict(registry) for registry in registries]
    yield
    for registry, kept in zip(registries, before):
        registry.clear()
        registry.update(kept)
