"""Pure: pieces of HTML, and the page around them. Nothing in it is fetched from anywhere, and nothing in it runs.

The page's own policy says so to the browser: pictures from the page itself only, its own style sheet, no script. So
even a name that slipped through unescaped could do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from pathlib import Path

from emostream.domain.redact import printable


def page(*, title: str, sections: Sequence[str], style: str, has_styled_elements: bool = False) -> str:
    """A whole document; `style` is its sheet, and only that counts unless elements have `style` attributes, too."""
    sheet = f"\n{style}"
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode("ascii")
    allowed = "'unsafe-inline'" if has_styled_elements else f"'sha256-{digest}'"
    policy = f"default-src 'none'; img-src data:; style-src {allowed}; base-uri 'none'; form-action 'none'"
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{sheet}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def text(value: str) -> str:
    """Any text as HTML; control characters and bytes that are no text become �.

    >>> text("<b>\\x1b & \\udce9")
    '&lt;b&gt;� &amp; �'
    """
    return escape(printable(value))


def section(title: str, *content: str, lead: str = "") -> str:
    """A part of the page under its heading; `lead` is a sentence before it."""
    intro = f'<p class="lead">{text(lead)}</p>\n' if lead else ""
    return f"<section>\n<h2>{text(title)}</h2>\n{intro}" + "\n".join(content) + "\n</section>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    css: str = "",
    has_html_cells: bool = False,
) -> str:
    """The first cell of each row is its heading. Cells are plain text, or those of `rows` HTML on request."""
    html = str if has_html_cells else text
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    lines = (
        f'<tr><th scope="row">{html(row[0])}</th>' + "".join(f"<td>{html(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    start = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<table class="{css}">{title}{start}<tbody>{"".join(lines)}</tbody></table>'


def figure(content: str, caption: str, *, note: str = "", css: str = "") -> str:
    """A chart or picture with its caption, and a smaller note below it."""
    small = f"<small>{text(note)}</small>" if note else ""
    return f'<figure class="{css}">{content}<figcaption>{text(caption)}{small}</figcaption></figure>'


def picture(data: bytes, *, kind: str, title: str, css: str = "") -> str:
    """A picture inside the page; `kind` is that of its bytes, `png` or `jpeg`, and `title` what is read out."""
    coded = base64.b64encode(data).decode("ascii")
    return f'<img class="{css}" alt="{text(title)}" title="{text(title)}" src="data:image/{kind};base64,{coded}">'


STYLE_FILE = Path(__file__).with_name("style.css")


def folded(summary: str, content: str) -> str:
    """What only some want to read: folded on a screen, unfolded on paper."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def items(sentences: Sequence[str]) -> str:
    """A list."""
    return "<ul>" + "".join(f"<li>{text(sentence)}</li>" for sentence in sentences) + "</ul>"


def chart(content: str, caption: str) -> str:
    """A chart with its caption; on a narrow screen it is moved aside, also by keyboard."""
    return f'<figure class="chart" tabindex="0">{content}<figcaption>{text(caption)}</figcaption></figure>'
