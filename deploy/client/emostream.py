"""The client of emostream alone: `from emostream.client import EmotionEvents`.

The distribution `emostream-client` installs this module and the folder beside it, the distribution `emostream` the
whole package. They have no file in common, so each can be installed and removed while the other is there. With both,
Python imports the package: a folder `emostream/` comes before a module `emostream.py` (PEP 420).
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

# A module with a path is a package; its modules are in this folder, which has the name in which type checkers look for
# the types of `emostream` (PEP 561).
__path__ = [str(Path(__file__).with_name("emostream-stubs"))]
__version__ = version("emostream-client")

from emostream.domain.emotion import Emotion, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent
from emostream.domain.face import Crop, Face
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import EmostreamError

__all__ = [
    "Crop",
    "EmostreamError",
    "Emotion",
    "EmotionEvent",
    "EmotionScores",
    "Face",
    "FaceEmotion",
    "StatusEvent",
    "StreamKind",
    "StreamSpec",
    "StreamState",
    "__version__",
]

_NOT_HERE = {"Analysis", "Analyzer", "Frame", "PictureFaces", "Session", "analyze", "analyze_async", "classify"}
_WHAT_TO_DO = "emostream-client reads events and calls a service; for the rest: pip install emostream"


def __getattr__(name: str) -> Any:
    if name in _NOT_HERE:
        raise ImportError(f"emostream.{name} is not installed. {_WHAT_TO_DO}", name="emostream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    sys.exit(f"the command line is not installed. {_WHAT_TO_DO}")
