"""Pure: pieces of HTML, and the page around them. Nothing in it is fetched from anywhere, and nothing in it runs.

The page's own policy says so to the browser: pictures from the page itself only, one style sheet known by its hash, no
script. So even a name that slipped through unescaped could do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from pathlib import Path

_STYLE_FILE = Path(__file__).with_name("style.css")


def page(*, title: str, sections: Sequence[str]) -> str:
    """A whole document."""
    style = "\n" + _STYLE_FILE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def text(value: str) -> str:
    """Any text as HTML; control characters and bytes that are no text become �.

    >>> text("<b>\\x1b & \\udce9")
    '&lt;b&gt;� &amp; �'
    """
    printable = (character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in value)
    return escape("".join(printable))


def section(title: str, *content: str, lead: str = "") -> str:
    """A part of the page under its heading; `lead` is a sentence before it."""
    intro = f'<p class="lead">{text(lead)}</p>\n' if lead else ""
    return f"<section>\n<h2>{text(title)}</h2>\n{intro}" + "\n".join(content) + "\n</section>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", css: str = "") -> str:
    """Cells are plain text; the first of each row is its heading."""
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    lines = (
        f'<tr><th scope="row">{text(row[0])}</th>' + "".join(f"<td>{text(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    start = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<table class="{css}">{title}{start}<tbody>{"".join(lines)}</tbody></table>'


def folded(summary: str, content: str) -> str:
    """What only some want to read: folded on a screen, unfolded on paper."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def items(sentences: Sequence[str]) -> str:
    """A list."""
    return "<ul>" + "".join(f"<li>{text(sentence)}</li>" for sentence in sentences) + "</ul>"


def figure(content: str, caption: str, *, css: str = "") -> str:
    """A picture with its caption."""
    return f'<figure class="{css}">{content}<figcaption>{text(caption)}</figcaption></figure>'


def chart(content: str, caption: str) -> str:
    """A chart with its caption; on a narrow screen it is moved aside, also by keyboard."""
    return f'<figure class="chart" tabindex="0">{content}<figcaption>{text(caption)}</figcaption></figure>'


def picture(jpeg: bytes, *, title: str) -> str:
    """A JPEG inside the page."""
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img alt="{text(title)}" src="data:image/jpeg;base64,{data}">'
