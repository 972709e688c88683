"""Measures text, and shortens it to a given width."""

from __future__ import annotations

import cv2

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def text_width(text: str, *, height: float) -> int:
    """Width in pixels of a text whose capitals are `height` pixels high."""
    (_, unscaled_height), _ = cv2.getTextSize("#0", _FONT, 1.0, 1)
    (width, _), _ = cv2.getTextSize(text, _FONT, height / unscaled_height, 1)
    return int(width)


def fitted_text(text: str, *, width: float, height: float) -> str:
    """Shorten a text to a width, with an ellipsis where characters are left out; at least the ellipsis remains.

    >>> fitted_text("happy", width=80, height=10)
    'happy'
    >>> len(fitted_text("an expression with a long name", width=80, height=10)) < 20
    True
    """
    if text_width(text, height=height) <= width:
        return text
    shorter = (text[:length].rstrip() + "…" for length in range(len(text) - 1, 0, -1))
    return next((each for each in shorter if text_width(each, height=height) <= width), "…")
