"""The console in a real browser, on a real service that decodes real faces."""

from __future__ import annotations

import http.server
import json
import re
import threading
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest
import redis
from playwright.sync_api import expect

from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.wire.preview import PreviewPicture, bytes_from_preview, preview_channel, preview_kind
from tests.browser import assert_accessible
from tests.ports import unused_port
from tests.service.console.conftest import NARROW, OpenPage, keep_picture
from tests.service.console.service_process import Service
from tests.service.console.steps import MARKED, add, row_of, until_changed
from tests.service.mjpeg_server import mjpeg_server

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

expect.set_options(timeout=60_000)


class RefusingCamera(http.server.BaseHTTPRequestHandler):
    """Every login is refused."""

    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_from_an_empty_list_to_boxes_that_move(
    service: Service, client: httpx.Client, open_page: OpenPage, camera: str
) -> None:
    page = open_page(service.url, color_scheme="light")
    expect(page.get_by_text("No streams yet")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Add stream").click()
    assert_accessible(page)
    address, name = page.get_by_label("Address"), page.get_by_label("Name (optional)")
    expect(address).to_be_focused()
    address.fill("rtsp://10.0.0.1/camera")
    name.fill("door")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#field-url-error")).to_contain_text("10.0.0.1")
    expect(address).to_have_attribute("aria-invalid", "true")
    expect(address).to_be_focused()
    keep_picture(page, "add-refused")
    address.fill(camera)
    page.get_by_label("Kind").select_option("Live")
    name.fill("the door!")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#field-id-error")).to_contain_text("expected at most 64 letters")
    expect(page.locator("#field-url-error")).to_be_empty()
    name.fill("door")
    page.get_by_role("button", name="Add", exact=True).click()
    row = row_of(page, "door")
    expect(row.locator(".state")).to_have_text("running")
    expect(row.get_by_text("worker-", exact=False)).to_be_visible()
    until_changed(page, row.locator("canvas"), None)
    assert_accessible(page)
    keep_picture(page, "list-light")
    row.get_by_role("link", name="door", exact=True).click()
    expect(page.get_by_role("heading", name="door")).to_be_focused()
    canvas = page.locator(".preview canvas")
    until_changed(page, canvas, until_changed(page, canvas, None))
    lane = page.locator(".lane canvas").first
    until_changed(page, lane, until_changed(page, lane, None))
    expect(page.locator(".shares li").first).to_contain_text(re.compile("happy|neutral"))
    newest = page.locator(".log li").first
    expect(newest).to_contain_text("frame")
    page.get_by_role("button", name="Stop").click()
    stopped_at = newest.text_content() or ""
    until_changed(page, lane, until_changed(page, lane, None))
    assert newest.text_content() == stopped_at, "it can be read"
    page.get_by_role("button", name="Go on").click()
    expect(newest).not_to_have_text(stopped_at)
    assert_accessible(page)
    keep_picture(page, "stream-light")
    page.get_by_label("Theme").select_option("dark")
    expect(page.locator("html")).to_have_css("color-scheme", "dark")
    assert_accessible(page)
    keep_picture(page, "stream-dark")
    page.reload()
    expect(page.locator("html")).to_have_css("color-scheme", "dark")
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    until_changed(page, canvas, None)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it must not scroll sideways"
    keep_picture(page, "stream-narrow")
    page.get_by_label("Blur faces").check()
    until_changed(page, canvas, until_changed(page, canvas, None))
    keep_picture(page, "stream-narrow-blurred")


def test_pause_resume_remove(service: Service, client: httpx.Client, open_page: OpenPage, camera: str) -> None:
    add(client, "door", camera)
    add(client, "hall", camera)
    page = open_page(service.url, color_scheme="dark")
    row = row_of(page, "door")
    expect(row.locator(".state")).to_have_text("running")
    row.get_by_role("button", name="Pause door").press("Enter")
    expect(row.locator(".state")).to_have_text("paused")
    assert client.get("/v1/streams/door").json()["paused"]
    row.get_by_role("button", name="Resume door").click()
    expect(row.locator(".state")).to_have_text("running")
    row.get_by_role("button", name="Remove door").click()
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(row.get_by_role("button", name="Remove door")).to_be_focused()
    row.get_by_role("button", name="Remove door").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(row).to_have_count(0)
    expect(row_of(page, "hall")).to_be_visible()
    assert client.get("/v1/streams/door").status_code == 404
    page.goto(f"{service.url}#/streams/door")
    expect(page.get_by_text("There is no such stream")).to_be_visible()


def test_a_source_that_is_cut(service: Service, client: httpx.Client, open_page: OpenPage, faces: list[bytes]) -> None:
    port = unused_port()
    with mjpeg_server(port, pictures=faces) as url:
        add(client, "door", url)
        page = open_page(f"{service.url}#/streams/door")
        until_changed(page, page.locator(".preview canvas"), None)
    expect(page.locator(".toolbar .state")).to_have_text("reconnecting")
    expect(page.locator(".preview-note")).to_have_text("reconnecting")
    expect(page.locator(".log-status").first).to_contain_text("reconnecting")
    keep_picture(page, "stream-reconnecting")
    with mjpeg_server(port, pictures=faces):
        expect(page.locator(".toolbar .state")).to_have_text("running")
        expect(page.locator(".preview-note")).to_be_empty()


def test_a_stream_that_failed_is_tried_again(
    service: Service, client: httpx.Client, open_page: OpenPage, faces: list[bytes]
) -> None:
    port = unused_port()
    with http.server.HTTPServer(("127.0.0.1", port), RefusingCamera) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        add(client, "door", f"http://127.0.0.1:{port}/")
        page = open_page(service.url)
        row = row_of(page, "door")
        expect(row.locator(".state")).to_have_text("failed")
        refusing.shutdown()
    with mjpeg_server(port, pictures=faces):
        row.get_by_role("button", name="Retry door").click()
        expect(row.locator(".state")).to_have_text("running")
        expect(row.get_by_role("button", name="Pause door")).to_be_visible()


def test_hundreds_of_streams(service: Service, client: httpx.Client, open_page: OpenPage, camera: str) -> None:
    for number in range(4):  # all that the worker takes
        add(client, f"camera-{number:03}", camera, target_fps=5)
    page = open_page(service.url, color_scheme="dark")
    for number in range(4):
        expect(row_of(page, f"camera-{number:03}").locator(".state")).to_have_text("running")
    for number in range(4, 60):
        add(client, f"camera-{number:03}", camera)
    expect(page.get_by_text("1–24 of 60")).to_be_visible()
    until_changed(page, row_of(page, "camera-000").locator("canvas"), None)
    page.get_by_role("button", name="Cards").click()
    until_changed(page, row_of(page, "camera-001").locator("canvas"), None)
    assert_accessible(page)
    keep_picture(page, "cards-dark")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("49–60 of 60")).to_be_visible()
    expect(row_of(page, "camera-059")).to_be_visible()
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_text("25–48 of 60")).to_be_visible()
    page.get_by_label("Search").fill("CAMERA-01")
    expect(page.locator("tbody").get_by_role("row")).to_have_count(10)
    page.get_by_label("State").select_option("Trouble")
    expect(page.get_by_text("No stream matches")).to_be_visible()
    page.reload()  # the search stands in the address
    expect(page.get_by_text("No stream matches")).to_be_visible()
    page.get_by_label("State").select_option("All states")
    expect(page.locator("tbody").get_by_role("row")).to_have_count(10)


