"""The compiled programs of a run, or of several that differ in numbers alone, for all their seeds at once."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from envs_jax.vector import VectorEnv
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import TrainConfig
from jaxteach.distributed.sharding import make_mesh, select_devices
from jaxteach.errors import UserError
from jaxteach.guidance.ask_world import student_world
from jaxteach.llm.online import check_askable
from jaxteach.networks.registry import make_network, with_hint
from jaxteach.options.markers import values_of
from jaxteach.ppo.episodes import Episodes, run_episodes, student_policy
from jaxteach.ppo.learner import Learner, LearnerState, state_shardings
from jaxteach.ppo.rollout import Trajectory
from jaxteach.system.memory import check_memory, check_program, num_bytes
from jaxteach.teacher.loading import learnt_digest, load_teacher, plans_of
from jaxteach.teacher.table import SkillTable


class Experiment:
    """What a configuration stands for: the world, the student, the teacher, and the programs that use them.

    Every array of a `LearnerState` has a leading axis for the seeds.

    Args:
        config: the options of a run.
        others: of runs that train beside it; they differ in seeds, folders and `PPOConfig.hparams` alone.

    Raises:
        UserError: the options can't be met.
    """

    def __init__(self, config: TrainConfig, *others: TrainConfig) -> None:
        self.config, self.configs = config, (config, *others)
        self.devices = select_devices(config.devices, config.num_envs)
        self.mesh = make_mesh(self.devices)
        self.world: AgentAxisWrapper = student_world(config)
        try:
            self.network = make_network(config.network, self.world, config.recurrent)
            if "hint" in config.ppo.methods:
                self.network = with_hint(self.network, self.world)
        except ValueError as error:
            raise UserError(str(error)) from None
        self.teacher = load_teacher(config.task, config.teacher, config.world) if config.labels else None
        self.plans = plans_of(config)
        self.table = None if self.teacher is None else self.teacher.table
        venv = VectorEnv(self.world, config.num_envs)
        self.learner = Learner(venv, self.network, config.ppo, self.teacher, config.iterations)
        self._check_minibatches()

    def check(self) -> None:
        """Raises `UserError` for what shows without compiling: a model that can't be asked, a lack of memory."""
        if self.config.online and self.teacher is not None:
            check_askable(self.config, self.teacher)
        self._check_memory()

    def _check_memory(self) -> None:
        """Raises `UserError` where what is certain to be held at once is more than the memory.

        That is the state of all seeds, and a rollout's observations or the worlds of an evaluation.
        """
        state = self.abstract_state
        worlds = num_bytes(state.actor) / self.config.num_envs / len(self.seeds)
        steps = self.config.steps_per_iteration * num_bytes(self.world.abstract_observation)
        most = max(steps, int(worlds * self.config.num_eval))
        metrics = len(self.seeds) * self.max_iterations_per_call * (1 + len(self.captions)) * 4
        check_memory((num_bytes(state) + most + metrics) // (1 if self.mesh is None else self.mesh.size))

    @property
    def rounded(self) -> Iterator[str]:
        """Where the run differs from what the options ask, in lines."""
        config, size = self.config, self.config.steps_per_iteration
        steps = config.iterations * size
        if config.total_steps not in (None, steps):
            yield f"{steps:,} steps instead of {config.total_steps:,}: an iteration has {size:,}"
        columns, count = self.learner.minibatches()
        used = columns * count * size // self.learner.columns
        if used < size:
            yield (
                f"{size - used:,} of an iteration's {size:,} samples are left out of each epoch, drawn anew: "
                f"it has {count:,} minibatches of {used // count:,}"
            )
        saved = -(-config.save_interval // config.eval_interval) * config.eval_interval
        if config.save_interval < min(saved, config.iterations):
            when = f"every {saved:,} iterations" if saved < config.iterations else "at the end alone"
            yield f"checkpoints {when} instead of every {config.save_interval:,} iterations: they follow evaluations"

    @property
    def max_iterations_per_call(self) -> int:
        """Iterations between evaluations; no more than there are."""
        return min(self.config.eval_interval, self.config.iterations)

    def _check_minibatches(self) -> None:
        """Raises `UserError` where a minibatch can't be dealt out evenly to the devices."""
        size, count = self.learner.minibatches()[0], 1 if self.mesh is None else self.mesh.size
        if size % count:
            what = "environments" if self.config.recurrent else "samples"
            raise UserError(
                f"a minibatch of {size} {what} can't be dealt out evenly to {count} devices; take another --batch_size"
            )

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What must be the same in all processes: the options, the plans' digest, and JAX."""
        digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(self.table)))
        if self.plans is not None:
            digest.update(learnt_digest(self.config, self.plans).encode())
        others = {"plan file": digest.hexdigest(), "version of jax": jax.__version__}
        return {f"--{name}": value for name, value in values_of(self.config).items()} | others

    @property
    def captions(self) -> list[str]:
        """The teacher's captions, none without a teacher."""
        return [] if self.teacher is None else self.teacher.captions

    @property
    def seeds(self) -> list[int]:
        """The seeds of all runs, as they lie on the leading axis."""
        return [seed for config in self.configs for seed in config.seed_list]

    @property
    def seed_slices(self) -> list[slice]:
        """Each run's part of the leading axis; one alone has it whole, which needs no copies."""
        if len(self.configs) == 1:
            return [slice(None)]
        ends = list(itertools.accumulate(len(config.seed_list) for config in self.configs))
        return [slice(start, end) for start, end in zip([0, *ends], ends)]

    @cached_property
    def _keys(self) -> tuple[jax.Array, jax.Array]:
        """The keys for training and for evaluation, one for each seed."""
        keys = [jax.random.split(jax.random.key(seed)) for seed in self.seeds]
        return jnp.stack([pair[0] for pair in keys]), jnp.stack([pair[1] for pair in keys])

    @cached_property
    def hparams(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """PPO's numbers: those that all runs share, float32[] each, and the others, float32[seeds] each."""
        rows = [config.ppo.hparams for config in self.configs for _ in config.seed_list]
        columns = {name: np.array([row[name] for row in rows], np.float32) for name in rows[0]}
        # A shared one is not mapped: what depends on it, such as whether the teacher is asked, stays one decision.
        shared = {name: column[0] for name, column in columns.items() if (column == column[0]).all()}
        return shared, {name: column for name, column in columns.items() if name not in shared}

    def init(self) -> LearnerState:
        """The state before the first iteration."""
        return jax.jit(over_seeds(self.learner.init), out_shardings=self._shardings)(self._keys[0])

    @cached_property
    def abstract_state(self) -> LearnerState:
        """The shapes, dtypes and, on several devices, the places of `init`'s result."""
        shapes = jax.eval_shape(over_seeds(self.learner.init), self._keys[0])
        if self._shardings is None:
            return shapes
        return jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes, self._shardings
        )

    def abstract_run_state(self, config: TrainConfig) -> LearnerState:
        """As `abstract_state`, of one run."""

        def shorten(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((len(config.seed_list), *leaf.shape[1:]), leaf.dtype, sharding=leaf.sharding)

        return jax.tree.map(shorten, self.abstract_state)

    def concat_seeds(self, states: list[LearnerState]) -> LearnerState:
        """The states of runs as one, of all their seeds."""
        if len(states) == 1:
            return states[0]
        state = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)
        return state if self._shardings is None else jax.device_put(state, self._shardings)

    @cached_property
    def _shardings(self) -> Any:
        """The shardings of a state; None on one device."""
        if self.mesh is None:
            return None
        return state_shardings(jax.eval_shape(over_seeds(self.learner.init), self._keys[0]), self.mesh)

    @property
    def _copies(self) -> Any:
        """The sharding of what each device, and so each process, has whole; None on one device."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def compile_updates(self) -> Any:
        """(state, table, numbers, iteration, count) -> (state, metrics [seeds, eval_interval, ...]).

        The state is donated. The table is a `SkillTable` of the shapes of `table`, or None; numbers are
        as `hparams`.
        """
        most = self.max_iterations_per_call

        def run_updates(
            state: LearnerState, table: SkillTable | None, hparams: Any, iteration: jax.Array, count: jax.Array
        ) -> Any:
            shared, own = hparams

            def one(state: LearnerState, own: Any) -> Any:
                return self.learner.with_hparams(shared | own).run_updates(state, table, iteration, count, most)

            return over_seeds(one)(state, own)

        number = jax.ShapeDtypeStruct((), jnp.int32)
        program = jax.jit(run_updates, donate_argnums=0, out_shardings=(self._shardings, self._copies))
        with nullcontext() if self.mesh is None else jax.set_mesh(self.mesh):
            compiled = program.lower(self.abstract_state, self.table, self.hparams, number, number).compile()
        check_program(compiled)
        return compiled

    def collect(self, state: LearnerState, iteration: int) -> tuple[Any, Trajectory]:
        """The rollout of an iteration from the state before it: the observations after it, and the trajectory."""

        def rollouts(state: LearnerState, hparams: Any, iteration: jax.Array) -> tuple[Any, Trajectory]:
            shared, own = hparams

            def one(state: LearnerState, own: Any) -> tuple[Any, Trajectory]:
                learner = self.learner.with_hparams(shared | own)
                actor, trajectory = learner.rollout(state, self.table, iteration)
                return actor.obs, trajectory

            return over_seeds(one)(state, own)

        return jax.jit(rollouts)(state, self.hparams, np.int32(iteration))

    def compile_evaluation(self, episodes: int) -> Any:
        """(params, iteration) -> `Episodes` [seeds, episodes]."""

        def evaluate(params: Any, keys: jax.Array, iteration: jax.Array) -> Episodes:
            def one(params: Any, key: jax.Array) -> Episodes:
                policy = student_policy(self.network, params, greedy=False)
                carry = self.network.initial_carry(episodes)
                return run_episodes(self.world, policy, carry, jax.random.fold_in(key, iteration), episodes)

            return over_seeds(one)(params, keys)

        number = jax.ShapeDtypeStruct((), jnp.int32)
        program = (
            jax.jit(evaluate, out_shardings=self._copies)
            .lower(self.abstract_state.params, self._keys[1], number)
            .compile()
        )
        check_program(program)
        return lambda params, iteration: program(params, self._keys[1], np.int32(iteration))


def over_seeds(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one seed for all of them, on a leading axis of its arguments and results.

    On CPUs one after the other: `vmap` sums in another order for each number of seeds, so that a
    seed's bits would depend on those beside it. It would save a sixth of the time of eight seeds,
    in three times the memory.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(function)
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)


def check_feasible(config: TrainConfig) -> None:
    """Raises `UserError` where training would refuse the options before it begins; nothing is compiled."""
    shapes = replace(config.ppo, **dict.fromkeys(config.ppo.hparams, 1))
    _check_feasible(replace(config, seed_list=config.seed_list[:1], savedir=None, ppo=shapes))


@cache
def _check_feasible(config: TrainConfig) -> None:
    Experiment(config).check()
