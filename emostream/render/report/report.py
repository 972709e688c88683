"""Records a run, and renders the report about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from emostream.domain.event import UNKNOWN, EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.summary import StreamSummary, TrackSummary
from emostream.render.html import render_page
from emostream.render.palette import colour_of, hex_of
from emostream.render.report.charts import Block, Lane, TimeAxis, area_chart, lanes_chart, share_bar, time_text
from emostream.render.report.moments import KeyMoments, Moment, PictureOf
from emostream.render.report.quality import QualityCounts, quality_notes
from emostream.render.report.timeline import Span, StreamTimeline

Facts = Sequence[tuple[str, str]]
"""Names and values, in the order in which they are shown."""

_MAX_LANES = 30
_MAX_PERSONS = 12
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

    def add(self, frame: Frame, event: EmotionEvent) -> None:
        """Add a frame and its event, in order."""
        self.summary.add(event)
        self.timeline.add(event)
        self.quality.add(event)
        self.moments.add(frame, event)


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

    @property
    def axis(self) -> TimeAxis:
        """The time span of the charts."""
        timeline = self.recording.timeline
        end_seconds = max(timeline.end_seconds, timeline.start_seconds + timeline.bin_seconds)
        return TimeAxis(timeline.start_seconds, end_seconds)


def report_page(record: RunRecord) -> str:
    """Render the report as an HTML document."""
    most_seen = sorted(record.recording.summary.tracks.values(), key=lambda track: -track.num_frames)
    people = sorted(most_seen[:_MAX_PERSONS], key=lambda track: track.track_id)
    is_cut = len(people) < len(most_seen)
    names = [*record.labels, *([UNKNOWN] if record.recording.quality.num_unknown else [])]
    return render_page(
        "emostream.render.report",
        "report.html",
        record=record,
        tiles=_tiles(record),
        timeline=_timeline(record, most_seen) if most_seen else None,
        legend={name: hex_of(colour_of(name)) for name in names},
        people=[_person(record, track) for track in people],
        people_lead=f"The {len(people)} of {len(most_seen)} people who were seen longest." if is_cut else "",
        quality_notes=quality_notes(record.recording.quality, num_corrupt=record.num_corrupt, problem=record.problem),
        origin={
            "Source": record.source_facts,
            "Model": record.model_facts,
            "Settings": record.settings_facts,
            "Files": [("events per frame", name) for name in record.files],
        },
    )


def _tiles(record: RunRecord) -> dict[str, str]:
    summary, axis = record.recording.summary, record.axis
    return {
        "duration": time_text(axis.end_seconds - axis.start_seconds),
        "frames": f"{summary.num_events:,}",
        "people": f"{len(summary.tracks):,}",
        "faces in total": f"{summary.num_faces:,}",
        "dominant": next(iter(_dominant_counts(record)), "–"),
    }


def _timeline(record: RunRecord, most_seen: Sequence[TrackSummary]) -> dict[str, object]:
    shown = sorted(track.track_id for track in most_seen[:_MAX_LANES])
    lanes = [Lane(f"#{number}", list(_blocks(record, number))) for number in shown]
    num_hidden = len(most_seen) - len(shown)
    caption = "The dominant expression of each person over time."
    if num_hidden:
        caption += f" {num_hidden} people who were seen for a shorter time are only in the table and the files."
    num_faces = record.recording.summary.num_faces
    shares = {emotion: count / num_faces for emotion, count in _dominant_counts(record).items()}
    in_order = sorted(most_seen, key=lambda track: track.track_id)
    return {
        "lanes": lanes_chart(lanes, record.axis, title="Timeline per person"),
        "caption": caption,
        "shares": share_bar(shares, title="Shares of all faces"),
        "num_people": len(most_seen),
        "is_folded": len(most_seen) > _MAX_PERSONS,
        "rows": [_person_row(track) for track in in_order[: 10 * _MAX_LANES]],
    }


def _blocks(record: RunRecord, track_id: int) -> Iterator[Block]:
    """Merge neighbouring bins with the same emotion, since finer detail is invisible in a chart."""
    timeline = record.recording.timeline
    start, width = timeline.start_seconds, timeline.bin_seconds
    block: Block | None = None
    for index, seen in sorted(timeline.persons[track_id].bins.items()):
        begin, end = start + index * width, min(start + (index + 1) * width, record.axis.end_seconds)
        if block is not None and block.emotion == seen.dominant and begin - block.end_seconds < width / 2:
            block = Block(block.start_seconds, end, block.emotion)
            continue
        if block is not None:
            yield block
        block = Block(begin, end, seen.dominant)
    if block is not None:
        yield block


def _person_row(track: TrackSummary) -> list[str]:
    times = (time_text(track.first_seen_seconds), time_text(track.last_seen_seconds))
    return [f"#{track.track_id}", *times, f"{track.num_frames:,}", track.dominant, f"{track.dominant_share:.0%}"]


def _person(record: RunRecord, track: TrackSummary) -> dict[str, object]:
    timeline = record.recording.timeline.persons[track.track_id]
    name = f"#{track.track_id}"
    first_seen, last_seen = time_text(track.first_seen_seconds), time_text(track.last_seen_seconds)
    probabilities = area_chart(
        timeline.bins,
        bin_seconds=record.recording.timeline.bin_seconds,
        axis=record.axis,
        labels=record.labels,
        title=f"Probabilities of person {name} over time",
    )
    means = sorted(track.mean_probabilities.items(), key=lambda item: -item[1])
    moments = _moments(record, track)
    spans = sorted(timeline.spans, key=lambda span: -span.seconds)[:_MAX_SPANS_SHOWN]
    num_hidden = len(timeline.spans) + timeline.num_lost_spans - len(spans)
    return {
        "name": name,
        "when": f"{first_seen} to {last_seen}, {track.num_frames:,} frames",
        "probabilities": probabilities,
        "shares": [
            [emotion, f"{track.dominant_counts[emotion] / track.num_frames:.1%}", f"{mean:.1%}"]
            for emotion, mean in means
        ],
        "moments": [_moment_row(moment) for moment in moments],
        "pictures": [(_moment_row(moment), moment.jpeg) for moment in moments if moment.jpeg],
        "spans": [_span_row(span) for span in sorted(spans, key=lambda span: span.start_seconds)],
        "spans_caption": f"Expressions of person {name}"
        + (f"; {num_hidden} shorter intervals are omitted" if num_hidden else ""),
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
