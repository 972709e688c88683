"""`analyze --report`: the page and the tables beside it, also of sources that end early, and in a real browser."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import sync_playwright

from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.domain.emotion import EMOTIONS
from emostream.render.report.report import Recording, RunRecord, report_page
from emostream.render.thumbnail import face_jpeg
from tests import media
from tests.browser import assert_accessible, keep_screenshot, launch_chromium
from tests.conftest import REPOSITORY
from tests.integration.command_line import run_emostream
from tests.render.report.events import NOW, event_of, face_of, frame_of
from tests.vision.detect.real_model import centerface_path

pytestmark = pytest.mark.integration

NUM_FRAMES = 30
SCREENSHOTS = REPOSITORY / "runs" / "report"
"""Pictures of the last test run, for people; the folder is ignored by git."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a clip of two faces whose name would be markup, and what the command said."""
    centerface_path()
    folder = tmp_path_factory.mktemp("report")
    make_demo_clip(folder / "<b>two & faces.mp4", num_frames=NUM_FRAMES)
    outcome = run_emostream("analyze", folder / "<b>two & faces.mp4", "--report", folder / "out.html", "--json")
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) == NUM_FRAMES
    assert f"report: {folder / 'out.html'}" in outcome.err
    return folder


def test_page_and_tables_tell_the_same(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert {path.name for path in folder.iterdir()} == {"<b>two & faces.mp4", "out.html", "out.csv", "out.parquet"}
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert "<h1>Expressions in &lt;b&gt;two &amp; faces.mp4</h1>" in page
    assert "<b>" not in page
    assert page.count("<img ") >= 4, "beside each lane, and of each key moment"
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * NUM_FRAMES == parquet.read_metadata(folder / "out.parquet").num_rows
    assert {row["track_id"] for row in rows} == {"0", "1"}
    assert "centerface" in page
    assert page.count("SHA-256") == 3, "of the source, the classifier and the detector"


# Of the text in charts that is shown, how large it is in pixels of the screen.
SIZES_IN_CHARTS = """() => [...document.querySelectorAll("svg")].flatMap((svg) => {
  if (!svg.getClientRects().length) return [];
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return [...svg.querySelectorAll("text")].map((text) => scale * parseFloat(getComputedStyle(text).fontSize));
})"""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_browser_shows_it_accessibly_without_requests(
    folder: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    asked: list[str] = []
    messages: list[str] = []
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 1000})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.goto((folder / "out.html").as_uri())
        keep_screenshot(page, SCREENSHOTS / f"{scheme}.png", full_page=True)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        is_wider = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert_accessible(page)
        sizes = page.evaluate(SIZES_IN_CHARTS)
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 688, "height": 1016})  # A4 inside its margins
        keep_screenshot(page, SCREENSHOTS / f"{scheme}-paper.png", full_page=True)
        sizes_on_paper = page.evaluate(SIZES_IN_CHARTS)
        are_tables_shown = page.evaluate(
            "[...document.querySelectorAll('details table')].map((one) => one.offsetHeight > 0)"
        )
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.body).color")
        browser.close()
    pictures = [url for url in asked if url.startswith("data:image/jpeg")]
    assert len(asked) - len(pictures) == 1, asked
    assert messages == [], "its policy refuses nothing of it"
    assert background == {"light": "rgb(252, 252, 251)", "dark": "rgb(21, 23, 26)"}[scheme], "the style sheet is in use"
    assert not is_wider, "only tables are moved aside"
    assert sizes and min(sizes) > 9, "it can be read"
    assert sizes_on_paper and min(sizes_on_paper) > 7
    assert are_tables_shown and all(are_tables_shown), "what is folded on a screen is printed"
    assert (paper, ink) == ("rgb(255, 255, 255)", "rgb(29, 29, 31)"), "dark on white, whatever the screen is"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_crowd_can_be_read(tmp_path: Path, width: int) -> None:
    """150 people who come one after another and stay, in a report of made-up events."""
    emotions = ("happy", "neutral", "sad", "angry")
    events = [
        event_of(index, *(face_of(number, emotions[number % 4]) for number in range(index, index + 8)), fps=1.0)
        for index in range(143)
    ]
    recording = Recording(lambda frame, event, face: face_jpeg(frame.rgb(), face, is_blurred=False))
    for event in events:
        recording.add(frame_of(event), event)
    (tmp_path / "crowd.html").write_text(
        report_page(RunRecord("crowd.mp4", NOW, EMOTIONS, recording)), encoding="utf-8"
    )
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page(color_scheme="light", viewport={"width": width, "height": 1000})
        page.goto((tmp_path / "crowd.html").as_uri())
        keep_screenshot(page, SCREENSHOTS / f"crowd-{width}.png", full_page=True)
        is_wider = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        sizes = page.evaluate(SIZES_IN_CHARTS)
        num_faces = page.locator(".lanes img").count()
        assert_accessible(page)
        browser.close()
    assert not is_wider
    assert min(sizes) > 9
    assert num_faces == 30


