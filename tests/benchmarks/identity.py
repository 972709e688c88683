"""Do people keep their ids when they cover each other? IDF1, ids and switches on made clips with known places.

    python -m tests.benchmarks.identity [--json]

Each clip runs with the searches of the default settings (four phases of them), with every frame searched, and with
fewer frames.
"""

from __future__ import annotations

import argparse
import json

from emostream.config import load_settings
from emostream.pipeline.build import load_chosen_detector
from emostream.vision.track.follower import FaceFollower
from tests.vision.track.crossings import crossings
from tests.vision.track.identity import Identity, identity_on

_NOTHING = Identity(0, 0, 0, 0, 0, 0)
# Name, searches per second, phases, one of so many frames.
_WAYS = (
    ("default", None, (0.0, 0.25, 0.5, 0.75), 1),
    ("every frame searched", 1e6, (0.0,), 1),
    ("5 frames a second", None, (0.0,), 5),
    ("2.5 frames a second", None, (0.0,), 10),
    ("1 frame a second", None, (0.0,), 25),
)


def main() -> None:
    """Print a row per way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    is_json = parser.parse_args().json
    settings = load_settings()
    detect = load_chosen_detector(settings).detect
    clips = [make() for make in crossings().values()]
    for name, searches, phases, every in _WAYS:
        total = _NOTHING
        for shots in clips:
            for phase in phases:
                follower = FaceFollower(
                    detect,
                    settings=settings.track,
                    detections_per_second=searches or settings.track.detections_per_second,
                    phase=phase,
                )
                total += identity_on(shots, follower, every=every)
        figures = {
            "way": name,
            "idf1": round(total.idf1, 3),
            "ids": total.num_ids,
            "people": total.num_people,
            "switches": total.num_switches,
        }
        print(json.dumps(figures) if is_json else "  ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
