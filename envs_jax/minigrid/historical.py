"""Worlds whose observation shows every cell that was ever seen, as in the DoorKey tasks."""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jumanji import specs
from jumanji.types import TimeStep

from envs_jax.checks import MOST_FRAMES, checked_count, concrete_array
from envs_jax.grid.constants import AGENT, LOCKED, NO_DIRECTION, NUM_COLORS
from envs_jax.grid.historical import historical_frame, pack_seen, unpack_frames, unpack_seen, visible_cells
from envs_jax.grid.state import GridState
from envs_jax.minigrid.environment import MiniGridEnv


class HistoricalEnv(MiniGridEnv):
    """A square world with the historical observation.

    - observation: `uint8[size, size, 4 * frame_stack]`: object id, colour and state of every cell that was ever seen,
      with its present content, and the agent's direction at its cell (4 elsewhere); the agent's own cell shows what it
      carries.

    Args:
        size: cells a side.
        view_size: side of the square that the agent sees in front of it, odd.
        max_steps: steps until an episode is truncated.
        frame_stack: how many observations are stacked on the channel axis, newest last, 1..256.
    """

    view_size_name = "view_size"

    def __init__(self, size: int, view_size: int, max_steps: int, frame_stack: int) -> None:
        self.frame_stack = checked_count("frame_stack", frame_stack, most=MOST_FRAMES)
        self.size = size
        self.max_view_size = size
        super().__init__(size, size, max_steps, view_size)
        self.view_size = self.agent_view_size

    @cached_property
    def observation_spec(self) -> specs.Spec[Any]:
        top = np.tile(np.array([AGENT, NUM_COLORS - 1, LOCKED, NO_DIRECTION], np.uint8), self.frame_stack)
        shape = (self.size, self.size, 4 * self.frame_stack)
        return specs.BoundedArray(shape, jnp.uint8, minimum=0, maximum=top, name="observation")

    def update_memory(self, state: GridState) -> GridState:
        now = visible_cells(state, self.size, self.view_size)
        if not state.seen:
            return self._repeat_first_frame(state._replace(seen=now))
        return state._replace(seen=tuple(map(jnp.bitwise_or, state.seen, now)))

    def step(self, state: GridState, action: ArrayLike) -> tuple[GridState, TimeStep[Any]]:
        """As `MiniGridEnv.step`; the frame before joins the history."""
        if self.frame_stack > 1:
            frames = jnp.concatenate([state.history[1:], historical_frame(state)[None]])
            state = state._replace(history=frames)
        return super().step(state, action)

    def observe(self, state: GridState) -> Any:
        """uint8[size, size, 4 * frame_stack], the observation of a state."""
        frame = historical_frame(state)
        if self.frame_stack == 1:
            return unpack_frames(frame, self.size)
        return unpack_frames(jnp.concatenate([state.history, frame[None]]), self.size)

    def render(self, state: GridState) -> np.ndarray:
        """uint8[H, W, 3], RGB: the whole grid and the agent with what it carries; runs on the host."""
        from envs_jax.grid.render import render_state  # noqa: PLC0415  stepping needs no drawing

        return render_state(self, state)

    def render_observation(self, observation: Any) -> np.ndarray:
        """uint8[H, W, 3], RGB: the cells seen so far, as last observed; runs on the host."""
        from envs_jax.grid.render import render_observation  # noqa: PLC0415  stepping needs no drawing

        return render_observation(observation)

    def make_state(self, *args: Any, seen: Any, **named: Any) -> GridState:
        """As `MiniGridEnv.make_state`, with `seen`, bool[size, size], the cells seen so far in the episode."""
        mask = concrete_array("seen", seen)
        if mask.shape != (self.size, self.size):
            raise ValueError(f"seen must have shape {(self.size, self.size)}, not {mask.shape}")
        words = jax.device_put(pack_seen(mask.astype(bool)))
        return self._repeat_first_frame(super().make_state(*args, **named)._replace(seen=words))

    def to_arrays(self, state: GridState) -> dict[str, jax.Array]:
        """The arguments that `make_state` takes for this state, less the key."""
        return super().to_arrays(state) | {"seen": unpack_seen(state.seen, self.size**2).reshape(self.size, self.size)}

    def _repeat_first_frame(self, state: GridState) -> GridState:
        shape = self.frame_stack - 1, state.cells.shape[0]
        if self.frame_stack == 1:
            return state._replace(history=jnp.zeros(shape, jnp.uint32))
        return state._replace(history=jnp.broadcast_to(historical_frame(state), shape))
