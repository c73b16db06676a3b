"""Runs on the disk, and the students that come out of them."""

import operator
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.minigrid.map_memory import MapWrapper, SeenMap, empty_map
from envs_jax.vector import select_copies
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.api.objects import Objects
from jaxteach.api.options import names_as_keywords
from jaxteach.config import EvalConfig, TrainConfig
from jaxteach.distributed.compile_cache import use_cache
from jaxteach.errors import UserError
from jaxteach.evaluation.command import play, student_players
from jaxteach.evaluation.students import load_student, with_kept_plans
from jaxteach.networks.registry import Network
from jaxteach.ppo.episodes import student_policy
from jaxteach.runs.metrics_log import read_metrics, read_summary
from jaxteach.runs.run_folder import is_folder, read_config
from jaxteach.system.plugins import import_plugins


class Outcomes(NamedTuple):
    """What came of episodes, arrays [seeds, episodes]."""

    returns: np.ndarray  # float32, the mean of the agents' returns, not discounted
    lengths: np.ndarray  # int32, steps
    success: np.ndarray  # bool, the task was fulfilled at the end


@flax.struct.dataclass
class Policy:
    """A trained student: a pytree, which may be an argument of `jax.jit`.

    Attributes:
        params: the network's parameters, the only leaves.
        network: the student.
        structure: of an observation, as the environment gives it.
        shapes: the shape and dtype of each of its arrays.
        single: the environment has one agent, and its arrays no axis for agents.
        map_wrapper: for a student of a MiniGrid world, what adds the map that it reads to MiniGrid's observations; the
            policy keeps the map in its carry. None for other worlds.
    """

    # By identity, so that `jax.jit(policy)` can look it up: arrays have no hash.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    params: Any
    network: Network = flax.struct.field(pytree_node=False)
    structure: Any = flax.struct.field(pytree_node=False)
    shapes: tuple[tuple[tuple[int, ...], Any], ...] = flax.struct.field(pytree_node=False)
    single: bool = flax.struct.field(pytree_node=False)
    map_wrapper: MapWrapper | None = flax.struct.field(pytree_node=False, default=None)

    @classmethod
    def of(cls, params: Any, network: Network, world: AgentAxisWrapper) -> "Policy":
        """The student with these parameters, in a world."""
        map_wrapper = world.env if isinstance(world.env, MapWrapper) else None
        # The policy's observations have no map: it makes the map itself.
        world = world if map_wrapper is None else AgentAxisWrapper(map_wrapper.unwrapped)
        leaves, structure = jax.tree.flatten(jax.eval_shape(world.env.reset, jax.random.key(0))[1].observation)
        with_agents = jax.tree.leaves(world.abstract_observation)
        shapes = tuple((leaf.shape, whole.dtype) for leaf, whole in zip(leaves, with_agents))
        return cls(params, network, structure, shapes, world.is_single, map_wrapper)

    def __call__(
        self, obs: Any, carry: Any = None, *, first: Any = None, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        """The action for an observation, or for a batch of N.

        Args:
            obs: an observation as the environment gives it, arrays [...] or [N, ...], with an axis for the agents
                where the environment has one.
            carry: the network's memory and, in MiniGrid's worlds, the map, from the step before; None at the beginning
                of an episode.
            first: bool[] or bool[N], an episode begins with this observation, so that the memory is cleared; by
                default only where `carry` is None.
            key: PRNG key with which the action is drawn; the likeliest one is taken without it.

        Returns:
            The action, int32[], int32[N], or with an axis for A agents int32[A], int32[N, A]; and the carry, which
            is an empty tuple where there is nothing to remember.

        Raises:
            ValueError: the observation is not one of the environment, `carry` or `first` is not for as many
                observations, or `key` is not a key.
        """
        leaves, structure, batched = self._arrays(obs)
        count = len(leaves[0])
        begins = _flags(carry is None if first is None else first, count, batched)
        if key is not None and not _is_key(key):
            raise UserError(f"key= is a PRNG key, such as jax.random.key(0), not {key!r:.60}")
        carry = self._initial_carry(count) if carry is None else self._checked(carry, count)
        carry, action = self._act(carry, jax.tree.unflatten(structure, leaves), begins, key)
        return action if batched else action[0], carry

    def _arrays(self, obs: Any) -> tuple[list[jax.Array], Any, bool]:
        """The arrays [N, ...] of an observation, its structure, and whether it is a batch.

        Raises:
            UserError: it is not one of the environment.
        """
        if self.map_wrapper is not None and isinstance(obs, Mapping) and "mission" in obs:
            raise UserError(
                "this is an observation of the package minigrid; give the policy world.from_minigrid(obs), with "
                "world = envs_jax.make(...)"
            )
        leaves, structure = jax.tree.flatten(obs)
        wanted = ", ".join(f"{dtype}{list(shape)}" for shape, dtype in self.shapes)
        told = f"an observation of this student is {wanted}, or a batch with one more axis before"
        try:
            leaves = [jnp.asarray(leaf) for leaf in leaves]
        except TypeError:
            raise UserError(told) from None
        ranks = {leaf.ndim - len(shape) for leaf, (shape, _) in zip(leaves, self.shapes)}
        if structure != self.structure or ranks not in ({0}, {1}) or not self._fit(leaves):
            raise UserError(told)
        batched = ranks == {1}
        if not batched:
            leaves = [leaf[None] for leaf in leaves]
        return [leaf.astype(dtype) for leaf, (_, dtype) in zip(leaves, self.shapes)], structure, batched

    def _checked(self, carry: Any, count: int) -> Any:
        """A carry, if it is one of this student for so many observations.

        Raises:
            UserError: it is not.
        """
        wanted, wanted_structure = jax.tree.flatten(jax.eval_shape(lambda: self._initial_carry(count)))
        leaves, structure = jax.tree.flatten(carry)
        if structure != wanted_structure:
            raise UserError("carry= is not one of this student; give what it returned at the step before, or None")
        if [jnp.shape(leaf) for leaf in leaves] != [leaf.shape for leaf in wanted]:
            sizes = sorted({jnp.shape(leaf)[:1] for leaf in leaves})
            found = f", not for {sizes[0][0]}" if len(sizes) == 1 and sizes[0] not in ((), (count,)) else ""
            raise UserError(
                f"carry= must be for as many observations as obs, here {count}{found}; give what the policy returned "
                "at the step before, or None"
            )
        return carry

    def _initial_carry(self, count: int) -> Any:
        carry = self.network.initial_carry(count)
        return carry if self.map_wrapper is None else (self._empty_maps(count), carry)

    def _act(self, carry: Any, obs: Any, first: jax.Array, key: jax.Array | None) -> tuple[Any, jax.Array]:
        """The carry after a step, and the actions int32[N] or int32[N, A] for observations [N, ...]."""
        if self.map_wrapper is None:
            return self._choose(carry, obs, first, key)
        maps, carry = carry
        maps = select_copies(first, self._empty_maps(len(first)), maps)
        maps = jax.vmap(self.map_wrapper.update_map)(maps, obs)
        carry, action = self._choose(carry, jax.vmap(self.map_wrapper.add_map)(obs, maps), first, key)
        return (jax.vmap(self.map_wrapper.move_agent)(maps, action), carry), action

    def _choose(self, carry: Any, obs: Any, first: jax.Array, key: jax.Array | None) -> tuple[Any, jax.Array]:
        policy = student_policy(self.network, self.params, greedy=key is None)
        with_agents = jax.tree.map(lambda leaf: leaf[:, None], obs) if self.single else obs
        carry, action = policy(carry, with_agents, first, jax.random.key(0) if key is None else key)
        return carry, action[:, 0] if self.single else action

    def _empty_maps(self, count: int) -> SeenMap:
        assert self.map_wrapper is not None
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), empty_map(self.map_wrapper.size))

    def _fit(self, leaves: list[jax.Array]) -> bool:
        return all(leaf.shape[leaf.ndim - len(shape) :] == shape for leaf, (shape, _) in zip(leaves, self.shapes))


