"""What a person sees while a student trains."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

SHORTEST_BAR, LONGEST_BAR = 10, 30
BY_IMPORTANCE = ("left", "success", "steps", "return", "teacher", "speed", "seconds")
"""Where a terminal is narrow, the last of these are left out of the live line."""

_quiet = ContextVar("quiet", default=False)


def make_console(shown: bool) -> Console:
    """The console on which training tells how it fares; one that prints nothing if not `shown` or in `silence`."""
    return Console(quiet=_quiet.get() or not shown)


@contextmanager
def silence() -> Iterator[None]:
    """Inside the block nothing is told of training, neither on standard output nor in a notebook."""
    token = _quiet.set(True)
    try:
        # Notebooks show what Rich prints without standard output.
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        _quiet.reset(token)


class TrainingProgress:
    """One live line on a terminal, one line a point elsewhere.

    Args:
        console: where.
        iterations: of the whole run.
        done: those that an earlier command has done.
        seeds: how many train side by side.
    """

    def __init__(self, console: Console, iterations: int, done: int, seeds: int = 1) -> None:
        self._console, self._iterations, self._begin = console, iterations, done
        self._doing, self._since = "compiling", time.perf_counter()
        self._now, self._end = done, 0.0
        self._speed_unit = "steps/s" if seeds == 1 else "steps/s, all seeds"
        self._parts: dict[str, str] = {}
        self._live = Live(console=console, get_renderable=self._line) if console.is_terminal else None

    def __enter__(self) -> "TrainingProgress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def compiled(self) -> None:
        """From here on the iterations are what takes time."""
        self._doing, self._since = "training", time.perf_counter()

    def show(self, iteration: int, point: dict[str, float], steps_per_s: float, seconds: float) -> None:
        """The newest point, means over the seeds.

        Args:
            iteration: of the point.
            point: its `env_steps`, `success_rate`, `return_mean` and `kickstarting_coef`.
            steps_per_s: of the iterations before it, all seeds together.
            seconds: since the command began.
        """
        now = time.perf_counter()
        self._now = iteration
        self._end = now + (now - self._since) / (iteration - self._begin) * (self._iterations - iteration)
        self._parts = {
            "steps": f"{int(point['env_steps']):>9,} steps",
            "success": f"success {point['success_rate']:.3f}",
            "return": f"return {point['return_mean']:.3f}",
            "teacher": f"teacher x{point['kickstarting_coef']:<7.3g}",
            "speed": f"{steps_per_s:>8,.0f} {self._speed_unit}",
            "seconds": f"{seconds:6.1f} s",
        }
        if self._live is None:
            self._console.print("  ".join(self._parts.values()), highlight=False, soft_wrap=True)

    def _line(self) -> Table:
        """A bar, and as much of the newest point beside it as the terminal has room for."""
        now, begun = time.perf_counter(), bool(self._parts)
        left = f"{_clock(self._end - now)} left" if begun else f"{self._doing}, {now - self._since:.0f} s"
        parts = self._parts | {"left": left}
        room, kept = self._console.width - SHORTEST_BAR, set()
        for name in (name for name in BY_IMPORTANCE if name in parts):
            needed = 2 + len(parts[name])
            if needed > room:
                break
            room -= needed
            kept.add(name)
        width = min(SHORTEST_BAR + room, LONGEST_BAR)
        bar = ProgressBar(self._iterations, self._now, width=width, pulse=not begun)
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(bar, *(Text(text, no_wrap=True) for name, text in parts.items() if name in kept))
        return line


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
