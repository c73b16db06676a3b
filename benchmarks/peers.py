"""Other implementations, timed beside ours; each says in one sentence why it is missing."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import Program, compile_program

LOOP_SOURCE: Final = Path(__file__).with_name("doorkey_loop.c")


class MissingPeer(Exception):
    """A peer that can't run here; the message is one sentence."""


class Load(NamedTuple):
    """What a peer does."""

    task: str  # ours, of which the peer has one of the same kind
    num_envs: int
    steps: int
    keep: bool  # whether every observation is kept, instead of the last one


def xland(load: Load) -> Program:
    """A world of XLand-MiniGrid's with its auto-reset wrapper."""
    try:
        import xminigrid  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
        from xminigrid.wrappers import GymAutoResetWrapper  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPeer(
            f"XLand-MiniGrid is left out ({error}): pip install --no-deps xminigrid==0.9.3 brings it."
        ) from None
    name = peer_id(load.task, "")
    if name not in xminigrid.registered_environments():  # pyright: ignore[reportPrivateImportUsage]
        raise MissingPeer(f"XLand-MiniGrid is left out: it has no {name}.")
    env, params = xminigrid.make(name)  # pyright: ignore[reportPrivateImportUsage]
    env = GymAutoResetWrapper(env)
    timestep = jax.vmap(env.reset, (None, 0))(params, jax.random.split(jax.random.key(0), load.num_envs))
    return _played(lambda t, a: jax.vmap(env.step, (None, 0, 0))(params, t, a), timestep, env.num_actions(params), load)


def navix(load: Load) -> Program:
    """A world of Navix's, which resets itself."""
    try:
        import navix as package  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPeer(f"Navix is left out ({error}): pip install navix==0.7.4 brings it.") from None
    name = f"Navix-{peer_id(load.task, '-v0').removeprefix('MiniGrid-')}"
    if name not in package.registry():
        raise MissingPeer(f"Navix is left out: it has no {name}.")
    env = package.make(name)
    timestep = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), load.num_envs))
    return _played(jax.vmap(env.step), timestep, len(env.action_set), load)


def peer_id(task: str, version: str) -> str:
    """MiniGrid's id of a task with another version; of the DoorKey tasks, that of DoorKey in a room of 8 x 8."""
    name = task.removesuffix("-v0") if task.startswith("MiniGrid-") else "MiniGrid-DoorKey-8x8"
    return name + version


def _played(step: Callable[[Any, Any], Any], timestep: Any, num_actions: int, load: Load) -> Program:
    """Random actions in worlds that reset themselves."""
    shape = load.steps, load.num_envs
    actions = jax.random.randint(jax.random.key(1), shape, 0, num_actions)

    def advance(timestep: Any, action: jax.Array) -> tuple[Any, Any]:
        timestep = step(timestep, action)
        return timestep, (timestep.reward, timestep.observation) if load.keep else None

    def play(timestep: Any, actions: jax.Array) -> tuple[Any, Any]:
        return jax.lax.scan(advance, timestep, actions)

    return compile_program(play, timestep, actions, work=load.num_envs * load.steps)


def jaxmarl_world(name: str) -> Any:
    """An environment of JaxMARL's."""
    try:
        import jaxmarl as package  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPeer(
            f"JaxMARL is left out ({error}): pip install --no-deps jaxmarl==0.2.0 gymnax jaxtyping wadler-lindig "
            "safetensors brings it."
        ) from None
    return package.make(name)


def jaxmarl(load: Load) -> Program:
    """JaxMARL's simple_spread, which resets itself in every step."""
    _, num_envs, steps, keep = load
    _refuse_to_keep(keep, "JaxMARL")
    env = jaxmarl_world("MPE_simple_spread_v3")
    keys = jax.random.split(jax.random.key(0), num_envs)
    obs, state = jax.vmap(env.reset)(keys)
    drawn = jax.random.randint(jax.random.key(1), (steps, len(env.agents), num_envs), 0, 5)
    actions = {agent: drawn[:, i] for i, agent in enumerate(env.agents)}

    def step(carry: Any, actions: Any) -> tuple[Any, Any]:
        key, use = jax.random.split(carry[0])
        obs, state, reward, _, _ = jax.vmap(env.step)(jax.random.split(use, num_envs), carry[1], actions)
        return (key, state, obs), jax.tree.map(jnp.sum, reward)

    def play(carry: Any, actions: Any) -> tuple[Any, Any]:
        return jax.lax.scan(step, carry, actions)

    return compile_program(play, (jax.random.key(2), state, obs), actions, work=num_envs * steps)


