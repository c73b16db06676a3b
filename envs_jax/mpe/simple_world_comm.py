"""Adversaries led by one who sees everything chase good agents who feed, and hide in forests."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.checks import checked_count
from envs_jax.mpe.chase import LANDMARK_SPREAD, OBSTACLE, adversary, good_agent, outside
from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.observe import agent_offsets, join, landmark_offsets, others
from envs_jax.mpe.world import Landmark, World, distances, fold, touches

FOOD: Final = Landmark(size=0.03, spread=LANDMARK_SPREAD)
FOREST: Final = Landmark(size=0.3, spread=LANDMARK_SPREAD)
CATCH_REWARD: Final = 5.0
FOOD_REWARD: Final = 2.0
HUNGER: Final = 0.05  # the cost of a unit of distance to the nearest food
LAG: Final = 0.1  # the cost of a unit of distance to the nearest good agent
OUTSIDE_COST: Final = 2.0


class SimpleWorldComm(ParticleWorld):
    """`mpe2.simple_world_comm_v3`; the landmarks are obstacles, then food, then forests.

    - observation: own velocity and position; the landmarks; the other agents; then, for
      adversaries, the velocities of the other good agents, for each forest 1 or -1 as they are
      inside or not, and what the leader said; for good agents the forests first and no message.
      An agent is seen (not zeros) by whoever shares a forest with it, by everybody if both are
      outside all forests, and always by the leader.
    - reward: adversaries get 5 for each pair of an adversary and a good agent that touch, less
      0.1 times the distance to the nearest good agent; a good agent loses 5 for each adversary
      it touches, twice `chase.outside`, and 0.05 times the distance to the nearest food, and
      gets 2 for each food it touches.

    Args:
        num_good, num_adversaries, num_obstacles, num_food, num_forests: how many there are; the
            first adversary is the leader.
    """

    def __init__(
        self,
        num_good: int = 2,
        num_adversaries: int = 4,
        num_obstacles: int = 1,
        num_food: int = 2,
        max_cycles: int = 25,
        num_forests: int = 2,
        continuous_actions: bool = False,
        dynamic_rescaling: bool = True,
    ) -> None:
        num_good = checked_count("num_good", num_good)
        num_adversaries = checked_count("num_adversaries", num_adversaries)
        num_food = checked_count("num_food", num_food)
        num_obstacles = checked_count("num_obstacles", num_obstacles, 0)
        num_forests = checked_count("num_forests", num_forests, 0)
        agents = [adversary("leadadversary_0", speaks=True)]
        agents += [adversary(f"adversary_{i}") for i in range(num_adversaries - 1)]
        agents += [good_agent(f"agent_{i}", size=0.045) for i in range(num_good)]
        landmarks = [OBSTACLE] * num_obstacles + [FOOD] * num_food + [FOREST] * num_forests
        ends = np.cumsum([num_adversaries, num_good, num_obstacles, num_food, num_forests]).tolist()
        self.adversaries, self.good, _, self.food, self.forests = map(slice, [0, *ends[:-1]], ends)
        super().__init__(World(agents, landmarks, dim_c=4), max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        inside = touches(self.world, state.p_pos, slice(0, self.num_agents), self.forests)
        visible = self._visible(inside)
        hidden_in = jnp.where(inside, jnp.float32(1), jnp.float32(-1))
        groups = []
        for rows in (self.adversaries, self.good):
            place, velocities = self._observe_movement(state, visible, rows)
            if rows == self.adversaries:
                message = jnp.broadcast_to(state.c[0], (rows.stop, self.world.dim_c))
                groups.append(join(place, velocities, hidden_in[rows], message))
            else:
                groups.append(join(place, hidden_in[rows], velocities))
        return groups

    def _observe_movement(self, state: WorldState, visible: jax.Array, rows: slice) -> tuple[jax.Array, jax.Array]:
        """float32[n, k], where everybody is, and float32[n, m, 2], the velocities of the other good agents."""
        everyone = range(self.num_agents)
        viewers = np.arange(self.num_agents)[rows, None]
        seen, prey = others(everyone[rows], everyone), others(everyone[rows], everyone[self.good])
        landmarks = landmark_offsets(state.p_pos, rows, self.num_agents)
        agents = jnp.where(visible[viewers, seen][..., None], agent_offsets(state.p_pos, rows, seen), 0)
        velocities = jnp.where(visible[viewers, prey][..., None], state.p_vel[prey], 0)
        return join(state.p_vel[rows], state.p_pos[rows], landmarks, agents), velocities

    def _visible(self, inside: jax.Array) -> jax.Array:
        """bool[A, A], whether a row's agent sees a column's, from bool[A, forests], who is inside which."""
        together = (inside[:, None] & inside[None, :]).any(-1)
        in_open = ~inside.any(-1)
        leads = np.arange(self.num_agents)[:, None] == 0
        return together | (in_open[:, None] & in_open[None, :]) | leads

    def _rewards(self, state: WorldState) -> jax.Array:
        p_pos = state.p_pos
        prey = p_pos[self.good]
        caught = touches(self.world, p_pos, self.adversaries, self.good).astype(jnp.float32)
        by_prey = CATCH_REWARD * fold(jnp.add, caught)
        lag = LAG * fold(jnp.minimum, distances(prey, p_pos[self.adversaries]))
        eaten = touches(self.world, p_pos, self.food, self.good).astype(jnp.float32)
        hunger = HUNGER * fold(jnp.minimum, distances(p_pos[self.food], prey))
        fed = FOOD_REWARD * fold(jnp.add, eaten) - hunger
        return jnp.concatenate([fold(jnp.add, by_prey) - lag, fed - by_prey - OUTSIDE_COST * outside(prey)])

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        colors = super().entity_colors(goals)
        colors[self.adversaries], colors[self.good] = (0.95, 0.45, 0.45), (0.45, 0.95, 0.45)
        colors[0] -= 0.3
        colors[self.food], colors[self.forests] = (0.15, 0.15, 0.65), (0.6, 0.9, 0.6)
        return colors
