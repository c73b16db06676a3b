"""The cores of this machine."""

import os


def visible_cores() -> int:
    """How many cores this process may use; XLA has a thread for each, and divides sums among them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
