"""Pure: what was recorded of a run → the page about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from emostream.domain.event import UNKNOWN, EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.summary import StreamSummary, TrackSummary
from emostream.render.palette import colour_of, hex_of
from emostream.render.report.charts import Block, Lane, TimeAxis, area_chart, lanes_chart, share_bar, time_text
from emostream.render.report.html import STYLE_FILE, chart, figure, folded, items, page, picture, section, table, text
from emostream.render.report.moments import KeyMoments, PictureOf
from emostream.render.report.quality import QualityCounts, quality_notes
from emostream.render.report.timeline import PersonTimeline, Span, StreamTimeline

Facts = Sequence[tuple[str, str]]
"""Names and values, in the order in which they are shown."""

_MAX_LANES = 30
_MAX_PERSONS = 12
_MAX_MOMENTS = 6
_MAX_SPANS_SHOWN = 60
_LEAST_SHARE = 0.02  # of a person's frames; an emotion that is seen for less has no key moment

_HOW_TO_READ = (
    "A probability says how ten people would call the expression in the picture, not what anyone feels. It is less "
    "reliable for faces that the training data shows seldom. People are told apart by following their faces: who "
    "leaves the picture and comes back is counted anew."
)

_FOOTER = "Everything on this page is inside it: it asks for nothing from anywhere, and nothing in it runs."


class Recording:
    """What the page needs of a run, collected frame by frame in bounded memory.

    Args:
        picture_of: makes the small pictures of key moments; None makes none.
    """

    def __init__(self, picture_of: PictureOf | None) -> None:
        self.summary = StreamSummary()
        self.timeline = StreamTimeline()
        self.quality = QualityCounts()
        self.moments = KeyMoments(picture_of)

    def add(self, frame: Frame, event: EmotionEvent) -> None:
        """Count a frame and its event; they come in order."""
        self.summary.add(event)
        self.timeline.add(event)
        self.quality.add(event)
        self.moments.add(frame, event)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that the page tells.

    Attributes:
        source_name: shown as title; may be anything.
        created_at: when the run ended, aware.
        labels: the model's emotions, in its order.
        recording: of the run.
        num_corrupt: damaged pictures of the source.
        problem: why the source ended early; empty when it did not.
        source_facts, model_facts, settings_facts: what made the figures.
        files: names of the files of events beside the page.
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
        """The time that the charts show."""
        timeline = self.recording.timeline
        end_seconds = max(timeline.end_seconds, timeline.start_seconds + timeline.bin_seconds)
        return TimeAxis(timeline.start_seconds, end_seconds)


def report_page(record: RunRecord) -> str:
    """The whole document, HTML."""
    most_seen = sorted(record.recording.summary.tracks.values(), key=lambda track: -track.num_frames)
    sections = [_head(record)]
    if most_seen:
        sections += [_timeline(record, most_seen), _people(record, most_seen)]
    sections += [_trust(record), _origin(record), f"<footer>{_FOOTER}</footer>"]
    return page(title=f"Expressions in {record.source_name}", sections=sections, style=STYLE_FILE.read_text("utf-8"))


def _head(record: RunRecord) -> str:
    summary, axis = record.recording.summary, record.axis
    counts = _dominant_counts(record)
    tiles = {
        "length": time_text(axis.end_seconds - axis.start_seconds),
        "frames": f"{summary.num_events:,}",
        "people": f"{len(summary.tracks):,}",
        "faces in all frames": f"{summary.num_faces:,}",
        "mostly": next(iter(counts), "–"),
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in tiles.items())
    when = record.created_at.strftime("%d %B %Y, %H:%M %Z")
    return (
        f"<header><h1>Expressions in {text(record.source_name)}</h1>"
        f'<p>Analysed by emostream, {when}</p></header>\n<dl class="tiles">{shown}</dl>'
    )


def _timeline(record: RunRecord, most_seen: Sequence[TrackSummary]) -> str:
    shown = sorted(track.track_id for track in most_seen[:_MAX_LANES])
    lanes = [Lane(f"#{number}", list(_blocks(record, number))) for number in shown]
    num_hidden = len(most_seen) - len(shown)
    caption = "The dominant expression of each person over time."
    if num_hidden:
        caption += f" {num_hidden} more people were seen for a shorter time; they are in the table and in the files."
    lanes_figure = chart(lanes_chart(lanes, record.axis, title="Timeline per person"), caption)
    counts = _dominant_counts(record)
    shares = {emotion: count / record.recording.summary.num_faces for emotion, count in counts.items()}
    bar = chart(share_bar(shares, title="Shares of all faces"), "All faces of all frames.")
    people = [_person_row(track) for track in sorted(most_seen, key=lambda track: track.track_id)]
    head = ("person", "from", "to", "frames", "mostly", "share")
    listed = table(head, people[: 10 * _MAX_LANES])
    if len(people) > _MAX_PERSONS:
        listed = folded(f"All {len(people)} people", listed)
    return section("Timeline", lanes_figure, _legend(record), bar, f'<div class="wide" tabindex="0">{listed}</div>')


def _blocks(record: RunRecord, track_id: int) -> Iterator[Block]:
    """Neighbouring bins of one emotion together; finer is not seen in a chart."""
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


def _legend(record: RunRecord) -> str:
    names = [*record.labels, *([UNKNOWN] if record.recording.quality.num_unknown else [])]
    keys = (
        '<li><svg viewBox="0 0 13 13" aria-hidden="true"><rect class="block" x="1" y="1" width="11" height="11" '
        f'fill="{hex_of(colour_of(name))}"/></svg>{text(name)}</li>'
        for name in names
    )
    return f'<ul class="legend">{"".join(keys)}</ul>'


def _person_row(track: TrackSummary) -> list[str]:
    times = (time_text(track.first_seen_seconds), time_text(track.last_seen_seconds))
    return [f"#{track.track_id}", *times, f"{track.num_frames:,}", track.dominant, f"{track.dominant_share:.0%}"]


def _people(record: RunRecord, most_seen: Sequence[TrackSummary]) -> str:
    shown = sorted(most_seen[:_MAX_PERSONS], key=lambda track: track.track_id)
    lead = "" if len(shown) == len(most_seen) else f"The {len(shown)} of {len(most_seen)} people who were seen longest."
    return section("People", *(_person(record, track) for track in shown), lead=lead)


def _person(record: RunRecord, track: TrackSummary) -> str:
    timeline = record.recording.timeline.persons[track.track_id]
    when = f"{time_text(track.first_seen_seconds)} to {time_text(track.last_seen_seconds)}, {track.num_frames:,} frames"
    name = f"person #{track.track_id}"
    areas = area_chart(
        timeline.bins,
        bin_seconds=record.recording.timeline.bin_seconds,
        axis=record.axis,
        labels=record.labels,
        title=f"Probabilities of {name} over time",
    )
    parts = [
        f"<h3>#{track.track_id} <small>{when}</small></h3>",
        chart(areas, "Mean probability of each expression over time."),
        f'<div class="pair"><div class="wide" tabindex="0">{_shares(track)}</div>{_moments(record, track)}</div>',
        _spans(timeline, name),
    ]
    return f'<div class="person">{"".join(parts)}</div>'


def _moments(record: RunRecord, track: TrackSummary) -> str:
    """The clearest frame of each emotion that was seen for more than a moment."""
    known = record.recording.moments.of(track.track_id)
    lasting = [
        moment for emotion, moment in known.items() if track.dominant_counts[emotion] >= _LEAST_SHARE * track.num_frames
    ]
    clearest = sorted(lasting, key=lambda moment: -moment.clearness)[:_MAX_MOMENTS]
    in_order = sorted(clearest, key=lambda moment: moment.pts_seconds)
    if not any(moment.jpeg for moment in in_order):
        rows = [[time_text(each.pts_seconds), each.emotion, f"{each.confidence:.0%}"] for each in in_order]
        return table(("key moment", "expression", "probability"), rows) if rows else ""
    figures = [
        figure(
            picture(
                moment.jpeg,
                kind="jpeg",
                title=f"Person #{track.track_id} at {time_text(moment.pts_seconds)}: {moment.emotion}",
            ),
            f"{time_text(moment.pts_seconds)}: {moment.emotion} {moment.confidence:.0%}",
        )
        for moment in in_order
        if moment.jpeg
    ]
    return f'<div class="moments">{"".join(figures)}</div>'


def _shares(track: TrackSummary) -> str:
    means = sorted(track.mean_probabilities.items(), key=lambda item: -item[1])
    rows = [
        [emotion, f"{track.dominant_counts[emotion] / track.num_frames:.1%}", f"{mean:.1%}"] for emotion, mean in means
    ]
    return table(("expression", "dominant in frames", "mean probability"), rows)


def _spans(timeline: PersonTimeline, name: str) -> str:
    longest = sorted(timeline.spans, key=lambda span: -span.seconds)[:_MAX_SPANS_SHOWN]
    rows = [_span_row(span) for span in sorted(longest, key=lambda span: span.start_seconds)]
    num_hidden = len(timeline.spans) + timeline.num_lost_spans - len(longest)
    caption = f"When {name} showed what" + (f"; {num_hidden} shorter times are left out" if num_hidden else "")
    listed = table(("from", "to", "expression", "mean probability"), rows, caption=caption)
    return folded("The timeline as a table", listed)


def _span_row(span: Span) -> list[str]:
    return [time_text(span.start_seconds), time_text(span.end_seconds), span.emotion, f"{span.confidence:.0%}"]


def _trust(record: RunRecord) -> str:
    notes = quality_notes(record.recording.quality, num_corrupt=record.num_corrupt, problem=record.problem)
    return section("How far to trust it", items(notes), f"<p>{text(_HOW_TO_READ)}</p>")


def _origin(record: RunRecord) -> str:
    tables = [
        table((), facts, caption=name, css="facts")
        for name, facts in (
            ("Source", record.source_facts),
            ("Model", record.model_facts),
            ("Settings", record.settings_facts),
        )
        if facts
    ]
    if record.files:
        tables.append(
            table((), [("events of every frame", name) for name in record.files], caption="Files", css="facts")
        )
    return section("What it was made from", *tables)


def _dominant_counts(record: RunRecord) -> Mapping[str, int]:
    """Faces per dominant emotion over all people, the most frequent first."""
    counts: dict[str, int] = {}
    for track in record.recording.summary.tracks.values():
        for emotion, count in track.dominant_counts.items():
            counts[emotion] = counts.get(emotion, 0) + count
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
