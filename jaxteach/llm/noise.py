"""Random numbers by name: each token at each place of an answer has its own, whatever is decoded beside the answer."""

import hashlib
from typing import Final

import numpy as np

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BITS: Final = 53


class GumbelNoise:
    """Standard Gumbel variables for the tokens of one answer.

    The token with the largest sum of logit and noise is a draw from the softmax of the logits. As the noise does not
    depend on the logits, close logits nearly always draw the same token.

    Args:
        name: what the noise depends on.
    """

    def __init__(self, *name: object) -> None:
        self._key = hashlib.blake2b(repr(name).encode("utf-8", "surrogatepass"), digest_size=8).digest()

    def at(self, place: int, tokens: np.ndarray) -> np.ndarray:
        """float64[n], the noise of tokens int[n] at a place of the answer."""
        start = np.frombuffer(self._key, np.uint64) ^ _mixed(np.array([place], np.uint64))
        bits = _mixed(start + tokens.astype(np.uint64)) >> np.uint64(64 - _BITS)
        return -np.log(-np.log((bits + 0.5) / 2**_BITS))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """The numbers that SplitMix64 makes from uint64 counters."""
    mixed = (numbers + np.uint64(1)) * _STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
