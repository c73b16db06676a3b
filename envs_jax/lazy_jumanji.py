"""Imports Jumanji's interface without its environments, which take half a second and bring Matplotlib along."""

import sys
import threading
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

PACKAGE, REGISTRATION = "jumanji", "jumanji.registration"
INTERFACE: Final = ("env", "specs", "types", "tree_utils", "wrappers")
_LOCK: Final = threading.RLock()
_waiting: Final = [REGISTRATION, PACKAGE]


class _LazyModule(ModuleType):
    """A module that runs its code on the first access to a missing attribute.

    Jumanji and its registry load together, because the package registers the environments.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _LOCK:
            modules = [sys.modules[module] for module in _waiting]
            # What the modules themselves lack while they load is an error.
            _waiting.clear()
            for module in modules:
                module.__loader__.exec_module(module)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
            for module in modules:
                module.__class__ = ModuleType
        return ModuleType.__getattribute__(self, name)


def _lazy_module(name: str) -> ModuleType:
    spec = find_spec(name)
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    return module


if PACKAGE not in sys.modules:
    package = _lazy_module(PACKAGE)
    package.registration = _lazy_module(REGISTRATION)  # pyright: ignore[reportAttributeAccessIssue]
    for submodule in INTERFACE:
        import_module(f"{PACKAGE}.{submodule}")
    package.__class__ = package.registration.__class__ = _LazyModule
