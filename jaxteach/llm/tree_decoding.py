"""Many answers decoded together: a tree of llama.cpp sequences that share what they have in common.

The start that all prompts share is evaluated once. Answers to one prompt share a sequence as long as
their tokens are the same, and part where they differ. All live branches advance in one batch.
"""

import ctypes
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import llama_cpp
import numpy as np

from jaxteach.llm.noise import GumbelNoise
from jaxteach.system.cores import visible_cores

PROMPT_SEQUENCE = 0
MAX_LOG_RATIO = 25
"""Tokens e^25 times less likely than the likeliest are never drawn: together, they have less than a millionth."""


class ContextFull(Exception):
    """A prompt and its answer don't fit into the context."""


class Choices:
    """The model's distribution over the next token."""

    def __init__(self, logits: np.ndarray, allowed: np.ndarray | None) -> None:
        """`logits` float32[tokens]; `allowed` bool[tokens], or None for all."""
        self._logits = logits if allowed is None else np.where(allowed, logits, -np.inf)

    @cached_property
    def log_probs(self) -> np.ndarray:
        """float32[tokens]."""
        shifted = self._logits - self._logits.max()
        return shifted - np.log(np.exp(shifted).sum())

    def draw(self, temperature: float, noise: GumbelNoise, position: int) -> int:
        """A token drawn with the noise of a position in an answer; the likeliest at temperature 0."""
        if temperature == 0:
            return int(self._logits.argmax())
        tokens = self._possible(temperature)
        return int(tokens[(self._logits[tokens] / temperature + noise.at(position, tokens)).argmax()])

    def _possible(self, temperature: float) -> np.ndarray:
        """int64[n], the tokens that may be drawn; see `MAX_LOG_RATIO`."""
        if self._cached_tokens is None or self._cached_tokens[0] != temperature:
            rarest = self._logits.max() - np.float32(MAX_LOG_RATIO * temperature)
            self._cached_tokens = (temperature, np.flatnonzero(self._logits >= rarest))
        return self._cached_tokens[1]

    _cached_tokens: tuple[float, np.ndarray] | None = None


class Sampler(ABC):
    """One answer, which chooses its own way through the tree."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.done = False

    @abstractmethod
    def step(self, choices: Choices) -> None:
        """Appends the next token to `tokens`, or sets `done`, or both."""

    @abstractmethod
    def follow(self, tokens: Sequence[int]) -> None:
        """Appends tokens that there was no choice about, and sets `done` where they complete the answer."""


class Constraint(Protocol):
    """What answers may be."""

    def allowed(self, tokens: Sequence[int]) -> np.ndarray:
        """bool[tokens], those that may follow an answer's tokens so far."""
        ...

    def forced(self, tokens: Sequence[int]) -> list[int]:
        """The tokens that must follow, as far as there is no choice."""
        ...


@dataclass
class Group:
    """Samplers of one prompt, and the sequences reserved for them."""

    prompt: int
    samplers: Sequence[Sampler]
    sequences: list[int] = field(default_factory=list)
    live: int = 0


@dataclass
class Branch:
    """Samplers that have chosen the same tokens so far."""

    group: Group
    sequence: int
    position: int
    fresh: list[int]  # tokens not yet evaluated
    samplers: Sequence[Sampler]


class Model:
    """A GGUF file in memory.

    Raises:
        OSError: llama.cpp can't load it.
    """

    def __init__(self, path: str) -> None:
        disable_log()
        llama_cpp.llama_backend_init()
        self._model: Any = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise OSError("llama.cpp can't load it")
        self.vocab: Any = llama_cpp.llama_model_get_vocab(self._model)
        self.num_tokens = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def close(self) -> None:
        """Frees the memory."""
        if self._model:
            llama_cpp.llama_model_free(self._model)
            self._model = None

    @property
    def pointer(self) -> Any:
        """llama.cpp's own model."""
        return self._model

    @cached_property
    def chat_template(self) -> str | None:
        """The Jinja template that the file brings for chats."""
        template = llama_cpp.llama_model_chat_template(self._model, None)
        return template.decode("utf-8") if template else None

    def tokenize(self, text: str, special: bool, start: bool) -> list[int]:
        """The tokens of a text; `special` reads control tokens in it, `start` puts the model's first token before."""
        data = text.encode("utf-8")
        room = len(data) + 8
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), tokens, room, start, special)
        return list(tokens[:count])

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes that each token stands for; none for a control token."""
        room = 256
        buffer = ctypes.create_string_buffer(room)

        def piece(token: int) -> bytes:
            size = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, room, 0, False)
            return buffer.raw[: max(size, 0)]

        return list(map(piece, range(self.num_tokens)))

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """The bytes that tokens stand for together."""
        return b"".join(self.pieces[token] for token in tokens)

    def special_text(self, token: Any) -> str:
        """A control token as it stands in chat templates."""
        if token < 0:
            return ""
        return llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8")

    def is_end(self, token: int) -> bool:
        """Whether a token ends an answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self.vocab, token))


