"""Pure: text from outside, safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without control characters and bytes that are no text, which could steer a terminal.

    >>> printable("a\\x1b[2J \\udce9.png")
    'a�[2J �.png'
    """
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
