"""emostream: watch video, follow every face, publish its expression.

The nouns of the product; everything else is imported from its module, for example `emostream.pipeline.Pipeline`.
"""

from importlib.metadata import version

from emostream.domain.emotion import Emotion, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent
from emostream.domain.face import Crop, Face
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import EmostreamError
from emostream.no_telemetry import switch_off_telemetry

# Here, because each of our processes imports this first, also a worker of Ray; what is switched off comes later.
switch_off_telemetry()

__version__ = version("emostream")

__all__ = [
    "Crop",
    "EmostreamError",
    "Emotion",
    "EmotionEvent",
    "EmotionScores",
    "Face",
    "FaceEmotion",
    "Frame",
    "StatusEvent",
    "StreamKind",
    "StreamSpec",
    "StreamState",
    "__version__",
]
