"""The camera of this device, in a real browser whose camera plays a clip of real faces."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.tokens import token_hash
from tests.browser import assert_accessible, launch_chromium
from tests.service.console.conftest import NARROW, OpenPage, keep_picture
from tests.service.console.service_process import Service, running_service
from tests.service.console.steps import MARKED, assert_fits, until_changed
from tests.vision.detect.real_model import centerface_path

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

expect.set_options(timeout=60_000)

TOKEN = "sesame"


@pytest.fixture(scope="module")
def browser(faces: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Its only camera shows two real faces, and may be used without a question."""
    clip = tmp_path_factory.mktemp("camera") / "faces.mjpeg"
    clip.write_bytes(b"".join(faces))
    with sync_playwright() as playwright:
        browser = launch_chromium(
            playwright,
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={clip}",
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(redis_server: EmbeddedRedis) -> Iterator[Service]:
    """It lets senders in by WebRTC, with a token."""
    pytest.importorskip("aiortc")
    centerface_path()
    tokens = [{"name": "me", "sha256": token_hash(TOKEN), "scopes": ["read", "write"]}]
    with running_service(redis_server.url, service={"tokens": tokens}, webrtc={"enabled": True}) as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        yield client


def stream_ids(client: httpx.Client) -> list[str]:
    return [stream["id"] for stream in client.get("/v1/streams").json()["streams"]]


def until_removed(page: Page, client: httpx.Client) -> None:
    for _ in range(600):
        if not stream_ids(client):
            return
        page.wait_for_timeout(100)
    raise AssertionError("the stream is still there")


def camera_page(open_page: OpenPage, url: str, **options: object) -> Page:
    page = open_page(f"{url}#/camera", is_loaded=False, **options)
    page.add_init_script(f"sessionStorage.setItem('emostream.token', '{TOKEN}')")
    return page


def begin(page: Page, url: str) -> None:
    """With the keyboard only."""
    page.goto(f"{url}#/camera")
    agreed, start = page.get_by_label("I agree"), page.get_by_role("button", name="Start")
    expect(start).to_be_disabled()
    agreed.focus()
    page.keyboard.press("Space")
    start.focus()
    page.keyboard.press("Enter")


def assert_faces_are_followed(page: Page, way: str) -> None:
    expect(page.get_by_text(way)).to_be_visible()
    expect(page.get_by_text("2 faces")).to_be_visible()
    canvas = page.get_by_role("img", name="Faces found")
    before = canvas.evaluate(MARKED)
    until_changed(page, canvas, before)


def test_by_webrtc_until_it_is_stopped(service: Service, client: httpx.Client, open_page: OpenPage) -> None:
    page = camera_page(open_page, service.url, color_scheme="light")
    begin(page, service.url)
    assert_faces_are_followed(page, "Sending by WebRTC")
    assert_accessible(page)
    keep_picture(page, "camera")
    assert page.get_by_label("Camera", exact=True).locator("option").count() >= 2
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_focused()
    (stream_id,) = stream_ids(client)
    assert stream_id.startswith("camera-")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The camera is off")).to_be_visible()
    assert page.locator("video").evaluate("(video) => video.srcObject") is None
    until_removed(page, client)


def test_pictures_on_a_phone_without_webrtc(service: Service, client: httpx.Client, open_page: OpenPage) -> None:
    page = camera_page(open_page, service.url, size=NARROW, color_scheme="dark")
    page.add_init_script("delete window.RTCPeerConnection")
    begin(page, service.url)
    assert_faces_are_followed(page, "this browser has no WebRTC")
    assert_fits(page)
    assert_accessible(page)
    keep_picture(page, "camera-narrow")
    page.get_by_role("link", name="Streams").click()  # leaving the page is enough
    until_removed(page, client)


def test_pictures_where_webrtc_is_not_enabled(
    service: Service, client: httpx.Client, redis_server: EmbeddedRedis, open_page: OpenPage
) -> None:
    with running_service(redis_server.url, with_worker=False) as other:  # the same worker
        page = camera_page(open_page, other.url)
        begin(page, other.url)
        assert_faces_are_followed(page, "WebRTC is not enabled on this service")
        page.close(run_before_unload=False)
    ids = stream_ids(client)  # a closed tab may take it along
    assert all(client.delete(f"/v1/streams/{stream_id}").status_code in (204, 404) for stream_id in ids)


def test_names_that_are_taken_or_none(service: Service, client: httpx.Client, open_page: OpenPage) -> None:
    page = camera_page(open_page, service.url)
    page.goto(f"{service.url}#/camera")
    name = page.get_by_label("Name of the stream")
    page.get_by_label("I agree").check()
    name.fill("not a name!")
    page.get_by_role("button", name="Start").click()
    expect(name).to_have_attribute("aria-invalid", "true")
    assert page.locator("video").evaluate("(video) => video.srcObject") is None
    assert stream_ids(client) == []


def test_over_http_from_elsewhere_there_is_no_camera(files_page: Page) -> None:
    text = files_page.evaluate(
        """async () => {
          const { CameraPage } = await import("/console/camera_page.js");
          const page = new CameraPage();
          const said = page.element.querySelector(".consent > [role=alert]").textContent;
          const { disabled } = page.element.querySelector(".primary");
          page.close();
          return [said, disabled];
        }"""
    )
    assert "HTTPS" in text[0] and text[1]
