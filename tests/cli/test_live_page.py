"""`analyze --show`: pictures and figures over HTTP, for this machine and who has the token only."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from emostream.cli.live_page import LivePage, live_page
from emostream.config import load_settings
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.pipeline.pipeline import EventObserver
from emostream.testing.fakes import ScriptedSource
from tests.browser import assert_accessible, launch_chromium
from tests.publish.samples import CAPTURED_AT, EVENT

SETTINGS = load_settings()


@pytest.fixture(autouse=True)
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is opened on the machine of the tests."""

    def absent() -> None:
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", absent)


@contextmanager
def _served() -> Iterator[tuple[LivePage, str]]:
    lines: list[str] = []
    with live_page(tell=lines.append, last_look_seconds=0) as page:
        (line,) = lines
        yield page, line.partition(": ")[2]


def _frame(index: int, *, level: int) -> Frame:
    return Frame("door", index, index / 25, CAPTURED_AT, np.full((360, 640), level, np.uint8))


def _get(url: str, path: str, **headers: str) -> tuple[int, bytes, str]:
    base, _, token = url.partition("/#")
    query = f"?token={token}" if token else ""
    request = urllib.request.Request(f"{base}/{path}{query}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as exc:
        return exc.code, b"", ""


def _show(observe: EventObserver, *, level: int = 128) -> None:
    for index in range(3):
        observe(_frame(index, level=level), replace(EVENT, frame_index=index))


SPEC = StreamSpec("door", "door.mp4", StreamKind.FILE, max_frames=9)


def test_figures_and_the_last_picture_of_a_stream() -> None:
    with _served() as (page, url):
        with page.observing(SPEC, ScriptedSource([]), settings=SETTINGS) as observe:
            _show(observe)
            status, content, _ = _get(url, "streams")
            (stream,) = json.loads(content)
            assert (status, stream["id"], stream["num_frames"], stream["total"]) == (200, "door", 3, 9)
            assert (stream["is_over"], stream["faces"][0]["dominant"]) == (False, "happy")
        (stream,) = json.loads(_get(url, "streams")[1])
        assert stream["is_over"]
        status, content, media_type = _get(url, "pictures/door")
        assert (status, media_type) == (200, "image/jpeg")
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and picture.shape == (360, 640, 3)
        assert abs(int(picture[300, 600].mean()) - 128) < 4, "far from the box"


def test_the_page_and_its_files_hold_nothing_of_the_streams() -> None:
    with _served() as (page, url):
        base = url.partition("/#")[0]
        with page.observing(SPEC, ScriptedSource([]), settings=SETTINGS) as observe:
            _show(observe)
            for path in ("", "live.js", "live.css"):
                status, content, _ = _get(base, path)
                assert status == 200 and b"door" not in content and page.token.encode() not in content


@pytest.mark.parametrize("path", ["streams", "pictures/door"])
def test_without_the_token_every_path_is_refused(path: str) -> None:
    with _served() as (page, url):
        with page.observing(SPEC, ScriptedSource([]), settings=SETTINGS) as observe:
            _show(observe)
        for other in (url.partition("/#")[0], f"{url}x", url[:-1]):
            assert _get(other, path)[0] == 403


def test_a_site_whose_name_leads_here_is_refused() -> None:
    with _served() as (_, url):
        assert _get(url, "", Host="attacker.example")[0] == 421
        assert _get(url, "streams", Host="attacker.example")[0] == 421


@pytest.mark.parametrize("path", ["pictures/hall", "pictures/", "..%2f..%2fetc/passwd", "live.html"])
def test_what_is_not_there(path: str) -> None:
    with _served() as (_, url):
        assert _get(url, path)[0] == 404


def test_it_is_gone_with_the_run() -> None:
    with _served() as (_, url):
        pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url.partition("#")[0], timeout=5)


@pytest.mark.integration
def test_a_browser_shows_people_and_pictures() -> None:
    messages: list[str] = []
    with sync_playwright() as playwright, _served() as (page, url):
        browser = launch_chromium(playwright)
        window = browser.new_page(viewport={"width": 390, "height": 800})
        window.on("console", lambda message: messages.append(message.text))
        window.on("pageerror", lambda error: messages.append(str(error)))
        with page.observing(SPEC, ScriptedSource([]), settings=SETTINGS) as observe:
            _show(observe)
            window.goto(url)
            expect(window.locator("img")).to_have_js_property("naturalWidth", 640)
            said = window.inner_text("main")
            assert "door" in said and "3/9 frames" in said and "happy" in said
            assert_accessible(window)
            assert window.evaluate("document.documentElement.scrollWidth") <= 390
        expect(window.locator("main")).to_contain_text("ended")
        browser.close()
    assert messages == []
