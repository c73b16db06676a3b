"""What all MiniGrid worlds share: steps, observations, missions, and states from given arrays."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import StepType, TimeStep

from envs_jax.checks import (
    WorldError,
    checked_action,
    checked_flag,
    checked_integer,
    checked_odd,
    checked_steps,
    concrete_array,
)
from envs_jax.equality import EqualByArguments
from envs_jax.grid.actions import Effect, act
from envs_jax.grid.arrays import checked_integers, pack_carrying, pack_grid, unpack_state
from envs_jax.grid.cells import EMPTY_WORD, can_overlap, color_of, is_open_door, kind_of
from envs_jax.grid.constants import (
    AGENT,
    GOAL,
    IDX_TO_COLOR,
    IDX_TO_OBJECT,
    LAVA,
    LOCKED,
    NUM_ACTIONS,
    NUM_COLORS,
    Actions,
)
from envs_jax.grid.layouts import Layout
from envs_jax.grid.placement import random_words
from envs_jax.grid.state import NO_HISTORY, GridState, opaque_lines, pad_with_walls
from envs_jax.grid.views import egocentric_image, full_image

MOST_CELLS = 32
"""Cells along a side, at most."""
MOST_NUMBER = 2**16
"""The largest number in a mission or among the facts."""


class Observation(NamedTuple):
    """What the agent observes."""

    image: jax.Array  # uint8[V, V, 3], object id, colour and state of each cell in view, 0 where it can't see
    direction: jax.Array  # int32[], 0 east, 1 south, 2 west, 3 north
    mission: jax.Array  # int32[M], the parts of the mission, see the world


class Outcome(NamedTuple):
    """What a step is worth."""

    success: jax.Array  # bool[], the episode ends with MiniGrid's reward
    failure: jax.Array  # bool[], the episode ends without


class MiniGridEnv(EqualByArguments, Environment[Any, specs.DiscreteArray, Observation]):
    """A world of MiniGrid, exact to the package `minigrid`.

    - observation: `Observation`.
    - action: int32 in 0..6, MiniGrid's `Actions`; another number raises an error or, in a compiled program, does
      nothing.
    - reward: float32, `1 - 0.9 * step_count / max_steps` for success.
    - termination (discount 0): success or failure; truncation (discount 1): `max_steps`.

    A world has a layout, its rules of success, and a mission: a text with gaps for colours, object types or other
    words, which an observation has as their numbers.

    Args:
        width: cells along x, walls included, at most 32.
        height: cells along y.
        max_steps: steps until an episode is truncated.
        agent_view_size: side of the square that the agent sees in front of it, odd, 3..15.
        see_through_walls: whether walls and doors hide nothing.

    Raises:
        ValueError: a parameter has the wrong type, or a value for which there is no world.
    """

    mission_template: ClassVar[str] = ""
    mission_placeholders: ClassVar[tuple[dict[int, str], ...]] = ()
    """The words for each gap of the text, by their numbers."""
    num_facts: int = 0
    facts_are_cells: ClassVar[bool] = False
    """Whether the facts are indices of cells, so that `make_state` can check them."""
    num_draws: int = 64
    """Random words that a layout draws, at most."""
    view_size_name: ClassVar[str] = "agent_view_size"
    """The parameter's name, for messages."""
    max_view_size: int = 15
    maximum_return = 1.0

    def __init__(
        self,
        width: int,
        height: int,
        max_steps: int,
        agent_view_size: int = 7,
        see_through_walls: bool = False,
    ) -> None:
        self.width = checked_integer("width", width, 3, MOST_CELLS)
        self.height = checked_integer("height", height, 3, MOST_CELLS)
        self.max_steps = checked_steps("max_steps", max_steps)
        self.agent_view_size = checked_odd(self.view_size_name, agent_view_size, 3, self.max_view_size)
        self.see_through_walls = checked_flag("see_through_walls", see_through_walls)
        super().__init__()

    def generate(self, layout: Layout) -> tuple[list[Any], list[Any]]:
        """Draws a fresh layout, with the agent; returns the numbers of its mission, and its facts."""
        raise NotImplementedError

    def find_facts(self, grid: np.ndarray, mission: list[int]) -> list[int]:
        """The facts of a world that `make_state` is given without them, from its grid uint8[W, H, 3] and mission.

        Raises:
            ValueError: the grid does not tell them.
        """
        return []

    def update_memory(self, state: GridState) -> GridState:
        """The state with what the agent remembers of it."""
        return state

    def remap_action(self, action: jax.Array) -> jax.Array:
        """The action that the world takes for an action int32[]."""
        return action

    def check_outcome(self, before: GridState, state: GridState, action: jax.Array, effect: Effect) -> Outcome:
        """What a step is worth, beside entering a goal or lava."""
        return Outcome(jnp.bool_(False), jnp.bool_(False))

    @cached_property
    def observation_spec(self) -> specs.Spec[Observation]:
        top = np.array([AGENT, NUM_COLORS - 1, LOCKED], np.uint8)
        shape = (self.agent_view_size, self.agent_view_size, 3)
        most = np.array([max(words) for words in self.mission_placeholders], np.int32)
        return specs.Spec(
            Observation,
            "ObservationSpec",
            image=specs.BoundedArray(shape, jnp.uint8, minimum=0, maximum=top, name="image"),
            direction=specs.BoundedArray((), jnp.int32, minimum=0, maximum=3, name="direction"),
            mission=specs.BoundedArray(most.shape, jnp.int32, minimum=0, maximum=most, name="mission"),
        )

    @cached_property
    def action_spec(self) -> specs.DiscreteArray:
        return specs.DiscreteArray(NUM_ACTIONS, name="action")

    @cached_property
    def reward_spec(self) -> specs.Array:
        return specs.BoundedArray((), jnp.float32, minimum=0.0, maximum=1.0, name="reward")

    @cached_property
    def discount_spec(self) -> specs.BoundedArray:
        return specs.BoundedArray((), jnp.float32, minimum=0.0, maximum=1.0, name="discount")

    def reset(self, key: jax.Array) -> tuple[GridState, TimeStep[Observation]]:
        """A fresh layout; all its draws come from `key`.

        Raises:
            WorldError: `generate` places no agent, or returns other than the world says.
        """
        next_key, layout_key = jax.random.split(key)
        layout = Layout(self.width, self.height, random_words(layout_key, self.num_draws))
        mission, facts = self._generate(layout)
        opaque = opaque_lines(layout.cells, self.width, self.height) if layout.opaque is None else layout.opaque
        state = GridState(
            key=next_key,
            step_count=jnp.int32(0),
            cells=pad_with_walls(layout.cells),
            opaque=opaque,
            agent_cell=layout.agent_cell,
            agent_dir=layout.agent_dir,
            carrying=jnp.uint32(EMPTY_WORD),
            mission=mission,
            facts=facts,
            **NO_HISTORY,
        )
        state = self.update_memory(state)
        return state, TimeStep(
            step_type=StepType.FIRST,
            reward=jnp.float32(0),
            discount=jnp.float32(1),
            observation=self.observe(state),
            extras={},
        )

    def _generate(self, layout: Layout) -> tuple[jax.Array, jax.Array]:
        """The mission int32[M] and the facts int32[F] that `generate` returns, checked while it is traced."""
        name, generated = f"{type(self).__name__}.generate", self.generate(layout)
        parts = generated if isinstance(generated, tuple) else ()
        if len(parts) != 2 or not all(isinstance(part, list | tuple) for part in parts):
            raise WorldError(f"{name} must return two lists, the mission's numbers and the facts, not {generated!r}")
        mission, facts = parts
        for numbers, words, declared in (
            (mission, "mission number(s)", ("mission_placeholders", len(self.mission_placeholders))),
            (facts, "fact(s)", ("num_facts", self.num_facts)),
        ):
            if len(numbers) != declared[1]:
                raise WorldError(f"{name} returns {len(numbers)} {words}, but {declared[0]} says {declared[1]}")
            if any(jnp.shape(number) for number in numbers):
                raise WorldError(f"{name} returns {words} with a shape; each must be a scalar")
        if not layout.has_agent:
            raise WorldError(f"{name} places no agent; call layout.place_agent or layout.put_agent")
        return _stacked(mission), _stacked(facts)

    def step(self, state: GridState, action: ArrayLike) -> tuple[GridState, TimeStep[Observation]]:
        """One step: count, act, judge, look.

        Raises:
            ValueError: the action is invalid, see `checked_action`.
        """
        action, before = self.remap_action(checked_action(action, NUM_ACTIONS)), state
        state, effect = act(state, action, self.width, self.height)
        state = self.update_memory(state._replace(step_count=state.step_count + 1))
        outcome = self.check_outcome(before, state, action, effect)
        success = outcome.success | (effect.entered & (kind_of(effect.before) == GOAL))
        terminated = success | outcome.failure | (effect.entered & (kind_of(effect.before) == LAVA))
        last = terminated | (state.step_count >= self.max_steps)
        spent = state.step_count.astype(jnp.float32) / self.max_steps
        return state, TimeStep(
            step_type=jnp.where(last, StepType.LAST, StepType.MID),
            reward=jnp.where(success, 1 - jnp.float32(0.9) * spent, jnp.float32(0)),
            discount=1 - terminated.astype(jnp.float32),
            observation=self.observe(state),
            extras={},
        )

    def observe(self, state: GridState) -> Observation:
        """The observation of a state."""
        image = egocentric_image(state, self.width, self.height, self.agent_view_size, self.see_through_walls)
        return Observation(image, state.agent_dir, state.mission)

    def full_image(self, state: GridState) -> jax.Array:
        """uint8[W, H, 3], the whole grid, as MiniGrid's `FullyObsWrapper` shows it."""
        return full_image(state, self.width, self.height)

    def make_state(
        self,
        grid: Any,
        agent_pos: Any,
        agent_dir: Any,
        carrying: Any = (0, 0),
        contents: Any = None,
        carrying_contents: Any = (0, 0),
        step_count: Any = 0,
        mission: Any = (),
        facts: Any = None,
        key: jax.Array | None = None,
    ) -> GridState:
        """The state of a given world, drawn or recorded; runs on the host.

        Args:
            grid: uint8[W, H, 3], object id, colour and state of every cell, no agent.
            agent_pos: int[2], (x, y).
            agent_dir: int, 0 east, 1 south, 2 west, 3 north.
            carrying: (object id, colour), (0, 0) for empty hands.
            contents: uint8[W, H, 2], (object id, colour) of what the box in a cell holds, (0, 0) for nothing.
            carrying_contents: (object id, colour) of what a carried box holds.
            step_count: steps done in the episode.
            mission: int[M], the mission's numbers, or its text.
            facts: int[F], see the world; by default those of a fresh world with this grid and mission. Cells are inside
                the grid.
            key: PRNG key of the next draws; `jax.random.key(0)` by default.

        Raises:
            ValueError: the world is not one of this kind; the message says where.
        """
        shape = self.width, self.height
        position = checked_integers("agent_pos", agent_pos, (2,), 0, max(shape) - 1)
        if not (position < shape).all():
            raise ValueError(f"agent_pos must be within a grid of {shape}, not {tuple(position.tolist())}")
        packed, numbers = pack_grid(grid, contents, shape), self._checked_mission(mission)
        if facts is None:
            facts = self.find_facts(np.asarray(grid), numbers.tolist())
        most_fact = self.width * self.height - 1 if self.facts_are_cells else MOST_NUMBER
        agent_cell = position[0] * self.height + position[1]
        with jax.ensure_compile_time_eval():  # A program may be traced around this.
            if not can_overlap(jnp.asarray(packed["cells"][agent_cell])):
                raise ValueError(f"an agent can't stand at {tuple(position.tolist())}, on what is there")
        fields: dict[str, Any] = dict(
            step_count=np.int32(checked_integers("step_count", step_count, (), 0, 2**31 - 1)),
            agent_cell=np.int32(agent_cell),
            agent_dir=np.int32(checked_integers("agent_dir", agent_dir, (), 0, 3)),
            carrying=pack_carrying(carrying, carrying_contents),
            mission=numbers,
            facts=_checked_numbers("facts", facts, self.num_facts, most_fact),
            **packed,
            **NO_HISTORY,
        )
        return jax.device_put(GridState(key=jax.random.key(0) if key is None else key, **fields))

    def _checked_mission(self, mission: Any) -> np.ndarray:
        if isinstance(mission, str):
            known = self.missions()
            if mission not in known:
                raise ValueError(f"{mission!r} is no mission of this world; one is {next(iter(known))!r}")
            mission = known[mission]
        numbers = _checked_numbers("mission", mission, len(self.mission_placeholders))
        for words, number in zip(self.mission_placeholders, numbers.tolist()):
            if number not in words:
                raise ValueError(f"the mission's numbers must be among {sorted(words)}, not {number}")
        return numbers

    def to_arrays(self, state: GridState) -> dict[str, jax.Array]:
        """The arguments that `make_state` takes for this state, less the key."""
        return unpack_state(state, self.width, self.height)

    def render(self, state: GridState) -> np.ndarray:
        """uint8[H, W, 3], RGB: the whole grid and the agent, as MiniGrid draws them; runs on the host."""
        from envs_jax.grid.render import render_state  # noqa: PLC0415  stepping needs no drawing

        return render_state(self, state, hands=False)

    def render_observation(self, observation: Any) -> np.ndarray:
        """uint8[H, W, 3], RGB: what the agent sees, with unseen cells dark; runs on the host."""
        from envs_jax.grid.render import render_views  # noqa: PLC0415  stepping needs no drawing

        return render_views(np.asarray(observation.image)[None])

    def mission(self, state: GridState | Observation) -> str:
        """The text of the mission of a state or an observation; runs on the host."""
        return self._mission_of(np.asarray(state.mission).tolist())

    def missions(self) -> dict[str, tuple[int, ...]]:
        """The numbers of every mission that the world can have, by its text."""
        return {self._mission_of(numbers): numbers for numbers in itertools.product(*self.mission_placeholders)}

    def from_minigrid(self, observation: Mapping[str, Any]) -> Observation:
        """An observation of the package `minigrid` in the world of the same id, as an observation of this world.

        Args:
            observation: a dict with `image`, int[V, V, 3], `direction`, an int, and `mission`, a text; or that of a
                Gymnasium vector environment with N copies: arrays [N, ...] and N texts.

        Returns:
            The observation, with arrays [...] or [N, ...]; `mission` has the numbers of the text.

        Raises:
            ValueError: the mission is not one of this world's.
        """
        missions, texts = self.missions(), observation["mission"]
        try:
            numbers = missions[texts] if isinstance(texts, str) else [missions[text] for text in texts]
        except KeyError as error:
            raise ValueError(f"{error} is no mission of this world; one is {next(iter(missions))!r}") from None
        image, direction = (
            jnp.asarray(observation["image"], jnp.uint8),
            jnp.asarray(observation["direction"], jnp.int32),
        )
        shape = (*direction.shape, len(self.mission_placeholders))
        return Observation(image, direction, jnp.array(numbers, jnp.int32).reshape(shape))

    def _mission_of(self, numbers: Sequence[int]) -> str:
        return self.mission_template.format(
            *(words[number] for words, number in zip(self.mission_placeholders, numbers))
        )


COLORS: dict[int, str] = dict(IDX_TO_COLOR)
"""The words for colours in missions."""


def object_types(*kinds: int) -> dict[int, str]:
    """The words for some object types in missions."""
    return {kind: IDX_TO_OBJECT[kind] for kind in kinds}


def carries(state: GridState, kind: jax.Array | int, color: jax.Array | int) -> jax.Array:
    """bool[], whether the agent carries an object of a type and a colour."""
    return (kind_of(state.carrying) == kind) & (color_of(state.carrying) == color)


def opens_door(state: GridState, action: jax.Array) -> jax.Array:
    """bool[], whether an action was a toggle after which one of the doors among the facts is open."""
    return (action == Actions.toggle) & is_open_door(state.cells[state.facts]).any()


def _checked_numbers(name: str, numbers: Any, count: int, most: int = MOST_NUMBER) -> np.ndarray:
    given = concrete_array(name, numbers)
    return checked_integers(name, given if given.size else np.zeros(0, np.int32), (count,), 0, most)


def _stacked(numbers: Sequence[Any]) -> jax.Array:
    return jnp.stack([jnp.asarray(number, jnp.int32) for number in numbers]) if numbers else jnp.zeros(0, jnp.int32)
