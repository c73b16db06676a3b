"""Confidence intervals over episodes."""

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def wilson_interval(happened: np.ndarray) -> tuple[float, float]:
    """Wilson's interval of a probability, from bool[n], whether the event happened in each of n trials."""
    trials = stats.binomtest(int(happened.sum()), len(happened))
    found = trials.proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Student's interval of a mean, from [n]; None where all values are equal."""
    if np.ptp(values) == 0:
        return None
    mean, error = float(np.mean(values, dtype=float)), float(stats.sem(values.astype(float)))
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return mean - reach, mean + reach
