"""Is a file that goes on after an interruption seen as in a run without one?

    python -m tests.benchmarks.resumed_files --data ../shared/data

Each clip is run as a worker does, once whole and three times from a frame in its middle on, as after an interruption.
Of the first second after that frame, prints one JSON line per clip and one for all: frames; faces of the whole run;
those that the other run misses or has in addition (no box with an IoU above 0.5); and those with another dominant
emotion. Frame numbers and times must be equal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emostream.config import load_settings
from emostream.decode.resuming import ResumePoint
from emostream.domain.event import EmotionEvent
from emostream.pipeline.build import Models, loaded_models
from emostream.vision.geometry.boxes import iou_matrix
from tests.service.worker.test_resumed_file import published

_INTERRUPTED_AT = (0.35, 0.55, 0.75)  # of the frames
_SECONDS = 1.0
_SAME_IOU = 0.5


def differences(event: EmotionEvent, expected: EmotionEvent) -> Counter[str]:
    """What an event says otherwise than the one of the whole run."""
    found = Counter(frames=1, faces=len(expected.faces), missing=0, additional=0, other_dominants=0)
    if not event.faces or not expected.faces:
        found.update(missing=len(expected.faces), additional=len(event.faces))
        return found
    boxes = [np.array([face.face.box_xyxy for face in each.faces]) for each in (event, expected)]
    overlap = iou_matrix(*boxes)
    matches = overlap.argmax(axis=0)
    for index, face in enumerate(expected.faces):
        is_there = overlap[matches[index], index] > _SAME_IOU
        found["missing"] += not is_there
        found["other_dominants"] += is_there and event.faces[matches[index]].dominant is not face.dominant
    found["additional"] += int((overlap.max(axis=1) <= _SAME_IOU).sum())
    return found


async def compare(clip: Path, models: Models) -> Counter[str]:
    """The differences in the first second after each interruption."""
    whole, _ = await published(clip, models)
    found: Counter[str] = Counter()
    for share in _INTERRUPTED_AT:
        known = whole[int(len(whole) * share)]
        point = ResumePoint(known.frame_index, round(known.pts_seconds, 6))
        rest, _ = await published(clip, models, after=point)
        expected = [event for event in whole if event.frame_index > known.frame_index]
        if [_place(event) for event in rest] != [_place(event) for event in expected]:
            raise SystemExit(f"{clip.name}: other frames or times after frame {known.frame_index}")
        for event, same in zip(rest, expected, strict=True):
            if same.pts_seconds <= known.pts_seconds + _SECONDS:
                found.update(differences(event, same))
    return found


def _place(event: EmotionEvent) -> tuple[int, float]:
    return event.frame_index, event.pts_seconds


async def main(arguments: Sequence[str] | None = None) -> None:
    """Compare all clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data: Path = parser.parse_args(arguments).data
    total: Counter[str] = Counter()
    with loaded_models(load_settings()) as models, tempfile.TemporaryDirectory() as folder:
        for path in sorted((data / "videos").iterdir()):
            found = await compare(Path(shutil.copy(path, folder)), models)
            total.update(found)
            print(json.dumps({"clip": path.name, **found}), flush=True)
    print(json.dumps({"clip": "all", **total}))


if __name__ == "__main__":
    asyncio.run(main())
