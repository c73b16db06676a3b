"""Imports Jumanji first, whose environments switch a notebook's Matplotlib to ipympl and fail where that is missing."""

import builtins
from importlib.util import find_spec

_FLAG = "__IPYTHON__"

if getattr(builtins, _FLAG, False) and find_spec("ipympl") is None:
    setattr(builtins, _FLAG, False)
    try:
        import jumanji  # noqa: F401
    finally:
        setattr(builtins, _FLAG, True)
