"""How well are persons told apart by their faces? Pairs of faces, appearances, and a made programme.

    python -m tests.benchmarks.persons --data ../shared/data

The faces are those of the clips (searched four times a second; each track is one person, and the same man is in two of
the clips) and of the still pictures (every face another person, but in `bald_guys.jpg`, in which 24 faces are of four
men). Faces of the same person are compared when they are of different clips or pictures, or at least a second apart;
faces of two persons, always, but those of two women of two clips who may be one. Each person counts alike. The four men
are known actors, whom the network may have seen in training.

Prints JSON lines:

- `pairs`: of single faces by the smaller height in pixels: the area under the ROC curve, and for false positive rates
  of 0.1, 1 and 5 % the true positive rate and the cosine; the same for the correlation of pictures of 48 pixels;
- `appearances`: percentiles of the cosine of the mean of some faces of an appearance with the mean of some faces of a
  person at another time, from which the limits of `emostream.vision.persons.finder` come;
- `programme`: persons, tracks and persons named in clips that are cut together, nobody in between for 1 to 4 s.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from emostream.config import ModelSettings, load_settings
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.pipeline.build import load_chosen_detector
from emostream.vision.models.store import ModelStore
from emostream.vision.persons.embedding import Embeddings, FaceEmbedder, chip_of
from emostream.vision.persons.finder import PersonFinder
from emostream.vision.track.follower import FaceFollower
from tests.vision.track.clips import frames_of

_SAME = {("face-then-no-face-960x540-hevc.mov", 0): "man of two clips", ("one-face-640x360.mp4", 0): "man of two clips"}
_MAYBE_SAME = {"two-people-head-pose-480x270.mp4 0", "three-people-480x270.mp4 1"}
# Who is at x, y of that picture.
_BALD = {
    "one": ((148, 157), (640, 185), (388, 295), (143, 450), (651, 516), (148, 1373)),
    "two": ((394, 103), (957, 173), (958, 477), (394, 517), (145, 778), (502, 916)),
    "three": ((1149, 847), (860, 903), (128, 1054), (1189, 1138), (858, 1318), (459, 1331)),
    "four": ((1594, 255), (1880, 489), (1694, 752), (1167, 1386), (1868, 1386), (1511, 1399)),
}
_SECONDS_APART = 1.0
_FALSE_RATES = (0.001, 0.01, 0.05)
_NUM_DRAWN = 150
_PROGRAMME = ("one-face-640x360.mp4", "two-people-head-pose-480x270.mp4", "three-people-480x270.mp4")
_NOBODY = "no-face-960x540.mp4"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A face whose person is known."""

    person: str
    place: str
    seconds: float
    height: float
    chip: Luma


def seen_in(data: Path) -> list[Seen]:
    """All faces, in order."""
    settings = load_settings()
    detect = load_chosen_detector(settings).detect
    found = []
    for clip in sorted((data / "videos").iterdir()):
        follower = FaceFollower(detect, settings=settings.track, detections_per_second=4)
        for frame in frames_of(clip):
            for face in follower.follow(frame).faces:
                chip = chip_of(frame.luma, face)
                if face.found_by == "detector" and chip is not None:
                    name = f"{clip.name} {face.track_id}"
                    person = _SAME.get((clip.name, face.track_id or 0), name)
                    found.append(Seen(person, name, frame.pts_seconds, face.height, frame.full_luma(chip)))
    for path in sorted((data / "faces").glob("*.jpg")):
        luma = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
        faces = [face for face in detect(luma) if face.score >= settings.track.confirm_score]
        for number, face in enumerate(faces):
            who = _of_four(face) if path.name == "bald_guys.jpg" else str(number)
            chip = chip_of(luma, face)
            assert chip is not None  # for the type checker
            found.append(Seen(f"{path.name} {who}", f"{path.name} {number}", 0.0, face.height, chip))
    return found


def _of_four(face: Face) -> str:
    x0, y0, x1, y1 = face.box_xyxy
    middle = complex(x0 + x1, y0 + y1) / 2
    return min((abs(complex(*place) - middle), who) for who, places in _BALD.items() for place in places)[1]


