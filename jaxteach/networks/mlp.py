"""The student of worlds with vectors or several agents: perceptrons, or GRUs."""

from typing import Any, Final

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxteach.networks.base import Carry, Output, along_steps, dense
from jaxteach.networks.features import view_features

IMPOSSIBLE: Final = -1e9
"""The logit of an action that an agent does not have: finite, so that the entropy is finite."""


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
        actor = nn.relu(dense(self.width, 2.0)(jnp.concatenate([features, told], -1)))
        critic = nn.relu(dense(self.width, 2.0)(features.reshape(*features.shape[:2], -1)))
        if self.recurrent:
            actor, actor_carry = along_steps(nn.GRUCell, self.width, "actor_gru", actor, first, carry[0])
            critic, critic_carry = along_steps(nn.GRUCell, self.width, "critic_gru", critic, first, carry[1])
            carry = (actor_carry, critic_carry)
        actor = nn.relu(dense(self.width, 2.0)(actor))
        judged = dense(self.width, 2.0)(critic)[..., None, :] + nn.Dense(self.width, use_bias=False)(names)[None, None]
        logits = dense(max(self.action_counts), 1e-4)(actor)
        return Output(self._possible(logits), dense(1, 1.0)(nn.relu(judged))[..., 0]), carry

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
