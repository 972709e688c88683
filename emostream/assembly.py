"""Settings → the parts of a pipeline. The only place below the entry points that reads the settings tree."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emostream.classify.batcher import CropBatcher
from emostream.classify.load import load_classifier
from emostream.config import Settings, ZoneSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.source import FrameSource
from emostream.detect.detector import FaceDetector
from emostream.detect.load import load_detector
from emostream.errors import ConfigError
from emostream.models.store import ModelStore
from emostream.pipeline import EventObserver, Pipeline
from emostream.publish.sink import EventSink
from emostream.rolling import RollingSummary
from emostream.stream import StreamSpec
from emostream.track.dominance import DominantEmotion
from emostream.track.follower import FaceFollower
from emostream.track.smoothing import EmotionSmoother
from emostream.zones import Zone, check_zones, zone_from


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a process, shared by all its pipelines."""

    detector: FaceDetector
    classifier: CropBatcher

    def close(self) -> None:
        """Release the engines."""
        self.classifier.close()


def load_models(settings: Settings) -> Models:
    """Load detector and classifier; pulls the detector into the model store when it is not there yet.

    Raises:
        ModelError: a model is missing, damaged or does not fit.
    """
    store = ModelStore(settings.models)
    return Models(
        detector=load_detector(settings.detect, model_path=detector_path(settings, store=store)),
        classifier=CropBatcher(
            load_classifier(settings.classify),
            num_workers=os.cpu_count() or 1,
            max_batch_size=settings.classify.max_batch_size,
        ),
    )


def detector_path(settings: Settings, *, store: ModelStore) -> Path:
    """The detector's model file: the user's, or the one of the model store.

    Raises:
        ConfigError: the detector needs a file and the settings name none.
        ModelError: the store cannot provide it.
    """
    if settings.detect.path is not None:
        return settings.detect.path
    if settings.detect.kind == "yunet":
        raise ConfigError("detector yunet needs its model file: set detect.path to face_detection_yunet_*.onnx")
    return store.path_of(settings.detect.kind)


def new_epoch() -> int:
    """A number for a run of a stream on one machine: milliseconds since 1970, so later runs have larger ones."""
    return time.time_ns() // 1_000_000


def zones_from(zones: Sequence[ZoneSettings]) -> tuple[Zone, ...]:
    """The zones that the settings give a stream.

    Raises:
        ConfigError: one of them is none, or two have the same name.
    """
    made = tuple(zone_from(zone.model_dump()) for zone in zones)
    check_zones(made)
    return made


def _rolling_summary(interval_seconds: float) -> RollingSummary | None:
    return RollingSummary(interval_seconds=interval_seconds) if interval_seconds else None


def build_pipeline(
    spec: StreamSpec,
    *,
    settings: Settings,
    models: Models,
    sink: EventSink,
    epoch: int,
    source: FrameSource | None = None,
    on_event: EventObserver | None = None,
) -> Pipeline:
    """The pipeline of one stream. `source` replaces the one that the spec's URL asks for."""
    return Pipeline(
        source or PyAVSource(spec, settings=settings.decode),
        stream_id=spec.stream_id,
        epoch=epoch,
        follower=FaceFollower(models.detector.detect, settings=settings.track),
        classifier=models.classifier,
        smoother=EmotionSmoother(time_constant_seconds=settings.classify.smoothing_seconds),
        dominance=DominantEmotion(hold_seconds=settings.classify.hold_seconds, margin=settings.classify.switch_margin),
        zones=spec.zones or zones_from(settings.zones.get(spec.stream_id, ())),
        summary=_rolling_summary(settings.publish.summary_seconds),
        sink=sink,
        on_event=on_event,
    )
