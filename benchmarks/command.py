"""The command line of a benchmark: options in; a table and, on request, a JSON file out."""

from collections.abc import Callable
from typing import Any, TypeVar

import tyro

from jaxteach.runs.files import write_json

Options = TypeVar("Options")


def run_benchmark(
    name: str,
    options: type[Options],
    measure: Callable[[Options], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
) -> tuple[Options, dict[str, Any]]:
    """Measures as the command line says, and shows and writes the figures.

    Args:
        name: of the module in `benchmarks`.
        options: a dataclass, with a field `json`, the file to write or None.
        measure: the figures, ready for JSON.
        show: prints them.

    Returns:
        The chosen options, and the figures.
    """
    chosen: Any = tyro.cli(options, prog=f"python -m benchmarks.{name}", use_underscores=True)
    figures = measure(chosen)
    show(figures)
    if chosen.json is not None:
        write_json(chosen.json, figures)
    return chosen, figures
