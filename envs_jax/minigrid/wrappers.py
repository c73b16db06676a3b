"""MiniGrid's observation wrappers, under its own names: the whole grid, pictures, the direction to the goal."""

from functools import cache, cached_property, partial
from typing import Any, Final, NamedTuple

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
from envs_jax.grid.actions import split_cell
from envs_jax.grid.cells import color_of, kind_of, state_of
from envs_jax.grid.constants import AGENT, EMPTY, GOAL, LAVA, LOCKED, NORTH, NUM_COLORS, UNSEEN
from envs_jax.grid.state import GridState
from envs_jax.grid.store import compute_once
from envs_jax.grid.views import look
from envs_jax.minigrid.environment import MiniGridEnv

MOST_PIXELS: Final = 64
"""Along a side of a tile."""
NUM_STATES: Final = LOCKED + 1


class ObservationWrapper(EqualByArguments, Wrapper[Any, Any, Any]):
    """A MiniGrid world with another observation, under `jit` and `vmap` as before; wrappers may wrap wrappers.

    Args:
        env: a world of `envs_jax.minigrid` whose observation has an `image`, wrapped or not.

    Attributes:
        world: the world inside all wrappers.

    Raises:
        ValueError: `env` is another one.
    """

    def __init__(self, env: Environment[Any, Any, Any]) -> None:
        if not isinstance(env, Environment) or not isinstance(env.unwrapped, MiniGridEnv):
            raise ValueError(f"{type(self).__name__} wraps a world of envs_jax.minigrid, not {env!r}")
        if not hasattr(env.observation_spec, "image"):
            raise ValueError(f"{type(self).__name__} changes an observation's image, which {env!r} has not")
        self.world: MiniGridEnv = env.unwrapped
        self._env: Any
        super().__init__(env)

    def change(self, observation: Any, state: GridState) -> Any:
        """The observation of a state, made from the wrapped world's."""
        raise NotImplementedError

    def observe(self, state: GridState) -> Any:
        """The observation of a state."""
        return self.change(self._env.observe(state), state)

    def reset(self, key: jax.Array) -> tuple[GridState, TimeStep[Any]]:
        """As the wrapped world's."""
        return self._changed(*self._env.reset(key))

    def step(self, state: GridState, action: ArrayLike) -> tuple[GridState, TimeStep[Any]]:
        """As the wrapped world's."""
        return self._changed(*self._env.step(state, action))

    def _changed(self, state: GridState, timestep: TimeStep[Any]) -> tuple[GridState, TimeStep[Any]]:
        observation = self.change(timestep.observation, state)
        return state, timestep.replace(observation=observation)  # type: ignore[attr-defined]


class FullyObsWrapper(ObservationWrapper):
    """The whole grid as `image`, uint8[W, H, 3], with the agent as an object, red, its direction as its state."""

    @cached_property
    def observation_spec(self) -> specs.Spec[Any]:
        top = np.array([AGENT, NUM_COLORS - 1, NORTH], np.uint8)
        shape = (self.world.width, self.world.height, 3)
        image = specs.BoundedArray(shape, jnp.uint8, minimum=0, maximum=top, name="image")
        return self._env.observation_spec.replace(image=image)

    def change(self, observation: Any, state: GridState) -> Any:
        return observation._replace(image=self.world.full_image(state))

    def render_observation(self, observation: Any) -> np.ndarray:
        """uint8[H, W, 3], RGB: the grid of an observation; runs on the host."""
        from envs_jax.grid.render import render_world  # noqa: PLC0415  stepping needs no drawing

        return render_world(observation.image, np.zeros((0, 2), int), [])


