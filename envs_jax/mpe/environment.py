"""What all particle worlds share: reset, step, actions, specs, and states from given arrays."""

import abc
from functools import cached_property
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import StepType, TimeStep

from envs_jax.checks import checked_action, checked_flag, checked_push, checked_steps, concrete_array
from envs_jax.equality import EqualByArguments
from envs_jax.mpe.colors import GREY
from envs_jax.mpe.observe import stack_padded
from envs_jax.mpe.world import World, advance

# The directions of a discrete action, and the two components of a continuous one for each axis.
MOVES: Final = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], np.float32)
NUM_MOVES: Final = len(MOVES)


class WorldState(NamedTuple):
    """A particle world of A agents and E entities, agents first, then landmarks."""

    key: jax.Array  # PRNG key of the next reset
    step_count: jax.Array  # int32[]
    p_pos: jax.Array  # float32[E, 2]
    p_vel: jax.Array  # float32[A, 2], landmarks have none
    c: jax.Array  # float32[A, dim_c], what each agent said in the last step, zeros if it can't speak
    goals: jax.Array  # int32[G], indices of landmarks; their meaning is the scenario's


class ParticleWorld(EqualByArguments, Environment[Any, specs.BoundedArray, Any]):
    """Agents on a plane that push themselves around and talk.

    Source: PyPI `mpe2`, the maintained form of OpenAI's multi-agent particle environments.

    - observation: `float32[A, max(observation_sizes)]`; agent i's is the first
      `observation_sizes[i]` numbers of its row, the rest are zeros.
    - action: `int32[A]`, agent i's below `num_actions[i]`: `move + 5 * word` for agents that move
      and speak, else the one they can; moves are none, left, right, down, up. Other numbers
      raise an error or, in a compiled program, neither move nor speak. If continuous,
      `float32[A, max(num_actions)]`, clipped to [0, 1], agent i's the first `num_actions[i]`
      numbers of its row: none, left, right, down, up, then its message.
    - reward: `float32[A]`.
    - truncation (discount 1): `max_cycles`; termination (discount 0): the scenario's success
      (`succeeds`), where it can be told to end the episode. Both come to all agents at once.

    Args:
        world: the agents and landmarks.
        max_cycles: steps until an episode is truncated.
        continuous_actions: whether actions are continuous.
        dynamic_rescaling: whether a picture of the world scales the discs' sizes with the camera,
            for whoever draws one; nothing else depends on it.

    Attributes:
        agents: the agents' names, as in PettingZoo.
        num_actions: how many discrete actions, or numbers in a continuous one, each agent has.
        observation_sizes: how many numbers each agent observes.
    """

    num_goals = 0
    terminate_on_success = False

    def __init__(self, world: World, max_cycles: int, continuous_actions: bool, dynamic_rescaling: bool) -> None:
        self.world, self.max_cycles = world, checked_steps("max_cycles", max_cycles)
        self.continuous_actions = checked_flag("continuous_actions", continuous_actions)
        self.dynamic_rescaling = checked_flag("dynamic_rescaling", dynamic_rescaling)
        self.agents, self.num_agents = world.names, world.num_agents
        self.num_actions = self._count_actions()
        self.observation_sizes = self._measure_observations()
        super().__init__()

    @abc.abstractmethod
    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        """float32[n, k] for each group of agents that observe the same things, in the order of agents."""

    @abc.abstractmethod
    def _rewards(self, state: WorldState) -> jax.Array:
        """float32[A], the rewards for having reached a state."""

    @property
    def max_steps(self) -> int:
        """`max_cycles`, by the name that it has in the other worlds."""
        return self.max_cycles

    def succeeds(self, state: WorldState) -> jax.Array:
        """bool[], whether the scenario's task is fulfilled in a state; never, where it has no such moment."""
        del state
        return jnp.bool_(False)

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        """float32[E, 3], the colours in which agents and landmarks are drawn, 0 to about 1; by default all grey.

        Args:
            goals: int32[G], as in the state.
        """
        del goals
        return np.full((len(self.world.size), 3), GREY, np.float32)

    @cached_property
    def observation_spec(self) -> specs.Spec[Any]:
        return specs.Array((self.num_agents, max(self.observation_sizes)), jnp.float32, name="observation")

    @cached_property
    def action_spec(self) -> specs.BoundedArray:
        if self.continuous_actions:
            shape = (self.num_agents, max(self.num_actions))
            return specs.BoundedArray(shape, jnp.float32, minimum=0.0, maximum=1.0, name="action")
        return specs.MultiDiscreteArray(jnp.array(self.num_actions, jnp.int32), name="action")

    @cached_property
    def reward_spec(self) -> specs.Array:
        return specs.Array((self.num_agents,), jnp.float32, name="reward")

    @cached_property
    def discount_spec(self) -> specs.BoundedArray:
        return specs.BoundedArray((self.num_agents,), jnp.float32, minimum=0.0, maximum=1.0, name="discount")

    def reset(self, key: jax.Array) -> tuple[WorldState, TimeStep[jax.Array]]:
        """Agents and landmarks at rest at random positions; all draws come from `key`."""
        state = self._draw(key)
        return state, TimeStep(
            step_type=StepType.FIRST,
            reward=jnp.zeros(self.num_agents, jnp.float32),
            discount=jnp.ones(self.num_agents, jnp.float32),
            observation=self.observe(state),
            extras={},
        )

    def step(self, state: WorldState, action: ArrayLike) -> tuple[WorldState, TimeStep[jax.Array]]:
        """One step: act, move, speak, judge.

        Raises:
            ValueError: the action is invalid, see `checked_action`.
        """
        push, words = self._decode(action)
        p_pos, p_vel = advance(self.world, state.p_pos, state.p_vel, push)
        c = words if self.world.speaks.any() else state.c
        state = state._replace(step_count=state.step_count + 1, p_pos=p_pos, p_vel=p_vel, c=c)
        truncated = state.step_count >= self.max_cycles
        terminated = self.succeeds(state) & ~truncated if self.terminate_on_success else jnp.bool_(False)
        return state, TimeStep(
            step_type=jnp.where(truncated | terminated, StepType.LAST, StepType.MID),
            reward=self._rewards(state),
            discount=jnp.broadcast_to(1 - terminated.astype(jnp.float32), (self.num_agents,)),
            observation=self.observe(state),
            extras={},
        )

    def observe(self, state: WorldState) -> jax.Array:
        """The observations of a state, `float32[A, max(observation_sizes)]`."""
        return stack_padded(self._observe_groups(state))

    def make_state(
        self,
        p_pos: Any,
        p_vel: Any,
        goals: Any = (),
        step_count: Any = 0,
        c: Any = None,
        key: jax.Array | None = None,
    ) -> WorldState:
        """The state of a given world; runs on the host.

        Args:
            p_pos: float[E, 2], positions, agents first, then landmarks.
            p_vel: float[A, 2], the agents' velocities.
            goals: int[G], the scenario's goals, indices of landmarks.
            step_count: steps done in the episode.
            c: float[A, dim_c], what each agent said last; silence by default.
            key: PRNG key of the next reset; `jax.random.key(0)` by default.

        Raises:
            ValueError: the arrays are not those of such a world; the message says which and why.
        """
        world = self.world
        messages = np.zeros((self.num_agents, world.dim_c)) if c is None else c
        messages = _floats("c", messages, (self.num_agents, world.dim_c))
        if messages[~world.speaks].any():
            raise ValueError(f"c must be 0 for agents that can't speak, not {messages.tolist()}")
        fields: dict[str, Any] = dict(
            step_count=_integers("step_count", step_count, (), 2**31 - 1),
            p_pos=_floats("p_pos", p_pos, (len(world.size), 2)),
            p_vel=_floats("p_vel", p_vel, (self.num_agents, 2)),
            c=messages,
            goals=_integers("goals", goals, (self.num_goals,), world.num_landmarks),
        )
        return jax.device_put(WorldState(key=jax.random.key(0) if key is None else key, **fields))

    def to_arrays(self, state: WorldState) -> dict[str, jax.Array]:
        """The arguments that `make_state` takes for this state, less the key."""
        return {name: value for name, value in state._asdict().items() if name != "key"}

    def render(self, state: WorldState) -> np.ndarray:
        """uint8[H, W, 3], RGB: the world in the look of MPE; runs on the host."""
        from envs_jax.mpe.render import render_particles  # noqa: PLC0415  stepping needs no drawing

        return render_particles(self, state)

    def _draw(self, key: jax.Array) -> WorldState:
        next_key, draw_key = jax.random.split(key)
        count = 2 * len(self.world.size)
        draws = jax.random.uniform(draw_key, (count + self.num_goals,), jnp.float32)
        return WorldState(
            key=next_key,
            step_count=jnp.int32(0),
            p_pos=(2 * draws[:count].reshape(-1, 2) - 1) * self.world.spread[:, None],
            p_vel=jnp.zeros((self.num_agents, 2), jnp.float32),
            c=jnp.zeros((self.num_agents, self.world.dim_c), jnp.float32),
            goals=(draws[count:] * self.world.num_landmarks).astype(jnp.int32),
        )

    def _decode(self, action: Any) -> tuple[jax.Array, jax.Array]:
        """The forces float32[A, 2] and messages float32[A, dim_c] of an action."""
        if self.continuous_actions:
            push, words = self._decode_continuous(checked_push(action, self.action_spec.shape))
        else:
            push, words = self._decode_discrete(checked_action(action, self.num_actions))
        return push * self.world.accel[:, None], jnp.where(self.world.speaks[:, None], words, 0)

    def _decode_discrete(self, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        world = self.world
        move = word = action
        if (world.moves & world.speaks).any():  # else no division, which is slow on a CPU
            known = (action >= 0) & (action < np.array(self.num_actions, np.int32))
            move = jnp.where(known, action % NUM_MOVES, 0)
            word = jnp.where(known, jnp.where(world.moves, action // NUM_MOVES, action), -1)
        push = jnp.asarray(MOVES).at[move].get(mode="fill", fill_value=0, wrap_negative_indices=False)
        return push, jax.nn.one_hot(word, world.dim_c, dtype=jnp.float32)

    def _decode_continuous(self, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        dim_c = self.world.dim_c
        parts = jnp.pad(jnp.clip(action, 0.0, 1.0), ((0, 0), (0, NUM_MOVES + dim_c - action.shape[1])))
        words = jnp.where(self.world.moves[:, None], parts[:, NUM_MOVES:], parts[:, :dim_c])
        return parts[:, 2:NUM_MOVES:2] - parts[:, 1:NUM_MOVES:2], words

    def _count_actions(self) -> tuple[int, ...]:
        dim_c = self.world.dim_c
        abilities = zip(self.world.moves.tolist(), self.world.speaks.tolist())
        if self.continuous_actions:
            return tuple(NUM_MOVES * moves + dim_c * speaks for moves, speaks in abilities)
        return tuple((NUM_MOVES if moves else 1) * (dim_c if speaks else 1) for moves, speaks in abilities)

    def _measure_observations(self) -> tuple[int, ...]:
        groups = jax.eval_shape(lambda: self._observe_groups(self._draw(jax.random.key(0))))
        return tuple(group.shape[1] for group in groups for _ in range(group.shape[0]))


def mix_rewards(local: jax.Array, shared: jax.Array, local_ratio: float) -> jax.Array:
    """float32[A], each agent's local reward and the reward shared by all in proportion."""
    return local_ratio * local + (1 - local_ratio) * shared


def _floats(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = concrete_array(name, value)
    if array.shape != shape or array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be numbers of shape {shape}, not {array.dtype} of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, not {array.tolist()}")
    return array.astype(np.float32)


def _integers(name: str, value: Any, shape: tuple[int, ...], limit: int) -> np.ndarray:
    array = concrete_array(name, value)
    if array.shape != shape or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be integers of shape {shape}, not {array.dtype} of shape {array.shape}")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < limit:
        raise ValueError(f"{name} must be at least 0 and below {limit}, not {array.tolist()}")
    return array.astype(np.int32)
