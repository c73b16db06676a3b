"""Environments, networks and teachers that are passed as objects: known to all parts by a name, while they are used."""

import hashlib
import re
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import jax
import numpy as np

import envs_jax
from envs_jax.minigrid import MiniGridEnv
from envs_jax.minigrid.map_memory import has_minigrid_observation, map_size
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.guidance.ask_world import AskWorld, student_world
from jaxteach.networks.base import is_student
from jaxteach.networks.registry import REGISTERED
from jaxteach.runs.files import fit_for_a_folder
from jaxteach.tasks import OBJECT, TASKS, TaskSpec
from jaxteach.teacher.domain import Domain
from jaxteach.teacher.loading import GIVEN
from jaxteach.teacher.policy import Teacher, task_domain
from jaxteach.teacher.tasks.minigrid import MiniGridDomain

STEPS: Final = 500_000
"""Environment steps of a run in an environment that is passed as an object, unless told otherwise."""


@dataclass(frozen=True)
class Objects:
    """What stands in for names in a run.

    Attributes:
        env: a Jumanji environment; None for the task that the options name.
        network: a flax module, or a function that makes it for an `AgentAxisWrapper`; None for one by name.
    """

    env: Any = None
    network: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.env, type) or (self.env is not None and not callable(getattr(self.env, "reset", None))):
            raise UserError(f"an environment is an object with reset and step, or a task's name, not {self.env!r}")
        if self.network is not None and not callable(self.network) and not hasattr(self.network, "apply"):
            raise UserError(f"a network is a flax module, a function that makes one, or a name, not {self.network!r}")

    @property
    def task(self) -> str:
        """The name that stands for the environment."""
        return OBJECT + _fit(type(self.env).__name__)

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Inside the block the environment is a task."""
        if self.env is None:
            yield
            return
        env = self.env.env if isinstance(self.env, AgentAxisWrapper) else self.env
        envs_jax.register(self.task, lambda: env)
        with _entry(TASKS, self.task, TaskSpec(STEPS, {"network": _default_network(env)})):
            yield

    @contextmanager
    def network_of(self, config: TrainConfig) -> Iterator[str]:
        """The network's name, which stands for it inside the block."""
        if self.network is None:
            yield config.network
            return
        network = self.network if hasattr(self.network, "apply") and not isinstance(self.network, type) else None
        made = self.network(student_world(config)) if network is None else network
        if not is_student(made):
            raise UserError(
                f"the network {type(made).__name__} has no prepare or no initial_carry; make it a jaxteach.Student"
            )
        name = f"{OBJECT}{_fit(type(made).__name__)}-{_digest(re.sub(r' at 0x[0-9a-f]+', '', repr(made)).encode())}"
        with _entry(REGISTERED, name, self.network if network is None else lambda world: network):
            yield name


@contextmanager
def teacher_as_plans(teacher: Teacher, config: TrainConfig, own_domain: bool = False) -> Iterator[str]:
    """What stands for a teacher among the options, as `plans`, inside the block.

    Args:
        teacher: the teacher.
        config: the options.
        own_domain: its domain was given by itself, so that it need not resemble that of the task.

    Raises:
        UserError: the teacher is not of such a task.
    """
    world, domain = config.world.make(config.task), teacher.domain
    counts = world.action_counts
    if (domain.num_agents or 1, domain.num_actions) != (len(counts), max(counts)):
        raise UserError(
            f"the teacher is of {domain.num_agents or 1} agents with {domain.num_actions} actions, "
            f"and the environment has {len(counts)} with {max(counts)}"
        )
    if not own_domain:
        _check_like_the_task_s(domain, config)
    _check_readable(domain, world, config.task)
    texts = "\n".join(teacher.captions).encode()
    name = OBJECT + _digest(texts, *(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(teacher.table)))
    with _entry(GIVEN, name, teacher):
        yield name


def _check_like_the_task_s(domain: Domain, config: TrainConfig) -> None:
    """Raises `UserError` for a teacher of another kind of task, or with other words, than the task's own."""
    task = config.task
    if TASKS[task].domain is None:
        return
    try:
        own = task_domain(config.world.make_env(task), task)
    except ValueError:  # the task's own teacher can't deal with the world's parameters
        return
    way_out = f"make it by make_teacher({task!r}), or pass a Domain of your own instead"
    if not isinstance(domain, type(own)):
        kinds = f"a {type(domain).__name__}, and that of {task} a {type(own).__name__}"
        raise UserError(f"the teacher is for another kind of task: its domain is {kinds}; {way_out}")
    names, own_names = (", ".join(each.vocabulary.object_names) for each in (domain, own))
    if names != own_names:
        raise UserError(f"the teacher's plans name {names}, and those of {task} {own_names}; {way_out}")


def _check_readable(domain: Domain, world: AgentAxisWrapper, task: str) -> None:
    """Raises `UserError` for a domain that can't read the world's observations, or whose map has another size."""
    env, task = getattr(world.env, "unwrapped", world.env), task.removeprefix(OBJECT)
    if isinstance(domain, MiniGridDomain) and isinstance(env, MiniGridEnv) and domain.size != map_size(env):
        (width, height), (wide, high) = domain.size, map_size(env)
        raise UserError(
            f"the teacher's map has {width} x {height} cells, and {task} needs {wide} x {high}; make the teacher for "
            "this world, by make_teacher or MiniGridDomain.of"
        )
    # All agents observe alike.
    obs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), world.abstract_observation)
    try:
        jax.eval_shape(domain.read, obs)
    except UserError as error:
        raise UserError(f"the teacher is not for the observations of {task}: {error}") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        kind = type(domain).__name__
        raise UserError(f"the teacher, a {kind}, can't read the observations of {task}: {error!s:.300}") from error


@contextmanager
def _entry(registry: MutableMapping[str, Any], name: str, value: Any) -> Iterator[None]:
    """An entry that a registry has inside the block alone."""
    with ExitStack() as stack:
        if name in registry:
            stack.callback(registry.__setitem__, name, registry[name])
        else:
            stack.callback(registry.pop, name)
        registry[name] = value
        yield


def _default_network(env: Any) -> str:
    """The built-in network for an environment: egocentric for maps, which have two axes and one for channels."""
    if has_minigrid_observation(env):
        return "egocentric"
    if isinstance(env, AskWorld):
        return "cnn"
    obs = jax.eval_shape(env.reset, jax.random.key(0))[1].observation
    return "egocentric" if getattr(obs, "ndim", 0) == 3 else "mlp"


def _fit(name: str) -> str:
    return fit_for_a_folder(name)[:80]


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(contents)).hexdigest()[:8]
