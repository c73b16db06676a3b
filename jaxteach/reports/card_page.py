"""A card as Markdown and as one page that needs nothing else."""

from jaxteach.reports.card import Card, Part
from jaxteach.reports.pages import html_page, markdown_table, quoted, shown_films


def card_html(card: Card) -> str:
    """A page with all films inside."""
    parts = [
        {"heading": part.heading, "sentences": part.sentences, "rows": part.rows, "films": shown_films(part.films)}
        for part in card.parts
    ]
    return html_page("card.html.jinja", title=card.title, sentences=card.sentences, parts=parts)


def card_markdown(card: Card) -> str:
    """The same as Markdown, with the films beside it."""
    lead = "".join(f"{quoted(sentence)}\n\n" for sentence in card.sentences)
    return f"# {quoted(card.title)}\n\n{lead}" + "\n".join(map(_part, card.parts))


def _part(part: Part) -> str:
    films = [
        f"![An episode of {quoted(film.run)}]({film.path.name})\\\n{quoted(f'{film.run}, {film.caption}')}\n"
        for film in part.films
    ]
    blocks = [f"{quoted(sentence)}\n" for sentence in part.sentences]
    blocks += [markdown_table(part.rows)] if part.rows else []
    return "\n".join([f"## {part.heading}\n", *blocks, *films])