class RGBImgObsWrapper(ObservationWrapper):
    """A picture of the whole grid as `image`, uint8[H * tile_size, W * tile_size, 3], RGB.

    The cells that the agent sees are highlighted.

    Args:
        env: see `ObservationWrapper`.
        tile_size: pixels a side of a cell, 1..64.
    """

    def __init__(self, env: Environment[Any, Any, Any], tile_size: int = 8) -> None:
        self.tile_size = checked_integer("tile_size", tile_size, 1, MOST_PIXELS)
        super().__init__(env)

    @cached_property
    def observation_spec(self) -> specs.Spec[Any]:
        shape = (*(self.tile_size * cells for cells in self._cells()), 3)
        image = specs.BoundedArray(shape, jnp.uint8, minimum=0, maximum=255, name="image")
        return self._env.observation_spec.replace(image=image)

    def change(self, observation: Any, state: GridState) -> Any:
        numbers = compute_once(self._tiles(observation, state).astype(jnp.uint32)).astype(jnp.int32)
        return observation._replace(image=_put_together(numbers, _tile_table(self.tile_size).pictures))

    def render_observation(self, observation: Any) -> np.ndarray:
        """uint8[H, W, 3], the observation's picture."""
        return np.asarray(observation.image)

    def _cells(self) -> tuple[int, int]:
        """How many the picture has, down and across."""
        return self.world.height, self.world.width

    def _tiles(self, observation: Any, state: GridState) -> jax.Array:
        """int32[cells down, cells across], the numbers of the picture's tiles."""
        world, count = self.world, state.cells.shape[0]
        view = look(state, world.width, world.height, world.agent_view_size, world.see_through_walls)
        lit = jnp.zeros(count, bool).at[view.cells].max(view.lit, mode="promise_in_bounds")
        is_agent = np.arange(count, dtype=np.int32) == state.agent_cell
        thing = kind_of(state.cells), color_of(state.cells), state_of(state.cells)
        numbers = self._numbers(thing, jnp.where(is_agent, state.agent_dir + 1, 0), lit)
        return numbers[: world.width * world.height].reshape(world.width, world.height).T

    def _numbers(self, thing: tuple[jax.Array, ...], agent: Any, lit: jax.Array) -> jax.Array:
        """int32[...], the numbers of the tiles of things: id, colour, state; an agent is its direction + 1, or 0."""
        kind, color, status = (part.astype(jnp.int32) for part in thing)
        row = (kind * NUM_COLORS + color) * NUM_STATES + status
        return jnp.asarray(_tile_table(self.tile_size).numbers)[row, agent, lit.astype(jnp.int32)]