class Run:
    """A run on the disk.

    Args:
        folder: the run's, `<logdir>/ppo/<task>/<savedir>`.
        env: the environment that it was trained in, if that was passed as an object.
        network: the network that it was trained with, if that was passed as an object.

    Attributes:
        folder: its path.

    Raises:
        ValueError: the folder is not a run's, or needs the environment.
    """

    def __init__(self, folder: str | Path, env: Any = None, network: Any = None) -> None:
        if not isinstance(folder, str | Path):
            raise UserError(f"a run is given by its folder, not {folder!r}")
        self.folder = Path(folder).resolve()
        self._objects = Objects(env, network)
        import_plugins()
        if not is_folder(self.folder):
            raise UserError(f"there is no run {self.folder}")
        with self._objects.bound():
            task = self.config.task
        if env is not None and task != self._objects.task:
            raise UserError(f"the run {self.folder} is one of {task}, not of the {self._objects.task} given as env=")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def config(self) -> TrainConfig:
        """Every option of the run."""
        return read_config(self.folder)

    @property
    def metrics(self) -> Any:
        """The curves: a row for each point and seed, with the columns of `metrics.jsonl`.

        Among them are `seed`, `iteration`, `env_steps`, every loss, `success_rate` and `return_mean`; NaN for what
        no episode could tell.

        Returns:
            A pandas DataFrame; where pandas is not installed, a dict of arrays [points x seeds].

        Raises:
            ValueError: the run has no readable curves.
        """
        rows = read_metrics(self.folder)
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: [np.nan if row.get(name) is None else row[name] for row in rows] for name in names}
        arrays = {name: np.array(column) for name, column in columns.items()}
        if find_spec("pandas") is None:
            return arrays
        import pandas as pd  # noqa: PLC0415 - it need not be installed

        return pd.DataFrame(arrays)

    @property
    def summary(self) -> dict[int, dict[str, Any]]:
        """The final evaluation of each seed, as in `summary.json`; empty where there is none yet."""
        if not is_folder(self.folder):
            raise UserError(f"there is no run {self.folder}")
        return read_summary(self.folder)

    @names_as_keywords(num_eval="episodes", env_seed_list="env_seed")
    def evaluate(
        self,
        episodes: int = 1000,
        greedy: bool = True,
        *,
        seeds: int | Iterable[int] | None = None,
        env_seed: int = 0,
        checkpoint: int | None = None,
        random_actions: float = 0.0,
    ) -> Outcomes:
        """Plays episodes with the students of the run, all in the same fresh layouts.

        Args:
            episodes: of each student.
            greedy: take the likeliest action, instead of a drawn one.
            seeds: some of the run's; all when left out.
            env_seed: draws the layouts, which are others than those of any training.
            checkpoint: its iteration; the last one when left out.
            random_actions: share of the actions that are replaced by random ones, within 0..1.

        Returns:
            `returns`, `lengths` and `success`, NumPy arrays [seeds, episodes].

        Raises:
            ValueError: the run has no such seed or checkpoint, or a value is out of bounds.
        """
        use_cache()
        with self._known() as trained:
            config = EvalConfig(
                loaddir=str(self.folder),
                seed_list=trained.seed_list if seeds is None else tuple(np.atleast_1d(np.asarray(seeds)).tolist()),
                num_eval=_integer("episodes", episodes),
                env_seed_list=(_integer("env_seed", env_seed),),
                greedy=greedy,
                checkpoint=checkpoint,
                random_actions=random_actions,
                num_videos=0,
            )
            config.check()
            played = list(play(student_players(config)[1], config, 0)[0].values())
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *played)
        return Outcomes(stacked.episode_return, stacked.length, stacked.success)

    def policy(self, seed: int | None = None, *, checkpoint: int | None = None) -> Policy:
        """The student of a seed, by default the first; see `load_policy`."""
        with self._known() as trained:
            wanted = trained.seed_list[0] if seed is None else _integer("seed", seed)
            experiment, params, _ = load_student(self.folder, trained, wanted, checkpoint)
        return Policy.of(params, experiment.network, experiment.world)

    @contextmanager
    def _known(self) -> Iterator[TrainConfig]:
        """The options of the run, whose objects are known inside the block."""
        config = with_kept_plans(self.folder, self.config)
        with self._objects.bound(), self._objects.network_of(config) as network:
            if network != config.network:
                raise UserError(f"the run has the network {config.network}, not {network}, given as network=")
            yield config