def is_genuine(one: Seen, other: Seen) -> bool:
    """Whether two faces of one person are far enough from each other to be compared."""
    return one.place != other.place or abs(one.seconds - other.seconds) >= _SECONDS_APART


def roc(seen: Sequence[Seen], vectors: npt.NDArray[Any], *, min_height: float) -> dict[str, Any]:
    """The curve of all pairs; each pair of persons counts alike."""
    rows = [index for index, each in enumerate(seen) if each.height >= min_height]
    cosines = vectors[rows] @ vectors[rows].T
    same, other = defaultdict(list), defaultdict(list)
    for i, first in enumerate(rows):
        for j in range(i):
            a, b = seen[first], seen[rows[j]]
            if a.person == b.person:
                if is_genuine(a, b):
                    same[a.person].append(cosines[i, j])
            elif {a.person, b.person} != _MAYBE_SAME:
                other[tuple(sorted((a.person, b.person)))].append(cosines[i, j])
    (same_values, same_weights), (other_values, other_weights) = _weighed(same), _weighed(other)
    order = np.argsort(other_values)
    below = np.concatenate([[0.0], np.cumsum(other_weights[order])])
    area = float((same_weights * below[np.searchsorted(other_values[order], same_values)]).sum())
    figures: dict[str, Any] = {
        "faces": len(rows),
        "persons": len(same),
        "pairs of persons": len(other),
        "area": round(area, 4),
    }
    for rate in _FALSE_RATES:
        limit = other_values[order][min(int(np.searchsorted(below, 1 - rate)), len(order) - 1)]
        true_rate = float(same_weights[same_values > limit].sum())
        figures[f"at {rate:.1%}"] = [round(true_rate, 3), round(float(limit), 3)]
    return figures


