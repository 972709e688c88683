"""Sentences about how far to trust the figures."""

from __future__ import annotations

from emostream.render.report.quality import QualityCounts, quality_notes
from tests.render.report.events import event_of, face_of


def counted(*events: object) -> QualityCounts:
    counts = QualityCounts()
    for event in events:
        counts.add(event)  # type: ignore[arg-type]
    return counts


def test_flags_are_shares_of_all_faces_the_most_frequent_first() -> None:
    small = face_of(0, "happy", quality=["small", "dark"])
    events = [event_of(index, face_of(0, "happy")) for index in range(6)]
    events += [event_of(index + 6, small) for index in range(3)]
    events.append(event_of(9, face_of(0, "happy", quality=["small"])))
    notes = quality_notes(counted(*events))
    assert "40%" in notes[0]
    assert notes[1].startswith("40% small")
    assert notes[2].startswith("30% dark")


def test_lost_frames_and_an_early_end_come_first() -> None:
    counts = counted(event_of(0, face_of(0, "happy"), num_dropped=4), event_of(1))
    notes = quality_notes(counts, num_corrupt=2, problem="the file was cut")
    assert "the file was cut" in notes[0]
    assert [note.split()[0] for note in notes[1:4]] == ["2", "4", "1"], "corrupt, dropped, without a face"
    assert len(notes) == 5


def test_no_faces() -> None:
    assert len(quality_notes(counted(event_of(0)))) == 1
