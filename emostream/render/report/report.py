"""Records a run, and renders the report about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from emostream.domain.event import UNKNOWN, EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.summary import StreamSummary, TrackSummary
from emostream.domain.voice import VoiceEvent
from emostream.render.html import render_page
from emostream.render.palette import colour_of, hex_of
from emostream.render.report.charts import (
    Block,
    Drawing,
    TimeAxis,
    area_chart,
    lane_chart,
    lanes_axis,
    share_bar,
    time_text,
)
from emostream.render.report.moments import KeyMoments, Moment, PictureOf
from emostream.render.report.quality import QualityCounts, quality_notes
from emostream.render.report.timeline import Bin, Span, StreamTimeline, merged_bins
from emostream.render.report.voice import VoiceTimeline, interval_rows, voice_lanes, voice_notes

Facts = Sequence[tuple[str, str]]
"""Names and values, in the order in which they are shown."""

_MAX_LANES = 30
_MAX_PERSONS = 12
_MAX_ROWS = 100  # of the table of all people
_NUM_PARTS = 10  # of the run; each has lanes of its own people
_MAX_INTERVALS = 12  # rows of the table of everybody
_MAX_LEGEND = 20  # expressions, the most frequent ones
_MAX_EMOTIONS = 10  # columns of that table, and rows of a person's; of a model with many classes
_MAX_MOMENTS = 6
_MAX_SPANS_SHOWN = 60
_LEAST_SHARE = 0.02  # of a person's frames; emotions seen less often have no key moment


class Recording:
    """Collects the data of a report frame by frame, in bounded memory.

    Args:
        picture_of: makes the thumbnails of key moments; None makes none.
    """

    def __init__(self, picture_of: PictureOf | None) -> None:
        self.summary = StreamSummary()
        self.timeline = StreamTimeline()
        self.quality = QualityCounts()
        self.moments = KeyMoments(picture_of)
        self.voice = VoiceTimeline()

    def add(self, frame: Frame, event: EmotionEvent) -> None:
        """Add a frame and its event, in order."""
        self.summary.add(event)
        self.timeline.add(event)
        self.quality.add(event)
        self.moments.add(frame, event)

    def heard(self, event: VoiceEvent) -> None:
        """Add what was measured of the sound, in order."""
        self.voice.add(event)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of a report.

    Attributes:
        source_name: used as title; any text.
        created_at: when the run ended, aware.
        labels: the model's emotions, in its order.
        recording: of the run.
        num_corrupt: corrupt frames of the source.
        problem: why the source ended early; empty when it did not.
        source_facts, model_facts, settings_facts: how the values were computed.
        files: names of the event files beside the page.
        voice_files: names of those with the voice.
    """

    source_name: str
    created_at: datetime
    labels: Sequence[str]
    recording: Recording
    num_corrupt: int = 0
    problem: str = ""
    source_facts: Facts = ()
    model_facts: Facts = ()
    settings_facts: Facts = ()
    files: Sequence[str] = field(default=())
    voice_files: Sequence[str] = ()

    @property
    def axis(self) -> TimeAxis:
        """The time span of the charts."""
        timeline = self.recording.timeline
        end_seconds = max(timeline.end_seconds, timeline.start_seconds + timeline.bin_seconds)
        return TimeAxis(timeline.start_seconds, end_seconds)


