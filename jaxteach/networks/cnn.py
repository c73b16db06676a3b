"""The small CNN of many MiniGrid baselines, which When2Ask's students have, too."""

from typing import Final

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxteach.networks.base import Carry, Output, Student, heads
from jaxteach.networks.convolution import windows

SMALLEST: Final = 7
"""Side of the smallest image that something is left of."""


class CNNNet(Student):
    """2 x 2 convolutions of 16, 32 and 64 channels, a maximum over 2 x 2 cells after the first, and two heads.

    That is the CNN of `rl-starter-files`, whose students play most published MiniGrid baselines.
    """

    num_actions: int

    @nn.compact
    def __call__(self, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
        del first
        hidden = inputs.reshape(-1, *inputs.shape[3:]).astype(jnp.float32)
        for channels in (16, 32, 64):
            # XLA's own convolutions take seven times as long in loops on CPUs.
            hidden = nn.relu(nn.Dense(channels)(windows(hidden, 2)))
            if channels == 16:
                hidden = nn.max_pool(hidden, (2, 2), (2, 2))
        return heads(hidden.reshape(*inputs.shape[:3], -1), self.num_actions), carry