def test_only_what_is_seen_is_sent(service: Service, client: httpx.Client, open_page: OpenPage, camera: str) -> None:
    for number in range(24):
        add(client, f"camera-{number:03}", camera, paused=True)
    asked: list[str] = []
    page = open_page(service.url, is_loaded=False)
    page.on("request", lambda request: asked.append(request.url) if "/v1/previews" in request.url else None)
    with page.expect_request("**/v1/previews?**"):
        page.goto(service.url)
    expect(row_of(page, "camera-023")).to_be_attached()
    page.mouse.wheel(0, 10_000)
    with page.expect_request(lambda request: "stream=camera-023" in request.url):
        pass
    seen = [set(httpx.URL(url).params.get_list("stream")) for url in asked]
    assert "camera-000" in seen[0]
    assert all(len(streams) < 20 for streams in seen)
    assert "camera-000" not in seen[-1]
    number = len(asked)
    page.get_by_label("Previews").uncheck()
    page.mouse.wheel(0, -10_000)
    expect(row_of(page, "camera-000").locator(".preview-note")).to_have_text(re.compile("paused|pending"))
    page.wait_for_timeout(500)
    assert len(asked) == number, "previews are off"


def test_names_are_never_markup(service: Service, client: httpx.Client, open_page: OpenPage, camera: str) -> None:
    markup = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    long_id = "x" * 64
    zone = {"name": "<b>zone</b>" + "z" * 50, "polygon": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]}
    add(client, long_id, f"{camera}?{markup}{'y' * 1500}", zones=[zone])
    page = open_page(service.url, size=NARROW)
    expect(row_of(page, long_id).locator(".url")).to_contain_text("<img src=")  # what follows is a value, and masked
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep_picture(page, "hostile-list-narrow")
    page.get_by_role("link", name=long_id, exact=True).click()
    expect(page.locator("dd").filter(has_text="<img src=")).to_have_count(1)
    until_changed(page, page.locator(".preview canvas"), None)
    assert page.title() == f"{long_id} – emostream"
    assert page.locator("main img, main script, main b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep_picture(page, "hostile-stream-narrow")


def test_thousands_of_faces(
    service: Service, client: httpx.Client, open_page: OpenPage, redis_server: EmbeddedRedis, faces: list[bytes]
) -> None:
    add(client, "crowd", "http://127.0.0.1:9/nobody")
    page = open_page(f"{service.url}#/streams/crowd")
    canvas = page.locator(".preview canvas")
    channel = preview_channel("crowd", preview_kind(has_boxes=False, is_blurred=False))
    with redis.Redis.from_url(redis_server.url) as sender:
        for number in range(600):
            sender.publish(channel, bytes_from_preview(crowd_picture(number, faces[0])))
            page.wait_for_timeout(100)
            if canvas.evaluate(MARKED) is not None:
                break
    keep_picture(page, "crowd")
    assert canvas.evaluate(MARKED) is not None
    page.get_by_role("link", name="All streams").click()
    expect(row_of(page, "crowd")).to_be_visible()


def crowd_picture(number: int, jpeg: bytes) -> PreviewPicture:
    """3,000 faces of a foreign model, as a worker would send them."""
    emotions = {"happy": 0.5, "<b>bored</b>" + "d" * 300: 0.5}
    corners = np.random.default_rng(number).uniform((0, 0), (620, 340), (3000, 2)).round(1).tolist()
    at = datetime.now(UTC)
    event = {
        "schema_version": 1, "stream_id": "crowd", "epoch": 1, "frame_index": number, "pts_seconds": 0.0,
        "captured_at": at.isoformat(), "frame_width": 640, "frame_height": 360, "model_name": "m",
        "model_version": "1", "num_dropped": 0, "latency_ms": {},
        "faces": [
            {
                "track_id": index, "box_xyxy": [x, y, x + 14, y + 18], "score": 0.9, "found_by": "detector",
                "probabilities": emotions, "smoothed_probabilities": emotions,
                "dominant": list(emotions)[index % 2], "confidence": 0.5, "quality": [], "zones": [],
            }
            for index, (x, y) in enumerate(corners)
        ],
    }  # fmt: skip
    return PreviewPicture("crowd", 1, number, 0.0, at, 640, 360, jpeg, event_json=json.dumps(event).encode())


def test_a_service_that_goes_away_and_comes_back(
    service: Service, client: httpx.Client, open_page: OpenPage, camera: str
) -> None:
    add(client, "door", camera)
    page = open_page(service.url)
    expect(row_of(page, "door").locator(".state")).to_have_text("running")
    service.kill()
    try:
        trouble = page.locator("#trouble")
        expect(trouble).to_contain_text("does not respond")
        expect(row_of(page, "door").locator(".preview-note")).not_to_be_empty()
        assert_accessible(page)
        keep_picture(page, "service-away")
    finally:
        service.start()
    expect(trouble).to_be_hidden()
    expect(row_of(page, "door").locator(".state")).to_have_text("running")
    until_changed(page, row_of(page, "door").locator("canvas"), None)


def test_answers_may_come_in_pieces(service: Service, open_page: OpenPage) -> None:
    page = open_page(service.url)
    found = page.evaluate(IN_PIECES)
    assert found["parts"] == [[["application/json", [123, 125]], ["image/jpeg", [13, 10, 45, 45, 13, 10, 13, 10]]]] * 40
    assert found["events"] == [[["5-1", "emotion", "[ä]"], [None, "end", "{}"]]] * 40
    assert "no length" in found["refused"]


# What the readers of the page make of answers that are cut anywhere, byte for byte up to 40 at once.
IN_PIECES = r"""async () => {
  const { partsOf } = await import(new URL("console/multipart.js", document.baseURI));
  const { eventsOf } = await import(new URL("console/server_sent.js", document.baseURI));
  const bytesOf = (text) => new TextEncoder().encode(text);
  const inPieces = (text, size) => new ReadableStream({
    start(controller) {
      const bytes = bytesOf(text);
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
  const all = async (items) => { const found = []; for await (const item of items) found.push(item); return found; };
  const part = (type, body) => `--frame\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n${body}\r\n`;
  const answer = `\r\n${part("application/json", "{}")}\r\n${part("image/jpeg", "\r\n--\r\n\r\n")}\r\n--frame--\r\n`;
  const text = ": hello\n\nid: 5-1\nevent: emotion\ndata: [ä]\n\n: waiting\n\nevent: end\ndata: {}\n\n";
  const [parts, events] = [[], []];
  for (let size = 1; size <= 40; size += 1) {
    parts.push((await all(partsOf(inPieces(answer, size)))).map(({ type, body }) => [type, [...body]]));
    events.push((await all(eventsOf(inPieces(text, size)))).map(({ id, type, data }) => [id ?? null, type, data]));
  }
  const noLength = inPieces("--frame\r\nContent-Type: a/b\r\n\r\nbody", 9);
  return { parts, events, refused: await all(partsOf(noLength)).catch((error) => error.message) };
}"""


def test_a_browser_that_is_too_old(service: Service, open_page: OpenPage) -> None:
    page = open_page(service.url, is_loaded=False)
    page.add_init_script("delete window.createImageBitmap")
    page.goto(service.url)
    expect(page.get_by_role("heading", name="The console does not start")).to_be_visible()
    expect(page.locator("#missing")).to_contain_text("createImageBitmap")
