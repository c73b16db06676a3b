"""One agent, one landmark to go to."""

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.mpe.colors import GREY, RED
from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.observe import join, landmark_offsets
from envs_jax.mpe.world import Agent, Landmark, World


class Simple(ParticleWorld):
    """`mpe2.simple_v3`: the reward is minus the squared distance to the landmark.

    Observation: own velocity; the landmark.
    """

    def __init__(self, max_cycles: int = 25, continuous_actions: bool = False, dynamic_rescaling: bool = True) -> None:
        world = World([Agent("agent_0", collides=False)], [Landmark()], dim_c=0)
        super().__init__(world, max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        return [join(state.p_vel, landmark_offsets(state.p_pos, slice(0, 1), 1))]

    def _rewards(self, state: WorldState) -> jax.Array:
        return -jnp.square(state.p_pos[:1] - state.p_pos[1:]).sum(-1)

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        del goals
        return np.array([GREY, RED], np.float32)
