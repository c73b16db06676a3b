"""Users' own tasks and networks: what is registered is known to every command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import envs_jax
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.api.options import names_as_keywords
from jaxteach.config import TrainConfig, changes
from jaxteach.errors import UserError
from jaxteach.networks.base import Student
from jaxteach.networks.registry import NETWORKS, REGISTERED
from jaxteach.tasks import OBJECT, TASKS, TaskSpec
from jaxteach.teacher.domain import Domain
from jaxteach.teacher.names import check_vocabulary
from jaxteach.teacher.tasks.minigrid import MiniGridDomain


@names_as_keywords()
def register_task(
    world: Callable[..., Any],
    defaults: TrainConfig,
    domain: Domain | Callable[[Any], Domain] | None = None,
    prompt: Path | None = None,
) -> None:
    """Makes a task known to all commands; a name that was registered before then stands for the new task.

    Args:
        world: makes the world, a Jumanji environment; its parameters are the task's.
        defaults: the options of a run unless told otherwise; with the task's name and `total_steps`.
        domain: what the teacher knows of the task, or `(env) -> Domain`, which makes it for one of the task's
            environments, as a `MiniGridDomain` needs; None for a task without a teacher.
        prompt: the text file with which a language model is asked, with `{caption}` at its end and, where they belong,
            `{objects}` and `{skills}`, and for `MiniGridCaptions` `{mission}` and `{notes}`. By default a task with a
            `MiniGridDomain` has the prompt of MiniGrid's worlds, and any other has none.

    Raises:
        ValueError: the name is built in or not allowed; the steps are missing; a default makes no
            sense; the domain is not a `Domain`; or the domain's words can't be written and read back, see `Words`.
    """
    if not isinstance(defaults, TrainConfig):
        raise UserError(f"a task's defaults are a TrainConfig, not {defaults!r}")
    name, steps = defaults.task, defaults.total_steps
    if steps is None:
        raise UserError(f"give total_steps in the defaults of {name}")
    defaults.check()
    if defaults.network not in (*NETWORKS, *REGISTERED):
        known = ", ".join((*NETWORKS, *REGISTERED))
        raise UserError(f"unknown network {defaults.network!r}; register it before {name}, known are {known}")
    make_domain = None if domain is None else _domain_maker(domain)
    made = None if make_domain is None else make_domain(name, None if isinstance(domain, Domain) else world())
    if made is not None:
        if not isinstance(made, Domain):
            raise UserError(f"the domain of {name} must be a Domain, such as PlainDomain, not {made!r}")
        check_vocabulary(made.vocabulary)
    if prompt is not None and not isinstance(prompt, str | Path):
        raise UserError(f"the prompt of {name} must be the path of a text file, not {prompt!r}")
    if name.startswith(OBJECT):
        raise UserError(f"{name!r} can't name a task: names that begin with {OBJECT} stand for objects; choose another")
    envs_jax.register(name, world)
    options = {option: value for option, (value, _) in changes(defaults, TrainConfig(name)).items()}
    del options["total_steps"]
    shipped = "MiniGrid" if isinstance(made, MiniGridDomain) else None
    TASKS[name] = TaskSpec(steps, options, make_domain, shipped if prompt is None else Path(prompt))


def _domain_maker(domain: Domain | Callable[[Any], Domain]) -> Callable[[str, Any], Domain]:
    """`TaskSpec.domain` for a domain, or for a function that makes it."""
    if isinstance(domain, Domain) or not callable(domain):
        return lambda task, env: domain
    return lambda task, env: domain(env)


def register_network(name: str, make: Callable[[AgentAxisWrapper], Student]) -> None:
    """Makes a student known by a name, for `--network`; `make` is given the world that it must fit.

    A name that was registered before then stands for the new one.

    Raises:
        ValueError: the name is built in or not allowed, or `make` is not a function.
    """
    if name in NETWORKS:
        raise UserError(f"there is a network {name} already; choose another name")
    if not isinstance(name, str) or not name.isprintable() or not name.strip() or name.startswith(OBJECT):
        raise UserError(f"{name!r} can't name a network; give it a name that can be typed and has no {OBJECT} in front")
    if not callable(make):
        raise UserError(f"the network {name} needs a function that makes it, not {make!r}")
    REGISTERED[name] = make
