"""Good agents cover a secret landmark without showing the adversary which one it is."""

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_count, checked_neighbors
from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.observe import agent_offsets, join, landmark_offsets, others
from envs_jax.mpe.world import Agent, Landmark, World, norm


class SimpleAdversary(ParticleWorld):
    """`mpe2.simple_adversary_v3`: one adversary, N good agents, N landmarks, one of them the goal.

    - observation: for good agents first the goal; then the landmarks and the other agents.
    - reward: the adversary's is minus its distance to the goal; a good agent's is the
      adversary's distance less the distance of the nearest good agent.
    - goals: int32[1], the goal.

    Args:
        N: good agents, and landmarks.
        num_agent_neighbors, num_landmark_neighbors: how many of the others and of the landmarks
            an agent observes, nearest first; all in fixed order if None.
    """

    num_goals = 1

    def __init__(
        self,
        N: int = 2,
        max_cycles: int = 25,
        continuous_actions: bool = False,
        dynamic_rescaling: bool = True,
        num_agent_neighbors: int | None = None,
        num_landmark_neighbors: int | None = None,
    ) -> None:
        N = checked_count("N", N)
        self.num_agent_neighbors = checked_neighbors("num_agent_neighbors", num_agent_neighbors)
        self.num_landmark_neighbors = checked_neighbors("num_landmark_neighbors", num_landmark_neighbors)
        names = ["adversary_0", *(f"agent_{i}" for i in range(N))]
        agents = [Agent(name, size=0.15, collides=False) for name in names]
        world = World(agents, [Landmark(size=0.08)] * N, dim_c=2)
        super().__init__(world, max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        everyone, rows = range(self.num_agents), slice(0, self.num_agents)
        landmarks = landmark_offsets(state.p_pos, rows, self.num_agents, self.num_landmark_neighbors)
        agents = agent_offsets(state.p_pos, rows, others(everyone, everyone), self.num_agent_neighbors)
        public = join(landmarks, agents)
        return [public[:1], join(self._to_goal(state)[1:], public[1:])]

    def _rewards(self, state: WorldState) -> jax.Array:
        distance = norm(self._to_goal(state))
        good = distance[0] - distance[1:].min()
        return jnp.concatenate([-distance[:1], jnp.broadcast_to(good, (self.num_agents - 1,))])

    def _to_goal(self, state: WorldState) -> jax.Array:
        """float32[A, 2], the goal relative to each agent."""
        return state.p_pos[self.num_agents + state.goals[0]][None] - state.p_pos[: self.num_agents]

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        good = self.num_agents - 1
        colors = [(0.85, 0.35, 0.35)] + [(0.35, 0.35, 0.85)] * good + [(0.15, 0.15, 0.15)] * good
        colors[self.num_agents + goals[0]] = (0.15, 0.65, 0.15)
        return np.array(colors, np.float32)
