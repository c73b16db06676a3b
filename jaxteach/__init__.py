"""A large language model as policy teacher for reinforcement learning, compiled into JAX.

`import jaxteach as jt` is the public API. What it names is imported when it is first used.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jaxteach.api.functional import make_train as make_train
    from jaxteach.api.plans import write_plans as write_plans
    from jaxteach.api.registry import register_network as register_network
    from jaxteach.api.registry import register_task as register_task
    from jaxteach.api.run import Policy as Policy
    from jaxteach.api.run import Run as Run
    from jaxteach.api.run import evaluate as evaluate
    from jaxteach.api.run import load_policy as load_policy
    from jaxteach.api.training import sweep as sweep
    from jaxteach.api.training import train as train
    from jaxteach.config import PPOConfig as PPOConfig
    from jaxteach.config import TrainConfig as TrainConfig
    from jaxteach.errors import UserError as UserError
    from jaxteach.networks.base import Output as Output
    from jaxteach.networks.base import Student as Student
    from jaxteach.teacher.policy import Teacher as Teacher
    from jaxteach.teacher.policy import make_teacher as make_teacher
    from jaxteach.teacher.tasks.minigrid import MiniGridDomain as MiniGridDomain
    from jaxteach.teacher.tasks.minigrid_captions import MiniGridCaptions as MiniGridCaptions
    from jaxteach.teacher.tasks.minigrid_captions import NamedObject as NamedObject
    from jaxteach.teacher.tasks.plain import PlainDomain as PlainDomain
    from jaxteach.teacher.tasks.plain import Words as Words

    __version__: str

_MODULES: Final = {
    "MiniGridCaptions": "teacher.tasks.minigrid_captions",
    "MiniGridDomain": "teacher.tasks.minigrid",
    "NamedObject": "teacher.tasks.minigrid_captions",
    "Output": "networks.base",
    "PPOConfig": "config",
    "PlainDomain": "teacher.tasks.plain",
    "Policy": "api.run",
    "Run": "api.run",
    "Student": "networks.base",
    "Teacher": "teacher.policy",
    "TrainConfig": "config",
    "UserError": "errors",
    "Words": "teacher.tasks.plain",
    "evaluate": "api.run",
    "load_policy": "api.run",
    "make_teacher": "teacher.policy",
    "make_train": "api.functional",
    "register_network": "api.registry",
    "register_task": "api.registry",
    "sweep": "api.training",
    "train": "api.training",
    "write_plans": "api.plans",
}
"""The module of each public name."""

__all__ = [
    "MiniGridCaptions",
    "MiniGridDomain",
    "NamedObject",
    "Output",
    "PPOConfig",
    "PlainDomain",
    "Policy",
    "Run",
    "Student",
    "Teacher",
    "TrainConfig",
    "UserError",
    "Words",
    "__version__",
    "evaluate",
    "load_policy",
    "make_teacher",
    "make_train",
    "register_network",
    "register_task",
    "sweep",
    "train",
    "write_plans",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.import_module("jaxteach.config").this_version()
    elif name in _MODULES:
        value = getattr(importlib.import_module(f"jaxteach.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module 'jaxteach' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package: `jaxteach.train` and `jaxteach.sweep` are functions, also once the commands of that name are
    imported, which Python would bind in their place.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
