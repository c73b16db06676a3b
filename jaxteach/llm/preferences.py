"""Preferences between captions, and the values under which they are likeliest."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

RIDGE: Final = 0.1
"""Weight of the squares of strengths, which keeps those finite that win all their comparisons."""


class Comparison(NamedTuple):
    """Two captions by their numbers, and how much the first is preferred: 1, 0, or 0.5 for neither."""

    first: int
    second: int
    preferred: float


def comparison_pairs(count: int) -> list[tuple[int, int]]:
    """Pairs of `count` captions that connect all of them: each with those 1, 2, 4, ... places after it, in a ring.

    There are about `count * log2(count)` of them, where all pairs would be half the square of `count`.
    """
    shifts = [2**power for power in range(max(count - 1, 0).bit_length())]
    pairs = {tuple(sorted((i, (i + shift) % count))) for shift in shifts for i in range(count)}
    return sorted((i, j) for i, j in pairs if i != j)


def bradley_terry(comparisons: Sequence[Comparison], count: int) -> np.ndarray:
    """The strengths of `count` captions, float64[count], scaled to 0..1; 0.5 each where no one is preferred.

    The probability that one is preferred is the logistic function of the difference of strengths (Bradley and Terry,
    1952); the likeliest strengths are found, less `RIDGE` halves of their squares.
    """
    first, second, preferred = (np.array(column) for column in zip(*comparisons))

    def loss(strengths: np.ndarray) -> tuple[float, np.ndarray]:
        difference = strengths[first] - strengths[second]
        likelihood = np.logaddexp(0, difference) - preferred * difference
        slope, gradient = expit(difference) - preferred, RIDGE * strengths
        np.add.at(gradient, first, slope)
        np.subtract.at(gradient, second, slope)
        return likelihood.sum() + RIDGE / 2 * (strengths**2).sum(), gradient

    strengths = minimize(loss, np.zeros(count), jac=True, method="L-BFGS-B").x
    spread = np.ptp(strengths)
    return (strengths - strengths.min()) / spread if spread > 0 else np.full(count, 0.5)