class RGBImgPartialObsWrapper(RGBImgObsWrapper):
    """A picture of what the agent sees as `image`, uint8[V * tile_size, V * tile_size, 3], RGB.

    The agent looks up from the middle of the lowest row, above what it carries. The cells that it sees are
    highlighted.
    """

    def _cells(self) -> tuple[int, int]:
        return self.world.agent_view_size, self.world.agent_view_size

    def _tiles(self, observation: Any, state: GridState) -> jax.Array:
        image, size = self.world.observe(state).image, self.world.agent_view_size
        agent = np.zeros((size, size), np.int32)
        agent[size // 2, size - 1] = NORTH + 1
        thing = image[..., 0], image[..., 1], image[..., 2]
        return self._numbers(thing, agent, thing[0] != UNSEEN).T


class DirectionObservation(NamedTuple):
    """`Observation` with the direction to the goal."""

    image: jax.Array
    direction: jax.Array
    mission: jax.Array
    goal_direction: jax.Array  # float32[]


class DirectionObsWrapper(ObservationWrapper):
    """The direction from the agent to the goal as `goal_direction`, float32[], 0 at the goal.

    With dx and dy the goal's place less the agent's, x to the right and y down, it is by `type`

    - "slope": dy / dx, where dx is 0 infinity with the sign of dy;
    - "angle": arctan(dy / dx), in radians; like the slope, it is the same for opposite directions;
    - "angle_atan2": arctan2(dy, dx), in radians.

    Of several goals the first one counts, row by row from the top.

    Args:
        env: see `ObservationWrapper`; it has a goal.
        type: "slope", "angle" or "angle_atan2".

    Raises:
        ValueError: the world has no goal, or the type is unknown.
    """

    def __init__(self, env: Environment[Any, Any, Any], type: str = "slope") -> None:
        if type not in _BOUNDS:
            raise ValueError(f"type must be one of {', '.join(_BOUNDS)}, not {type!r}")
        self.type = type
        super().__init__(env)
        with jax.ensure_compile_time_eval():
            if not _has_goal(self.world, jax.random.key(0)):
                raise ValueError(f"{self.world!r} has no goal to which DirectionObsWrapper could show the direction")

    @cached_property
    def observation_spec(self) -> specs.Spec[Any]:
        inner, bound = self._env.observation_spec, _BOUNDS[self.type]
        parts = {name: getattr(inner, name) for name in DirectionObservation._fields[:-1]}
        direction = specs.BoundedArray((), jnp.float32, minimum=-bound, maximum=bound, name="goal_direction")
        return specs.Spec(DirectionObservation, "ObservationSpec", **parts, goal_direction=direction)

    def change(self, observation: Any, state: GridState) -> Any:
        width, height = self.world.width, self.world.height
        x, y = np.divmod(np.arange(width * height, dtype=np.int32), height)
        row_by_row = np.argsort(y * width + x).astype(np.int32)
        goal = jnp.asarray(row_by_row)[jnp.argmax(kind_of(state.cells)[row_by_row] == GOAL)]
        ends = (split_cell(cell, height) for cell in (goal, state.agent_cell))
        dx, dy = (to.astype(jnp.float32) - here.astype(jnp.float32) for to, here in zip(*ends))
        return DirectionObservation(*observation[:3], goal_direction=self._direction(dx, dy))

    def _direction(self, dx: jax.Array, dy: jax.Array) -> jax.Array:
        if self.type == "angle_atan2":
            return jnp.arctan2(dy, dx)
        vertical = jnp.where(dy == 0, jnp.float32(0), jnp.copysign(jnp.float32(np.inf), dy))
        slope = jnp.where(dx == 0, vertical, dy / jnp.where(dx == 0, jnp.float32(1), dx))
        return jnp.arctan(slope) if self.type == "angle" else slope


_BOUNDS: Final = {"slope": np.inf, "angle": np.pi / 2, "angle_atan2": np.pi}
"""The types of directions, and how large they are at most."""


@partial(jax.jit, static_argnums=0)
def _has_goal(world: MiniGridEnv, key: jax.Array) -> jax.Array:
    """bool[], whether there is one in a fresh layout: a world has one in all or in none."""
    state, _ = world.reset(key)
    return (kind_of(state.cells) == GOAL).any()


class _TileTable(NamedTuple):
    """The pictures of all tiles that differ."""

    numbers: np.ndarray  # int32[objects * colours * states, agents, 2], which picture; agents as in `_numbers`
    pictures: np.ndarray  # uint8[tiles, tile_size, tile_size, 3]


@cache
def _tile_table(tile_size: int) -> _TileTable:
    from envs_jax.grid.render import render_tile  # noqa: PLC0415  other observations need no drawing

    shape = (LAVA + 1, NUM_COLORS, NUM_STATES, NORTH + 2, 2)
    drawn = [
        render_tile(EMPTY if kind == UNSEEN else kind, color, status, tile_size, agent - 1 if agent else None, lit == 1)
        for kind, color, status, agent, lit in np.ndindex(shape)
    ]
    pictures, numbers = np.unique(np.stack(drawn), axis=0, return_inverse=True)
    return _TileTable(numbers.astype(np.int32).reshape(-1, *shape[3:]), pictures)


def _put_together(numbers: jax.Array, pictures: np.ndarray) -> jax.Array:
    """uint8[H * tile_size, W * tile_size, 3], a picture of tiles int32[H, W]."""
    (down, across), size = numbers.shape, pictures.shape[1]
    rows = jnp.asarray(pictures.reshape(-1, size, 3 * size))
    lines = rows[numbers[:, None, :], np.arange(size, dtype=np.int32)[:, None]]
    return lines.reshape(down * size, across * size, 3)
