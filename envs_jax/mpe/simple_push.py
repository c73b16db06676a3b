"""A good agent goes to its landmark; an adversary, who does not know which, pushes it away."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.mpe.colors import RED
from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.observe import agent_offsets, join, landmark_offsets, others
from envs_jax.mpe.world import Agent, Landmark, World, norm

AGENT_COLORS: Final = np.array([(0.25, 0.75, 0.25), (0.25, 0.25, 0.75)], np.float32)  # by the goal
LANDMARK_COLORS: Final = np.array([(0.1, 0.9, 0.1), (0.1, 0.1, 0.9)], np.float32)


class SimplePush(ParticleWorld):
    """`mpe2.simple_push_v3`: one adversary, one good agent, two landmarks, one of them the goal.

    - observation: the adversary's is its velocity, the landmarks, the other agent; the good
      agent's its velocity, the goal, its own colour (the goal's), the landmarks, their colours,
      the other agent.
    - reward: the good agent's is minus its distance to the goal; the adversary's is the good
      agent's distance less its own.
    - goals: int32[1], the goal.
    """

    num_goals = 1

    def __init__(self, max_cycles: int = 25, continuous_actions: bool = False, dynamic_rescaling: bool = True) -> None:
        world = World([Agent("adversary_0"), Agent("agent_0")], [Landmark()] * 2, dim_c=2)
        super().__init__(world, max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        both = slice(0, 2)
        landmarks = landmark_offsets(state.p_pos, both, 2)
        other = agent_offsets(state.p_pos, both, others(range(2), range(2)))
        color = jnp.asarray(AGENT_COLORS)[state.goals]
        colors = jnp.asarray(LANDMARK_COLORS)[None]
        return [
            join(state.p_vel[:1], landmarks[:1], other[:1]),
            join(state.p_vel[1:], self._to_goal(state)[1:], color, landmarks[1:], colors, other[1:]),
        ]

    def _rewards(self, state: WorldState) -> jax.Array:
        adversary, good = norm(self._to_goal(state))
        return jnp.stack([good - adversary, -good])

    def _to_goal(self, state: WorldState) -> jax.Array:
        """float32[2, 2], the goal relative to each agent."""
        return state.p_pos[2 + state.goals[0]][None] - state.p_pos[:2]

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        return np.array([RED, AGENT_COLORS[goals[0]], *LANDMARK_COLORS], np.float32)
