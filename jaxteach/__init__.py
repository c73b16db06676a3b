"""A large language model as policy teacher for reinforcement learning, compiled into JAX.

What is named here is imported when it is first used, so that `import jaxteach` takes no time.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxteach.api.policies import Policy, load_policy
    from jaxteach.api.registry import register_network, register_task
    from jaxteach.api.runs import Run, evaluate
    from jaxteach.api.training import make_train, sweep, train
    from jaxteach.config import PPOConfig, TrainConfig
    from jaxteach.networks.base import Output, Student
    from jaxteach.teacher.policy import Teacher, make_teacher
    from jaxteach.teacher.tasks.plain import PlainDomain, Words

__version__: str

__all__ = [
    "Output",
    "PPOConfig",
    "PlainDomain",
    "Policy",
    "Run",
    "Student",
    "Teacher",
    "TrainConfig",
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
]

_PLACES = {
    "Output": "networks.base",
    "PPOConfig": "config",
    "PlainDomain": "teacher.tasks.plain",
    "Policy": "api.policies",
    "Run": "api.runs",
    "Student": "networks.base",
    "Teacher": "teacher.policy",
    "TrainConfig": "config",
    "Words": "teacher.tasks.plain",
    "evaluate": "api.runs",
    "load_policy": "api.policies",
    "make_teacher": "teacher.policy",
    "make_train": "api.training",
    "register_network": "api.registry",
    "register_task": "api.registry",
    "sweep": "api.training",
    "train": "api.training",
}


class _Package(ModuleType):
    """Keeps `jaxteach.train` the function when the command's module of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.import_module("jaxteach.config").this_version()
    elif name in _PLACES:
        value = getattr(importlib.import_module(f"jaxteach.{_PLACES[name]}"), name)
    else:
        raise AttributeError(f"module 'jaxteach' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
