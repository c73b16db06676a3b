"""Counter-based Gumbel noise: a token's noise depends only on the answer, the position and the token."""

import hashlib
from typing import Final

import numpy as np

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS: Final = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BITS: Final = 53


class GumbelNoise:
    """Standard Gumbel variables for the tokens of one answer.

    The token with the largest sum of logit and noise is a draw from the softmax of the logits. As the noise does not
    depend on the logits, close logits nearly always draw the same token.

    Args:
        name: what the noise depends on.
    """

    def __init__(self, *name: object) -> None:
        key = hashlib.blake2b(repr(name).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._key = np.frombuffer(key, np.uint64)

    def at(self, position: int, tokens: np.ndarray) -> np.ndarray:
        """float64[n], the noise of tokens int[n] at a position of the answer."""
        start = self._key ^ _splitmix64(np.array([position], np.uint64))
        bits = _splitmix64(start + tokens.astype(np.uint64)) >> np.uint64(64 - _BITS)
        return -np.log(-np.log((bits + 0.5) / 2**_BITS))


def _splitmix64(counters: np.ndarray) -> np.ndarray:
    """The outputs of SplitMix64 for counters uint64[n]."""
    mixed = (counters + np.uint64(1)) * _STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MULTIPLIERS[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MULTIPLIERS[1]
    return mixed ^ (mixed >> np.uint64(31))
