"""The default student of grid worlds of one agent."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from envs_jax.minigrid.map_memory import MapObservation
from jaxteach.networks.base import Carry, Output, dense, heads
from jaxteach.networks.features import egocentric_features, map_features


class EgocentricNet(nn.Module):
    """A small perceptron on egocentric features, one trunk for actor and critic.

    Attributes:
        num_actions: actions of the agent.
        width: units of a layer of the trunk.
        boxes: whether the features have a channel for boxes.
    """

    num_actions: int
    width: int = 128
    boxes: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
        del first
        hidden = inputs.astype(jnp.float32)
        # Sums over a row of cells reach the world's side, single cells 1: bring them near each other.
        hidden = jnp.minimum(hidden, 4.0) * 0.5
        hidden = nn.relu(dense(self.width, 2.0)(hidden))
        return heads(hidden, self.num_actions), carry

    def prepare(self, obs: jax.Array | MapObservation) -> jax.Array:
        """The input for one observation, uint8[W, H, 4 * F] or one with a map: uint8[features]."""
        return map_features(obs) if isinstance(obs, MapObservation) else egocentric_features(obs, self.boxes)

    def initial_carry(self, num_envs: int) -> Carry:
        del num_envs
        return ()
