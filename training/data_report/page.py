"""Pure: pieces of HTML that only this report has."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from emostream.render.report import html as html_page

STYLE_FILE = Path(__file__).with_name("style.css")


def subheading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def paragraph(text: str, *, is_soft: bool = False) -> str:
    """Text."""
    return f'<p class="soft">{escape(text)}</p>' if is_soft else f"<p>{escape(text)}</p>"


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """(value, what it is) in large type."""
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in figures
    )
    return f'<div class="tiles">{cells}</div>'


def picture(png: bytes, *, caption: str, alternative: str | None = None) -> str:
    """A PNG file under its caption; `alternative` is read out where pictures cannot be seen."""
    return html_page.figure(html_page.picture(png, kind="png", title=alternative or caption), caption)


def row(*figures: str) -> str:
    """Figures beside each other where there is room."""
    return f'<div class="row">{"".join(figures)}</div>'
