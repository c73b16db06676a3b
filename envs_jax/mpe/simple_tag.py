"""Slow adversaries chase fast good agents around obstacles."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_count, checked_flag, checked_integer, checked_neighbors
from envs_jax.mpe.chase import OBSTACLE, adversary, good_agent, outside
from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.observe import agent_offsets, join, keep_nearest, landmark_offsets, others
from envs_jax.mpe.world import World, total, touches

CATCH_REWARD: Final = 10.0
SPEED_BY_STAGE: Final = (0.5, 0.75, 1.0)


class SimpleTag(ParticleWorld):
    """`mpe2.simple_tag_v3`.

    - observation: own velocity and position; the obstacles; the other agents; the velocities of
      the other good agents. With `num_agent_neighbors`, velocities are those of the observed
      agents, zeros for adversaries.
    - reward: adversaries get 10 for each pair of an adversary and a good agent that touch; a
      good agent loses 10 for each adversary it touches, and `chase.outside`.

    Args:
        num_good, num_adversaries, num_obstacles: how many there are; of agents at least one.
        curriculum: whether good agents have 0.5, 0.75 or 1 of their speed, by `curriculum_stage`.
        terminate_on_success: whether the episode ends when every good agent is touched.
        num_agent_neighbors, num_landmark_neighbors: how many of the others and of the obstacles
            an agent observes, nearest first; all in fixed order if None.
        curriculum_stage: 0, 1 or 2; `mpe2` 1.1.1 means to set it later, but stays at 0.
    """

    def __init__(
        self,
        num_good: int = 1,
        num_adversaries: int = 3,
        num_obstacles: int = 2,
        max_cycles: int = 25,
        continuous_actions: bool = False,
        dynamic_rescaling: bool = True,
        curriculum: bool = False,
        terminate_on_success: bool = False,
        num_agent_neighbors: int | None = None,
        num_landmark_neighbors: int | None = None,
        curriculum_stage: int = 0,
    ) -> None:
        num_good = checked_count("num_good", num_good, 0)
        num_adversaries = checked_count("num_adversaries", num_adversaries, 0)
        checked_count("num_good + num_adversaries", num_good + num_adversaries)
        num_obstacles = checked_count("num_obstacles", num_obstacles, 0)
        stage = checked_integer("curriculum_stage", curriculum_stage, 0, len(SPEED_BY_STAGE) - 1)
        self.terminate_on_success = checked_flag("terminate_on_success", terminate_on_success)
        self.num_agent_neighbors = checked_neighbors("num_agent_neighbors", num_agent_neighbors)
        self.num_landmark_neighbors = checked_neighbors("num_landmark_neighbors", num_landmark_neighbors)
        self.adversaries, self.good = slice(0, num_adversaries), slice(num_adversaries, num_adversaries + num_good)
        speed = SPEED_BY_STAGE[stage] if checked_flag("curriculum", curriculum) else 1.0
        agents = [adversary(f"adversary_{i}") for i in range(num_adversaries)]
        agents += [good_agent(f"agent_{i}", size=0.05, speed=speed) for i in range(num_good)]
        world = World(agents, [OBSTACLE] * num_obstacles, dim_c=2)
        super().__init__(world, max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        return [self._observe_group(state, rows) for rows in (self.adversaries, self.good) if rows.start < rows.stop]

    def _observe_group(self, state: WorldState, rows: slice) -> jax.Array:
        everyone = range(self.num_agents)
        landmarks = landmark_offsets(state.p_pos, rows, self.num_agents, self.num_landmark_neighbors)
        seen = others(everyone[rows], everyone)
        agents = agent_offsets(state.p_pos, rows, seen)
        if self.num_agent_neighbors is None:
            velocities = state.p_vel[others(everyone[rows], everyone[self.good])]
        else:
            shown = state.p_vel.at[self.adversaries].set(0)[seen]
            agents, velocities = keep_nearest(self.num_agent_neighbors, agents, shown)
        return join(state.p_vel[rows], state.p_pos[rows], landmarks, agents, velocities)

    def _rewards(self, state: WorldState) -> jax.Array:
        caught = self._caught(state).astype(jnp.float32)
        by_prey = CATCH_REWARD * total(caught)
        hunt = jnp.broadcast_to(total(by_prey), (len(caught),))
        return jnp.concatenate([hunt, -by_prey - outside(state.p_pos[self.good])])

    def succeeds(self, state: WorldState) -> jax.Array:
        """bool[], every good agent is touched by an adversary."""
        return self._caught(state).any(0).all()

    def _caught(self, state: WorldState) -> jax.Array:
        """bool[adversaries, good], who touches whom."""
        return touches(self.world, state.p_pos, self.adversaries, self.good)

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        colors = super().entity_colors(goals)
        colors[self.adversaries], colors[self.good] = (0.85, 0.35, 0.35), (0.35, 0.85, 0.35)
        return colors
