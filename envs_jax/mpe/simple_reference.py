"""Two agents, each knowing which landmark the other one should go to."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_ratio
from envs_jax.mpe.environment import ParticleWorld, WorldState, mix_rewards
from envs_jax.mpe.observe import join, landmark_offsets
from envs_jax.mpe.world import Agent, Landmark, World, norm

COLORS: Final = np.array([(0.75, 0.25, 0.25), (0.25, 0.75, 0.25), (0.25, 0.25, 0.75)], np.float32)


class SimpleReference(ParticleWorld):
    """`mpe2.simple_reference_v3`: both agents move and speak.

    - observation: own velocity; the landmarks; the colour of the other agent's goal; what the
      other agent said.
    - reward: locally, minus the other agent's distance to the goal that this agent knows;
      globally, the mean of both.
    - goals: int32[2], the goals that the agents know, each that of the other agent.

    Args:
        local_ratio: share of the local reward, the rest is the global one.
    """

    num_goals = 2

    def __init__(
        self,
        local_ratio: float = 0.5,
        max_cycles: int = 25,
        continuous_actions: bool = False,
        dynamic_rescaling: bool = True,
    ) -> None:
        self.local_ratio = checked_ratio("local_ratio", local_ratio)
        agents = [Agent(f"agent_{i}", collides=False, speaks=True) for i in range(2)]
        world = World(agents, [Landmark()] * 3, dim_c=10)
        super().__init__(world, max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        landmarks = landmark_offsets(state.p_pos, slice(0, 2), 2)
        colors = jnp.asarray(COLORS)[state.goals]
        return [join(state.p_vel, landmarks, colors, state.c[::-1])]

    def _rewards(self, state: WorldState) -> jax.Array:
        local = -norm(state.p_pos[2 + state.goals] - state.p_pos[1::-1])
        return mix_rewards(local, local.mean(), self.local_ratio)

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        return np.array([*COLORS[goals[::-1]], *COLORS], np.float32)
