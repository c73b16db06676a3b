"""A report as Markdown and as one page that needs nothing else."""

import re
from dataclasses import dataclass
from pathlib import Path

from jaxteach.evaluation.videos import Film
from jaxteach.reports.pages import data_uri, html_page, markdown_table, quoted, shown_films

FILMS = "films"
"""The folder beside the Markdown that has the films."""


@dataclass(frozen=True)
class Section:
    """What a report says of a task."""

    task: str
    rows: list[dict[str, str]]
    curves: bytes  # PNG, for a wide page
    narrow: bytes  # PNG, for a narrow page
    films: list[Film]


@dataclass(frozen=True)
class Report:
    """What a report says."""

    runs: int
    notes: list[str]
    overall: list[dict[str, str]]
    sections: list[Section]
    provenance: list[str]


def to_html(report: Report) -> str:
    """A page with all pictures inside."""
    sections = [
        {
            "task": section.task,
            "rows": section.rows,
            "picture": data_uri("png", section.curves),
            "narrow": data_uri("png", section.narrow),
            "films": shown_films(section.films),
        }
        for section in report.sections
    ]
    return html_page(
        "report.html.jinja",
        runs=report.runs,
        notes=report.notes,
        overall=report.overall,
        sections=sections,
        provenance=report.provenance,
    )


def to_markdown(report: Report, picture: Path) -> str:
    """The same as Markdown, with pictures beside it."""
    parts = ["# jaxteach report\n", "".join(f"- {quoted(note)}\n" for note in report.notes)]
    if report.overall:
        parts += ["## Over tasks\n", markdown_table(report.overall)]
    parts += [f"![Learning curves]({picture.name})\n"]
    for section in report.sections:
        parts += [f"## {section.task}\n", markdown_table(section.rows)]
        parts += [f"![{quoted(film.run)}]({FILMS}/{film.path.name})\n" for film in section.films]
    parts += ["## How the runs were made\n", "".join(f"- {quoted(line)}\n" for line in report.provenance)]
    return "\n".join(parts)


def films_named(markdown: str) -> list[str]:
    """The names of the films that a report in Markdown shows."""
    return re.findall(rf"\]\({FILMS}/(\d+\.gif)\)", markdown)
