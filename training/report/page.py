"""Pure: pieces of HTML that only this report has."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.render.report import html as html_page

STYLE_FILE = Path(__file__).with_name("style.css")
_JPEG_QUALITY = 88


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


def picture(pixels: npt.NDArray[np.uint8], *, title: str) -> str:
    """A picture inside the page: uint8, H×W gray or H×W×3 RGB. Gray ones are kept exactly, colour ones as JPEG."""
    if pixels.ndim == 2:
        return html_page.picture(cv2.imencode(".png", pixels)[1].tobytes(), kind="png", title=title)
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    coded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1]
    return html_page.picture(coded.tobytes(), kind="jpeg", title=title)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """As in `html_page`, with cells that are HTML."""
    return html_page.table(head, rows, caption=caption, has_html_cells=True)
