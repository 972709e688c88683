"""The page: whole, closed in itself, safe with any name, and readable without seeing it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import EmotionEvent
from emostream.domain.redact import printable
from emostream.render.report.report import Recording, RunRecord, report_page
from tests.render.report.events import NOW, acted, event_of, face_of, frame_of
from tests.strategies import emotion_events

_VOID = {"meta", "img"}
_JPEG = b"\xff\xd8 no real picture \xff\xd9"


class Document(HTMLParser):
    """Checks that elements are closed in order; keeps elements, attributes, headings and texts."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.headings: list[str] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))


def record_of(events: list[EmotionEvent], *, name: str = "clip.mp4", has_pictures: bool = True) -> RunRecord:
    recording = Recording((lambda frame, event, face: _JPEG) if has_pictures else None)
    for event in events:
        recording.add(frame_of(event), event)
    return RunRecord(
        source_name=name,
        created_at=NOW,
        labels=EMOTIONS,
        recording=recording,
        source_facts=[("name", name)],
        model_facts=[("classifier", "model 1")],
        settings_facts=[("detect.kind", "centerface")],
        files=["clip.csv"],
    )


def test_the_page_shows_emotions_of_each_person_over_time() -> None:
    page = report_page(record_of(acted(["happy"] * 50 + ["sad"] * 50)))
    document = Document(page)
    assert document.headings[0] == "h1"
    assert document.headings.count("h1") == 1
    for expected in ("Expressions in clip.mp4", "4.0 s", "happy 50%", "0.0 s: happy 94%", "detect.kind", "clip.csv"):
        assert expected in page, expected
    pictures = [value for tag, name, value in document.attributes if (tag, name) == ("img", "alt")]
    assert pictures == ["", "#0 at 0.0 s: happy", "#0 at 2.0 s: sad"], "the first stands beside a name"
    charts = re.findall('role="img" aria-label="([^"]+)"', page)
    assert charts == [name for name in dict.fromkeys(charts) for _ in ("wide", "narrow")], "each has a name"
    assert len(set(charts)) == 5
    assert ("caption", "Expressions of #0") in document.texts, "and a table"


def test_without_pictures_there_are_none() -> None:
    page = report_page(record_of(acted(["happy"] * 50), has_pictures=False))
    assert "<img" not in page
    assert ("th", "key moment") in Document(page).texts


def test_the_page_makes_no_requests_and_its_policy_allows_none() -> None:
    page = report_page(record_of(acted(["happy"] * 50)))
    document = Document(page)
    for tag, name, value in document.attributes:
        assert name not in ("style", "href", "onload", "onclick"), (tag, name)
        if name == "src":
            assert value.startswith("data:image/jpeg;base64,")
    assert "url(" not in page
    assert "<script" not in page
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "hostile",
    [
        '<script>alert("1")</script>.mp4',
        "a'\"><img src=x onerror=y>.mp4",
        "</title></style>{{ 1 }}{% x %}&amp;",
        "\x1b[31m\udce9\x00.mp4",
    ],
)
def test_any_text_from_outside_is_text(hostile: str) -> None:
    document = Document(page_full_of(hostile).encode("utf-8").decode())
    shown = printable(hostile)
    assert ("title", f"Expressions in {shown}") in document.texts
    assert ("h1", f"Expressions in {shown}") in document.texts
    assert ("li", f"The source ended early: {shown}") in document.texts
    assert ("figcaption", f"0.0 s: {shown} 94%") in document.texts
    assert ("title", shown) in document.texts, "the tip of a block of the chart"
    assert ("img", "alt", f"#0 at 0.0 s: {shown}") in document.attributes
    assert document.texts.count(("td", shown)) >= 4
    harmless = Document(page_full_of("x" * len(hostile)))
    names, expected = ([each[:2] for each in one.attributes] for one in (document, harmless))
    assert names == expected, "no element or attribute comes from outside"


def page_full_of(text: str) -> str:
    """A page where the names of files, classes and settings and what went wrong with the source are this text."""
    labels = (text, *EMOTIONS[1:])
    said = EmotionScores(labels, (0.94, *[0.01] * 6))
    face = replace(face_of(0, EMOTIONS[1]), scores=said, smoothed=said, dominant=text)
    record = replace(
        record_of([event_of(index, face) for index in range(50)], name=text),
        labels=labels,
        problem=text,
        model_facts=[(text, text)],
        settings_facts=[(text, text)],
        files=[text],
    )
    return report_page(record)