def multigrid(load: Load) -> Program:
    """MultiGrid's LockedHallway of two rooms: one world, in Python, since it has no batches."""
    _refuse_to_keep(load.keep, "MultiGrid")
    try:
        from multigrid.envs import LockedHallwayEnv  # noqa: PLC0415
    except ImportError as error:
        raise MissingPeer(f"MultiGrid is left out ({error}): pip install multigrid==0.1.0 brings it.") from None
    env = LockedHallwayEnv(num_rooms=2, agents=2)
    env.reset(seed=0)
    count = 10 * load.steps
    actions = np.random.default_rng(1).integers(0, 7, (count, env.num_agents))

    def play() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(dict(enumerate(action)))
            if all(terminated.values()) or all(truncated.values()):
                env.reset()

    return Program(play, count)


def c_loop(load: Load) -> Program:
    """Our own C loop of SimpleDoorKey on one core."""
    _, num_envs, steps, keep = load
    _refuse_to_keep(keep, "The C loop")
    loop = CLoop(num_envs)
    loop.spread()
    actions = np.random.default_rng(1).integers(0, 7, (steps, num_envs), np.int8)
    return Program(lambda: loop.play(actions), num_envs * steps)


def _refuse_to_keep(keep: bool, name: str) -> None:
    if keep:
        raise MissingPeer(f"{name} is left out: it writes each observation over the last one; leave --keep out.")


class CLoop:
    """`num_envs` SimpleDoorKey worlds in C.

    Attributes:
        obs: uint8[num_envs, 10, 10, 4], the last step's observations.
        rewards: float32[num_envs], the last step's rewards.
    """

    def __init__(self, num_envs: int) -> None:
        self._library = _compiled_loop()
        self._library.world_bytes.restype = ctypes.c_size_t
        self._library.run.restype = ctypes.c_int64
        self._library.prepare()
        self.num_envs = num_envs
        self._world_bytes = self._library.world_bytes()
        # uint64, as the worlds' widest field must be aligned.
        self._worlds = np.zeros(num_envs * self._world_bytes // 8, np.uint64)
        self.obs = np.zeros((num_envs, 10, 10, 4), np.uint8)
        self.rewards = np.zeros(num_envs, np.float32)

    def spread(self) -> None:
        """Draws all worlds, at steps spread over an episode."""
        self._library.reset_all(_pointer(self._worlds), self.num_envs)

    def start(self, world: int, *layout: int) -> None:
        """Begins an episode: columns, rows, door cell, colour, key cell, agent cell, direction."""
        address = self._worlds.ctypes.data + world * self._world_bytes
        self._library.start(ctypes.c_void_p(address), *layout)

    def play(self, actions: np.ndarray) -> int:
        """Steps all worlds with int8[steps, num_envs]; returns how many episodes ended."""
        if actions.dtype != np.int8 or actions.shape[1:] != (self.num_envs,) or not actions.flags.c_contiguous:
            raise ValueError(f"actions must be contiguous int8[steps, {self.num_envs}]")
        buffers = [_pointer(array) for array in (self._worlds, actions, self.obs, self.rewards)]
        return self._library.run(*buffers, self.num_envs, len(actions))


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _compiled_loop() -> ctypes.CDLL:
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        raise MissingPeer("The C loop is left out: no C compiler (cc, gcc or clang) is on the PATH.")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "doorkey_loop.so"
        options = ["-O3", "-march=native", "-shared", "-fPIC", "-o", str(library), str(LOOP_SOURCE)]
        try:
            subprocess.run([compiler, *options], check=True, capture_output=True, text=True)
            return ctypes.CDLL(str(library))
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", None) or str(error)
            raise MissingPeer(f"The C loop is left out: {compiler} failed: {detail.strip().splitlines()[0]}") from None


PEERS: Final[dict[str, tuple[str, str | None, Callable[[Load], Program]]]] = {
    "xland": ("XLand-MiniGrid", "xminigrid", xland),
    "navix": ("Navix", "navix", navix),
    "c": ("C loop, one core", None, c_loop),
    "jaxmarl": ("JaxMARL MPE_simple_spread_v3", "jaxmarl", jaxmarl),
    "multigrid": ("MultiGrid LockedHallway, 2 rooms, one world", "multigrid", multigrid),
}
"""The peers' names in full, their packages, and what makes their programs."""
