"""The map that an agent of a MiniGrid world keeps of all cells it has seen, built by dead reckoning.

An observation has the agent's direction, but not its position. The agent infers its position from its actions: a step
forward succeeds if the agent may enter the cell in front of it, which it always sees.

The map is a torus as large as the world, so that it needs no origin: no two cells that an agent can see share an index
on it, except walls outside the world.
"""

from functools import cached_property
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import TimeStep
from jumanji.wrappers import Wrapper

from envs_jax.checks import checked_integer
from envs_jax.equality import EqualByArguments
from envs_jax.grid.cells import EMPTY_WORD, can_overlap
from envs_jax.grid.constants import AGENT, DIR_TO_VEC, LOCKED, NUM_COLORS, UNSEEN, Actions
from envs_jax.grid.state import GridState
from envs_jax.minigrid.environment import MiniGridEnv
from envs_jax.small_gather import pick

FORWARD, RIGHT = DIR_TO_VEC, np.roll(DIR_TO_VEC, -1, 0)
"""int32[4, 2], the steps ahead of an agent and to its right, by its direction."""


class SeenMap(NamedTuple):
    """What an agent has seen of a world, on a torus of W x H cells; positions are relative to where the agent began."""

    words: jax.Array  # uint32[W * H], packed as in `envs_jax.grid.cells`; 0: unseen
    position: jax.Array  # int32[2], the agent's x and y
    direction: jax.Array  # int32[]
    low: jax.Array  # int32[2], the smallest x and y that were seen
    high: jax.Array  # int32[2], the largest x and y that were seen


def map_size(env: MiniGridEnv) -> tuple[int, int]:
    """(W, H), the size of the map for a world."""
    # An agent that sees through walls sees cells outside the world, which need indices of their own.
    margin = env.agent_view_size if env.see_through_walls else 0
    return env.width + margin, env.height + margin


def empty_map(size: tuple[int, int]) -> SeenMap:
    """The map before an episode's first observation."""
    origin = jnp.zeros(2, jnp.int32)
    return SeenMap(jnp.zeros(size[0] * size[1], jnp.uint32), origin, jnp.int32(0), origin, origin)


