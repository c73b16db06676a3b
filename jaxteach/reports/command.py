"""Reports on runs: a table in the terminal; curves, tables and films as Markdown, as a picture and as one page."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from jaxteach.config import ReportConfig
from jaxteach.errors import UserError, printable
from jaxteach.evaluation.command import FILM_SUFFIXES
from jaxteach.evaluation.intervals import CONFIDENCE
from jaxteach.evaluation.videos import Film, film_student
from jaxteach.reports.aggregate import RunGroup, aggregate, aggregate_tasks, group_runs
from jaxteach.reports.curves import RunCurves, load_run
from jaxteach.reports.plots import learning_curves
from jaxteach.reports.provenance import provenance
from jaxteach.reports.render import FILMS, Report, Section, films_named, to_html, to_markdown
from jaxteach.reports.statistics import FEW, RESAMPLES
from jaxteach.runs.files import read_text, writing

MOST_MARKDOWN = 2**24


def report(config: ReportConfig) -> Path:
    """Prints the table of the runs and writes `report.html`, `report.md`, `report.png` and the films.

    Runs that can't be read are reported and left out.

    Raises:
        UserError: no run can be read, or the folder can't be written.
    """
    config.check()
    runs, unreadable = _load(config.runs)
    lines, left_out = group_runs(runs, config.no_merge)
    tasks: dict[str, list[RunGroup]] = {}
    for line in lines:
        tasks.setdefault(line.task, []).append(line)
    out = Path(config.out)
    with writing(out):
        (out / FILMS).mkdir(parents=True, exist_ok=True)
        _forget_films(out)
        films, not_filmed = _films(lines, config.num_videos, out / FILMS)
        sections = [
            Section(
                task,
                [_row(line, config.threshold) for line in members],
                learning_curves({task: members}, config.threshold),
                learning_curves({task: members}, config.threshold, columns=1),
                [film for line in members for run in line.runs if (film := films.get(run.folder))],
            )
            for task, members in tasks.items()
        ]
        messages = [f"left out: {reason}" for reason in unreadable + left_out] + not_filmed
        whole = Report(len(runs), _notes(lines) + messages, aggregate_tasks(lines), sections, provenance(runs))
        picture = out / "report.png"
        picture.write_bytes(learning_curves(tasks, config.threshold))
        (out / "report.md").write_text(to_markdown(whole, picture), "utf-8")
        (out / "report.html").write_text(to_html(whole), "utf-8")
    _print_table(sections)
    for note in messages:
        print(printable(note), file=sys.stderr)
    print(f"written: {out / 'report.html'}, {out / 'report.md'}, {picture}")
    return out


def _load(folders: tuple[Path, ...]) -> tuple[list[RunCurves], list[str]]:
    """The runs that can be read, and why others can't."""
    runs, unreadable = [], []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        try:
            runs.append(load_run(folder))
        except UserError as error:
            reason = str(error)
            unreadable.append(reason if str(folder) in reason else f"{folder}: {reason}")
    if not runs:
        raise UserError("; ".join(unreadable))
    return runs, unreadable


def _forget_films(out: Path) -> None:
    """Removes the films of an earlier report in the folder, those that it shows and no others."""
    try:
        messages = read_text(out / "report.md", MOST_MARKDOWN)
    except (OSError, UnicodeDecodeError):
        return
    for name in films_named(messages):
        for suffix in FILM_SUFFIXES:
            (out / FILMS / name).with_suffix(suffix).unlink(missing_ok=True)


def _films(lines: list[RunGroup], most: int, folder: Path) -> tuple[dict[Path, Film], list[str]]:
    """Films of at most `most` runs, by the runs' folders, each line's first run first; and what can't be shown."""
    runs = sorted((place, number) for number, line in enumerate(lines) for place in range(len(line.runs)))
    films: dict[Path, Film] = {}
    not_filmed: list[str] = []
    for count, (place, number) in enumerate(runs[:most], 1):
        run = lines[number].runs[place]
        try:
            films[run.folder] = film_student(run.folder, run.config, folder / f"{count}.gif")
        except UserError as error:
            not_filmed.append(f"no film of {run.name}: {error}")
    if len(runs) > most > 0:
        not_filmed.append(f"{most} of {len(runs)} students are filmed; --num_videos {len(runs)} films all")
    return films, not_filmed


def _row(line: RunGroup, threshold: float) -> dict[str, str]:
    return {"run": line.label, "options": line.settings} | aggregate(line, threshold)


def _notes(lines: list[RunGroup]) -> list[str]:
    """How to read the figures."""
    notes = [
        f"Figures are interquartile means over seeds, with {CONFIDENCE:.0%} intervals in brackets: percentile "
        f"bootstraps over the seeds, {RESAMPLES:,} draws.",
        "Final figures are those of the finished student, in the episodes of summary.json; steps and seconds to a "
        "success are those of the first evaluation that shows it. Seconds count from the command's start, compilation "
        "included, and seeds and runs that train side by side share them.",
        "AULC is the area under the learning curve, of the mean return over iterations; the normalised AULC divides it "
        "by the largest possible return times the number of iterations.",
    ]
    unfinished = [line.label for line in lines if not all(curve.judged for curve in line.curves.values())]
    if unfinished:
        notes.append(f"Not finished, so that final figures are those of the last point: {', '.join(unfinished)}.")
    seeds = sorted({line.seeds for line in lines})
    if seeds[0] < FEW:
        notes.append(
            f"Few seeds (the fewest: {seeds[0]}): with less than {FEW}, intervals are rough, and rather too narrow; "
            "a single seed has none. Of fewer than four values, the interquartile mean is the mean."
        )
    return notes


def _print_table(sections: list[Section]) -> None:
    """A figure a line and a run a column: figures are many, runs are few."""
    console = Console()
    for section in sections:
        rows = section.rows
        table = Table("", *(Column(Text(printable(row["run"]))) for row in rows), title=section.task)
        for figure in list(rows[0])[1:]:
            table.add_row(figure, *(Text(printable(row[figure])) for row in rows))
        Console(width=console.width if console.is_terminal else 160).print(table)
