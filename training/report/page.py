"""Pure: pieces of HTML, and the page around them. Nothing in it is fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

_STYLE_FILE = Path(__file__).with_name("style.css")
_JPEG_QUALITY = 88


def page(*, title: str, sections: Sequence[str]) -> str:
    """A whole document."""
    style = _STYLE_FILE.read_text(encoding="utf-8")
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *content: str, lead: str = "") -> str:
    """A part of the page under its heading; `lead` is a sentence before it."""
    intro = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{intro}\n" + "\n".join(content) + "\n</section>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """Cells of `rows` are HTML, the first of each row is its heading; those of `head` are plain text."""
    top = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr><th scope='row'>{row[0]}</th>" + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def figure(content: str, caption: str, *, note: str = "") -> str:
    """A chart or picture with its caption, and a smaller note below it."""
    small = f"<small>{escape(note)}</small>" if note else ""
    return f"<figure>{content}<figcaption>{escape(caption)}{small}</figcaption></figure>"


def grid(items: Sequence[str], *, css: str = "charts") -> str:
    """Items side by side, as many as fit."""
    return f'<div class="{css}">' + "".join(items) + "</div>"


def legend(names: Sequence[str]) -> str:
    """Names of the series of the charts below."""
    keys = []
    for number, name in enumerate(names):
        line = f'<polyline class="line series-{number}" points="0,4 28,4"/>'
        keys.append(f'<span><svg viewBox="0 0 28 8" aria-hidden="true">{line}</svg>{escape(name)}</span>')
    return f'<p class="legend">{"".join(keys)}</p>'


def picture(pixels: npt.NDArray[np.uint8], *, title: str = "", css: str = "") -> str:
    """A picture inside the page: uint8, H×W gray or H×W×3 RGB. Gray ones are kept exactly, colour ones as JPEG."""
    if pixels.ndim == 2:
        kind, coded = "png", cv2.imencode(".png", pixels)[1]
    else:
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        kind, coded = "jpeg", cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1]
    data = base64.b64encode(coded.tobytes()).decode("ascii")
    return f'<img class="{css}" alt="{escape(title)}" title="{escape(title)}" src="data:image/{kind};base64,{data}">'