def test_a_crowd_is_summed_up() -> None:
    events = [event_of(0, *(face_of(number, "happy") for number in range(400)))]
    page = report_page(record_of(events))
    Document(page)
    assert "and 370 more appearances" in page, "without a lane"
    assert "and 300 more appearances" in page, "without a row"
    assert "The 12 of 400 appearances that were seen longest." in page


def _lanes(page: str) -> list[int]:
    """The people who have a lane, in order."""
    return [int(text.removeprefix("#")) for tag, text in Document(page).texts if tag == "strong"]


def _come_and_go(num_people: int, *, num_frames_each: int = 10) -> list[EmotionEvent]:
    """One person after another."""
    events = range(num_people * num_frames_each)
    return [event_of(index, face_of(index // num_frames_each, "happy")) for index in events]


@pytest.mark.parametrize("num_people", [1, 29, 30, 31, 100, 600])
def test_lanes_span_the_whole_clip_and_have_faces_however_many_people_there_are(num_people: int) -> None:
    page = report_page(record_of(_come_and_go(num_people)))
    lanes = _lanes(page)
    assert len(lanes) == min(num_people, 30)
    assert lanes == sorted(set(lanes))
    tenths = {10 * number // num_people for number in lanes}
    assert tenths == {10 * number // num_people for number in range(num_people)}, "each part of the clip has people"
    assert page.count('<img class="face"') == len(lanes)
    assert f"and {num_people - 30} more appearances" in page or num_people <= 30


def test_everybody_is_shown_over_the_whole_clip() -> None:
    """Two people at first, then nobody, then one: 10 s each, in rows of a twelfth of the time."""
    two = [event_of(index, face_of(0, "happy"), face_of(1, "sad")) for index in range(250)]
    nobody = [event_of(index) for index in range(250, 500)]
    one = [event_of(index, face_of(2, "happy")) for index in range(500, 750)]
    page = report_page(record_of([*two, *nobody, *one]))
    table = page[page.index("Everybody over time as a table") : page.index('<ul class="lanes">')]
    rows = [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", table)]
    head, *rows = rows
    assert head == ["from", "to", "faces in a frame", "happy", "sad"]
    assert rows[0][2:] == ["2.0", "50%", "50%"]
    assert rows[-1][2:] == ["1.0", "100%", "0%"]
    assert ["0", "–", "–"] in [row[2:] for row in rows]
    assert [rows[0][0], rows[-1][1]] == ["0.0 s", "30.0 s"]


@pytest.mark.parametrize(("num_classes", "num_in_legend"), [(7, 7), (20, 20), (200, 20)])
def test_of_many_classes_the_most_frequent_are_listed(num_classes: int, num_in_legend: int) -> None:
    labels = tuple(f"class {number}" for number in range(num_classes))
    scores = EmotionScores(labels, tuple(1 / num_classes for _ in labels))
    shown = [replace(face_of(0, "happy"), scores=scores, smoothed=scores, dominant=label) for label in labels[-7:]]
    recording = Recording(None)
    for index in range(70):
        event = event_of(index, shown[index % 7])
        recording.add(frame_of(event), event)
    page = report_page(RunRecord("clip", NOW, labels, recording))
    Document(page)
    legend = page[page.index('<ul class="legend">') :]
    legend = legend[: legend.index("</ul>")]
    assert legend.count("</svg>") == num_in_legend
    assert all(f"{label}<" in legend for label in labels[-7:])
    more = num_classes - num_in_legend
    assert (f"and {more} more expressions" in legend) is (more > 0)


@pytest.mark.parametrize("fps", [0.2, 1.0, 9.9, 25.0])
def test_charts_have_no_stripes_at_any_rate(fps: float) -> None:
    """A face that is in every frame is one block and one area, also where a frame lasts longer than a bin."""
    page = report_page(record_of(acted(["happy"] * 40, fps=fps)))
    lanes = page[page.index('<ul class="lanes">') : page.index('id="people"')]
    assert lanes.count("<rect") == 2, "for wide pages and for narrow ones"
    everybody = page[page.index('id="timeline"') : page.index('<ul class="legend">')]
    assert everybody.count("<polygon") == 2


def test_a_video_without_people() -> None:
    page = report_page(record_of([event_of(index) for index in range(3)]))
    Document(page)
    assert '<section id="people">' not in page


@settings(max_examples=30)
@given(st.lists(emotion_events, max_size=4))
def test_any_events_make_a_page(events: list[EmotionEvent]) -> None:
    recording = Recording(None)
    for event in sorted(events, key=lambda event: event.pts_seconds):
        recording.add(frame_of(event), event)
    labels = next((face.smoothed.labels for event in events for face in event.faces), EMOTIONS)
    Document(report_page(RunRecord("clip", NOW, labels, recording)))
