"""Compile apart, run in turns, wait for the results."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Program:
    """Something to time: `run()` does `work` units and returns when they are done.

    `memory_bytes` is what it writes while it runs, results and what lies between; None where nobody tells.
    """

    run: Callable[[], Any]
    work: int
    compile_s: float = 0.0
    memory_bytes: int | None = None


def compile_program(function: Callable[..., Any], state: Any, *inputs: Any, work: int) -> Program:
    """The program of `function(state, *inputs) -> (state, results)`; each run goes on from the last one's state."""
    begin = time.perf_counter()
    compiled = jax.jit(function).lower(state, *inputs).compile()
    compile_s = time.perf_counter() - begin
    box = [state]

    def run() -> None:
        box[0], results = compiled(box[0], *inputs)
        jax.block_until_ready((box[0], results))

    memory = compiled.memory_analysis()
    written = None if memory is None else memory.output_size_in_bytes + memory.temp_size_in_bytes
    return Program(run, work, compile_s, written)


def time_in_turns(programs: dict[str, Program], repeats: int) -> dict[str, dict[str, Any]]:
    """Units of work per second of each program, median of `repeats`.

    The programs take turns, so that what else runs on the machine slows all of them alike.
    """
    for program in programs.values():
        program.run()
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            begin = time.perf_counter()
            program.run()
            seconds[name].append(time.perf_counter() - begin)
    return {name: _summary(programs[name], times) for name, times in seconds.items()}


def _summary(program: Program, seconds: list[float]) -> dict[str, Any]:
    per_second = [program.work / s for s in seconds]
    return {
        "per_s": statistics.median(per_second),
        "per_s_of_repeats": per_second,
        "compile_s": program.compile_s,
    }