def report_page(record: RunRecord) -> str:
    """Render the report as an HTML document."""
    most_seen = sorted(record.recording.summary.tracks.values(), key=lambda track: -track.num_frames)
    people = sorted(most_seen[:_MAX_PERSONS], key=_by_person)
    is_cut = len(people) < len(most_seen)
    names = [*record.labels, *([UNKNOWN] if record.recording.quality.num_unknown else [])]
    counts = _dominant_counts(record)
    in_legend = set(sorted(names, key=lambda name: -counts.get(name, 0))[:_MAX_LEGEND])
    return render_page(
        "emostream.render.report",
        "report.html",
        record=record,
        tiles=_tiles(record),
        timeline=_timeline(record, most_seen, names) if most_seen else None,
        axis=lanes_axis(record.axis),
        voice=_voice(record, people) if record.recording.voice.bins else None,
        legend={name: hex_of(colour_of(name, record.labels)) for name in names if name in in_legend},
        legend_more=_and_more(len(names) - len(in_legend), "expressions"),
        people=[_person(record, track) for track in people],
        head_count=record.recording.summary.head_count,
        has_persons=record.recording.summary.num_persons is not None,
        people_lead=f"The {len(people)} of {len(most_seen)} appearances that were seen longest." if is_cut else "",
        quality_notes=quality_notes(record.recording.quality, num_corrupt=record.num_corrupt, problem=record.problem),
        origin={
            "Source": record.source_facts,
            "Model": record.model_facts,
            "Settings": record.settings_facts,
            "Voice": [("arousal", name) for name in record.recording.voice.models],
            "Files": [
                *(("events per frame", name) for name in record.files),
                *(("voice, every half second", name) for name in record.voice_files),
            ],
        },
    )


def _tiles(record: RunRecord) -> dict[str, str]:
    summary, axis = record.recording.summary, record.axis
    return {
        "duration": time_text(axis.end_seconds - axis.start_seconds),
        "frames": f"{summary.num_events:,}",
        **({} if summary.num_persons is None else {"people": f"{summary.num_persons:,}"}),
        "appearances": f"{len(summary.tracks):,}",
        "faces in total": f"{summary.num_faces:,}",
        "dominant": next(iter(_dominant_counts(record)), "–"),
    }


@dataclass(frozen=True, slots=True)
class _Lane:
    """A person's row of the timeline: a face, a name, a chart."""

    name: str
    note: str
    jpeg: bytes | None
    drawing: Drawing


def _timeline(record: RunRecord, most_seen: Sequence[TrackSummary], labels: Sequence[str]) -> dict[str, object]:
    lanes = [_lane(record, track) for track in _people_of_lanes(record, most_seen)]
    listed = sorted(most_seen[:_MAX_ROWS], key=_by_person)
    has_persons = record.recording.summary.num_persons is not None
    num_without_lane, num_unlisted = len(most_seen) - len(lanes), len(most_seen) - len(listed)
    return {
        "lanes": lanes,
        "more": f"and {num_without_lane:,} more appearances, which are in the table or the files"
        if num_without_lane
        else "",
        "num_people": len(most_seen),
        "is_folded": len(most_seen) > _MAX_PERSONS,
        "head": ("face", *(("person",) if has_persons else ()), "from", "to", "frames", "dominant", "share"),
        "rows": [_person_row(track, has_persons=has_persons) for track in listed],
        "rows_more": f"and {num_unlisted:,} more appearances, which were shorter; they are in the files"
        if num_unlisted
        else "",
        **_everybody(record, labels),
    }


def _everybody(record: RunRecord, labels: Sequence[str]) -> dict[str, object]:
    """The shares of the expressions over time: a chart, a table, and over the whole run."""
    timeline, counts = record.recording.timeline, _dominant_counts(record)
    num_faces = sum(counts.values())
    shown = list(counts)[:_MAX_EMOTIONS]
    chart = area_chart(
        timeline.intervals(timeline.everybody),
        Bin.share_of,
        axis=record.axis,
        labels=labels,
        title="Shares of the expressions of everybody over time",
    )
    rows = []
    per_interval, intervals = _intervals(timeline)
    merged = merged_bins(timeline.everybody, per_interval)
    for index, start, end, num_frames in intervals:
        one = merged.get(index)
        shares = [f"{one.share_of(emotion):.0%}" if one else "–" for emotion in shown]
        people = f"{one.num_frames / num_frames:.1f}" if one else "0"
        rows.append([time_text(start), time_text(end), people, *shares])
    return {
        "everybody": chart,
        "everybody_head": ("from", "to", "faces in a frame", *shown),
        "everybody_rows": rows,
        "everybody_more": _and_more(len(counts) - len(shown), "expressions"),
        "shares": share_bar(
            {emotion: count / num_faces for emotion, count in counts.items()},
            labels=record.labels,
            title="Shares of all faces",
        ),
    }


