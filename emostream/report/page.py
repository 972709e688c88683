"""Pure: pieces of HTML that only this report has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emostream.html_page import text

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
