"""Users' own tasks and students: what a module registers is known to every command.

The commands import the modules that the environment variable `JAXTEACH_IMPORT` names, with commas between them.
"""

import importlib
import os
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp

import envs_jax
import jaxteach
from envs_jax.small_gather import pick
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import OWN_DEFAULTS, TASK_STEPS, TrainConfig
from jaxteach.errors import UserError
from jaxteach.llm.prompts import OWN_PROMPTS
from jaxteach.networks.base import NETWORKS, OWN_NETWORKS, Output, Student
from jaxteach.teacher.domain import Domain
from jaxteach.teacher.names import check_vocabulary
from jaxteach.teacher.navigation import FINISHED
from jaxteach.teacher.policy import DOMAINS
from jaxteach.teacher.table import EXPLORE, FIRST_OBJECT_SKILL, OBJECT_SKILLS, WAIT

__all__ = ["FINISHED", "Output", "PlainDomain", "Student", "Words", "register_network", "register_task"]

VARIABLE: Final = "JAXTEACH_IMPORT"
LIBRARIES: Final = tuple(
    os.path.join(folder, "")
    for folder in (
        *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
        *(os.path.dirname(str(package.__file__)) for package in (envs_jax, jaxteach)),
    )
)


def import_plugins() -> None:
    """Imports the modules that the environment variable names.

    Raises:
        UserError: one can't be imported; the message says where it fails.
    """
    for name in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            what = reason if isinstance(error, ModuleNotFoundError | UserError) else f"{type(error).__name__}: {reason}"
            raise UserError(f"{VARIABLE} names {name}, and it can't be imported: {what}{_place_of(error)}") from None


def _place_of(error: BaseException) -> str:
    """Where in a user's file an error arose, in brackets; nothing where that is not known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if not frame.filename.startswith(LIBRARIES)]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def register_task(
    world: Callable[..., Any], defaults: TrainConfig, domain: Domain | None = None, prompt: Path | None = None
) -> None:
    """Makes a task known to all commands; a name that was registered before then stands for the new task.

    Args:
        world: makes the world, a Jumanji environment; its parameters are the task's.
        defaults: the options of a run unless told otherwise; with the task's name and `total_steps`.
        domain: what the teacher knows of the task, None for a task without one.
        prompt: the text file with which a language model is asked, `{objects}` and `{caption}` in it.

    Raises:
        ValueError: the name is built in or not allowed; the steps are missing; a default makes no
            sense; or the domain's words can't be written and read back, see `Words`.
    """
    name, steps = defaults.task, defaults.total_steps
    if steps is None:
        raise UserError(f"give total_steps in the defaults of {name}")
    defaults.check()
    if domain is not None:
        check_vocabulary(domain.vocabulary)
    prompt = None if prompt is None else Path(prompt)
    envs_jax.register(name, world)
    TASK_STEPS[name], OWN_DEFAULTS[name] = steps, replace(defaults, total_steps=None)
    DOMAINS.pop(name, None)
    OWN_PROMPTS.pop(name, None)
    if domain is not None:
        DOMAINS[name] = lambda task, env: domain
    if prompt is not None:
        OWN_PROMPTS[name] = prompt


def register_network(name: str, make: Callable[[AgentAxisWrapper], Student]) -> None:
    """Makes a student known by a name, for `--network`; `make` is given the world that it must fit.

    A name that was registered before then stands for the new one.

    Raises:
        ValueError: the name is built in or not allowed, or `make` is not a function.
    """
    if name in NETWORKS:
        raise UserError(f"there is a network {name} already; choose another name")
    if not isinstance(name, str) or not name.isprintable() or not name.strip():
        raise UserError(f"{name!r} can't name a network")
    if not callable(make):
        raise UserError(f"the network {name} needs a function that makes it, not {make!r}")
    OWN_NETWORKS[name] = make


@dataclass(frozen=True)
class Words:
    """A `Vocabulary` of what is seen: each caption in `sees` is the names of the things in it.

    Names are letters, digits, - and _, with single blanks between; upper and lower case don't
    make two names. What a caption tells of is an object, or one with words before its name, such
    as "lit red switch" for a "red switch".

    Attributes:
        sees: the captions, each another.
        object_names: the names that plans may use.
        skills: those that plans may use, of `explore`, `goto`, `pickup`, `drop`, `toggle`, `wait`.

    Raises:
        ValueError: a name is not allowed or stands there twice, or a caption names something that is no object.
    """

    sees: list[list[str]]
    object_names: list[str]
    skills: tuple[str, ...] = ("goto", "toggle")

    def __post_init__(self) -> None:
        words: Any = self
        check_vocabulary(words)

    @cached_property
    def holds(self) -> list[str | None]:
        return [None] * len(self.sees)

    @cached_property
    def texts(self) -> list[str]:
        return [f"Agent sees {', '.join(f'<{name}>' for name in sees) or 'nothing'}." for sees in self.sees]


@dataclass(frozen=True)
class PlainDomain:
    """A `Domain` of one agent without a memory: captions and actions follow from the observation alone.

    Attributes:
        vocabulary: the words.
        num_actions: how many actions there are.
        caption: the observation's caption, its place in the vocabulary, int32[].
        actions: for each skill and object of a plan the action, int32[], or `FINISHED` where it is done.
        idle: the action that does nothing.
    """

    vocabulary: Words
    num_actions: int
    caption: Callable[[Any], jax.Array]
    actions: Callable[[Any], dict[tuple[str, str | None], jax.Array]]
    noop: int = 0
    num_agents = None

    def reset(self) -> jax.Array:
        return jnp.zeros(0, jnp.float32)

    def read(self, obs: Any) -> Any:
        return obs

    def remember(self, memory: jax.Array, scene: Any) -> jax.Array:
        del scene
        return memory

    def advance(self, memory: jax.Array, action: jax.Array) -> jax.Array:
        del action
        return memory

    def caption_id(self, memory: jax.Array, scene: Any) -> tuple[jax.Array, None]:
        del memory
        return jnp.asarray(self.caption(scene), jnp.int32), None

    def object_ids(self, scene: Any, context: None) -> jax.Array:
        del scene, context
        return jnp.full(len(self.vocabulary.object_names), -1, jnp.int32)

    def skill_actions(self, memory: jax.Array, scene: Any, context: None, skills: jax.Array) -> jax.Array:
        """A skill that `actions` does not give is finished; to wait is to do nothing."""
        del memory, context
        names = self.vocabulary.object_names
        results = [jnp.int32(FINISHED)] * (FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * len(names))
        results[WAIT] = jnp.int32(self.noop)
        for (skill, name), action in self.actions(scene).items():
            place = {"explore": EXPLORE, "wait": WAIT}.get(skill)
            if place is None and (skill not in OBJECT_SKILLS or name not in names):
                raise UserError(
                    f"the domain's actions are of {skill!r}, {name!r}, which is none of its skills and objects"
                )
            if place is None:
                place = FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * names.index(str(name)) + OBJECT_SKILLS.index(skill)
            if isinstance(action, int) and action != FINISHED and not 0 <= action < self.num_actions:
                raise UserError(f"the domain's action of {skill!r}, {name!r} is {action}: it has {self.num_actions}")
            results[place] = jnp.asarray(action, jnp.int32)
        return pick(jnp.stack(results), skills)
