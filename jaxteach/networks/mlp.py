"""The student of worlds with vectors or several agents: perceptrons, or GRUs."""

from typing import Any, Final

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.minigrid.map_memory import MapObservation
from jaxteach.networks.base import Carry, Output, along_steps, dense
from jaxteach.networks.features import image_features, view_features

MASKED: Final = -1e9
"""The logit of an action that an agent does not have: finite, so that the entropy is finite."""


class MLPNet(nn.Module):
    """One actor for all agents, with the agent's number as an input, and a critic of all agents' observations.

    Attributes:
        action_counts: how many actions each agent has.
        views: the observations are LockedHallway's views; else vectors.
        recurrent: whether actor and critic have a GRU each.
        width: of every layer.
    """

    action_counts: tuple[int, ...]
    views: bool = False
    recurrent: bool = False
    width: int = 128

    @nn.compact
    def __call__(self, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
        features = view_features(inputs) if self.views else inputs.astype(jnp.float32)
        one_hot = jnp.eye(len(self.action_counts), dtype=jnp.float32)
        agent_ids = jnp.broadcast_to(one_hot, (*features.shape[:3], len(self.action_counts)))
        actor = nn.relu(dense(self.width, 2.0)(jnp.concatenate([features, agent_ids], -1)))
        critic = nn.relu(dense(self.width, 2.0)(features.reshape(*features.shape[:2], -1)))
        if self.recurrent:
            actor, actor_carry = along_steps(nn.GRUCell, self.width, "actor_gru", actor, first, carry[0])
            critic, critic_carry = along_steps(nn.GRUCell, self.width, "critic_gru", critic, first, carry[1])
            carry = (actor_carry, critic_carry)
        actor = nn.relu(dense(self.width, 2.0)(actor))
        critic = (
            dense(self.width, 2.0)(critic)[..., None, :] + nn.Dense(self.width, use_bias=False)(one_hot)[None, None]
        )
        logits = dense(max(self.action_counts), 1e-4)(actor)
        return Output(self._mask_logits(logits), dense(1, 1.0)(nn.relu(critic))[..., 0]), carry

    def _mask_logits(self, logits: jax.Array) -> jax.Array:
        """The logits, those of actions that an agent does not have masked."""
        counts = np.array(self.action_counts, np.int32)
        if (counts == counts.max()).all():
            return logits
        return jnp.where(np.arange(counts.max(), dtype=np.int32) < counts[:, None], logits, MASKED)

    def prepare(self, obs: Any) -> jax.Array:
        """The input for one agent's observation: its vector, `image_features`, or a view and its direction as
        uint8[V * V * 3 + 1]."""
        if isinstance(obs, MapObservation):
            return image_features(obs)
        if not self.views:
            return obs
        return jnp.append(obs.view.reshape(-1), obs.direction.astype(jnp.uint8))

    def initial_carry(self, num_envs: int) -> Carry:
        if not self.recurrent:
            return ()
        agents = jnp.zeros((num_envs, len(self.action_counts), self.width), jnp.float32)
        return agents, jnp.zeros((num_envs, self.width), jnp.float32)
