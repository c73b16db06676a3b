"""N agents cover N landmarks without bumping into each other."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_count, checked_flag, checked_integer, checked_neighbors, checked_ratio
from envs_jax.mpe.colors import GREY
from envs_jax.mpe.environment import ParticleWorld, WorldState, mix_rewards
from envs_jax.mpe.observe import agent_offsets, join, landmark_offsets, others
from envs_jax.mpe.world import Agent, Landmark, World, distances, fold, touches

CAPTURE_RADIUS: Final = 0.1
PENALTY_BY_STAGE: Final = (False, True)


class SimpleSpread(ParticleWorld):
    """`mpe2.simple_spread_v3`.

    - observation: own velocity and position; the landmarks; the other agents; what they said,
      always zeros.
    - reward: locally, -1 for each agent touched; globally, minus the sum over the landmarks of
      the distance of the nearest agent.

    Args:
        N: agents, and landmarks.
        local_ratio: share of the local reward, the rest is the global one.
        curriculum: whether touching costs nothing in `curriculum_stage` 0.
        terminate_on_success: whether the episode ends when every landmark has an agent within
            a distance of 0.1.
        num_agent_neighbors, num_landmark_neighbors: how many of the others and of the landmarks
            an agent observes, nearest first; all in fixed order if None.
        curriculum_stage: 0 or 1; `mpe2` 1.1.1 means to set it later, but stays at 0.
    """

    def __init__(
        self,
        N: int = 3,
        local_ratio: float = 0.5,
        max_cycles: int = 25,
        continuous_actions: bool = False,
        dynamic_rescaling: bool = True,
        curriculum: bool = False,
        terminate_on_success: bool = False,
        num_agent_neighbors: int | None = None,
        num_landmark_neighbors: int | None = None,
        curriculum_stage: int = 0,
    ) -> None:
        N = checked_count("N", N)
        self.local_ratio = checked_ratio("local_ratio", local_ratio)
        stage = checked_integer("curriculum_stage", curriculum_stage, 0, len(PENALTY_BY_STAGE) - 1)
        self.touching_costs = not checked_flag("curriculum", curriculum) or PENALTY_BY_STAGE[stage]
        self.terminate_on_success = checked_flag("terminate_on_success", terminate_on_success)
        self.num_agent_neighbors = checked_neighbors("num_agent_neighbors", num_agent_neighbors)
        self.num_landmark_neighbors = checked_neighbors("num_landmark_neighbors", num_landmark_neighbors)
        agents = [Agent(f"agent_{i}", size=0.15) for i in range(N)]
        super().__init__(World(agents, [Landmark()] * N, dim_c=2), max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        everyone, rows = range(self.num_agents), slice(0, self.num_agents)
        landmarks = landmark_offsets(state.p_pos, rows, self.num_agents, self.num_landmark_neighbors)
        agents = agent_offsets(state.p_pos, rows, others(everyone, everyone), self.num_agent_neighbors)
        silence = jnp.zeros((*agents.shape[:2], self.world.dim_c), jnp.float32)
        return [join(state.p_vel, state.p_pos[rows], landmarks, agents, silence)]

    def _rewards(self, state: WorldState) -> jax.Array:
        rows = slice(0, self.num_agents)
        local = jnp.zeros(self.num_agents, jnp.float32)
        if self.touching_costs:
            touching = touches(self.world, state.p_pos, rows, rows) & ~np.eye(self.num_agents, dtype=bool)
            local -= fold(jnp.add, touching.astype(jnp.float32))
        return mix_rewards(local, -fold(jnp.add, self._gaps(state)), self.local_ratio)

    def succeeds(self, state: WorldState) -> jax.Array:
        """bool[], every landmark has an agent within a distance of 0.1."""
        return (self._gaps(state) < CAPTURE_RADIUS).all()

    def _gaps(self, state: WorldState) -> jax.Array:
        """float32[N], the distance of each landmark to the nearest agent."""
        return fold(jnp.minimum, distances(state.p_pos[: self.num_agents], state.p_pos[self.num_agents :]))

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        del goals
        return np.array([(0.35, 0.35, 0.85)] * self.num_agents + [GREY] * self.world.num_landmarks, np.float32)
