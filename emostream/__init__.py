"""emostream: watch video, follow every face, publish its expression.

    import emostream

    for event in emostream.analyze("clip.mp4"):
        for face in event.faces:
            print(event.pts_seconds, face.track_id, face.dominant, face.confidence)

    faces = emostream.classify("photo.jpg")

    with emostream.Session() as session:
        event = session.push(array)  # a frame that the program has

The main job and the nouns of the product; everything else is imported from its module, for example
`emostream.pipeline.pipeline.Pipeline`. Programs that read published events use `emostream.client`.
"""

import os
from importlib import import_module
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from emostream.domain.emotion import Emotion, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent
from emostream.domain.face import Crop, Face
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import EmostreamError

if TYPE_CHECKING:
    from emostream.analysis.analyzer import Analyzer, analyze, analyze_async, classify
    from emostream.analysis.events import Analysis
    from emostream.analysis.faces import PictureFaces
    from emostream.analysis.session import Session
    from emostream.domain.frame import Frame

# Nothing reports home. Set here, because each of our processes imports this first, also a worker of Ray, and before
# anything that reads them: ONNX Runtime ≥ 1.29 makes a device id and a database in the cache folder as soon as it is
# imported, and sends what it collects some seconds later. Whatever was set before: the promise has no exception. Child
# processes inherit them; images and the chart set the same ones for programs that are not ours (a test compares).
TELEMETRY_SWITCHES = MappingProxyType(
    {
        "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: machine, models and sessions, to Microsoft
        "RAY_USAGE_STATS_ENABLED": "0",  # Ray: cluster and libraries in use, to Anyscale
    }
)
"""Variable of the environment → the value that switches reporting off, for every dependency that would report."""
os.environ.update(TELEMETRY_SWITCHES)

__version__ = version("emostream")

# Imported when they are first used: they load NumPy, OpenCV, FFmpeg and ONNX Runtime.
_MODULE_OF = {
    "Analysis": "emostream.analysis.events",
    "Analyzer": "emostream.analysis.analyzer",
    "Frame": "emostream.domain.frame",
    "PictureFaces": "emostream.analysis.faces",
    "Session": "emostream.analysis.session",
    "analyze": "emostream.analysis.analyzer",
    "analyze_async": "emostream.analysis.analyzer",
    "classify": "emostream.analysis.analyzer",
}

__all__ = [
    "Analysis",
    "Analyzer",
    "Crop",
    "EmostreamError",
    "Emotion",
    "EmotionEvent",
    "EmotionScores",
    "Face",
    "FaceEmotion",
    "Frame",
    "PictureFaces",
    "Session",
    "StatusEvent",
    "StreamKind",
    "StreamSpec",
    "StreamState",
    "__version__",
    "analyze",
    "analyze_async",
    "classify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