@pytest.mark.parametrize(("pictures", "num_pictures"), [("none", 0), ("blurred", 4)])
def test_pictures_can_be_blurred_or_left_out(folder: Path, tmp_path: Path, pictures: str, num_pictures: int) -> None:
    clip = folder / "<b>two & faces.mp4"
    outcome = run_emostream(
        "analyze", clip, "--report", tmp_path / "a.html", "--report-pictures", pictures, "--max-frames", "5"
    )
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "a.html").read_text(encoding="utf-8").count("<img ") == num_pictures


def test_a_source_that_ends_early_has_a_report_that_says_so(tmp_path: Path) -> None:
    centerface_path()
    whole = media.make_clip(
        tmp_path / "whole.mp4", num_frames=100, picture=lambda index: media.textured_picture(index, width=64, height=48)
    )
    cut = media.cut_file(whole, tmp_path / "cut.mp4")
    outcome = run_emostream("analyze", cut, "--report", tmp_path / "out.html", "--json")
    assert outcome.code == 4, outcome.err
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert '<section id="reliability">' in page
    assert '<section id="people">' not in page
    assert re.search(r"<li>The source ended early: .+</li>", page)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_files_do_not_tell_where_the_source_lies(tmp_path: Path, scheme: str) -> None:
    """A user's folders say who that is; a report is given to others. The model's folder is named no more than these."""
    centerface_path()
    home = tmp_path / "home of alice"
    home.mkdir()
    whole = media.make_clip(
        home / "whole.mp4", num_frames=100, picture=lambda index: media.textured_picture(index, width=64, height=48)
    )
    cut = media.cut_file(whole, home / "private clip.mp4")
    detector = shutil.copy(centerface_path(), home / "detector.onnx")
    outcome = run_emostream(
        "analyze",
        f"{scheme}{cut}",
        *("--report", tmp_path / "out.html", "--annotate", tmp_path / "out.mp4", "--json"),
        environment={"EMOSTREAM_DETECT__PATH": str(detector)},
    )
    assert outcome.code == 4, outcome.err
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "private clip.mp4" in page
    assert "The source ended early" in page
    written = [path for path in tmp_path.iterdir() if path.is_file()]
    assert {path.suffix for path in written} >= {".html", ".csv", ".mp4"}
    for path in written:
        for known in (b"alice", str(tmp_path).encode(), str(tmp_path).encode("utf-16-le")):
            assert known not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("report", "code", "message"),
    [
        ("out.pdf", 2, "ending in .html"),
        ("missing/out.html", 2, "cannot write missing/"),
        ("out.html", 3, "no such file"),
    ],
)
def test_what_cannot_be_done_leaves_nothing_behind(tmp_path: Path, report: str, code: int, message: str) -> None:
    centerface_path()
    name = "absent.mp4" if code == 3 else "a.mp4"
    media.make_clip(tmp_path / "a.mp4", num_frames=3)
    outcome = run_emostream("analyze", name, "--report", report, "--json", cwd=tmp_path)
    assert (outcome.code, message in outcome.err) == (code, True), outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    centerface_path()
    clip = media.make_clip(tmp_path / "clip.mp4", num_frames=5)
    (tmp_path / ".out.part.csv").symlink_to("/dev/full")
    outcome = run_emostream("analyze", clip, "--report", "out.html", cwd=tmp_path)
    assert outcome.code == 2, outcome.err
    assert "No space left on device" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
