"""Confidence intervals over episodes."""

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000
DRAWN_AT_ONCE = 2**22
"""Values, which bounds the memory of a bootstrap."""


def wilson_interval(happened: np.ndarray) -> tuple[float, float]:
    """Wilson's interval of a probability, from bool[n], whether the event happened in each of n trials."""
    trials = stats.binomtest(int(happened.sum()), len(happened))
    found = trials.proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """A percentile bootstrap's interval of a mean, from [n]; None where all values are equal.

    It is within the range of the values, as Student's need not be. The draws are the same at every call.
    """
    if np.ptp(values) == 0:
        return None
    found = stats.bootstrap(
        (values.astype(float),),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        batch=max(1, DRAWN_AT_ONCE // len(values)),
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
