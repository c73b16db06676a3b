"""Means over seeds with their confidence intervals, as arXiv 2108.13264 advises."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from jaxteach.evaluation.intervals import CONFIDENCE, RESAMPLES

BATCH = 100
FEW = 10
"""With fewer seeds than this, a bootstrap's interval is rough, and rather too narrow."""
NOTHING = "\N{EN DASH}"
"""A figure that does not exist."""


class Interval(NamedTuple):
    """An estimate, or several, with the ends of their intervals; no ends where a sample has a single value."""

    estimate: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None


def interval(*samples: np.ndarray) -> Interval:
    """The interquartile mean of all samples together, with the interval of a stratified percentile bootstrap.

    Args:
        samples: float64[..., n], one a stratum, whose values are drawn anew from itself; n may differ.

    Returns:
        An interval of arrays [...]. The draws are the same at every call.
    """
    estimate = _interquartile_mean(*samples)
    if min(sample.shape[-1] for sample in samples) < 2:
        return Interval(estimate, None, None)
    found = stats.bootstrap(
        samples,
        _interquartile_mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        batch=BATCH,
        method="percentile",
        axis=-1,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(estimate, found.low, found.high)


def interval_text(found: Interval, style: str) -> str:
    """0.993 [0.989, 0.998], where a line may end before the bracket; the estimate alone where there is no interval."""
    estimate = format(float(found.estimate), style)
    if found.low is None or found.high is None:
        return estimate
    return f"{estimate} [{format(float(found.low), style)},\N{NO-BREAK SPACE}{format(float(found.high), style)}]"


def _interquartile_mean(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean of the middle half; of fewer than four values, of all."""
    return np.asarray(stats.trim_mean(np.concatenate(samples, axis), 0.25, axis))
