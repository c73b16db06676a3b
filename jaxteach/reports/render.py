"""A report as Markdown and as one page that needs nothing else; names and options in it are untrusted."""

import base64
import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jaxteach.errors import printable
from jaxteach.evaluation.videos import Film

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
    environment = Environment(
        loader=PackageLoader("jaxteach.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_shown,
    )
    sections = [
        {
            "task": section.task,
            "rows": section.rows,
            "picture": _data_uri("png", section.curves),
            "narrow": _data_uri("png", section.narrow),
            "films": [
                {"run": film.run, "caption": film.caption, "picture": _data_uri("gif", film.path.read_bytes())}
                for film in section.films
            ],
        }
        for section in report.sections
    ]
    page = environment.get_template("report.html.jinja")
    return page.render(
        runs=report.runs, notes=report.notes, overall=report.overall, sections=sections, provenance=report.provenance
    )


def to_markdown(report: Report, picture: Path) -> str:
    """The same as Markdown, with pictures beside it."""
    parts = ["# jaxteach report\n", "".join(f"- {_quoted(note)}\n" for note in report.notes)]
    if report.overall:
        parts += ["## Over tasks\n", _table(report.overall)]
    parts += [f"![Learning curves]({picture.name})\n"]
    for section in report.sections:
        parts += [f"## {section.task}\n", _table(section.rows)]
        parts += [f"![{_quoted(film.run)}]({FILMS}/{film.path.name})\n" for film in section.films]
    parts += ["## How the runs were made\n", "".join(f"- {_quoted(line)}\n" for line in report.provenance)]
    return "\n".join(parts)


def films_named(markdown: str) -> list[str]:
    """The names of the films that a report in Markdown shows."""
    return re.findall(rf"\]\({FILMS}/(\d+\.gif)\)", markdown)


def _shown(value: Any) -> Any:
    """What stands on the page: texts in one printable line, whose spaces that keep figures together stay."""
    if type(value) is not str:
        return value
    return "\N{NO-BREAK SPACE}".join(map(printable, value.split("\N{NO-BREAK SPACE}")))


def _table(rows: list[dict[str, str]]) -> str:
    cells = [list(rows[0]), ["---"] * len(rows[0]), *([_quoted(cell) for cell in row.values()] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _quoted(text: str) -> str:
    """A text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]|~!#])", r"\\\1", html.escape(printable(text), quote=False))


def _data_uri(kind: str, data: bytes) -> Markup:
    return Markup("data:image/") + f"{kind};base64,{base64.b64encode(data).decode()}"
