"""The console's pages of jobs, of workers, and the wall, in a real browser on a real service."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from emostream.cli.bench.demo_clip import make_demo_clip
from tests.browser import assert_accessible
from tests.service.console.conftest import NARROW, OpenPage, keep_picture
from tests.service.console.service_process import Service
from tests.service.console.steps import add, assert_fits, until_changed

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

expect.set_options(timeout=60_000)


@pytest.fixture
def folder(service: Service, tmp_path: Path) -> Iterator[Path]:
    """A folder below the media root with two videos, and one file that is none."""
    folder = Path(service.settings["service"]["media_root"]) / "archive"
    folder.mkdir()
    make_demo_clip(folder / "a.mp4", num_frames=10)
    shutil.copy(folder / "a.mp4", folder / "b.mp4")
    (folder / "broken.mp4").write_bytes(b"no video")
    yield folder
    shutil.rmtree(folder)


def test_a_job_from_its_folder_to_its_results(
    service: Service, client: httpx.Client, open_page: OpenPage, folder: Path
) -> None:
    page = open_page(service.url, color_scheme="light")
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_focused()
    expect(page.get_by_role("link", name="Jobs")).to_have_attribute("aria-current", "page")
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Add job").press("Enter")
    url, name = page.get_by_label("Folder", exact=True), page.get_by_label("Name", exact=True)
    parallel = page.get_by_label("Files at once")
    expect(url).to_be_focused()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#field-url-error")).not_to_be_empty()
    expect(page.locator("#field-id-error")).not_to_be_empty()
    url.fill("file:///etc/")
    name.fill("archive")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#field-url-error")).not_to_be_empty()
    expect(page.locator("#field-id-error")).to_be_empty()
    url.fill(folder.as_uri())
    parallel.fill("0")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#field-parallel-error")).not_to_be_empty()
    assert_accessible(page)
    keep_picture(page, "job-refused")
    parallel.fill("1")
    page.get_by_label("File names").fill("*.mp4  *.mkv")
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="archive", exact=True))
    expect(row).to_contain_text("all 3 done, 1 failed", timeout=120_000)
    assert_accessible(page)
    keep_picture(page, "jobs-light")
    page.get_by_label("Search").fill("other")
    expect(page.get_by_text("No job matches")).to_be_visible()
    page.get_by_label("Search").fill("ARCH")
    row.get_by_role("link", name="archive", exact=True).click()
    expect(page.get_by_role("heading", name="archive")).to_be_focused()
    expect(page.get_by_role("row").filter(has_text="broken.mp4")).to_contain_text("failed")
    expect(page.get_by_role("row").filter(has_text="a.mp4")).to_contain_text("ended")
    assert_accessible(page)
    keep_picture(page, "job-light")
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert_fits(page)
    assert_accessible(page)
    keep_picture(page, "job-narrow")
    page.get_by_role("button", name="Remove archive").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    assert client.get("/v1/jobs").json() == []
    page.goto(f"{service.url}#/jobs/archive")
    expect(page.get_by_text("There is no such job")).to_be_visible()


def test_workers_and_what_they_run(service: Service, client: httpx.Client, open_page: OpenPage, camera: str) -> None:
    add(client, "door", camera, target_fps=5)
    add(client, "hall", camera, target_fps=5)
    page = open_page(f"{service.url}#/workers", color_scheme="dark")
    row = page.get_by_role("row").filter(has_text=f"worker-{service.port}")
    expect(row.get_by_role("link", name="door")).to_be_visible()
    expect(row).to_contain_text("2 of 4")
    expect(row).to_contain_text("takes streams")
    assert_accessible(page)
    keep_picture(page, "workers-dark")
    service.kill()
    try:
        expect(page.locator("#trouble")).to_contain_text("does not respond")
    finally:
        service.start()
    expect(page.locator("#trouble")).to_be_hidden()
    expect(row.get_by_role("link", name="door")).to_be_visible()
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert_fits(page)
    assert_accessible(page)
    keep_picture(page, "workers-narrow")
    row.get_by_role("link", name="hall").click()
    expect(page.get_by_role("heading", name="hall")).to_be_focused()


def test_the_wall_fills_the_screen(service: Service, client: httpx.Client, open_page: OpenPage, camera: str) -> None:
    for number in range(4):
        add(client, f"camera-{number}", camera, target_fps=5)
    page = open_page(service.url, color_scheme="dark")
    page.get_by_label("State").select_option("Running")
    expect(page.locator("tbody").get_by_role("row")).to_have_count(4)  # all that the worker takes
    for number in range(3):
        add(client, f"other-{number}", camera)
    page.get_by_label("State").select_option("All states")
    expect(page.locator("tbody").get_by_role("row")).to_have_count(7)
    page.get_by_label("Search").fill("camera-")
    expect(page.locator("tbody").get_by_role("row")).to_have_count(4)
    page.get_by_role("link", name="Wall").click()
    expect(page.get_by_role("heading", name="Wall")).to_be_focused()
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(4)
    assert_fills_the_window(page, columns=2)
    until_changed(page, tiles.first.locator("canvas"), None)
    assert_accessible(page)
    keep_picture(page, "wall-dark")
    page.get_by_role("link", name="camera-3").focus()
    page.keyboard.press("Tab")  # not to what the wall covers
    assert not page.evaluate("document.querySelector('.top').contains(document.activeElement)")
    page.get_by_role("button", name="Full screen").press("Enter")
    expect(page.get_by_role("button", name="Full screen")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Full screen").press("Enter")
    expect(page.get_by_role("button", name="Full screen")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"#/\?search=camera-$"))
    page.get_by_label("Theme").select_option("dark")
    page.get_by_label("Search").fill("")
    page.get_by_role("link", name="Wall").click()
    expect(tiles).to_have_count(7)
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    expect(page.get_by_text("7 streams")).to_be_visible()
    expect(page.locator(".wall-grid")).to_have_css("grid-template-columns", "390px")
    assert_fills_the_window(page, columns=1)
    assert_fits(page)
    assert_accessible(page)
    keep_picture(page, "wall-narrow")
    page.set_viewport_size({"width": 320, "height": 200})  # room for 2 pictures only
    expect(page.get_by_text("of 7 streams")).to_be_visible()
    first = tiles.first.get_attribute("href")
    page.get_by_role("button", name="Next").press("Enter")
    expect(tiles.first).not_to_have_attribute("href", first or "")


# Width and height of the window, and left, top, right, bottom of each tile.
BOXES = """[[innerWidth, innerHeight], [...document.querySelectorAll(".tile")].map((tile) => {
  const { left, top, right, bottom } = tile.getBoundingClientRect();
  return [left, top, right, bottom];
})]"""


def assert_fills_the_window(page: Page, *, columns: int) -> None:
    """Tiles reach from border to border, below the bar."""
    (width, height), boxes = page.evaluate(BOXES)
    left, top, right, bottom = zip(*boxes, strict=True)
    assert min(left) <= 1
    assert min(top) < 80
    assert max(right) >= width - 1
    assert max(bottom) >= height - 1
    assert len({round(each) for each in left}) == columns
