"""`python -m benchmarks.teaching`: answers of a local model, all together against one call after the other."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import llama_cpp
import tyro
from rich.console import Console
from rich.table import Table

import envs_jax
from benchmarks.command import run_benchmark
from benchmarks.machine import describe_machine
from jaxteach.errors import UserError
from jaxteach.llm.client import Question
from jaxteach.llm.grammar import candidate_plans, plan_grammar
from jaxteach.llm.llama_cpp_client import LocalClient
from jaxteach.llm.parse import Rejected, answer_text, parse_answer
from jaxteach.llm.prompts import task_prompt
from jaxteach.system.command import run_command
from jaxteach.system.machine import version_of
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.policy import task_domain

STOP = "}"


@dataclass(frozen=True)
class Options:
    """Asks the same questions both ways, in turns; loading the model is not counted."""

    model: Path
    """a GGUF file"""
    task: str = "SimpleDoorKey"
    """whose captions are asked about"""
    samples: int = 10
    """answers to each caption"""
    max_tokens: int = 64
    """the longest answer"""
    temperature: float = 0.7
    """of sampling"""
    repeats: int = 3
    """repeats of each way, of which the median counts"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write the figures to this file"""


def main() -> None:
    run_benchmark("teaching", Options, measure, _print)


def measure(options: Options) -> dict[str, Any]:
    """Seconds of both ways, free and with the grammar, and of scoring all candidates."""
    if options.task not in envs_jax.tasks():
        raise UserError(f"unknown task {options.task!r}")
    vocabulary = task_domain(envs_jax.make(options.task), options.task).vocabulary
    prompt = task_prompt(options.task, vocabulary)
    prompts = [prompt.about(caption) for caption in vocabulary.texts]
    questions = [Question(text, sample) for text in prompts for sample in range(options.samples)]
    grammar = plan_grammar(vocabulary)
    results = {
        name: _in_turns(options, questions, vocabulary, constraint)
        for name, constraint in (("free", None), ("grammar", grammar))
    }
    client = _client(options, None)
    candidates = [answer_text(plan) for plan in candidate_plans(vocabulary)]
    scoring = statistics.median(_timed(lambda: client.score(prompts, candidates))[0] for _ in range(options.repeats))
    return {
        "machine": describe_machine(),
        "llama_cpp_python": version_of("llama-cpp-python"),
        "model": options.model.name,
        "task": options.task,
        "answers": len(questions),
        "sampling": results,
        "scoring": {"candidates": len(prompts) * len(candidates), "s": scoring},
    }


def _in_turns(
    options: Options, questions: list[Question], vocabulary: Vocabulary, grammar: str | None
) -> dict[str, dict[str, Any]]:
    client, one_by_one = _client(options, grammar), OneByOne(options, grammar)
    ways: dict[str, Callable[[], list[str]]] = {
        "together": lambda: [answer for _, answer in client.ask(questions)],
        "one_by_one": lambda: [one_by_one.ask(question) for question in questions],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    plans = dict.fromkeys(ways, 0)
    for _ in range(options.repeats):
        for name, ask in ways.items():
            elapsed, answers = _timed(ask)
            seconds[name].append(elapsed)
            plans[name] = sum(_is_plan(answer, vocabulary) for answer in answers)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    speedup = {"speedup": medians["one_by_one"] / medians["together"]}
    return {name: {"s": medians[name], "s_of_repeats": seconds[name], "plans": plans[name]} for name in ways} | {
        "ratio": speedup
    }


class OneByOne:
    """The reference's way: one chat completion after the other.

    It is given what a careful user gives it: the end of the action as a stop word, and the cache that
    keeps the prompt while the same caption is asked about again.
    """

    def __init__(self, options: Options, grammar: str | None) -> None:
        self._options = options
        self._llama = llama_cpp.Llama(str(options.model), n_ctx=2048, verbose=False)
        self._grammar = llama_cpp.LlamaGrammar.from_string(grammar, verbose=False) if grammar else None

    def ask(self, question: Question) -> str:
        """One answer."""
        response: Any = self._llama.create_chat_completion(
            [{"role": "user", "content": question.prompt}],
            temperature=self._options.temperature,
            top_p=1.0,
            top_k=0,
            min_p=0.0,
            max_tokens=self._options.max_tokens,
            stop=[STOP],
            seed=question.sample,
            grammar=self._grammar,
        )
        return f"{response['choices'][0]['message']['content']}{STOP}"


def _client(options: Options, grammar: str | None) -> LocalClient:
    client = LocalClient(options.model, options.temperature, options.max_tokens, 0, grammar, 64, 8192)
    client.chat_tokens("")
    return client


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def _is_plan(answer: str, vocabulary: Vocabulary) -> bool:
    try:
        return bool(parse_answer(answer, vocabulary))
    except Rejected:
        return False


def _print(figures: dict[str, Any]) -> None:
    table = Table("answers", "together s", "one by one s", "ratio", "plans together", "plans one by one")
    for name, way in figures["sampling"].items():
        together, apart = way["together"], way["one_by_one"]
        numbers = [f"{together['s']:.1f}", f"{apart['s']:.1f}", f"{way['ratio']['speedup']:.1f}"]
        table.add_row(name, *numbers, str(together["plans"]), str(apart["plans"]))
    console = Console()
    console.print(table)
    scoring = figures["scoring"]
    console.print(f"{figures['answers']} answers; {scoring['candidates']} candidates scored in {scoring['s']:.1f} s")


if __name__ == "__main__":
    run_command(main)
