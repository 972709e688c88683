"""A report as one HTML file with its pictures inside: readable offline, and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { --ink: #1d2733; --soft: #5b6875; --line: #d9dfe5; --tint: #f4f6f8; --mark: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.5rem 4rem; color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; background: #fff; }
h1 { font-size: 1.9rem; margin: 0 0 .2rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .5rem; border-bottom: 2px solid var(--mark); padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
.soft { color: var(--soft); }
.tiles { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.2rem 0; }
.tile { flex: 1 1 9rem; background: var(--tint); border-radius: .5rem; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { white-space: nowrap; color: var(--soft); font-weight: 600; border-bottom-color: var(--soft); }
figure { margin: .8rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .2rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; }
.row figure { flex: 1 1 13rem; max-width: 24rem; margin: .3rem 0; }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  figure, table, .tile, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .tile { border: 1px solid var(--line); }
}
"""


def html_page(title: str, *parts: str) -> str:
    """A whole page; parts are HTML."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what belongs to it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


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


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def picture(png: bytes, *, caption: str, alternative: str | None = None) -> str:
    """A PNG file inside the page; `alternative` is read out where pictures cannot be seen."""
    text = escape(alternative or caption, quote=True)
    source = base64.b64encode(png).decode("ascii")
    image = f'<img alt="{text}" src="data:image/png;base64,{source}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def row(*figures: str) -> str:
    """Figures beside each other where there is room."""
    return f'<div class="row">{"".join(figures)}</div>'
