"""Many copies of a world as one Gymnasium vector environment, of NumPy arrays or PyTorch tensors."""

import importlib
from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from jumanji import specs
from jumanji.env import Environment

from envs_jax.adapters.convert import to_space, to_values
from envs_jax.adapters.game import METADATA, checked_env, checked_mode, key_of
from envs_jax.adapters.minigrid import minigrid_world
from envs_jax.checks import check_observations
from envs_jax.equality import EqualByArguments
from envs_jax.forking import NotForked, check_process
from envs_jax.vector import VectorState, select_copies, vectorize


class BatchedEnv(NotForked, gymnasium.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` copies of any world as a Gymnasium `VectorEnv`, with automatic resets.

    Observations are those of the world's specs: MiniGrid's missions are numbers, not texts as in `GymnasiumEnv`.
    Arrays are NumPy's, observations read-only (the memory is JAX's), or tensors that share JAX's
    memory on its device. A world with several agents has their axis after the batch's, also in the rewards.
    Gymnasium's vector wrappers work on NumPy arrays, and those of rewards on worlds of one agent.

    Args:
        env: any environment of this package, or a Jumanji world that also has `observe(state)`.
        num_envs: how many copies.
        torch: whether to return tensors.
        render_mode: "rgb_array" if `render` is going to be called.
        autoreset_mode: when a finished copy starts again: SAME_STEP, or NEXT_STEP, which takes a
            step more, and which some of Gymnasium's wrappers need, such as NormalizeObservation.

    Raises:
        ImportError: tensors are wanted and PyTorch is not installed.
        ValueError: `num_envs` is less than 1, a mode is unknown, the world has no pictures, or its
            observations don't have the shapes and dtypes of its `observation_spec`.
        RuntimeError: in a process that was forked after JAX had started.
    """

    def __init__(
        self,
        env: Environment[Any, Any, Any],
        num_envs: int,
        torch: bool = False,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        mode = _checked_autoreset(autoreset_mode)
        self.env: Any = checked_env(env)
        self.num_envs, self._torch = num_envs, torch
        check_observations(env)
        self.render_mode = checked_mode(env, render_mode)
        self.metadata = {**METADATA, "autoreset_mode": mode}
        self._programs = _Programs(env, num_envs, mode == AutoresetMode.NEXT_STEP)
        self.single_observation_space = to_space(env.observation_spec)
        self.single_action_space = to_space(env.action_spec)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state: VectorState[Any] | None = None
        self._done: Any = None
        if torch:
            _import_torch()

    def reset(  # pyright: ignore[reportIncompatibleMethodOverride]  the seed may be given by position too
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts every copy on its own layout.

        Args:
            seed: the episodes are those of `jax.random.key(seed)`, or of a hash of a seed of more
                than 32 bits; None continues with the key that the last reset left, or at first with
                a random one.
            options: accepted and ignored.

        Returns:
            The first observations, [N, ...], and an empty info.

        Raises:
            ValueError: `options` has a `reset_mask`: copies can't be reset alone.
            gymnasium.error.Error: the seed is negative or not an integer.
        """
        check_process()
        if options and "reset_mask" in options:
            raise ValueError("reset_mask has no use here: finished copies start again by themselves")
        key = self._state.env.key[0] if seed is None and self._state is not None else key_of(seed)
        super().reset(seed=None if seed is None else int(seed), options=options)
        # A key without a fixed device would make the first step another program than the later ones.
        key, self._done = jax.device_put((key, jnp.zeros(self.num_envs, bool)), jnp.zeros(()).device)
        self._state, timestep = self._programs.reset(key)
        return self._export(to_values(self.single_observation_space, timestep.observation)), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of every copy; the finished ones start again, in this step or instead of the next.

        Args:
            actions: [N, ...] as the environment's action; an array or a tensor, on any device.

        Returns:
            The observations [N, ...], after the reset where there was one in this step; the rewards
            float32[N] or float32[N, A]; terminated, bool[N]; truncated, bool[N]; and info, with
            `episode_return`, as the rewards, and `episode_length`, int32[N], both up to and
            including this step. If SAME_STEP, and where episodes ended, info has as in Gymnasium
            `final_obs`, an object array of the observations before the reset, and `final_info`.
            Each entry has its mask, bool[N], with an underscore before its name. With `torch`,
            they are always there, `final_obs` as a tensor [N, ...] of all copies.

        Raises:
            ResetNeeded: `reset` was never called.
            InvalidAction: the actions have another shape or are not in the action space; numbers
                out of a box are left to the world, which clips them. Nothing has changed then.
        """
        check_process()
        if self._state is None:
            raise ResetNeeded("call reset before step")
        checked = self._checked(actions, self._state.episode_length.device)
        state, results, valid = self._programs.step(self._state, self._done, checked)
        if not valid:
            raise InvalidAction(f"the actions {actions!r} are not in {self.action_space}")
        seen, ended, info = results
        self._state, self._done = state, ended[-1]
        observation, final_obs = (self._export(to_values(self.single_observation_space, tree)) for tree in seen)
        *ended, done, info = self._export((*ended, info), copy=True)
        return observation, *ended, self._with_ends(info, final_obs, done)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The pictures of all copies, uint8[H, W, 3] each, if the mode is "rgb_array"."""
        if self.render_mode is None:
            return None
        if self._state is None:
            raise ResetNeeded("there is nothing to draw; call reset before render")
        states = jax.device_get(self._state.env)
        return tuple(self.env.render(jax.tree.map(lambda leaf: leaf[i], states)) for i in range(self.num_envs))  # noqa: B023

    def close_extras(self, **kwargs: Any) -> None:
        """Forgets the episodes."""
        del kwargs
        self._state = None

    def _with_ends(self, info: dict[str, Any], final_obs: Any, done: Any) -> dict[str, Any]:
        """`info` with masks, and with what Gymnasium says of episodes that ended."""
        every = done | True
        masked = {**info, **{f"_{name}": every for name in info}}
        if self.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP:
            return masked
        if not self._torch:
            ended = np.flatnonzero(done)
            if not len(ended):
                return masked
            observations, final_obs = final_obs, np.full(self.num_envs, None, object)
            for i in ended:
                final_obs[i] = jax.tree.map(lambda leaf: np.array(leaf[i]), observations)  # noqa: B023
        final_info = {**info, **{f"_{name}": done for name in info}}
        return {**masked, "final_obs": final_obs, "_final_obs": done, "final_info": final_info, "_final_info": done}

    def _export(self, arrays: Any, copy: bool = False) -> Any:
        """The arrays as the caller wants them, ready, so that actions may be overwritten from now on."""
        ready = jax.block_until_ready(arrays)
        if self._torch:
            return jax.tree.map(_import_torch().from_dlpack, ready)
        return jax.tree.map(np.array if copy else np.asarray, ready)

    def _checked(self, actions: Any, device: Any) -> jax.Array:
        """The actions in the world's dtype on a device; values that don't fit stay outside the space."""
        spec = self.env.action_spec
        if np.shape(actions) != (self.num_envs, *spec.shape):
            raise InvalidAction(f"actions must have shape {(self.num_envs, *spec.shape)}, not {np.shape(actions)}")
        if hasattr(actions, "detach"):
            # Through dlpack go only dense tensors without gradients, and JAX cuts integers to 32 bits.
            actions = actions.detach().contiguous()
            if np.issubdtype(spec.dtype, np.integer) and actions.element_size() > 4 and not actions.is_floating_point():
                actions = actions.clamp(-1, np.iinfo(spec.dtype).max)
            actions = jnp.from_dlpack(actions)
        elif not isinstance(actions, jax.Array):
            actions = np.asarray(actions)
        if np.issubdtype(spec.dtype, np.integer):
            if not jnp.issubdtype(actions.dtype, jnp.integer):
                raise InvalidAction(f"actions must be whole numbers, not {actions.dtype}")
            if isinstance(actions, np.ndarray):
                actions = actions.astype(np.int64)
            least = -1 if jnp.issubdtype(actions.dtype, jnp.signedinteger) else 0
            actions = actions.clip(least, min(np.iinfo(spec.dtype).max, jnp.iinfo(actions.dtype).max))
        return jax.device_put(actions.astype(spec.dtype), device)


class _Programs(EqualByArguments):
    """`reset` and `step` of a batch, compiled once for all equal batches."""

    def __init__(self, env: Environment[Any, Any, Any], num_envs: int, next_step: bool) -> None:
        self.env: Any = env
        self.num_envs, self.next_step = num_envs, next_step
        self.vector = vectorize(env, num_envs)

    @partial(jax.jit, static_argnums=0)
    def reset(self, key: jax.Array) -> tuple[VectorState[Any], Any]:
        return self.vector.reset(key)

    @partial(jax.jit, static_argnums=0)
    def step(
        self, state: VectorState[Any], done: jax.Array, actions: jax.Array
    ) -> tuple[VectorState[Any], Any, jax.Array]:
        """One step of all copies, of which `done` bool[N] ended in the last one.

        Returns:
            The next state; the observations to show and those before any reset, then reward,
            terminated, truncated and either, then the statistics; bool[], whether the actions fit.
        """
        after, timestep = self.vector.step(state, actions)
        last, extras = jnp.asarray(timestep.last()), timestep.extras
        terminated = last & (jnp.reshape(timestep.discount, (self.num_envs, -1)) == 0).all(-1)
        info = {name: extras[name] for name in ("episode_return", "episode_length")}
        world, truncated = minigrid_world(self.env), last & ~terminated
        if world is not None:  # An episode that ends by itself in the last step is both, as in `minigrid`.
            truncated |= last & (extras["episode_length"] >= world.max_steps)
        ended = timestep.reward, terminated, truncated, last
        observation, final, fits = timestep.observation, extras["next_obs"], self._fit(actions)
        if self.next_step:  # A finished copy already has its fresh state, and only shows it.
            after = select_copies(done, state, after)
            observation = select_copies(done, jax.vmap(self.env.observe)(state.env), final)
            ended, info = select_copies(done, jax.tree.map(jnp.zeros_like, (ended, info)), (ended, info))
            fits |= done
        return after, ((observation, final), ended, info), fits.all()

    def _fit(self, actions: jax.Array) -> jax.Array:
        """bool[N], whether the actions of a copy are in the action space."""
        spec, fits = self.env.action_spec, jnp.isfinite(actions)
        if isinstance(spec, specs.DiscreteArray | specs.MultiDiscreteArray):
            fits = (actions >= 0) & (actions < spec.num_values)
        return fits.reshape(self.num_envs, -1).all(-1)


def _import_torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise ImportError("torch=True needs PyTorch, which is not installed: pip install torch") from error


def _checked_autoreset(mode: Any) -> AutoresetMode:
    """The mode of a member's name, its value or the member itself."""
    given = getattr(mode, "value", mode)
    for member in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        if isinstance(given, str) and given in (member.name, member.value):
            return member
    raise ValueError(
        f"autoreset_mode must be SAME_STEP or NEXT_STEP, not {mode!r}: finished copies start again by themselves"
    )