def _weighed(groups: dict[Any, list[float]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """All values, and weights with which each group counts alike."""
    values = np.array([value for group in groups.values() for value in group])
    weights = np.array([1 / len(group) for group in groups.values() for _ in group]) / len(groups)
    return values, weights


Places = dict[str, dict[str, list[int]]]
"""Person → clip or picture → rows."""


def _drawn(places: Places, person: str, num: int, *, chance: np.random.Generator) -> list[int]:
    if len(places[person]) > 2:  # still pictures
        chosen = chance.permutation(sorted(places[person]))[:num]
        return [places[person][place][0] for place in chosen]
    rows = places[person][chance.choice(sorted(places[person]))]  # of a clip: faces that follow each other
    start = chance.integers(max(len(rows) - num, 0) + 1)
    return rows[start : start + num]


def appearances(seen: Sequence[Seen], vectors: Embeddings, *, num_new: int, num_known: int) -> dict[str, Any]:
    """Cosines of means: a new appearance against a person."""
    chance = np.random.default_rng(0)
    places: Places = {}
    for index, each in enumerate(seen):
        if each.height >= 24:
            places.setdefault(each.person, {}).setdefault(each.place, []).append(index)
    same: list[float] = []
    other: list[float] = []
    drawn = partial(_drawn, places, chance=chance)

    def cosine(rows: Sequence[int], others: Sequence[int]) -> float:
        one, another = vectors[list(rows)].mean(axis=0), vectors[list(others)].mean(axis=0)
        return float(one @ another / np.linalg.norm(one) / np.linalg.norm(another))

    often = [person for person, found in places.items() if sum(map(len, found.values())) >= 6]
    for person in often:
        for _ in range(_NUM_DRAWN):
            new, known = drawn(person, num_new), drawn(person, num_known)
            known = [each for each in known if each not in new]
            if known and all(is_genuine(seen[a], seen[b]) for a in new for b in known):
                same.append(cosine(new, known))
        for stranger in set(places) - {person}:
            if {stranger, person} != _MAYBE_SAME:
                other += [cosine(drawn(stranger, num_new), drawn(person, num_known)) for _ in range(5)]
    return {
        "faces of the appearance": num_new,
        "faces of the person": num_known,
        "same, 0.5, 1, 5 %": np.percentile(same, [0.5, 1, 5]).round(3).tolist(),
        "other, 95, 99, 99.5 %": np.percentile(other, [95, 99, 99.5]).round(3).tolist(),
        "num": [len(same), len(other)],
    }


def programme(data: Path, embedder: FaceEmbedder, *, seed: int) -> dict[str, Any]:
    """Parts of two seconds of three clips, 24 in all, with nobody in between."""
    settings = load_settings()
    follower = FaceFollower(load_chosen_detector(settings).detect, settings=settings.track)
    finder = PersonFinder(embedder.embed)
    clips = {name: list(frames_of(data / "videos" / name)) for name in (*_PROGRAMME, _NOBODY)}
    named: defaultdict[tuple[str, int | None], Counter[int | None]] = defaultdict(Counter)
    seconds = {"follow": 0.0, "persons": 0.0}
    for frame, name in _shown(clips, chance=np.random.default_rng(seed)):
        started = time.process_time()
        followed = follower.follow(frame)
        middle = time.process_time()
        for face in finder.name(frame, followed).faces:
            named[name, face.track_id][face.person_id] += 1
        seconds["follow"] += middle - started
        seconds["persons"] += time.process_time() - middle
    persons = {person for counts in named.values() for person in counts} - {None}
    undecided = sum(set(counts) == {None} for counts in named.values())
    tracks = {track_id for _, track_id in named}
    return {
        "seed": seed,
        "persons": "5 or 6",
        "tracks": len(tracks),
        "persons named": len(persons),
        "tracks without one": undecided,
        "seconds of processor": {key: round(value, 2) for key, value in seconds.items()},
    }


def _shown(clips: dict[str, list[Frame]], *, chance: np.random.Generator) -> Iterator[tuple[Frame, str]]:
    index = 0
    for number in range(24):
        name = _PROGRAMME[number % len(_PROGRAMME)]
        start = int(chance.integers(max(1, len(clips[name]) - 50)))
        nobody = [(_NOBODY, k) for k in range(int(chance.choice([25, 100])))]
        for source, k in [*((name, start + k) for k in range(50)), *nobody]:
            frame = clips[source][k % len(clips[source])]
            luma = cv2.resize(np.ascontiguousarray(frame.full_luma(frame.luma)), (640, 360))
            at = datetime(2026, 1, 1, tzinfo=UTC)
            yield Frame("programme", index, index / 25, at, np.asarray(luma, dtype=np.uint8)), source
            index += 1


def _correlated(chips: Luma) -> npt.NDArray[np.float32]:
    """Vectors whose product is the correlation of small pictures, as tracking compares them."""
    from emostream.vision.track.appearance import SIDE, look_normalised

    small = [look_normalised(np.asarray(cv2.resize(chip[20:140, 15:135], (SIDE, SIDE)), np.uint8)) for chip in chips]
    flat = np.stack(small).reshape(len(small), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    embedder = FaceEmbedder(ModelStore(ModelSettings()).verify("persons").path)
    seen = seen_in(data)
    chips = np.stack([each.chip for each in seen])
    vectors = np.concatenate([embedder.embed(chips[start : start + 16]) for start in range(0, len(chips), 16)])
    ways: dict[str, npt.NDArray[Any]] = {"embedding": vectors, "correlation of 48 pixels": _correlated(chips)}

    def tell(kind: str, figures: dict[str, Any]) -> None:
        print(json.dumps({kind: figures}), flush=True)

    for name, each in ways.items():
        for min_height in (0, 32, 48):
            tell("pairs", {"by": name, "least height": min_height, **roc(seen, each, min_height=min_height)})
    for num_new, num_known in ((1, 4), (2, 4), (3, 8)):
        tell("appearances", appearances(seen, vectors, num_new=num_new, num_known=num_known))
    for seed in range(3):
        tell("programme", programme(data, embedder, seed=seed))


if __name__ == "__main__":
    main()
