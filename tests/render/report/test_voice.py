"""The voice in a report: lanes, a table of faces and voice, and bounded memory."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from emostream.domain.voice import VoiceEvent, VoiceWindow
from emostream.render.report.charts import TimeAxis
from emostream.render.report.report import report_page
from emostream.render.report.timeline import MAX_BINS
from emostream.render.report.voice import VoiceTimeline, voice_lanes, voice_notes
from tests.publish.samples import VOICE
from tests.render.report.events import acted
from tests.render.report.test_report import Document, record_of


def heard(
    index: int, *, speech: float = 1.0, loudness: float | None = -20.0, arousal: float | None = None
) -> VoiceEvent:
    begin = index / 2
    window = VoiceWindow(index, begin, begin + 1, speech, loudness_lufs=loudness, arousal=arousal)
    return replace(VOICE, window=window)


def timeline_of(events: list[VoiceEvent]) -> VoiceTimeline:
    timeline = VoiceTimeline()
    for event in events:
        timeline.add(event)
    return timeline


def test_the_page_shows_the_voice_beside_the_faces() -> None:
    record = record_of(acted(["happy"] * 50 + ["sad"] * 50))
    for index in range(7):  # speech in the first half
        record.recording.heard(heard(index, speech=float(index < 3), arousal=0.25))
    page = report_page(record)
    Document(page)
    charts = dict.fromkeys(re.findall('role="img" aria-label="([^"]+)"', page))
    assert {"Speech over time", "Loudness over time", "Arousal of the voice over time"} <= set(charts)
    assert "43% of the time" in page
    table = page[page.index("Faces and voice together") :]
    _, first, *_, last = re.findall("<tr>(.*?)</tr>", table[: table.index("</table>")], re.DOTALL)
    assert {"#0", "happy", "100%", "−20 LUFS", "25%"} <= set(re.findall(">([^<]+)</t", first))
    assert {"#0", "sad", "0%"} <= set(re.findall(">([^<]+)</t", last))


def test_without_a_face_the_voice_is_shown_alone() -> None:
    record = record_of(acted([None] * 50))
    for index in range(3):
        record.recording.heard(heard(index))
    page = report_page(record)
    Document(page)
    assert "Speech over time" in page


def test_without_voice_nothing_is_said_of_it() -> None:
    assert "voice" not in report_page(record_of(acted(["happy"] * 50))).lower()


@pytest.mark.parametrize("num_windows", [1, MAX_BINS, 50 * MAX_BINS])
def test_a_run_of_any_length_takes_the_same_memory(num_windows: int) -> None:
    timeline = timeline_of([heard(index, speech=0.5) for index in range(num_windows)])
    assert len(timeline.bins) <= MAX_BINS
    whole = timeline.between(0, num_windows)
    assert whole.num_windows == num_windows
    assert whole.speech_share == pytest.approx(0.5)
    assert whole.loudness_lufs == pytest.approx(-20)


def test_silence_has_no_loudness_and_is_mentioned() -> None:
    events = [heard(index, speech=0.0, loudness=None) for index in range(4)]
    events = [replace(each, window=replace(each.window, quality=("silent",))) for each in events]
    timeline = timeline_of(events)
    speech, loudness, arousal = voice_lanes(timeline, TimeAxis(0, 3))
    assert (speech.note, loudness.note, arousal.note) == ("0% of the time", "silent", "–")
    assert len(voice_notes(timeline)) == 1


def test_where_no_sound_was_there_are_no_lanes() -> None:
    assert voice_lanes(VoiceTimeline(), TimeAxis(0, 3)) == []
