"""A student whose observation has a place for a hint."""

from typing import Any, Final

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxteach.networks.base import Carry, Output

FOLLOWING: Final = 3.0
"""The logit of an action that the hint is certain of, at first: hints that are not followed are of no use."""


class HintedNet(nn.Module):
    """A student with inputs in one axis, whose last ones are a hint, zeros where there is none.

    A linear map, the identity times a constant at first, adds the hint to the logits.

    Attributes:
        network: the student.
        num_actions: the length of the hint.
    """

    network: Any
    num_actions: int

    @nn.compact
    def __call__(self, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
        output, carry = self.network(inputs, first, carry)
        kernel = self.param("hint", lambda key: FOLLOWING * jnp.eye(self.num_actions, dtype=jnp.float32))
        return output._replace(logits=output.logits + inputs[..., -self.num_actions :] @ kernel), carry

    def prepare(self, obs: Any) -> jax.Array:
        """float32[features + num_actions], the student's inputs and no hint."""
        inputs = self.network.prepare(obs)
        return jnp.append(inputs.astype(jnp.float32), jnp.zeros(self.num_actions, jnp.float32))

    def initial_carry(self, num_envs: int) -> Carry:
        """The student's."""
        return self.network.initial_carry(num_envs)
