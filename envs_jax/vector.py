"""Many environments as one: batched steps, automatic resets, episode statistics."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jumanji.env import Environment
from jumanji.types import TimeStep

from envs_jax.checks import checked_count
from envs_jax.equality import EqualByArguments
from envs_jax.sharding import shard_map_local

State = TypeVar("State")
MOST_ENVS: Final = 2**24


class VectorState(NamedTuple, Generic[State]):
    """The environments' states and the running sums of their episodes."""

    env: State  # every leaf with a leading axis [N]
    episode_return: jax.Array  # float32[N, ...], as the reward
    episode_length: jax.Array  # int32[N]


class VectorEnv(EqualByArguments, Generic[State]):
    """`num_envs` copies of an environment that reset themselves, as Jumanji's auto-reset does.

    The environment needs `reset`, `step` and `observe`, and its state, any pytree, a `key`. `reset` and `step` are
    compiled, once for all equal ones, also where they are called outside of `jit`.
    After an episode's last step the observation is the first one of the next episode; reward,
    discount and step type are the last step's. `extras` has, beside the environment's own:
    `next_obs`, the observation before the reset (it costs nothing unless it is read);
    `next_state`, the environment's state before the reset; `episode_return` and
    `episode_length`, the sums up to and including this step.
    """

    def __init__(self, env: Any, num_envs: int) -> None:
        if not hasattr(env, "observe"):
            raise ValueError(f"{type(env).__name__} needs observe(state), the observation after a reset")
        self.env = env
        self.num_envs = checked_count("num_envs", num_envs, most=MOST_ENVS)

    @partial(jax.jit, static_argnums=0, inline=True)
    def reset(self, key: jax.Array) -> tuple[VectorState[Any], TimeStep[Any]]:
        """Starts every environment on its own layout."""
        states, timestep = jax.vmap(self.env.reset)(jax.random.split(key, self.num_envs))
        states = _typed(states, states)
        zeros = jnp.zeros(timestep.reward.shape, jnp.float32)
        state = VectorState(states, zeros, jnp.zeros(self.num_envs, jnp.int32))
        return state, self._with_extras(timestep, states, zeros, state.episode_length)

    @partial(jax.jit, static_argnums=0, inline=True)
    def step(self, state: VectorState[Any], action: jax.Array) -> tuple[VectorState[Any], TimeStep[Any]]:
        """Steps every environment and resets the finished ones."""
        stepped, timestep = jax.vmap(self.env.step)(state.env, action)
        stepped = _typed(stepped, state.env)
        last = timestep.last()
        states = shard_map_local(self._reset_finished)(stepped, last)
        returns = state.episode_return + timestep.reward.astype(jnp.float32)
        lengths = state.episode_length + 1
        timestep = self._with_extras(timestep, stepped, returns, lengths)
        timestep = timestep.replace(observation=jax.vmap(self.env.observe)(states))  # type: ignore[attr-defined]
        cleared = select_copies(last, (jnp.zeros_like(returns), jnp.zeros_like(lengths)), (returns, lengths))
        return VectorState(states, *cleared), timestep

    def _reset_finished(self, states: Any, last: jax.Array) -> Any:
        """`states` with fresh ones, drawn from their own keys, where `last` bool[N].

        Few episodes end in one step, and a fresh state costs several steps: each round
        resets a 64th of the environments until none waits.
        """
        here = last.shape[0]
        count = max(1, here // 64)

        def reset_round(carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            states, waiting = carry
            waits, chosen = jax.lax.top_k(waiting.astype(jnp.float32), count)
            # Clones, as each key used here is overwritten below, which the check for reused keys can't see.
            fresh, _ = jax.vmap(self.env.reset)(jax.random.clone(_keys(states)[chosen]))
            indices = jnp.where(waits > 0, chosen, here)
            return jax.tree.map(lambda old, new: _put(old, indices, new), carry, (fresh, jnp.zeros(count, bool)))

        return jax.lax.while_loop(lambda carry: carry[1].any(), reset_round, (states, last))[0]

    def _with_extras(
        self, timestep: TimeStep[Any], states: Any, returns: jax.Array, lengths: jax.Array
    ) -> TimeStep[Any]:
        statistics = {"episode_return": returns, "episode_length": lengths}
        ends = {"next_obs": timestep.observation, "next_state": states}
        return timestep.replace(extras={**timestep.extras, **statistics, **ends})  # type: ignore[attr-defined]


def vectorize(env: Environment[Any, Any, Any], num_envs: int) -> VectorEnv[Any]:
    """`num_envs` environments stepped as one, with automatic resets; see `VectorEnv`."""
    return VectorEnv(env, num_envs)


def _keys(states: Any) -> Any:
    """The states' keys, [N]: their attribute or, for dicts, their item `key`."""
    return states["key"] if isinstance(states, Mapping) else states.key


def _typed(states: Any, like: Any) -> Any:
    """`states` with the dtypes of `like`, so that steps can be scanned whatever a world's own types are.

    Raises:
        TypeError: a number has become one of another kind.
    """

    def cast(path: Any, leaf: Any, old: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        if leaf.dtype.kind != old.dtype.kind:
            raise TypeError(
                f"a world's step must keep the types of its state: {jax.tree_util.keystr(path)} "
                f"became {leaf.dtype}, and was {old.dtype}"
            )
        return jax.lax.convert_element_type(leaf, old.dtype)

    return jax.tree_util.tree_map_with_path(cast, states, like)


def _put(array: jax.Array, indices: jax.Array, values: jax.Array) -> jax.Array:
    """`array` with the rows `values` at distinct `indices`; those out of bounds are dropped."""
    return array.at[indices].set(values, mode="drop", unique_indices=True)


def select_copies(mask: jax.Array, on_true: Any, on_false: Any) -> Any:
    """Selects whole environments by `mask` bool[N], or a single one by bool[].

    `on_true` may be one for all environments, without their axis.
    """

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (b.ndim - 1)), a, b)

    return jax.tree.map(choose, on_true, on_false)
