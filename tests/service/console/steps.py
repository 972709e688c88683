"""Steps that several tests of the console share."""

from __future__ import annotations

import httpx
from playwright.sync_api import Locator, Page

# Where on a canvas the colours of emotions are: left, top, right, bottom of all such pixels, in CSS pixels.
MARKED = """async (canvas) => {
  const { emotions } = await (await fetch("console/palette.json")).json();
  const wanted = Object.values(emotions).map((text) => parseInt(text.slice(1), 16));
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = [Infinity, Infinity, -Infinity, -Infinity];
  for (let at = 0; at < data.length; at += 4) {
    if (!wanted.includes((data[at] << 16) | (data[at + 1] << 8) | data[at + 2])) continue;
    const [x, y] = [(at / 4) % width, Math.floor(at / 4 / width)];
    found[0] = Math.min(found[0], x); found[1] = Math.min(found[1], y);
    found[2] = Math.max(found[2], x); found[3] = Math.max(found[3], y);
  }
  return found[2] < 0 ? null : found;
}"""


def row_of(page: Page, stream_id: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=stream_id, exact=True))


def add(client: httpx.Client, stream_id: str, url: str, **options: object) -> None:
    wish = {"id": stream_id, "url": url, "kind": "live", **options}
    assert client.post("/v1/streams", json=wish).status_code == 201


def until_changed(page: Page, canvas: Locator, before: object) -> object:
    """What is marked on a canvas, when it is something else than before."""
    for _ in range(600):
        found = canvas.evaluate(MARKED)
        if found is not None and found != before:
            return found
        page.wait_for_timeout(100)
    raise AssertionError("nothing changed on the canvas")


def assert_fits(page: Page) -> None:
    """Nothing must be scrolled sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
