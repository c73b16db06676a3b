"""A speaker who sees the goal and can't move; a listener who moves and doesn't know it."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.mpe.colors import GREY
from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.observe import join, landmark_offsets
from envs_jax.mpe.world import Agent, Landmark, World

COLORS: Final = np.array([(0.65, 0.15, 0.15), (0.15, 0.65, 0.15), (0.15, 0.15, 0.65)], np.float32)


class SimpleSpeakerListener(ParticleWorld):
    """`mpe2.simple_speaker_listener_v4`: the speaker leads the listener to one of three landmarks.

    - observation: the speaker's is the goal's colour; the listener's its velocity, the
      landmarks, what the speaker said.
    - reward: for both, minus the squared distance of the listener to the goal.
    - goals: int32[1], the goal.
    """

    num_goals = 1

    def __init__(self, max_cycles: int = 25, continuous_actions: bool = False, dynamic_rescaling: bool = True) -> None:
        agents = [
            Agent("speaker_0", size=0.075, collides=False, moves=False, speaks=True),
            Agent("listener_0", size=0.075, collides=False),
        ]
        world = World(agents, [Landmark(size=0.04)] * 3, dim_c=3)
        super().__init__(world, max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        landmarks = landmark_offsets(state.p_pos, slice(1, 2), 2)
        return [jnp.asarray(COLORS)[state.goals], join(state.p_vel[1:], landmarks, state.c[:1])]

    def _rewards(self, state: WorldState) -> jax.Array:
        to_goal = state.p_pos[2 + state.goals[0]] - state.p_pos[1]
        return jnp.broadcast_to(-jnp.square(to_goal).sum(), (2,))

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        return np.array([GREY, COLORS[goals[0]] + 0.45, *COLORS], np.float32)
