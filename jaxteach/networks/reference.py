"""The reference's student: a CNN, or a CNN with an LSTM."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxteach.networks.base import Carry, Output, along_steps, heads
from jaxteach.networks.convolution import Convolution


class ReferenceNet(nn.Module):
    """The reference's network: three convolutions, two heads; with `recurrent`, an LSTM between."""

    num_actions: int
    recurrent: bool = False
    lstm_width: int = 256
    lstm_layers: int = 2

    @nn.compact
    def __call__(self, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
        hidden = inputs.astype(jnp.float32)
        for channels in (16, 32, 64):
            hidden = nn.relu(Convolution(channels)(hidden))
        hidden = hidden.reshape(*hidden.shape[:3], -1)
        if self.recurrent:
            hidden = nn.relu(nn.Dense(self.lstm_width)(hidden))
            hidden, carry = self._recur(hidden, first, carry)
        return heads(hidden, self.num_actions), carry

    def _recur(self, hidden: jax.Array, first: jax.Array, carry: Carry) -> tuple[jax.Array, Carry]:
        carries = []
        for layer in range(self.lstm_layers):
            hidden, last = along_steps(nn.LSTMCell, self.lstm_width, f"lstm{layer}", hidden, first, carry[layer])
            carries.append(last)
        return hidden, tuple(carries)

    @staticmethod
    def prepare(obs: jax.Array) -> jax.Array:
        """The input for one observation: itself."""
        return obs

    def initial_carry(self, num_envs: int) -> Carry:
        if not self.recurrent:
            return ()
        zeros = jnp.zeros((num_envs, 1, self.lstm_width), jnp.float32)
        return tuple((zeros, zeros) for _ in range(self.lstm_layers))
