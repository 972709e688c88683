"""Draws charts as SVG without a plotting library: small, sharp in print, and allowed by a strict content policy."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

from emostream.domain.redact import printable


class Svg:
    """A drawing to which elements are added; the XML library escapes all text.

    Args:
        width, height: of the view box, in its own units.
        title: read by screen readers.
    """

    def __init__(self, width: float, height: float, *, title: str) -> None:
        view_box = f"0 0 {width:.0f} {height:.0f}"
        self._root = Element("svg", {"viewBox": view_box, "role": "img", "aria-label": printable(title)})

    def add(self, tag: str, *, css: str, text: str = "", tip: str = "", **attributes: str | float) -> None:
        """Add an element on top of the others.

        Args:
            tag: name of the element.
            css: its CSS classes.
            text: its text.
            tip: its tooltip.
            attributes: further attributes; `_` in a name stands for `-`, and numbers are rounded to 0.1.
        """
        values = {name.replace("_", "-"): _value(value) for name, value in attributes.items()}
        element = SubElement(self._root, tag, {"class": css} | values)
        if text:
            element.text = printable(text)
        if tip:
            SubElement(element, "title").text = printable(tip)

    def markup(self) -> Markup:
        """The drawing, ready for a template."""
        return Markup(tostring(self._root, encoding="unicode"))  # noqa: S704  # escaped by the XML library


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"
