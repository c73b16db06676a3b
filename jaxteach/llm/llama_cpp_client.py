"""A local model: a GGUF file, asked through llama.cpp, all questions together."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_vocab_bos, llama_vocab_eos, llama_vocab_get_add_bos
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from jaxteach.errors import UserError
from jaxteach.llm.client import Answer, Question
from jaxteach.llm.final_answer import final_answer, split_thoughts
from jaxteach.llm.grammar_mask import Grammar
from jaxteach.llm.noise import GumbelNoise
from jaxteach.llm.tree_decoding import Choices, ContextFull, Model, Sampler, TreeDecoder

THINK = "<think>"
"""Stands before answers whose prompt has opened a thought."""


class LocalClient:
    """A GGUF model on this machine.

    Draws depend only on the question, the seed and the settings, not on the other questions. The logits depend a
    little on what is decoded beside an answer, as in llama.cpp itself, and some answers with them.

    Args:
        path: the GGUF file.
        temperature: of sampling, 0 takes the likeliest token.
        max_tokens: the longest answer.
        seed: of all draws.
        grammar: GBNF that every answer follows, None for free answers.
        parallel: answers decoded side by side.
        context: tokens that the cache holds, all answers together.
        threads: cores to use, None for all.

    Raises:
        UserError: the file can't be loaded.
    """

    def __init__(
        self,
        path: str | Path,
        temperature: float,
        max_tokens: int,
        seed: int,
        grammar: str | None,
        parallel: int,
        context: int,
        threads: int | None = None,
    ) -> None:
        self.path = _checked_file(path)
        self.temperature, self.max_tokens, self.seed, self.grammar = temperature, max_tokens, seed, grammar
        self.parallel, self.context, self.threads = parallel, context, threads

    @property
    def identity(self) -> dict[str, Any]:
        """See `Client`."""
        return {
            "backend": "llama-cpp",
            "model": self.path.name,
            "model_sha256": self._digest,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "grammar": self.grammar,
        }

    @cached_property
    def _digest(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def model(self) -> Model:
        """The file, loaded when it is first needed."""
        try:
            return Model(str(self.path))
        except OSError as error:
            raise UserError(f"the model file {self.path} can't be used: {error}") from None

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """See `Client`."""
        prompts = list(dict.fromkeys(question.prompt for question in questions))
        samplers: dict[str, list[_Answer]] = {prompt: [] for prompt in prompts}
        texts = {prompt: self.chat_text(prompt) for prompt in prompts}
        for question in questions:
            opened = THINK if split_thoughts(texts[question.prompt])[2] else ""
            samplers[question.prompt].append(_Answer(question, self.model, self.temperature, self.seed, opened))
        grammar = Grammar(self.model, self.grammar) if self.grammar else None
        tokens = [self._tokens(text) for text in texts.values()]
        for sampler in self._decode(tokens, list(samplers.values()), self.max_tokens, grammar):
            yield sampler.question, Answer(sampler.text, "stop" if sampler.done else "length")

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """The log-likelihood of each candidate as the answer to each prompt, float64[prompts, candidates].

        It is that of the candidate's usual tokens, at temperature 1; no candidate may be the start
        of another.
        """
        answers = [self.model.tokenize(text, special=False, start=False) for text in candidates]
        samplers = [[_Candidate((i, j), tokens) for j, tokens in enumerate(answers)] for i in range(len(prompts))]
        scores = np.full((len(prompts), len(candidates)), -np.inf)
        tokens, longest = [self.chat_tokens(prompt) for prompt in prompts], max(map(len, answers))
        for sampler in self._decode(tokens, samplers, longest, None):
            scores[sampler.place] = sampler.log_prob
        return scores

    def request_stats(self) -> dict[str, Any]:
        """See `Client`."""
        return {}

    def chat_tokens(self, prompt: str) -> list[int]:
        """The prompt in the model's chat template, up to where the answer begins."""
        return self._tokens(self.chat_text(prompt))

    def chat_text(self, prompt: str) -> str:
        """As `chat_tokens`, as a text.

        Raises:
            UserError: the model's chat template fails.
        """
        template = self.model.chat_template
        if template is None:
            return prompt + "\n"
        start, end = (self.model.special_text(token(self.model.vocab)) for token in (llama_vocab_bos, llama_vocab_eos))
        try:
            formatter = Jinja2ChatFormatter(template, eos_token=end, bos_token=start)
            return formatter(messages=[{"role": "user", "content": prompt}]).prompt
        # A template is a program of the model's maker.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"the chat template of {self.path} fails: {reason}; take another GGUF file") from None

    def _tokens(self, text: str) -> list[int]:
        is_chat, vocab = self.model.chat_template is not None, self.model.vocab
        start = self.model.special_text(llama_vocab_bos(vocab))
        # Some templates put line ends before the first token, which then would stand there twice.
        if is_chat and start and text.lstrip().startswith(start):
            text = text.lstrip()
        has_start = is_chat and bool(start) and text.startswith(start)
        wants_start = bool(llama_vocab_get_add_bos(vocab)) if is_chat else True
        return self.model.tokenize(text, special=is_chat, start=wants_start and not has_start)

    def _decode(
        self, prompts: list[list[int]], samplers: Sequence[Sequence[Any]], longest: int, grammar: Grammar | None
    ) -> Iterator[Any]:
        try:
            decoder = TreeDecoder(self.model, self.parallel, self.context, longest, self.threads, grammar)
        except ContextFull as error:
            raise UserError(f"{error}; give a smaller --context") from None
        try:
            yield from decoder.run(prompts, samplers)
        except ContextFull as error:
            raise UserError(f"{error}; give a larger --context, or fewer --max_tokens") from None
        finally:
            decoder.close()


class _Answer(Sampler):
    """A sampled answer; it is complete when the model ends it or once it contains a plan."""

    def __init__(self, question: Question, model: Model, temperature: float, seed: int, opened: str) -> None:
        """`opened` is the tag of a thought that the prompt has opened, or nothing."""
        super().__init__()
        self.question, self.model, self.temperature, self._opened = question, model, temperature, opened
        self._noise = GumbelNoise(seed, question.sample, question.prompt)
        self._bytes = b""

    @property
    def text(self) -> str:
        return self._opened + self._bytes.decode("utf-8", "replace")

    def step(self, choices: Choices) -> None:
        token = choices.draw(self.temperature, self._noise, len(self.tokens))
        if self.model.is_end(token):
            self.done = True
            return
        self.follow([token])

    def follow(self, tokens: Sequence[int]) -> None:
        self.tokens += tokens
        self._bytes += self.model.detokenize(tokens)
        if b"}" in self._bytes:
            answer = final_answer(self.text)
            self.done = answer.items is not None and not answer.cut_off


class _Candidate(Sampler):
    """A given answer that sums up its log-likelihood."""

    def __init__(self, place: tuple[int, int], answer: list[int]) -> None:
        super().__init__()
        self.place, self.answer, self.log_prob = place, answer, 0.0

    def step(self, choices: Choices) -> None:
        token = self.answer[len(self.tokens)]
        self.log_prob += float(choices.log_probs[token])
        self.follow([token])

    def follow(self, tokens: Sequence[int]) -> None:
        self.tokens += tokens
        self.done = len(self.tokens) == len(self.answer)


def _checked_file(path: str | Path) -> Path:
    path = Path(path)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UserError(f"can't read the model file {path}: {error.strerror or error}") from None
    if magic != b"GGUF":
        raise UserError(f"{path} is not a GGUF file; give --model a model in llama.cpp's format")
    return path
