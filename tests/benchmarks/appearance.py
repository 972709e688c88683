"""How alike does a face look to itself after some time, and to that of another person?

The limits in `emostream.vision.track.appearance` come from it:

    python -m tests.benchmarks.appearance --data ../shared/data

Tracks are those of the clips, every frame searched; two people are pairs of FER2013 Training pictures. Prints JSON: for
each time between two pictures the number of pairs and the 0.5th, 1st and 5th percentile of the likeness of one person,
and the median, 95th and 99th percentile of two people.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emostream.config import load_settings
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.pipeline.build import load_chosen_detector
from emostream.vision.track.appearance import likeness, likeness_in_place, look_of
from emostream.vision.track.flow import patch_of
from emostream.vision.track.follower import FaceFollower
from tests.benchmarks.occlusion import fer2013_pictures
from tests.vision.track.clips import frames_of

_SECONDS_APART = (0.1, 0.2, 0.33, 0.5, 1.0, 2.0)
_SMALL_FACE_PIXELS = 24
_NUM_PAIRS = 2000

Seen = tuple[float, Luma, Face]


def alike(luma: Luma, face: Face, later: Luma, other: Face) -> float:
    """The better of both comparisons."""
    in_place = likeness_in_place(patch_of(luma, face), later, other)
    return max(in_place, likeness(look_of(luma, face), look_of(later, other)))


def tracks_of(clips: list[Path]) -> Iterator[list[Seen]]:
    """Where each track was found."""
    settings = load_settings()
    detect = load_chosen_detector(settings).detect
    for clip in clips:
        follower = FaceFollower(detect, settings=settings.track, detections_per_second=1e6)
        seen: defaultdict[int | None, list[Seen]] = defaultdict(list)
        for frame in frames_of(clip):
            for face in follower.follow(frame).faces:
                if face.found_by == "detector":
                    seen[face.track_id].append((frame.pts_seconds, frame.luma, face))
        yield from seen.values()


def of_one_person(tracks: list[list[Seen]], *, seconds: float) -> tuple[list[float], list[float]]:
    """Of faces of at least 24 pixels, and of smaller ones."""
    large: list[float] = []
    small: list[float] = []
    for seen in tracks:
        times = np.array([at for at, _, _ in seen])
        for at, luma, face in seen:
            index = int(np.abs(times - at - seconds).argmin())
            if abs(times[index] - at - seconds) < 0.2 * seconds:
                (small if face.height < _SMALL_FACE_PIXELS else large).append(alike(luma, face, *seen[index][1:]))
    return large, small


def of_two_people(data: Path) -> list[float]:
    """Random pairs of pictures of different people who face the camera."""
    detect = load_chosen_detector(load_settings()).detect
    found = [(luma, detect(luma)) for luma in fer2013_pictures(data, num=300)]
    people = [(luma, max(faces, key=lambda face: face.height)) for luma, faces in found if faces]
    chance = np.random.default_rng(0)
    pairs = (chance.choice(len(people), 2, replace=False) for _ in range(_NUM_PAIRS))
    return [alike(*people[one], *people[other]) for one, other in pairs]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    tracks = list(tracks_of(sorted((data / "videos").iterdir())))
    for seconds in _SECONDS_APART:
        for name, values in zip(("faces", "small faces"), of_one_person(tracks, seconds=seconds), strict=True):
            percentiles = np.percentile(values, [0.5, 1, 5]).round(2).tolist() if values else []
            print(json.dumps({"seconds": seconds, name: len(values), "percentiles": percentiles}))
    others = np.percentile(of_two_people(data), [50, 95, 99]).round(2).tolist()
    print(json.dumps({"two people": _NUM_PAIRS, "percentiles": others}))


if __name__ == "__main__":
    main()
