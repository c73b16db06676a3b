"""The students: from observations to action logits and a value."""

from typing import Any, Final, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxteach.features import egocentric_features

NETWORKS: Final = ("egocentric", "reference")

Carry = Any
"""The recurrent state: a tuple of arrays with a leading axis [N], empty without recurrence."""


class Output(NamedTuple):
    """What a network says of each observation."""

    logits: jax.Array  # float32[T, N, actions]
    value: jax.Array  # float32[T, N]


class EgocentricNet(nn.Module):
    """A small perceptron on egocentric features, one trunk for actor and critic."""

    num_actions: int
    width: int = 128

    @nn.compact
    def __call__(self, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
        del first
        hidden = inputs.astype(jnp.float32)
        # Sums over a row of cells reach the world's side, single cells 1: bring them near each other.
        hidden = jnp.minimum(hidden, 4.0) * 0.5
        hidden = nn.relu(_dense(self.width, 2.0)(hidden))
        return _heads(hidden, self.num_actions), carry

    @staticmethod
    def prepare(obs: jax.Array) -> jax.Array:
        """The input for one observation: uint8[W, H, 4 * F] -> uint8[features]."""
        return egocentric_features(obs)

    def initial_carry(self, num_envs: int) -> Carry:
        del num_envs
        return ()


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
            hidden = nn.relu(nn.Dense(channels)(_neighbourhoods(hidden)))
        hidden = hidden.reshape(*hidden.shape[:2], -1)
        if self.recurrent:
            hidden = nn.relu(nn.Dense(self.lstm_width)(hidden))
            hidden, carry = self._recur(hidden, first, carry)
        return _heads(hidden, self.num_actions), carry

    def _recur(self, hidden: jax.Array, first: jax.Array, carry: Carry) -> tuple[jax.Array, Carry]:
        carries = []
        for layer in range(self.lstm_layers):
            scan = nn.scan(_ResettingLSTM, variable_broadcast="params", split_rngs={"params": False})
            last, hidden = scan(self.lstm_width, name=f"lstm{layer}")(carry[layer], (hidden, first))
            carries.append(last)
        return hidden, tuple(carries)

    @staticmethod
    def prepare(obs: jax.Array) -> jax.Array:
        """The input for one observation: itself."""
        return obs

    def initial_carry(self, num_envs: int) -> Carry:
        if not self.recurrent:
            return ()
        zeros = jnp.zeros((num_envs, self.lstm_width), jnp.float32)
        return tuple((zeros, zeros) for _ in range(self.lstm_layers))


class _ResettingLSTM(nn.Module):
    """An LSTM cell whose state is cleared where an episode begins."""

    width: int

    @nn.compact
    def __call__(self, carry: Any, step: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        hidden, first = step
        carry = jax.tree.map(lambda leaf: jnp.where(first[:, None], 0, leaf), carry)
        return nn.LSTMCell(self.width)(carry, hidden)


Network = EgocentricNet | ReferenceNet


def forward(network: Network, params: Any, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
    """The network along T steps.

    Args:
        network: the student.
        params: its parameters.
        inputs: [T, N, ...], prepared observations.
        first: bool[T, N], an episode begins here.
        carry: the recurrent state before the first step.
    """
    return cast(tuple[Output, Carry], network.apply(params, inputs, first, carry))


def make_network(name: str, num_actions: int, recurrent: bool) -> Network:
    """A student by name.

    Raises:
        ValueError: an unknown name, or recurrence for a network without it.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}")
    if name == "reference":
        return ReferenceNet(num_actions, recurrent)
    if recurrent:
        raise ValueError("the egocentric network has no recurrence; use --network reference with --recurrent")
    return EgocentricNet(num_actions)


def _neighbourhoods(image: jax.Array) -> jax.Array:
    """[..., W, H, C] -> [..., W, H, 9 * C], each cell with its eight neighbours, zeros outside.

    A dense layer on it is a 3 x 3 convolution; as a product of matrices it stays fast when
    `vmap` gives every seed a kernel of its own.
    """
    width, height = image.shape[-3:-1]
    padded = jnp.pad(image, [(0, 0)] * (image.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
    shifts = [padded[..., x : x + width, y : y + height, :] for x in range(3) for y in range(3)]
    return jnp.concatenate(shifts, -1)


def _dense(width: int, scale: float) -> nn.Dense:
    """A layer whose outputs begin with variance `scale` for inputs of variance 1."""
    return nn.Dense(width, kernel_init=nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal"))


def _heads(hidden: jax.Array, num_actions: int) -> Output:
    actor = nn.relu(_dense(64, 2.0)(hidden))
    critic = nn.relu(_dense(64, 2.0)(hidden))
    return Output(_dense(num_actions, 1e-4)(actor), _dense(1, 1.0)(critic)[..., 0])