def update_map(seen: SeenMap, image: jax.Array, direction: jax.Array, size: tuple[int, int]) -> SeenMap:
    """The map after an observation with an image uint8[V, V, 3] and a direction int32[]."""
    view_size = image.shape[0]
    column, row = np.divmod(np.arange(view_size**2, dtype=np.int32), view_size)
    positions = _positions(seen.position, direction, view_size - 1 - row, column - view_size // 2)
    cells = image.reshape(-1, 3).astype(jnp.uint32)
    lit = cells[:, 0] != UNSEEN
    indices = jnp.where(lit, cell_of(positions, size), size[0] * size[1])
    words = seen.words.at[indices].set(cells[:, 0] | cells[:, 1] << 8 | cells[:, 2] << 16, mode="drop")
    own = cell_of(seen.position, size)
    return SeenMap(
        # The agent's own cell in the image shows what it carries; the cell in which it begins is empty.
        words.at[own].set(jnp.where(seen.words[own] == UNSEEN, EMPTY_WORD, seen.words[own])),
        seen.position,
        direction,
        jnp.minimum(seen.low, jnp.where(lit[:, None], positions, seen.position[None]).min(0)),
        jnp.maximum(seen.high, jnp.where(lit[:, None], positions, seen.position[None]).max(0)),
    )


def move_agent(seen: SeenMap, action: jax.Array, size: tuple[int, int]) -> SeenMap:
    """The map after an action int32[], before the next observation: only the position changes."""
    front = front_position(seen)
    walks = (action == Actions.forward) & can_overlap(seen.words[cell_of(front, size)])
    return seen._replace(position=jnp.where(walks, front, seen.position))


def front_position(seen: SeenMap) -> jax.Array:
    """int32[2], the position of the cell in front of the agent."""
    return seen.position + pick(FORWARD, seen.direction)


def cell_of(positions: jax.Array, size: tuple[int, int]) -> jax.Array:
    """int32[...], the indices `x * H + y` on the torus of positions int32[..., 2]."""
    return positions[..., 0] % size[0] * size[1] + positions[..., 1] % size[1]


def egocentric_map(seen: SeenMap, radius: int, size: tuple[int, int]) -> jax.Array:
    """uint8[S, S, 3] with S = 2 * radius + 1, the map around the agent, turned as MiniGrid turns its image.

    The agent is at [radius, radius] and looks towards [radius, 0]. A cell has the object id, colour and state, and
    zeros where nothing was seen.
    """
    side = 2 * radius + 1
    column, row = np.divmod(np.arange(side**2, dtype=np.int32), side)
    positions = _positions(seen.position, seen.direction, radius - row, column - radius)
    known = ((positions >= seen.low[None]) & (positions <= seen.high[None])).all(-1)
    words = jnp.where(known, seen.words[cell_of(positions, size)], np.uint32(0))
    return jax.lax.bitcast_convert_type(words, jnp.uint8)[:, :3].reshape(side, side, 3)


def _positions(own: jax.Array, direction: jax.Array, ahead: np.ndarray, right: np.ndarray) -> jax.Array:
    """int32[N, 2], the positions `ahead` and `right`, int32[N], of an agent at `own` that looks in a direction."""
    forward, sideways = (pick(steps, direction)[None] for steps in (FORWARD, RIGHT))
    return own[None] + ahead[:, None] * forward + right[:, None] * sideways


class MapObservation(NamedTuple):
    """What an agent with a map observes."""

    image: jax.Array  # uint8[V, V, 3], see `MiniGridEnv`
    direction: jax.Array  # int32[]
    mission: jax.Array  # int32[M]
    map: jax.Array  # uint8[S, S, 3], see `egocentric_map`


class MapState(NamedTuple):
    """The state of a world with a map: the world's own, and the agent's map of it."""

    world: GridState
    seen: SeenMap

    @property
    def key(self) -> jax.Array:
        """The key of the next episode."""
        return self.world.key

    @property
    def step_count(self) -> jax.Array:
        """int32[], steps done in the episode; by this attribute films tell a state from an observation."""
        return self.world.step_count


def has_minigrid_observation(env: Any) -> TypeGuard[MiniGridEnv]:
    """Whether an environment is an unwrapped world of MiniGrid with MiniGrid's own observation."""
    return isinstance(env, MiniGridEnv) and hasattr(env.observation_spec, "image")


class MapWrapper(EqualByArguments, Wrapper[Any, Any, Any]):
    """A MiniGrid world that adds to the observation a `map` of what the agent has seen in the episode.

    - observation: `MapObservation`; `map` is made only of the observations and the actions so far.
    - state: `MapState`.

    Args:
        env: a world of `envs_jax.minigrid`, not wrapped.
        radius: cells of `map` on each side of the agent, 1..31; by default the larger side of the world's map less 2,
            at most 8.

    Raises:
        ValueError: `env` is not such a world, or `radius` is out of range.
    """

    def __init__(self, env: Environment[Any, Any, Any], radius: int | None = None) -> None:
        if not has_minigrid_observation(env):
            raise ValueError(f"MapWrapper wraps a world of envs_jax.minigrid, not {env!r}")
        self.size, self.max_steps = map_size(env), env.max_steps
        self.radius = checked_integer("radius", min(8, max(self.size) - 2) if radius is None else radius, 1, 31)
        self._env: Any
        super().__init__(env)

    @cached_property
    def observation_spec(self) -> specs.Spec[Any]:
        inner, side = self._env.observation_spec, 2 * self.radius + 1
        top = np.array([AGENT, NUM_COLORS - 1, LOCKED], np.uint8)
        shown = specs.BoundedArray((side, side, 3), jnp.uint8, minimum=0, maximum=top, name="map")
        return specs.Spec(
            MapObservation,
            "MapObservationSpec",
            image=inner.image,
            direction=inner.direction,
            mission=inner.mission,
            map=shown,
        )

    def reset(self, key: jax.Array) -> tuple[MapState, TimeStep[Any]]:
        """As the wrapped world's."""
        world, timestep = self._env.reset(key)
        return self._with_map(world, timestep, empty_map(self.size))

    def step(self, state: MapState, action: ArrayLike) -> tuple[MapState, TimeStep[Any]]:
        """As the wrapped world's."""
        world, timestep = self._env.step(state.world, action)
        return self._with_map(world, timestep, self.move_agent(state.seen, jnp.asarray(action)))

    def observe(self, state: MapState) -> MapObservation:
        """The observation of a state."""
        return self.add_map(self._env.observe(state.world), state.seen)

    def add_map(self, observation: Any, seen: SeenMap) -> MapObservation:
        """MiniGrid's observation with what `seen`, which includes it, shows around the agent."""
        image, direction, mission = observation
        return MapObservation(image, direction, mission, egocentric_map(seen, self.radius, self.size))

    def update_map(self, seen: SeenMap, observation: Any) -> SeenMap:
        """The map after an observation of MiniGrid's."""
        return update_map(seen, observation.image, observation.direction, self.size)

    def move_agent(self, seen: SeenMap, action: jax.Array) -> SeenMap:
        """The map after an action int32[], before the next observation."""
        return move_agent(seen, action, self.size)

    def _with_map(self, world: GridState, timestep: TimeStep[Any], seen: SeenMap) -> tuple[MapState, TimeStep[Any]]:
        seen = self.update_map(seen, timestep.observation)
        observation = self.add_map(timestep.observation, seen)
        return MapState(world, seen), timestep.replace(observation=observation)  # type: ignore[attr-defined]

    def render(self, state: MapState) -> np.ndarray:
        """As the wrapped world's."""
        return self._env.render(state.world)