class TreeDecoder:
    """Decodes many answers together, as a tree of a model's continuations.

    Args:
        model: what is asked.
        parallel: sequences decoded at a time, at least 2.
        context: tokens that the cache holds, all sequences together.
        max_tokens: the longest answer.
        threads: cores to use, None for all.
        constraint: what answers may be, None for anything.
    """

    def __init__(
        self,
        model: Model,
        parallel: int,
        context: int,
        max_tokens: int,
        threads: int | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.model, self.max_tokens, self.constraint, self.cells = model, max_tokens, constraint, context
        self.parallel = min(parallel, llama_cpp.llama_max_parallel_sequences())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = context, self.parallel, True
        params.n_batch = params.n_ubatch = self.batch_size = min(context, max(512, self.parallel))
        params.n_outputs_max = self.parallel
        params.n_threads = params.n_threads_batch = threads or visible_cores()
        params.no_perf = True
        self._context: Any = llama_cpp.llama_init_from_model(model.pointer, params)
        if not self._context:
            raise ContextFull(f"a context of {context} tokens doesn't fit into memory")
        self._memory: Any = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(self.batch_size, 0, 1)

    def close(self) -> None:
        """Frees the memory."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)

    def run(self, prompts: Sequence[list[int]], samplers: Sequence[Sequence[Sampler]]) -> Iterator[Sampler]:
        """Decodes, and yields the samplers as their answers are complete.

        Args:
            prompts: tokens of each prompt.
            samplers: for each prompt, those that start from it.

        Raises:
            ContextFull: a prompt and its answer don't fit into the context.
        """
        llama_cpp.llama_memory_clear(self._memory, True)
        shared = shared_start(prompts)
        everything = Group(0, [])
        if shared:
            list(self._evaluate([Branch(everything, PROMPT_SEQUENCE, 0, prompts[0][:shared], [])]))
        waiting = deque(self._groups(prompts, samplers, shared))
        free, cells = list(range(1, self.parallel)), self.cells - shared
        branches: list[Branch] = []
        while waiting or branches:
            while waiting and len(waiting[0].samplers) <= len(free):
                need = self._cells(waiting[0], prompts, shared)
                if need > cells:
                    break
                branches.append(self._open(waiting.popleft(), free, prompts, shared))
                cells -= need
            following: list[Branch] = []
            for branch, logits in self._evaluate(branches):
                children, complete = self._split(branch, logits)
                following += children
                yield from complete
                if branch.group.live == 0:
                    free += branch.group.sequences
                    cells += self._cells(branch.group, prompts, shared)
            branches = following

    def _groups(
        self, prompts: Sequence[list[int]], samplers: Sequence[Sequence[Sampler]], shared: int
    ) -> Iterator[Group]:
        """The samplers of each prompt, in groups that fit into the context."""
        for i, (prompt, starters) in enumerate(zip(prompts, samplers)):
            room = (self.cells - len(prompt)) // self.max_tokens
            if starters and room < 1:
                raise ContextFull(
                    f"a prompt of {len(prompt)} tokens and an answer of {self.max_tokens} need more than {self.cells}"
                )
            size = min(room, self.parallel - 1)
            yield from (Group(i, starters[k : k + size]) for k in range(0, len(starters), size))

    def _cells(self, group: Group, prompts: Sequence[list[int]], shared: int) -> int:
        return len(prompts[group.prompt]) - shared + len(group.samplers) * self.max_tokens

    def _open(self, group: Group, free: list[int], prompts: Sequence[list[int]], shared: int) -> Branch:
        group.sequences = [free.pop() for _ in group.samplers]
        group.live = len(group.samplers)
        sequence = group.sequences.pop()
        self._copy(PROMPT_SEQUENCE, sequence, shared)
        fresh = prompts[group.prompt][shared:] + self._follow(group.samplers)
        return Branch(group, sequence, shared, fresh, group.samplers)

    def _follow(self, samplers: Sequence[Sampler]) -> list[int]:
        """Advances samplers with the same tokens while there is no choice; returns those tokens."""
        forced = self.constraint.forced(samplers[0].tokens) if self.constraint else []
        for sampler in samplers:
            sampler.follow(forced)
        return forced

    def _split(self, branch: Branch, logits: np.ndarray) -> tuple[list[Branch], list[Sampler]]:
        """The branches that go on, and the samplers that are complete."""
        allowed = self.constraint.allowed(branch.samplers[0].tokens) if self.constraint else None
        choices = Choices(logits, allowed)
        taken: dict[int, list[Sampler]] = {}
        complete: list[Sampler] = []
        for sampler in branch.samplers:
            sampler.step(choices)
            if sampler.done:
                complete.append(sampler)
            else:
                taken.setdefault(sampler.tokens[-1], []).append(sampler)
        ways: list[tuple[list[int], list[Sampler]]] = []
        for token, samplers in taken.items():
            fresh = [token, *self._follow(samplers)]
            if samplers[0].done or len(samplers[0].tokens) >= self.max_tokens:
                complete += samplers
            else:
                ways.append((fresh, samplers))
        group = branch.group
        group.live -= len(complete)
        if not ways:
            llama_cpp.llama_memory_seq_rm(self._memory, branch.sequence, -1, -1)
            group.sequences.append(branch.sequence)
        sequences = [branch.sequence] + [group.sequences.pop() for _ in range(len(ways) - 1)]
        children = []
        for sequence, (fresh, samplers) in zip(sequences, ways):
            if sequence != branch.sequence:
                self._copy(branch.sequence, sequence, branch.position)
            children.append(Branch(group, sequence, branch.position, fresh, samplers))
        return children, complete

    def _copy(self, source: int, target: int, end: int) -> None:
        """Lets `target` share the first `end` positions of `source`."""
        if end:
            llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def _evaluate(self, branches: Sequence[Branch]) -> Iterator[tuple[Branch, np.ndarray]]:
        """Evaluates the branches' fresh tokens; gives the logits after each branch's last, valid until the next."""
        rows: list[tuple[int, Branch]] = []
        for branch in branches:
            while branch.fresh:
                if self._batch.n_tokens == self.batch_size:
                    yield from self._flush(rows)
                room = self.batch_size - self._batch.n_tokens
                part, branch.fresh = branch.fresh[:room], branch.fresh[room:]
                self._add(branch, part)
                if not branch.fresh:
                    rows.append((self._batch.n_tokens - 1, branch))
        yield from self._flush(rows)

    def _add(self, branch: Branch, tokens: list[int]) -> None:
        batch = self._batch
        ends = not branch.fresh and bool(branch.samplers)
        for number, token in enumerate(tokens, 1):
            i = batch.n_tokens
            batch.token[i], batch.pos[i] = token, branch.position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, branch.sequence
            batch.logits[i] = ends and number == len(tokens)
            batch.n_tokens += 1
            branch.position += 1

    def _flush(self, rows: list[tuple[int, Branch]]) -> Iterator[tuple[Branch, np.ndarray]]:
        if self._batch.n_tokens:
            failed = llama_cpp.llama_decode(self._context, self._batch)
            self._batch.n_tokens = 0
            if failed:
                raise ContextFull(f"llama.cpp can't evaluate a batch (code {failed})")
        done, rows[:] = list(rows), []
        for row, branch in done:
            if branch.samplers:
                pointer = llama_cpp.llama_get_logits_ith(self._context, row)
                yield branch, np.ctypeslib.as_array(pointer, (self.model.num_tokens,))


def shared_start(prompts: Sequence[list[int]]) -> int:
    """How many first tokens all prompts share; each keeps at least its last one for itself."""
    if not prompts:
        return 0
    shortest, longest = min(prompts), max(prompts)
    most = min(len(prompt) for prompt in prompts) - 1
    return next((i for i in range(most) if shortest[i] != longest[i]), most)


@llama_cpp.llama_log_callback
def _no_log(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    del level, text, data


def disable_log() -> None:
    """Switches off llama.cpp's log, pages of it while a model is loaded; failures are return values."""
    llama_cpp.llama_log_set(_no_log, ctypes.c_void_p(0))
