"""How well do ids stay with people? HOTA, IDF1 and MOTA on made clips with known places, beside ByteTrack and SORT.

    pip install --no-deps trackers supervision "pydeprecate<0.14" defusedxml
    python -m tests.benchmarks.identity [--json]

The measures and the other trackers are those of the package `trackers` (Apache 2.0). Without `--no-deps` it would bring
`opencv-python`, which overwrites the `opencv-python-headless` that emostream needs.

The clips: people who cross and cover each other, cuts between two people, and a crowd. Each runs with the searches of
the default settings (four phases of them), with every frame searched, and with fewer frames; the other trackers get the
detections of every frame.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from emostream.config import load_settings
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.pipeline.build import load_chosen_detector
from emostream.vision.detect.video_search import VideoSearch
from emostream.vision.geometry.boxes import iou_matrix
from emostream.vision.track.follower import FaceFollower
from tests.vision.track.crossings import crossings, crowd, cuts
from tests.vision.track.identity import MIN_IOU, Labelled, identity_of, ids_from, labelled_on
from tests.vision.track.people_clips import FPS

Detect = Callable[[Luma], list[Face]]
IdsIn = Callable[[Frame], Labelled]

# Name, searches per second, phases, one of so many frames.
_WAYS = (
    ("default", None, (0.0, 0.25, 0.5, 0.75), 1),
    ("every frame searched", 1e6, (0.0,), 1),
    ("5 frames a second", None, (0.0,), 5),
    ("1 frame a second", None, (0.0,), 25),
)
_OTHERS = (("every frame", 1), ("5 frames a second", 5), ("1 frame a second", 25))
_MIN_SCORE = 0.5  # as `track.confirm_score`


def other_tracker(name: str, detect: Detect, *, fps: float) -> IdsIn:
    """ByteTrack or SORT on the detections of every frame; an id from the first frame on."""
    import supervision  # type: ignore[import-not-found]  # installed for this benchmark only
    import trackers  # type: ignore[import-not-found]

    common = {"frame_rate": fps, "track_activation_threshold": _MIN_SCORE, "minimum_consecutive_frames": 1}
    tracker: Any = (
        trackers.ByteTrackTracker(high_conf_det_threshold=_MIN_SCORE, **common)
        if name == "ByteTrack"
        else trackers.SORTTracker(**common)
    )

    def ids_in(frame: Frame) -> Labelled:
        found = detect(frame.luma)
        boxes = np.array([face.box_xyxy for face in found], dtype=np.float32).reshape(-1, 4)
        scores = np.array([face.score for face in found], dtype=np.float32)
        tracked = tracker.update(
            supervision.Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(found), int))
        )
        rows = zip(tracked.tracker_id, tracked.xyxy.tolist(), strict=True)
        return [(int(track_id), tuple(box)) for track_id, box in rows if track_id >= 0]

    return ids_in


def runs(detect: Detect) -> Iterator[tuple[str, int, list[Callable[[], IdsIn]]]]:
    """Name, one of so many frames, and what makes the trackers to run."""
    settings = load_settings()
    track = settings.track

    def ours(searches: float | None, phase: float) -> IdsIn:
        rate = searches or track.detections_per_second
        search = VideoSearch(
            detect, look=detect, confirm_score=track.confirm_score, max_faces=settings.detect.max_faces_per_frame
        )
        return ids_from(FaceFollower(search, settings=track, detections_per_second=rate, phase=phase))

    for name, searches, phases, every in _WAYS:
        yield name, every, [partial(ours, searches, phase) for phase in phases]
    for name in ("ByteTrack", "SORT"):
        for rate, every in _OTHERS:
            yield f"{name}, {rate}", every, [partial(other_tracker, name, detect, fps=FPS / every)]


def measure(pairs: Sequence[tuple[list[Labelled], list[Labelled]]]) -> dict[str, float]:
    """The figures of several clips together."""
    from trackers import eval as measures

    hota, identity, clear = [], [], []
    for truth, given in pairs:
        people = _numbered(truth)
        ids = _numbered(given)
        overlaps = [_overlaps(faces, tracks) for faces, tracks in zip(truth, given, strict=True)]
        hota.append(measures.compute_hota_metrics(people, ids, overlaps))
        identity.append(measures.compute_identity_metrics(people, ids, overlaps, MIN_IOU))
        clear.append(measures.compute_clear_metrics(people, ids, overlaps, MIN_IOU))
    together = [identity_of(*pair) for pair in pairs]
    return {
        "hota": round(float(measures.aggregate_hota_metrics(hota)["HOTA"]), 3),
        "idf1": round(float(measures.aggregate_identity_metrics(identity)["IDF1"]), 3),
        "mota": round(float(measures.aggregate_clear_metrics(clear)["MOTA"]), 3),
        "ids": sum(each.num_ids for each in together),
        "people": sum(each.num_people for each in together),
        "switches": sum(each.num_switches for each in together),
    }


def _numbered(frames: Sequence[Labelled]) -> list[Any]:
    """The ids of each frame, counted from 0."""
    numbers = {label: index for index, label in enumerate(sorted({label for faces in frames for label, _ in faces}))}
    return [np.array([numbers[label] for label, _ in faces], dtype=int) for faces in frames]


def _overlaps(faces: Labelled, tracks: Labelled) -> Any:
    boxes, others = (np.array([box for _, box in labelled]).reshape(-1, 4) for labelled in (faces, tracks))
    return iou_matrix(boxes, others)


def main() -> None:
    """Print a row per way and kind of clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    is_json = parser.parse_args().json
    detect = load_chosen_detector(load_settings()).detect
    kinds = {"crossing": [*crossings().values()], "cuts": [*cuts().values()], "crowd": [crowd]}
    for kind, makers in kinds.items():
        clips = [make() for make in makers]
        for name, every, made in runs(detect):
            pairs = [labelled_on(shots, start(), every=every) for shots in clips for start in made]
            figures = {"clips": kind, "way": name, **measure(pairs)}
            text = json.dumps(figures) if is_json else "  ".join(f"{key} {value}" for key, value in figures.items())
            print(text, flush=True)


if __name__ == "__main__":
    main()