def evaluate(run: Run | str | Path, *, env: Any = None, network: Any = None, **options: Any) -> Outcomes:
    """Plays episodes with the students of a run.

    Args:
        run: the run, or its folder.
        env: as for `Run`, with a folder.
        network: as for `Run`, with a folder.
        **options: of `Run.evaluate`: `episodes`, `greedy`, `seeds`, `env_seed`, `checkpoint`, `random_actions`.

    Returns:
        `returns`, `lengths` and `success`, NumPy arrays [seeds, episodes].

    Raises:
        ValueError: as for `Run` and `Run.evaluate`.
    """
    return _opened(run, env, network).evaluate(**options)


def load_policy(
    run: Run | str | Path,
    seed: int | None = None,
    *,
    checkpoint: int | None = None,
    env: Any = None,
    network: Any = None,
) -> Policy:
    """The student of one of a run's seeds.

    Args:
        run: the run, or its folder.
        seed: one of the run's; the first when left out.
        checkpoint: its iteration; the last one when left out.
        env: as for `Run`, with a folder.
        network: as for `Run`, with a folder.

    Returns:
        A `Policy`: `action, carry = policy(obs)` for one observation or a batch, inside `jax.jit` and out.

    Raises:
        ValueError: the run has no such seed or checkpoint, or needs its environment or network.
    """
    return _opened(run, env, network).policy(seed, checkpoint=checkpoint)


def _flags(first: Any, count: int, batched: bool) -> jax.Array:
    """bool[N], where episodes begin; one flag stands for all.

    Raises:
        UserError: it is something else.
    """
    try:
        flags = jnp.asarray(first).astype(bool)
    except (TypeError, ValueError):
        flags = None
    if flags is None or flags.shape not in ((), (count,)):
        raise UserError(
            f"first= must be {f'bool[{count}], one for each observation,' if batched else 'bool'} not {first!r:.60}"
        )
    return jnp.broadcast_to(flags, (count,))


def _is_key(key: Any) -> bool:
    """Whether this is a key of `jax.random.key`, or of `jax.random.PRNGKey`."""
    dtype = getattr(key, "dtype", None)
    if dtype is None:
        return False
    new = jnp.issubdtype(dtype, jax.dtypes.prng_key)
    return jnp.ndim(key) == 0 if new else dtype == jnp.uint32 and jnp.ndim(key) == 1


def _integer(name: str, value: Any) -> int:
    whole: Any = int(value) if isinstance(value, float) and value.is_integer() else value
    try:
        return operator.index(whole)
    except TypeError:
        raise UserError(f"{name} must be an integer, not {value!r}") from None


def _opened(run: Run | str | Path, env: Any, network: Any) -> Run:
    if not isinstance(run, Run):
        return Run(run, env, network)
    if env is not None or network is not None:
        raise UserError("a Run has its objects already; leave env= and network= out")
    return run
