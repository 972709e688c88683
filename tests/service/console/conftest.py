"""One service, one browser and cameras for the tests of the console."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.console.pages import console_files
from tests.browser import keep_screenshot, launch_chromium
from tests.conftest import REPOSITORY
from tests.service.console.service_process import Service, running_service
from tests.service.mjpeg_server import jpegs_of, mjpeg_server
from tests.vision.detect.real_model import centerface_path

SCREENSHOTS = REPOSITORY / "runs" / "console"
"""Pictures of the last test run, for people; the folder is ignored by git."""

SITE = "http://console.test"  # answered by the test itself
_EMPTY_PAGE = "<link rel=stylesheet href=/console/console.css><canvas width=1240 height=700></canvas>"
WIDE, NARROW = (1400, 1000), (390, 844)
WAIT_MS = 60_000  # a busy machine takes its time; no test depends on how long anything takes

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")  # while it runs, no test with an event loop can
def browser() -> Iterator[Browser]:
    """One for all tests of a file."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files_page(browser: Browser) -> Iterator[Page]:
    """A page of its own that can import the console's modules; it has a canvas and the style sheet, and no service."""
    files = console_files()

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(SITE).removeprefix("/console/")
        if name in files:
            route.fulfill(body=files[name].content, content_type=files[name].media_type)
        else:
            route.fulfill(body=_EMPTY_PAGE, content_type="text/html")

    page = browser.new_page(viewport={"width": 1260, "height": 720})
    page.route("**/*", answer)
    page.goto(f"{SITE}/")
    yield page
    page.close()


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """JPEGs of two real faces that move."""
    clip = tmp_path_factory.mktemp("media") / "faces.mp4"
    make_demo_clip(clip, num_frames=100)
    return jpegs_of(clip)


@pytest.fixture
def camera(faces: list[bytes]) -> Iterator[str]:
    """The URL of a camera that sends the faces over HTTP."""
    with mjpeg_server(pictures=faces) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """Registry and events."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="module")
def service(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Interface and worker with real models; cameras on loopback are allowed."""
    centerface_path()
    settings: dict[str, Any] = {
        "service": {
            "allowed_networks": ["127.0.0.0/8"],
            "media_root": str(tmp_path_factory.mktemp("root")),
            "max_streams_per_worker": 4,
        },
        "decode": {"read_timeout_seconds": 4.0, "open_timeout_seconds": 4.0},
    }
    with running_service(redis_server.url, **settings) as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """Speaks to the service beside the browser; all streams are removed at the end."""
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client
        for stream in client.get("/v1/streams?limit=500").json()["streams"]:
            client.delete(f"/v1/streams/{stream['id']}")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens a console; fails the test when it asked another host, or a script failed, or the policy was broken."""
    problems: list[str] = []
    with contextlib.ExitStack() as stack:

        def open_page(url: str, *, size: tuple[int, int] = WIDE, is_loaded: bool = True, **options: Any) -> Page:
            context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
            stack.callback(context.close)
            context.set_default_timeout(WAIT_MS)
            page = context.new_page()
            home = httpx.URL(url).netloc.decode()

            def check_request(address: str) -> None:
                if httpx.URL(address).netloc.decode() != home:
                    problems.append(f"asked another host: {address}")

            page.on("request", lambda request: check_request(request.url))
            page.on("pageerror", lambda error: problems.append(f"a script failed: {error}"))
            page.on("console", lambda message: _note_violation(message.text, problems))
            if is_loaded:
                page.goto(url)
            return page

        yield open_page
    assert problems == []


def _note_violation(text: str, problems: list[str]) -> None:
    if "Content Security Policy" in text or "TrustedHTML" in text:
        problems.append(text)


def keep_picture(page: Page, name: str) -> Path:
    """The page as it stands, for people to look at."""
    return keep_screenshot(page, SCREENSHOTS / f"{name}.png")
