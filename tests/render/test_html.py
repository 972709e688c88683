"""Pages and drawings: what comes from outside stays text, and a missing value is an error."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import pytest
from jinja2 import UndefinedError

from emostream.render.html import data_url, render_page
from emostream.render.svg import Svg

HOSTILE = "</title><script>1</script>\x1b\udce9"


def test_a_value_that_was_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render_page("emostream.render.report", "report.html")


@pytest.mark.parametrize(("file", "kind"), [(b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n", "png")], ids=["JPEG", "PNG"])
def test_a_picture_is_inside_its_url(file: bytes, kind: str) -> None:
    head, _, coded = data_url(file).partition(",")
    assert head == f"data:image/{kind};base64"
    assert base64.b64decode(coded) == file


def test_texts_of_a_drawing_are_text() -> None:
    svg = Svg(10, 20, title=HOSTILE)
    svg.add("text", css="label", text=HOSTILE, tip=HOSTILE, x=1.26, text_anchor="end")
    (drawn,) = root = ElementTree.fromstring(svg.markup())
    shown = "</title><script>1</script>\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert root.attrib == {"viewBox": "0 0 10 20", "role": "img", "aria-label": shown}
    assert drawn.attrib == {"class": "label", "x": "1.3", "text-anchor": "end"}
    assert [drawn.text, *(tip.text for tip in drawn)] == [shown, shown]