def _intervals(timeline: StreamTimeline) -> tuple[int, list[tuple[int, float, float, int]]]:
    """Bins per interval of a table, and the intervals with frames: number, from, to, frames."""
    num_bins = max(timeline.frames, default=0) + 1
    each = -(-num_bins // _MAX_INTERVALS)
    last = max(timeline.end_seconds, timeline.start_seconds + timeline.bin_seconds)
    found = []
    for index in range(-(-num_bins // each)):
        num_frames = sum(timeline.frames[number] for number in range(index * each, (index + 1) * each))
        start = timeline.start_seconds + index * each * timeline.bin_seconds
        if num_frames:
            found.append((index, start, min(start + each * timeline.bin_seconds, last), num_frames))
    return each, found


def _voice(record: RunRecord, people: Sequence[TrackSummary]) -> dict[str, object]:
    """The voice: lanes, and one row per interval and face with what was seen and heard."""
    timeline, voice = record.recording.timeline, record.recording.voice
    per_interval, intervals = _intervals(timeline)
    merged = {track.track_id: merged_bins(timeline.persons[track.track_id].bins, per_interval) for track in people}
    has_persons = record.recording.summary.num_persons is not None
    together: list[tuple[float, float, list[list[str]]]] = []
    for index, start, end, _ in intervals:
        faces = []
        for track in people:
            if seen := merged[track.track_id].get(index):
                person = [str(track.person_id or "–")] if has_persons else []
                share = f"{seen.share_of(seen.dominant):.0%}"
                faces.append([f"#{track.track_id}", *person, f"{seen.num_frames:,}", seen.dominant, share])
        together.append((start, end, faces or [["–"] * (5 if has_persons else 4)]))
    person_head = ("person",) if has_persons else ()
    return {
        "lanes": voice_lanes(voice, record.axis),
        "notes": voice_notes(voice),
        "head": (
            *("from", "to", "face", *person_head, "frames", "dominant", "share"),
            *("speech", "loudness", "arousal of the voice"),
        ),
        "rows": interval_rows(together, voice),
    }


def _people_of_lanes(record: RunRecord, most_seen: Sequence[TrackSummary]) -> list[TrackSummary]:
    """The people who were seen longest, and then those seen longest in each part of the run, in order of appearance."""
    chosen = {track.track_id: track for track in most_seen[:_MAX_PERSONS]}
    parts: dict[int, list[TrackSummary]] = {}
    start, end = record.axis.start_seconds, record.axis.end_seconds
    # Of some people no picture was kept.
    with_picture_first = sorted(most_seen, key=lambda track: not record.recording.moments.of(track.track_id))
    for track in with_picture_first:
        if track.track_id not in chosen:
            middle = (track.first_seen_seconds + track.last_seen_seconds) / 2
            parts.setdefault(min(int(_NUM_PARTS * (middle - start) / (end - start)), _NUM_PARTS - 1), []).append(track)
    for rank in range(_MAX_LANES):
        for part in sorted(parts):
            if rank < len(parts[part]) and len(chosen) < _MAX_LANES:
                chosen[parts[part][rank].track_id] = parts[part][rank]
    return sorted(chosen.values(), key=_by_person)


def _by_person(track: TrackSummary) -> tuple[float, int]:
    """Appearances of one person stand together, those of no known person last."""
    return (math.inf if track.person_id is None else track.person_id, track.track_id)


def _with_person(text: str, track: TrackSummary) -> str:
    return text if track.person_id is None else f"person {track.person_id}, {text}"


def _lane(record: RunRecord, track: TrackSummary) -> _Lane:
    name = f"#{track.track_id}"
    known = record.recording.moments.of(track.track_id)
    clearest = max(known.values(), key=lambda moment: moment.clearness, default=None)
    shown = known.get(track.dominant, clearest)
    return _Lane(
        name=name,
        note=_with_person(f"{track.dominant} {track.dominant_share:.0%}", track),
        jpeg=None if shown is None else shown.jpeg,
        drawing=lane_chart(
            list(_blocks(record, track.track_id)), record.axis, labels=record.labels, title=f"Timeline of {name}"
        ),
    )


def _and_more(number: int, what: str) -> str:
    return f"and {number:,} more {what}" if number > 0 else ""


def _blocks(record: RunRecord, track_id: int) -> Iterator[Block]:
    """Merge neighbouring intervals with the same emotion, since finer detail is invisible in a chart."""
    timeline = record.recording.timeline
    block: Block | None = None
    for start, until, seen in timeline.intervals(timeline.persons[track_id].bins):
        end = min(until, record.axis.end_seconds)
        if block is not None and block.emotion == seen.dominant and start <= block.end_seconds:
            block = Block(block.start_seconds, end, block.emotion)
            continue
        if block is not None:
            yield block
        block = Block(start, end, seen.dominant)
    if block is not None:
        yield block


def _person_row(track: TrackSummary, *, has_persons: bool) -> list[str]:
    times = (time_text(track.first_seen_seconds), time_text(track.last_seen_seconds))
    person = [str(track.person_id or "–")] if has_persons else []
    return [
        f"#{track.track_id}",
        *person,
        *times,
        f"{track.num_frames:,}",
        track.dominant,
        f"{track.dominant_share:.0%}",
    ]


def _person(record: RunRecord, track: TrackSummary) -> dict[str, object]:
    timeline = record.recording.timeline.persons[track.track_id]
    name = f"#{track.track_id}"
    first_seen, last_seen = time_text(track.first_seen_seconds), time_text(track.last_seen_seconds)
    probabilities = area_chart(
        record.recording.timeline.intervals(timeline.bins),
        Bin.mean_of,
        axis=record.axis,
        labels=record.labels,
        title=f"Probabilities of {name} over time",
    )
    means = sorted(track.mean_probabilities.items(), key=lambda item: -item[1])
    moments = _moments(record, track)
    spans = sorted(timeline.spans, key=lambda span: -span.seconds)[:_MAX_SPANS_SHOWN]
    num_hidden = len(timeline.spans) + timeline.num_lost_spans - len(spans)
    return {
        "name": name,
        "when": _with_person(f"{first_seen} to {last_seen}, {track.num_frames:,} frames", track),
        "probabilities": probabilities,
        "shares": [
            [emotion, f"{track.dominant_counts[emotion] / track.num_frames:.1%}", f"{mean:.1%}"]
            for emotion, mean in means[:_MAX_EMOTIONS]
        ],
        "shares_more": _and_more(len(means) - _MAX_EMOTIONS, "expressions"),
        "moments": [_moment_row(moment) for moment in moments],
        "pictures": [(_moment_row(moment), moment.jpeg) for moment in moments if moment.jpeg],
        "spans": [_span_row(span) for span in sorted(spans, key=lambda span: span.start_seconds)],
        "spans_caption": f"Expressions of {name}",
        "spans_more": _and_more(num_hidden, "shorter intervals"),
    }


def _moments(record: RunRecord, track: TrackSummary) -> list[Moment]:
    """The clearest frame of each emotion that was seen often enough, in order of time."""
    known = record.recording.moments.of(track.track_id)
    lasting = [
        moment for emotion, moment in known.items() if track.dominant_counts[emotion] >= _LEAST_SHARE * track.num_frames
    ]
    clearest = sorted(lasting, key=lambda moment: -moment.clearness)[:_MAX_MOMENTS]
    return sorted(clearest, key=lambda moment: moment.pts_seconds)


def _moment_row(moment: Moment) -> tuple[str, str, str]:
    return time_text(moment.pts_seconds), moment.emotion, f"{moment.confidence:.0%}"


def _span_row(span: Span) -> list[str]:
    return [time_text(span.start_seconds), time_text(span.end_seconds), span.emotion, f"{span.confidence:.0%}"]


def _dominant_counts(record: RunRecord) -> Mapping[str, int]:
    """Dominant emotion → number of faces over all people, most frequent first."""
    counts: dict[str, int] = {}
    for track in record.recording.summary.tracks.values():
        for emotion, count in track.dominant_counts.items():
            counts[emotion] = counts.get(emotion, 0) + count
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
