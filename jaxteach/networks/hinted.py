"""A student whose inputs have a place for a hint."""

from typing import Any, Final

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxteach.networks.base import Carry, Output

INITIAL_GAIN: Final = 3.0
"""What a certain hint adds to its action's logit before training, so that the student follows hints at first."""


class HintedNet(nn.Module):
    """A student whose inputs are vectors that end with a hint, zeros where there is none.

    A linear map of the hint, initially the identity times `INITIAL_GAIN`, is added to the student's logits.

    Attributes:
        network: the student, which also reads the hint as inputs.
        num_actions: the length of the hint, a distribution over actions.
    """

    network: Any
    num_actions: int

    @nn.compact
    def __call__(self, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
        output, carry = self.network(inputs, first, carry)
        kernel = self.param("hint", lambda key: INITIAL_GAIN * jnp.eye(self.num_actions, dtype=jnp.float32))
        return output._replace(logits=output.logits + inputs[..., -self.num_actions :] @ kernel), carry

    def prepare(self, obs: Any) -> jax.Array:
        """float32[features + num_actions], the student's inputs, and zeros in place of the hint."""
        inputs = self.network.prepare(obs)
        return jnp.append(inputs.astype(jnp.float32), jnp.zeros(self.num_actions, jnp.float32))

    def initial_carry(self, num_envs: int) -> Carry:
        """The student's."""
        return self.network.initial_carry(num_envs)
