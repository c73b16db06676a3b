"""What all tests share."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs of one file are of no use to the next, and take gigabytes in all."""
    yield
    jax.clear_caches()
