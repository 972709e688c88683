"""How often does the named emotion change, raw against smoothed against held, and how much later does it come?

    python -m tests.benchmarks.flicker CLIP... [--json]

For each clip: changes of the dominant emotion per minute of face time — the most probable emotion of each frame (raw),
the same after smoothing, and the one events carry — and the lag: the shift in time at which the carried one agrees best
with the raw one. The last row is a made step from a sure emotion to another one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from emostream.config import ClassifySettings, load_settings
from emostream.domain.event import UNKNOWN, EmotionEvent
from emostream.domain.stream import StreamKind, StreamSpec, stream_id_from_url
from emostream.pipeline.build import build_pipeline, load_models, new_epoch
from emostream.testing.fakes import CollectingSink
from emostream.vision.classify.hysteresis import EmotionHysteresis
from emostream.vision.classify.smoothing import EmotionSmoother

_MAX_LAG_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Flicker:
    """Changes per minute of face time, and the lag in milliseconds."""

    clip: str
    face_minutes: float
    raw: float
    smoothed: float
    carried: float
    unknown_share: float
    lag_ms: float


@dataclass(frozen=True, slots=True)
class TrackNames:
    """Three names per frame of one track."""

    at_seconds: list[float]
    raw: list[str]
    smoothed: list[str]
    carried: list[str]


def names_per_track(events: list[EmotionEvent]) -> list[TrackNames]:
    """The names along every track."""
    tracks: dict[int | None, TrackNames] = defaultdict(lambda: TrackNames([], [], [], []))
    for event in events:
        for face in event.faces:
            names = tracks[face.face.track_id]
            names.at_seconds.append(event.pts_seconds)
            names.raw.append(face.scores.dominant)
            names.smoothed.append(face.smoothed.dominant)
            names.carried.append(face.dominant)
    return list(tracks.values())


def num_changes(names: list[str]) -> int:
    """How often the name changes."""
    return sum(before != after for before, after in itertools.pairwise(names))


def lag_frames(names: TrackNames, *, max_frames: int) -> int:
    """The shift at which the carried names agree best with the raw ones."""
    raw, carried = np.array(names.raw), np.array(names.carried)
    agreement = [
        float((raw[: len(raw) - shift] == carried[shift:]).mean()) if shift < len(raw) else 0.0
        for shift in range(max_frames)
    ]
    return int(np.argmax(agreement))


def flicker_of(clip: str, events: list[EmotionEvent]) -> Flicker:
    """The figures of one clip."""
    tracks = names_per_track(events)
    seconds = sum(names.at_seconds[-1] - names.at_seconds[0] for names in tracks)
    minutes = max(seconds / 60, 1e-9)
    step = statistics.median(b.pts_seconds - a.pts_seconds for a, b in itertools.pairwise(events))
    lags = [
        1000 * step * lag_frames(names, max_frames=int(_MAX_LAG_SECONDS / step))
        for names in tracks
        if num_changes(names.carried) > 0 and len(names.at_seconds) * step > 2 * _MAX_LAG_SECONDS
    ]
    num_faces = sum(len(names.carried) for names in tracks)
    return Flicker(
        clip=clip,
        face_minutes=round(minutes, 2),
        raw=round(sum(num_changes(names.raw) for names in tracks) / minutes, 1),
        smoothed=round(sum(num_changes(names.smoothed) for names in tracks) / minutes, 1),
        carried=round(sum(num_changes(names.carried) for names in tracks) / minutes, 1),
        unknown_share=round(sum(names.carried.count(UNKNOWN) for names in tracks) / max(1, num_faces), 3),
        lag_ms=round(statistics.median(lags)) if lags else 0.0,
    )


def events_of_clip(path: Path) -> list[EmotionEvent]:
    """All events of a clip, with the default settings."""
    settings = load_settings()
    models = load_models(settings)
    sink = CollectingSink()
    spec = StreamSpec(stream_id_from_url(str(path)), str(path), kind=StreamKind.FILE)
    try:
        asyncio.run(build_pipeline(spec, settings=settings, models=models, sink=sink, epoch=new_epoch()).run())
    finally:
        models.close()
    return sink.events


def step_lag_ms(*, fps: float = 25.0) -> float:
    """Milliseconds from a step (0.8 happy to 0.8 sad) to the carried name, with the default settings."""
    settings = ClassifySettings()
    smoother = EmotionSmoother(time_constant_seconds=settings.smoothing_seconds)
    hysteresis = EmotionHysteresis(hold_seconds=settings.hold_seconds, margin=settings.switch_margin)
    for frame in range(1000):
        at = frame / fps
        value = np.array([0.8, 0.1, 0.1] if at < 10 else [0.1, 0.8, 0.1])
        smoothed = smoother.smooth(1, value, pts_seconds=at).tolist()
        name = hysteresis.name(1, smoothed, labels=("happy", "sad", "neutral"), is_readable=True, pts_seconds=at)
        if name == "sad":
            return 1000 * (at - 10)
    raise AssertionError("the step was never named")


def main() -> None:
    """Print a row per clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [flicker_of(path.name, events) for path in arguments.clips if any(events := events_of_clip(path))]
    rows = [row for row in rows if row.face_minutes > 0]
    if arguments.json:
        print(json.dumps({"clips": [asdict(row) for row in rows], "step_lag_ms": step_lag_ms()}, indent=2))
        return
    columns = " ".join(f"{name:>6}" for name in ("raw", "smooth", "event", "none", "lag ms"))
    print(f"{'changes per minute of face time':40} {'minutes':>8} {columns}")
    for row in rows:
        figures = f"{row.face_minutes:8.2f} {row.raw:6.1f} {row.smoothed:6.1f} {row.carried:6.1f}"
        print(f"{row.clip:40} {figures} {row.unknown_share:6.1%} {row.lag_ms:6.0f}")
    print(f"a step from one sure emotion to another is named after {step_lag_ms():.0f} ms")


if __name__ == "__main__":
    main()
