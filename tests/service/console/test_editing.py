"""Streams changed in the console: their options, their zones on the picture, and their past out of Redis."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from emostream.domain.clock import utc_now
from emostream.publish.loop_thread import LoopThread
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from tests.browser import assert_accessible
from tests.publish.samples import events_of
from tests.service.conftest import SETTINGS
from tests.service.console.conftest import NARROW, OpenPage, keep_picture
from tests.service.console.service_process import Service
from tests.service.console.steps import add, assert_fits, until_changed

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

expect.set_options(timeout=60_000)


def test_options_of_a_stream_are_changed(
    service: Service, client: httpx.Client, open_page: OpenPage, camera: str
) -> None:
    add(client, "door", camera.replace("http://", "http://user:secret@"), target_fps=5)
    page = open_page(f"{service.url}#/streams/door", color_scheme="light")
    edit = page.get_by_role("button", name="Edit door")
    edit.press("Enter")
    pace, every = page.get_by_label("Maximum frames per second"), page.get_by_label("Use one frame of")
    score = page.get_by_label("Minimum detection score")
    expect(pace).to_have_value("5")
    expect(every).to_have_value("1")
    assert "secret" not in page.content()
    assert_accessible(page)
    keep_picture(page, "edit-light")
    pace.fill("fast")
    every.fill("")
    score.fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#field-target_fps-error")).not_to_be_empty()
    expect(page.locator("#field-every-error")).not_to_be_empty()
    expect(pace).to_be_focused()
    pace.fill("2,5")
    every.fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#field-min_score-error")).not_to_be_empty()  # said by the service
    expect(score).to_be_focused()
    expect(page.locator("#field-target_fps-error")).to_be_empty()
    assert client.get("/v1/streams/door").json()["target_fps"] == 5
    score.fill("0.7")
    page.get_by_role("button", name="Save").press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(edit).to_be_focused()
    changed = client.get("/v1/streams/door").json()
    assert (changed["target_fps"], changed["every"], changed["min_score"], changed["zones"]) == (2.5, 3, 0.7, [])
    edit.click()
    score.fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert client.get("/v1/streams/door").json()["min_score"] is None
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    edit.click()
    assert_fits(page)
    keep_picture(page, "edit-narrow")
    pace.fill("4")
    client.delete("/v1/streams/door")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog").get_by_text("there is no stream door")).to_be_visible()


def test_zones_are_drawn_on_the_picture(
    service: Service, client: httpx.Client, open_page: OpenPage, camera: str
) -> None:
    add(client, "door", camera)
    page = open_page(f"{service.url}#/streams/door", color_scheme="dark")
    page.get_by_role("link", name="Zones").click()
    expect(page.get_by_role("heading", name="Zones").first).to_be_focused()
    expect(page.get_by_text("No zones")).to_be_visible()
    until_changed(page, page.locator(".zone-picture canvas"), None)
    click_corners(page, [(0.1, 0.1), (0.5, 0.1), (0.5, 0.9), (0.1, 0.9)])
    click_corners(page, [(0.3, 0.1)])  # on the upper line: between two corners
    name = page.get_by_label("Name of zone 1")
    name.fill("entrance")
    page.get_by_role("button", name="Add zone").click()
    click_corners(page, [(0.6, 0.5), (0.9, 0.5)])
    save = page.get_by_role("button", name="Save")
    save.click()
    expect(page.locator("#zone-1-error")).to_contain_text("3 corners")
    assert client.get("/v1/streams/door").json()["zones"] == []
    click_corners(page, [(0.9, 0.8)])
    page.get_by_label("Name of zone 2").fill("entrance")
    save.click()
    expect(page.locator("#zone-1-error")).not_to_be_empty()
    expect(page.get_by_label("Name of zone 2")).to_be_focused()
    page.get_by_label("Name of zone 2").fill("counter")
    drag_corner(page, page.get_by_role("button", name="Corner 3 of counter"), to=(0.75, 0.9))
    assert_accessible(page)
    keep_picture(page, "zones-dark")
    page.get_by_role("link", name="door").click()  # what is not saved is there again
    page.get_by_role("link", name="Zones").click()
    expect(page.get_by_label("Name of zone 2")).to_have_value("counter")
    service.kill()
    try:
        expect(page.locator("#trouble")).to_be_visible()
        save.click()
        expect(page.locator(".zones-page > .field-error")).to_contain_text("does not respond")
    finally:
        service.start()
    expect(page.locator("#trouble")).to_be_hidden()
    save.click()
    expect(page).to_have_url(re.compile("#/streams/door$"))
    entrance, counter = client.get("/v1/streams/door").json()["zones"]
    assert (entrance["name"], counter["name"]) == ("entrance", "counter")
    expected = [(0.1, 0.1), (0.3, 0.1), (0.5, 0.1), (0.5, 0.9), (0.1, 0.9)]
    assert [tuple(corner) for corner in entrance["polygon"]] == [pytest.approx(corner, abs=0.01) for corner in expected]
    expected = [(0.6, 0.5), (0.9, 0.5), (0.75, 0.9)]
    assert [tuple(corner) for corner in counter["polygon"]] == [pytest.approx(corner, abs=0.01) for corner in expected]
    until_changed(page, page.locator(".preview canvas"), None)
    keep_picture(page, "stream-with-zones-dark")


def test_zones_with_the_keyboard_alone(service: Service, client: httpx.Client, open_page: OpenPage) -> None:
    add(client, "door", "http://127.0.0.1:9/nobody", zones=[{"name": "old", "polygon": [[0, 0], [1, 0], [1, 1]]}])
    page = open_page(f"{service.url}#/streams/door/zones", size=NARROW, color_scheme="light")
    expect(page.get_by_label("Name of zone 1")).to_have_value("old")
    page.get_by_role("button", name="Add zone").press("Enter")
    stage = page.get_by_role("application")
    expect(stage).to_be_focused()
    set_three_corners(page)
    page.keyboard.press("Enter")
    page.keyboard.press("Backspace")
    corner = page.get_by_role("button", name="Corner 1 of zone 2")
    corner.press("ArrowLeft")
    corner.press("Shift+ArrowUp")
    page.get_by_role("button", name="Corner 3 of zone 2").press("ArrowDown")
    page.get_by_role("button", name="Remove old").press("Enter")
    expect(page.locator(".zone")).to_have_count(1)
    assert_accessible(page)
    assert_fits(page)
    keep_picture(page, "zones-narrow-light")
    page.get_by_role("button", name="Discard changes").press("Enter")
    expect(page.get_by_label("Name of zone 1")).to_have_value("old")
    page.get_by_role("button", name="Remove old").press("Enter")
    expect(page.get_by_role("button", name="Add zone")).to_be_focused()
    page.keyboard.press("Enter")
    set_three_corners(page)
    page.get_by_role("button", name="Save").press("Enter")
    expect(page).to_have_url(re.compile("#/streams/door$"))
    (zone,) = client.get("/v1/streams/door").json()["zones"]
    assert zone["name"] == "zone 1"
    assert len(zone["polygon"]) == 3
    (x0, y0), (x1, y1), (x2, y2) = zone["polygon"]
    assert (round(x1 - x0, 4), round(y1 - y0, 4), round(x2 - x1, 4), round(y2 - y1, 4)) == (0.2, 0, 0, 0.1)


def test_the_past_comes_from_redis(
    service: Service, client: httpx.Client, open_page: OpenPage, redis_server: EmbeddedRedis
) -> None:
    publish_half_hour(redis_server, "past-hall", begin=utc_now() - timedelta(minutes=50))
    add(client, "past-hall", "http://127.0.0.1:9/nobody")  # its worker would be a newer run than that of these events
    page = open_page(f"{service.url}#/streams/past-hall", color_scheme="light")
    page.get_by_label("Time shown").select_option("1 hour")
    expect(page.locator(".lane")).to_have_count(1)
    expect(page.locator(".panel").filter(has_text="People")).to_contain_text("Redis keeps events since")
    expect(page.locator(".shares li").first).to_contain_text("happy")
    crowd = page.locator(".crowd canvas")
    until_changed(page, crowd, None)
    assert_accessible(page)
    keep_picture(page, "past-light")
    page.get_by_label("Theme").select_option("dark")
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert_fits(page)
    crowd.scroll_into_view_if_needed()
    keep_picture(page, "past-narrow-dark")
    page.get_by_label("Time shown").select_option("5 minutes")
    expect(page.locator(".crowd")).to_be_hidden()
    expect(page.get_by_text("No faces in this time").first).to_be_visible()
    page.route("**/history?*", lambda route: route.abort())
    page.get_by_label("Time shown").select_option("24 hours")
    expect(page.get_by_text("The service does not respond.", exact=True)).to_be_visible()
    page.unroute("**/history?*")
    expect(page.locator(".lane")).to_have_count(1)


def publish_half_hour(server: EmbeddedRedis, stream_id: str, *, begin: datetime) -> None:
    """Half an hour with a face every two seconds, as a worker would have published it."""
    events = [
        replace(event, captured_at=begin + timedelta(seconds=2 * event.frame_index))
        for event in events_of(stream_id, range(900))
    ]
    thread = LoopThread("events")

    async def publish() -> None:
        async with RedisSink(SETTINGS, redis_url=server.url) as sink:
            await sink.publish(events)

    thread.run(publish())
    thread.close()


def drag_corner(page: Page, corner: Locator, *, to: tuple[float, float]) -> None:
    """With the mouse, to fractions of the picture's width and height."""
    corner.hover()
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    page.mouse.down()
    page.mouse.move(box["x"] + to[0] * box["width"], box["y"] + to[1] * box["height"], steps=3)
    page.mouse.up()


def set_three_corners(page: Page) -> None:
    """With the keyboard: where the cross is, a fifth of the width to its right, a tenth of the height below that."""
    for key in ("Enter", *["Shift+ArrowRight"] * 4, "Enter", *["ArrowDown"] * 10, "Space"):
        page.keyboard.press(key)


def click_corners(page: Page, corners: list[tuple[float, float]]) -> None:
    """Click on the picture at fractions of its width and height."""
    stage = page.get_by_role("application")
    for x, y in corners:
        box = stage.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
