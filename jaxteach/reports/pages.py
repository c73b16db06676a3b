"""What HTML pages and Markdown are made of; the texts in them are untrusted."""

import base64
import html
import re
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jaxteach.errors import printable
from jaxteach.evaluation.videos import Film


def html_page(template: str, **values: Any) -> str:
    """A page from one of the templates beside this file; texts are escaped, and made printable."""
    environment = Environment(
        loader=PackageLoader("jaxteach.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(template).render(values)


def shown_films(films: Sequence[Film]) -> list[dict[str, Any]]:
    """Films as the templates show them, with their pictures inside."""
    return [
        {"run": film.run, "caption": film.caption, "picture": data_uri("gif", film.path.read_bytes())} for film in films
    ]


def data_uri(kind: str, data: bytes) -> Markup:
    """A picture as an address that needs no other file."""
    return Markup("data:image/") + f"{kind};base64,{base64.b64encode(data).decode()}"


def markdown_table(rows: list[dict[str, str]]) -> str:
    """Rows with the same columns as a table; the columns' names are ours."""
    cells = [list(rows[0]), ["---"] * len(rows[0]), *([quoted(cell) for cell in row.values()] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def quoted(text: str) -> str:
    """A text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]|~!#])", r"\\\1", html.escape(printable(text), quote=False))


def _shown(value: Any) -> Any:
    """What stands on the page: texts in one printable line, whose spaces that keep figures together stay."""
    if type(value) is not str:
        return value
    return "\N{NO-BREAK SPACE}".join(map(printable, value.split("\N{NO-BREAK SPACE}")))
