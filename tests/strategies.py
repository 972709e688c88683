"""Hypothesis strategies for the vocabulary: any value the types allow that a real stream could produce."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion, QualityFlag, StatusEvent, SummaryEvent
from emostream.domain.face import BoxXyxy, Face
from emostream.domain.stream import StreamState
from emostream.domain.voice import VoiceEvent, VoiceWindow

QUALITY_FLAGS: tuple[QualityFlag, ...] = ("small", "blurred", "dark", "profile", "pitched", "cut", "occluded")

stream_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
counts = st.integers(min_value=0, max_value=2**53 - 1)
pixels = st.floats(min_value=-1000, max_value=16_000, allow_nan=False)
milliseconds = st.floats(min_value=0, max_value=1e6, allow_nan=False)
offsets = st.integers(min_value=-14 * 60, max_value=14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(
    min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC) | offsets
)


@st.composite
def distributions(draw: st.DrawFn, size: int = len(EMOTIONS)) -> tuple[float, ...]:
    """Probabilities that sum to 1, as float arithmetic leaves them."""
    weights = draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    total = sum(weights)
    if total < 1e-6:
        return (1.0,) + (0.0,) * (size - 1)
    return tuple(weight / total for weight in weights)


@st.composite
def scores(draw: st.DrawFn) -> EmotionScores:
    """Scores over the seven emotions or over a model's own classes."""
    labels = draw(st.just(EMOTIONS) | st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=12, unique=True))
    labels = tuple(label.encode(errors="ignore").decode() or str(index) for index, label in enumerate(labels))
    if len(set(labels)) != len(labels):
        labels = tuple(str(index) for index in range(len(labels)))
    return EmotionScores(labels, draw(distributions(len(labels))))


@st.composite
def boxes(draw: st.DrawFn) -> BoxXyxy:
    """Boxes of any size, also thinner than a pixel, also over the border."""
    x0, y0 = draw(pixels), draw(pixels)
    side = st.floats(min_value=1e-3, max_value=16_000)
    return (x0, y0, x0 + draw(side), y0 + draw(side))


@st.composite
def faces(draw: st.DrawFn) -> Face:
    """Faces with and without a track."""
    return Face(
        box_xyxy=draw(boxes()),
        score=draw(st.floats(0, 1)),
        landmarks=tuple(draw(st.lists(st.tuples(pixels, pixels), min_size=5, max_size=5))),
        track_id=draw(st.none() | counts),
        found_by=draw(st.sampled_from(["detector", "flow"])),
    )


angles = st.none() | st.floats(-180, 180)
coordinates = st.none() | st.floats(-1, 1)
zone_names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@st.composite
def _face_emotions(draw: st.DrawFn) -> FaceEmotion:
    smoothed = draw(scores())
    return FaceEmotion(
        face=draw(faces()),
        scores=draw(scores()),
        smoothed=smoothed,
        quality=tuple(draw(st.lists(st.sampled_from(QUALITY_FLAGS), unique=True))),
        dominant=draw(st.sampled_from([*smoothed.labels, UNKNOWN, ""])),
        zones=tuple(draw(st.lists(zone_names, max_size=3))),
        yaw_degrees=draw(angles),
        pitch_degrees=draw(angles),
        roll_degrees=draw(angles),
        derived_valence=draw(coordinates),
        derived_arousal=draw(coordinates),
        is_classified=draw(st.booleans()),
    )


face_emotions = _face_emotions()

texts = st.text(st.characters(codec="utf-8"), max_size=50)

emotion_events = st.builds(
    EmotionEvent,
    stream_id=stream_ids,
    epoch=counts,
    frame_index=counts,
    pts_seconds=st.floats(min_value=-1e6, max_value=1e9),
    captured_at=instants,
    frame_width=st.integers(1, 16_384),
    frame_height=st.integers(1, 16_384),
    model_name=texts,
    model_version=texts,
    faces=st.lists(face_emotions, max_size=3).map(tuple),
    latency_ms=st.dictionaries(st.sampled_from(["decode", "detect", "track", "classify"]), milliseconds),
    num_dropped=counts,
    is_classified=st.booleans(),
    pixel_aspect=st.just(1.0) | st.floats(0.2, 5.0).map(lambda aspect: round(aspect, 6)),
)

status_events = st.builds(
    StatusEvent,
    stream_id=stream_ids,
    epoch=counts,
    state=st.sampled_from(StreamState),
    at=instants,
    detail=texts,
    num_events=counts,
    kind=st.sampled_from(["state", "consumer_behind", "events_lost"]),
)


@st.composite
def _summary_events(draw: st.DrawFn) -> SummaryEvent:
    dominant_counts = draw(st.dictionaries(st.sampled_from([*EMOTIONS, UNKNOWN]), st.integers(1, 10_000)))
    num_faces = sum(dominant_counts.values())
    times = [draw(st.floats(min_value=-1e6, max_value=1e9)) for _ in range(2)]
    return SummaryEvent(
        stream_id=draw(stream_ids),
        epoch=draw(counts),
        summary_index=draw(counts),
        started_at=draw(instants).astimezone(UTC),
        ended_at=draw(instants).astimezone(UTC),
        started_pts_seconds=times[0],
        ended_pts_seconds=times[1],
        num_frames=draw(counts),
        num_faces=num_faces,
        num_tracks=draw(st.integers(0, num_faces)),
        num_dropped=draw(counts),
        dominant_counts=dominant_counts,
        mean_probabilities=dict(zip(EMOTIONS, draw(distributions()), strict=True)) if num_faces else {},
    )


summary_events = _summary_events()

_shares = st.floats(0, 1)
_seconds = st.floats(min_value=-1e6, max_value=1e9)

voice_events = st.builds(
    VoiceEvent,
    stream_id=stream_ids,
    epoch=counts,
    window=st.builds(
        VoiceWindow,
        window_index=counts,
        started_pts_seconds=_seconds,
        ended_pts_seconds=_seconds,
        speech_share=_shares,
        quality=st.lists(st.sampled_from(["silent", "clipped"]), unique=True).map(tuple),
        loudness_lufs=st.none() | st.floats(-70, 10),
        pitch_hz=st.none() | st.floats(75, 500),
        pitch_low_hz=st.none() | st.floats(75, 500),
        pitch_high_hz=st.none() | st.floats(75, 500),
        syllables_per_second=st.none() | st.floats(0, 12),
        pause_seconds=st.none() | st.floats(0, 1e6),
        arousal=st.none() | _shares,
    ),
    captured_at=instants,
    model_name=texts,
    model_version=texts,
)
