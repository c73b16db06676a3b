"""What a person sees while a student trains."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress:
    """One live line on a terminal, one line a point elsewhere."""

    def __init__(self, console: Console, iterations: int, done: int) -> None:
        self._console = console
        columns = [BarColumn(bar_width=20), TextColumn("{task.description}"), TextColumn("ETA"), TimeRemainingColumn()]
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("compiling", total=iterations, completed=done)

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._progress.console.print(text, highlight=False, soft_wrap=True)

    def show(self, iteration: int, point: dict[str, float], steps_per_s: float) -> None:
        """The newest point, means over the seeds."""
        text = (
            f"{int(point['env_steps']):>9,} steps  success {point['success_rate']:.3f}  "
            f"return {point['return_mean']:.3f}  "
            f"teacher x{point['kickstarting_coef']:<7.3g} {steps_per_s:>8,.0f} steps/s  {point['wall_s']:6.1f} s"
        )
        self._progress.update(self._task, completed=iteration, description=text)
        if not self._console.is_terminal:
            self._console.print(text, highlight=False, soft_wrap=True)
