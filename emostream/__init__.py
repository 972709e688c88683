"""emostream: watch video, follow every face, publish its expression.

    import emostream

    for event in emostream.analyze("clip.mp4"):
        for face in event.faces:
            print(event.pts_seconds, face.track_id, face.dominant, face.confidence)

    faces = emostream.classify("photo.jpg")

The main job and the nouns of the product; everything else is imported from its module, for example
`emostream.pipeline.pipeline.Pipeline`. Programs that read published events use `emostream.client`.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from emostream.domain.emotion import Emotion, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent
from emostream.domain.face import Crop, Face
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import EmostreamError
from emostream.no_telemetry import switch_off_telemetry

if TYPE_CHECKING:
    from emostream.analysis.analyzer import Analyzer, analyze, analyze_async, classify
    from emostream.analysis.events import Analysis
    from emostream.analysis.faces import PictureFaces
    from emostream.domain.frame import Frame

# Here, because each of our processes imports this first, also a worker of Ray; what is switched off comes later.
switch_off_telemetry()

__version__ = version("emostream")

# Imported when they are first used: they load NumPy, OpenCV, FFmpeg and ONNX Runtime.
_MODULE_OF = {
    "Analysis": "emostream.analysis.events",
    "Analyzer": "emostream.analysis.analyzer",
    "Frame": "emostream.domain.frame",
    "PictureFaces": "emostream.analysis.faces",
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
