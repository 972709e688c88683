"""Lanes of people in the console: their colours stand out in both themes."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Page

from emostream.domain.emotion import EMOTIONS
from emostream.domain.event import UNKNOWN
from emostream.render.palette import Rgb, contrast
from tests.service.console.conftest import keep_picture

pytestmark = pytest.mark.integration

# Draws a lane in which each emotion lasts for some seconds, and gives its background and the pixels of each emotion:
# the uppermost that is drawn, and one further down.
DRAW = """async (emotions) => {
  const { Timeline } = await import("/console/timeline.js");
  const { loadPalette } = await import("/console/palette.js");
  await loadPalette();
  const timeline = new Timeline();
  document.body.replaceChildren(timeline.element);
  const untilMs = 60_000;
  const samples = Array.from({ length: 600 }, (_, at) => (
    { ms: at * 100, emotion: emotions[Math.floor(at * emotions.length / 600)], confidence: 0.6 }
  ));
  const history = { nowMs: () => untilMs, persons: () => [{ key: "a", trackId: 7, samples }] };
  timeline.update(history, untilMs);
  const canvas = document.querySelector(".lane canvas");
  const [width, height] = [canvas.width, canvas.height];
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const at = (x, y) => [...data.slice(4 * (y * width + x), 4 * (y * width + x) + 4)];
  const found = emotions.map((_, index) => {
    const x = Math.floor((index + 0.5) * width / emotions.length);
    let top = 0;
    while (top < height - 1 && at(x, top)[3] < 255) top += 1;
    return { edge: at(x, top), inside: at(x, height - 3) };
  });
  return { background: getComputedStyle(canvas).backgroundColor, found };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out_from_the_lane(files_page: Page, scheme: Literal["light", "dark"]) -> None:
    files_page.emulate_media(color_scheme=scheme)
    drawn = files_page.evaluate(DRAW, [*EMOTIONS, UNKNOWN])
    red, green, blue = (int(value) for value in drawn["background"].removeprefix("rgb(").removesuffix(")").split(", "))
    lane: Rgb = (red, green, blue)
    is_light = contrast(lane, (0, 0, 0)) > contrast(lane, (255, 255, 255))
    assert is_light is (scheme == "light")
    for emotion, pixels in zip([*EMOTIONS, UNKNOWN], drawn["found"], strict=True):
        seen = max(contrast(tuple(pixels[part][:3]), lane) for part in ("edge", "inside"))
        assert seen >= 3, (emotion, pixels)
    keep_picture(files_page, f"lanes-{scheme}")
