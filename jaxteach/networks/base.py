"""The students: from observations to action logits and a value."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.locked_hallway import Observation as HallwayObservation
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.networks.convolution import Convolution
from jaxteach.networks.features import egocentric_features, view_features

NETWORKS: Final = ("egocentric", "reference", "team")
IMPOSSIBLE: Final = -1e9
"""The logit of an action that an agent does not have: finite, so that the entropy stays a number."""

Carry = Any
"""The recurrent state: a tuple of arrays with a leading axis [N], empty without recurrence."""


class Output(NamedTuple):
    """What a network says of each observation."""

    logits: jax.Array  # float32[T, N, A, actions]
    value: jax.Array  # float32[T, N, A]


class Student(nn.Module):
    """A network of one's own without recurrence: give it `__call__`, as the networks below have it.

    `__call__(inputs, first, carry)` gets inputs [T, N, A, ...], what `prepare` made of the
    observations, and returns an `Output` and the carry as it is.
    """

    @staticmethod
    def prepare(obs: Any) -> Any:
        """The input for one agent's observation: itself."""
        return obs

    @staticmethod
    def initial_carry(num_envs: int) -> Carry:
        """The recurrent state: none."""
        del num_envs
        return ()


OWN_NETWORKS: Final[dict[str, Callable[[AgentAxisWrapper], Student]]] = {}
"""What makes the students that users have registered."""


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
            hidden = nn.relu(Convolution(channels)(hidden))
        hidden = hidden.reshape(*hidden.shape[:3], -1)
        if self.recurrent:
            hidden = nn.relu(nn.Dense(self.lstm_width)(hidden))
            hidden, carry = self._recur(hidden, first, carry)
        return _heads(hidden, self.num_actions), carry

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


class MLPNet(nn.Module):
    """One actor for all agents, who are told who they are, and a critic of what all of them observe.

    Attributes:
        action_counts: how many actions each agent has.
        views: the observations are LockedHallway's views; else vectors.
        recurrent: whether actor and critic have a memory, a GRU each.
        width: of every layer.
    """

    action_counts: tuple[int, ...]
    views: bool = False
    recurrent: bool = False
    width: int = 128

    @nn.compact
    def __call__(self, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
        features = view_features(inputs) if self.views else inputs
        names = jnp.eye(len(self.action_counts), dtype=jnp.float32)
        told = jnp.broadcast_to(names, (*features.shape[:3], len(self.action_counts)))
        actor = nn.relu(_dense(self.width, 2.0)(jnp.concatenate([features, told], -1)))
        critic = nn.relu(_dense(self.width, 2.0)(features.reshape(*features.shape[:2], -1)))
        if self.recurrent:
            actor, actor_carry = along_steps(nn.GRUCell, self.width, "actor_gru", actor, first, carry[0])
            critic, critic_carry = along_steps(nn.GRUCell, self.width, "critic_gru", critic, first, carry[1])
            carry = (actor_carry, critic_carry)
        actor = nn.relu(_dense(self.width, 2.0)(actor))
        judged = _dense(self.width, 2.0)(critic)[..., None, :] + nn.Dense(self.width, use_bias=False)(names)[None, None]
        logits = _dense(max(self.action_counts), 1e-4)(actor)
        return Output(self._possible(logits), _dense(1, 1.0)(nn.relu(judged))[..., 0]), carry

    def _possible(self, logits: jax.Array) -> jax.Array:
        """The logits less those of actions that an agent does not have."""
        counts = np.array(self.action_counts, np.int32)
        if (counts == counts.max()).all():
            return logits
        return jnp.where(np.arange(counts.max(), dtype=np.int32) < counts[:, None], logits, IMPOSSIBLE)

    def prepare(self, obs: Any) -> jax.Array:
        """The input for one agent's observation: the vector, or a view and its direction as uint8[V * V * 3 + 1]."""
        if not self.views:
            return obs
        return jnp.append(obs.view.reshape(-1), obs.direction.astype(jnp.uint8))

    def initial_carry(self, num_envs: int) -> Carry:
        if not self.recurrent:
            return ()
        agents = jnp.zeros((num_envs, len(self.action_counts), self.width), jnp.float32)
        return agents, jnp.zeros((num_envs, self.width), jnp.float32)


class _ResettingCell(nn.Module):
    """A recurrent cell whose state is cleared where an episode begins."""

    cell: Callable[[int], Any]
    width: int

    @nn.compact
    def __call__(self, carry: Any, step: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        hidden, first = step
        carry = jax.tree.map(lambda leaf: jnp.where(first.reshape(-1, *[1] * (leaf.ndim - 1)), 0, leaf), carry)
        return self.cell(self.width)(carry, hidden)


def along_steps(
    cell: Callable[[int], Any], width: int, name: str, hidden: jax.Array, first: jax.Array, carry: Any
) -> tuple[jax.Array, Any]:
    """A recurrent layer over [T, N, ...]: its outputs, and its state after the last step."""
    scan = nn.scan(_ResettingCell, variable_broadcast="params", split_rngs={"params": False})
    carry, hidden = scan(cell, width, name=name)(carry, (hidden, first))
    return hidden, carry


Network = EgocentricNet | ReferenceNet | MLPNet | Student


def forward(network: Network, params: Any, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
    """The network along T steps.

    Args:
        network: the student.
        params: its parameters.
        inputs: [T, N, A, ...], prepared observations.
        first: bool[T, N], an episode begins here.
        carry: the recurrent state before the first step.
    """
    return cast(tuple[Output, Carry], network.apply(params, inputs, first, carry))


def make_network(name: str, world: AgentAxisWrapper, recurrent: bool) -> Network:
    """A student by name, for what the world shows.

    Raises:
        ValueError: an unknown name, a world that the network does not fit, or recurrence for a
            network without it.
    """
    known = (*NETWORKS, *OWN_NETWORKS)
    if name not in known:
        raise ValueError(f"unknown network {name!r}; known are {', '.join(known)}")
    if name in OWN_NETWORKS and recurrent:
        raise ValueError(f"--recurrent is for networks of ours; {name} has the memory that its module gives it")
    if name in OWN_NETWORKS:
        return OWN_NETWORKS[name](world)
    obs = world.abstract_observation
    views = isinstance(obs, HallwayObservation)
    shows_maps = not views and obs.ndim == 4
    if shows_maps == (name == "team"):
        fitting = "egocentric or reference" if shows_maps else "team"
        raise ValueError(f"the {name} network can't read this task's observations; use --network {fitting}")
    if name == "team":
        return MLPNet(world.action_counts, views, recurrent)
    (num_actions,) = world.action_counts
    if name == "reference":
        return ReferenceNet(num_actions, recurrent)
    if recurrent:
        raise ValueError("the egocentric network has no recurrence; use --network reference with --recurrent")
    return EgocentricNet(num_actions)


def _dense(width: int, scale: float) -> nn.Dense:
    """A layer whose outputs begin with variance `scale` for inputs of variance 1."""
    return nn.Dense(width, kernel_init=nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal"))


def _heads(hidden: jax.Array, num_actions: int) -> Output:
    actor = nn.relu(_dense(64, 2.0)(hidden))
    critic = nn.relu(_dense(64, 2.0)(hidden))
    return Output(_dense(num_actions, 1e-4)(actor), _dense(1, 1.0)(critic)[..., 0])
