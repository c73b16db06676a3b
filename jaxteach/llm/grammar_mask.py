"""Grammars: which tokens may follow, and which must."""

import codecs
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np

from jaxteach.llm.tree_decoding import Model


class Grammar:
    """A GBNF grammar over a model's tokens, a `Constraint`.

    What may follow depends only on the text so far, so each text is examined once for all answers.
    Forced text is split by the model's tokenizer rather than sampled token by token, so that equal
    answers have equal tokens.

    Raises:
        ValueError: llama.cpp can't read the grammar.
    """

    def __init__(self, model: Model, grammar: str) -> None:
        self._model = model
        root = llama_cpp.llama_sampler_init_grammar(model.vocab, grammar.encode(), b"root")
        if not root:
            raise ValueError("llama.cpp can't read the grammar")
        self._states: dict[bytes, Any] = {b"": root}
        self._allowed: dict[bytes, np.ndarray] = {}
        self._forced: dict[bytes, list[int]] = {}
        self._data = (llama_cpp.llama_token_data * model.num_tokens)()
        fields = [("id", np.int32), ("logit", np.float32), ("p", np.float32)]
        self._table = np.frombuffer(memoryview(self._data), np.dtype(fields))
        # int16[tokens], -1 for control tokens
        self._first_bytes = np.array([piece[0] if piece else -1 for piece in model.pieces], np.int16)
        # llama.cpp compares control tokens by their names, though they add no text.
        ends = [token for token in np.flatnonzero(self._first_bytes < 0).tolist() if model.is_end(token)]
        self._can_be_drawn = (self._first_bytes >= 0) | np.isin(np.arange(model.num_tokens), ends)
        self._byte_tokens = {piece[0]: token for token, piece in enumerate(model.pieces) if len(piece) == 1}

    def allowed(self, tokens: Sequence[int]) -> np.ndarray:
        """See `Constraint`."""
        text = self._model.detokenize(tokens)
        if text not in self._allowed:
            self._allowed[text] = self._apply(self._state(tokens))
        return self._allowed[text]

    def forced(self, tokens: Sequence[int]) -> list[int]:
        """See `Constraint`."""
        text = self._model.detokenize(tokens)
        if text not in self._forced:
            run, ahead = b"", list(tokens)
            while (byte := self._only_byte(ahead)) is not None:
                run += bytes([byte])
                ahead.append(self._byte_tokens[byte])
            self._forced[text] = self._split(run)
        return self._forced[text]

    def _only_byte(self, tokens: Sequence[int]) -> int | None:
        """The byte with which all allowed tokens begin; None if they differ or may end the answer."""
        first = self._first_bytes[self.allowed(tokens)]
        same = first.size > 0 and first[0] >= 0 and bool((first == first[0]).all())
        return int(first[0]) if same and int(first[0]) in self._byte_tokens else None

    def _split(self, run: bytes) -> list[int]:
        """The tokens of a text within an answer, which may end in the midst of a letter of several bytes."""
        text, length = codecs.utf_8_decode(run, "ignore", False)
        # SentencePiece puts a blank before a text and joins it to the first word; a line end keeps them apart.
        for before in ("", "\n"):
            tokens = self._model.tokenize(before + text, special=False, start=False) if text else []
            while tokens and self._model.detokenize(tokens) != run[:length]:
                tokens = tokens[1:]
            if tokens:
                return tokens + self._bytes(run[length:])
        return self._bytes(run)

    def _bytes(self, run: bytes) -> list[int]:
        return [self._byte_tokens[byte] for byte in run]

    def _state(self, tokens: Sequence[int]) -> Any:
        text = self._model.detokenize(tokens)
        if text not in self._states:
            state = llama_cpp.llama_sampler_clone(self._state(tokens[:-1]))
            llama_cpp.llama_sampler_accept(state, tokens[-1])
            self._states[text] = state
        return self._states[text]

    def _apply(self, state: Any) -> np.ndarray:
        """bool[tokens]; a token is examined only if its first byte may follow, or has no token of its own."""
        single = self._byte_tokens
        follow = self._examine(state, np.fromiter(single.values(), np.int32))
        # A byte of a longer letter may be refused although some of the letters with it may follow.
        excluded = np.array([byte for byte, token in single.items() if byte < 128 and not follow[token]], np.int16)
        return self._examine(state, np.flatnonzero(self._can_be_drawn & ~np.isin(self._first_bytes, excluded)))

    def _examine(self, state: Any, tokens: np.ndarray) -> np.ndarray:
        """bool[tokens], which of some tokens may follow."""
        table = self._table[: len(tokens)]
        table["id"], table["logit"] = tokens, 0
        array = (llama_cpp.llama_token_data_array * 1)((self._data, len(tokens), -1, False))
        llama_cpp.llama_sampler_apply(state, array)
        allowed = np.zeros(self._model.num_tokens, bool)
        allowed[table["id"][np.isfinite(table["logit"])]] = True
        return allowed

    def __del__(self) -> None:
        for state in getattr(self, "_states", {}).values():
            llama_cpp.llama_sampler_free(state)
