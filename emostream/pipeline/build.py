"""Builds pipelines from settings. Below the entry points, only this module reads the settings tree."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from zlib import crc32

import numpy as np

from emostream.audio.activity import load_activity_network
from emostream.audio.arousal import ArousalModel
from emostream.audio.voice import VoiceModels
from emostream.config import MAX_FACES, MIN_FACE_PIXELS, ModelSettings, Settings, ZoneSettings
from emostream.decode.open_source import open_source
from emostream.decode.source import FrameSource
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.machine_limits import num_usable_cores
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.domain.summary import RollingSummary
from emostream.domain.zones import Zone, check_zones, zone_from
from emostream.errors import ConfigError, ModelError
from emostream.pipeline.pipeline import EventObserver, Pipeline, VoiceObserver
from emostream.pipeline.process_tuning import tune_process
from emostream.pipeline.voice_track import VoiceTrack
from emostream.publish.sink import EventSink
from emostream.telemetry.tracing import FrameTracer
from emostream.vision.classify.batcher import CropBatcher
from emostream.vision.classify.changed_crops import ChangedCrops
from emostream.vision.classify.classifier import SharedClassifier, parallel_batches
from emostream.vision.classify.engines import choose_engine
from emostream.vision.classify.hysteresis import EmotionHysteresis
from emostream.vision.classify.load import load_classifier
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.detect.detector import FaceDetector, close_detector, smallest_face_pixels
from emostream.vision.detect.load import BUILT_IN, load_detector, load_plugin_detector, load_trt_detector
from emostream.vision.detect.picture_search import PictureSearch
from emostream.vision.detect.video_search import VideoSearch
from emostream.vision.engines.fastest import ENGINE_CHOICES_FILE, fastest
from emostream.vision.engines.processor import has_int8_instructions, processor_name
from emostream.vision.engines.trt.cuda import is_gpu_given
from emostream.vision.models.store import ModelStore
from emostream.vision.persons.embedding import FaceEmbedder
from emostream.vision.persons.finder import PersonFinder
from emostream.vision.track.follower import FaceFollower

logger = logging.getLogger(__name__)

_FP32_DETECTOR, _INT8_DETECTOR = "centerface", "centerface-int8"
_ROUNDING = 1.05  # a pixel more or less is no news
_KEEN_SCORE = 0.2  # in 227 frames of seven clips, only faces had a higher score


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a process, shared by all its pipelines, and the threads in which they track faces."""

    detector: FaceDetector
    classifier: SharedClassifier
    workers: Executor = field(default_factory=lambda: ThreadPoolExecutor(num_usable_cores(), "emostream-follow"))

    def close(self) -> None:
        """Release the engines."""
        self.workers.shutdown()
        close_detector(self.detector)
        self.classifier.close()


def load_models(settings: Settings) -> Models:
    """Load detector and classifier, and tune the process for them.

    Pulls the detector into the model store when it is missing.

    Raises:
        ModelError: a model is missing, damaged or does not fit the settings.
        ConfigError: the settings name no usable model.
    """
    tune_process()
    classifier = load_batched_classifier(settings)
    return Models(load_chosen_detector(settings), classifier)


@contextlib.contextmanager
def loaded_models(settings: Settings) -> Iterator[Models]:
    """`load_models`, closed in the end."""
    models = load_models(settings)
    try:
        yield models
    finally:
        models.close()


def load_batched_classifier(settings: Settings) -> CropBatcher:
    """Load the classifier, with batching of the crops of all pipelines of this process.

    Raises:
        ModelError: the model is missing, damaged or does not fit the settings.
        ConfigError: the settings name no usable model.
    """
    classifier = load_classifier(settings.classify, cache_dir=settings.models.cache_dir)
    return CropBatcher(
        classifier,
        num_workers=parallel_batches(classifier) or num_usable_cores(),
        max_batch_size=settings.classify.max_batch_size,
        wanted_crops=classifier.wanted_batch_size,
    )


def load_keen_detector(settings: Settings) -> FaceDetector:
    """Load a more sensitive detector for anonymisation: it also finds faces of half the size and with lower scores.

    A false detection does little harm there, unlike in an event.

    Raises:
        ConfigError, ModelError: see `load_chosen_detector`.
    """
    return load_chosen_detector(_keen(settings))


def load_keen_picture_search(settings: Settings) -> Callable[[], PictureSearch]:
    """The same for still pictures: call the result for each of them. Errors as for `load_keen_detector`."""
    keen = _keen(settings)
    return partial(build_picture_search, keen, detector=load_chosen_detector(keen))


def _keen(settings: Settings) -> Settings:
    detect = settings.detect
    keen = {
        "min_face_pixels": max(detect.min_face_pixels // 2, MIN_FACE_PIXELS),
        "min_score": min(detect.min_score, _KEEN_SCORE),
        "max_faces": MAX_FACES,
    }
    return settings.model_copy(update={"detect": detect.model_copy(update=keen)})


def load_chosen_detector(settings: Settings) -> FaceDetector:
    """Load the configured detector; with precision `auto` the variant that is faster on this processor.

    Raises:
        ConfigError: the detector needs a file and the settings name none.
        ModelError: the model is missing, damaged or does not fit the settings.
    """
    detect = settings.detect
    if detect.kind not in BUILT_IN:
        return load_plugin_detector(detect)
    store = ModelStore(settings.models)
    if detect.kind == "yunet" and detect.path is None:
        raise ConfigError("detector yunet needs its model file: set detect.path to face_detection_yunet_*.onnx")
    if detect.engine == "auto":
        return _detector_on_gpu(settings, store) or _detector_on_cpu(settings, store)
    if detect.engine == "onnxruntime":
        return _detector_on_cpu(settings, store)
    path = detect.path or store.path_of(_FP32_DETECTOR)
    return load_trt_detector(detect, model_path=path, cache_dir=settings.models.cache_dir)


def _detector_on_cpu(settings: Settings, store: ModelStore) -> FaceDetector:
    detect = settings.detect
    if detect.path is not None:
        return load_detector(detect, model_path=detect.path)

    def load(name: str) -> FaceDetector:
        return load_detector(detect, model_path=store.path_of(name))

    if detect.precision == "int8":
        return load(_INT8_DETECTOR)
    if detect.precision == "fp32" or not has_int8_instructions():
        return load(_FP32_DETECTOR)
    frame = np.random.default_rng(0).integers(0, 256, (360, 640), dtype=np.uint8)
    chosen = fastest(
        {name: partial(_search_with, load, name, frame) for name in (_FP32_DETECTOR, _INT8_DETECTOR)},
        key=f"{store.entry(_INT8_DETECTOR).path.stem} on {processor_name()}, onnxruntime {version('onnxruntime')}",
        cache_file=settings.models.cache_dir / ENGINE_CHOICES_FILE,
    )
    return load(chosen)


def _detector_on_gpu(settings: Settings, store: ModelStore) -> FaceDetector | None:
    """CenterFace on the first GPU engine that can be used; a slower detector is better than none at all."""
    detect = settings.detect
    if detect.kind != "centerface":
        return None
    path = detect.path or store.path_of(_FP32_DETECTOR)
    usable = choose_engine().candidates
    for engine in ("tensorrt", "tensorrt_rtx"):
        if engine in usable:
            chosen = detect.model_copy(update={"engine": engine})
            try:
                return load_trt_detector(chosen, model_path=path, cache_dir=settings.models.cache_dir)
            except (ModelError, ConfigError) as exc:
                logger.warning("the detector cannot use %s: %s", engine, exc)
    if is_gpu_given():
        logger.warning("a GPU was given to this process, but the detector runs on the CPU")
    return None


def _search_with(load: Callable[[str], FaceDetector], name: str, frame: Luma) -> Callable[[], object]:
    """Load a detector to measure it, and return a call that searches `frame`."""
    return partial(load(name).detect, frame)


def new_epoch() -> int:
    """A number for a new run of a stream: milliseconds since 1970, so that later runs have larger numbers."""
    return time.time_ns() // 1_000_000


def zones_from(zones: Sequence[ZoneSettings]) -> tuple[Zone, ...]:
    """The zones of a stream from the settings.

    Raises:
        ConfigError: a zone is invalid, or two have the same name.
    """
    made = tuple(zone_from(zone.model_dump()) for zone in zones)
    check_zones(made)
    return made


def _rolling_summary(interval_seconds: float) -> RollingSummary | None:
    return RollingSummary(interval_seconds=interval_seconds) if interval_seconds else None


def _embedder_of(settings: Settings, kind: StreamKind) -> FaceEmbedder | None:
    """What makes vectors of the faces of a stream; None where the settings want none."""
    grouped = settings.persons.grouped
    is_wanted = grouped == "always" or (grouped == "files" and kind is StreamKind.FILE)
    return _load_embedder(settings.models) if is_wanted else None


def _person_finder(settings: Settings, kind: StreamKind, embedder: FaceEmbedder) -> PersonFinder:
    """What groups the tracks of a stream into persons."""
    after = settings.persons.forget_after_seconds if kind is StreamKind.LIVE else math.inf
    return PersonFinder(embedder.embed, forget_after_seconds=after)


@functools.cache
def _load_embedder(settings: ModelSettings) -> FaceEmbedder:
    """The one of this process."""
    return FaceEmbedder(ModelStore(settings).verify("persons").path)


@functools.cache
def _load_voice_models(settings: ModelSettings) -> VoiceModels:
    """Those of this process."""
    store = ModelStore(settings)
    arousal = store.verify("voice-arousal").path
    manifest = json.loads(arousal.with_suffix(".json").read_text(encoding="utf-8"))
    return VoiceModels(
        load_activity_network(store.verify("voice-activity").path),
        ArousalModel(arousal, name=manifest["name"], version=manifest["version"]),
    )


def _voice_track(spec: StreamSpec, settings: Settings) -> VoiceTrack:
    return VoiceTrack(spec, settings=settings.decode, load=partial(_load_voice_models, settings.models))


@dataclass(frozen=True, slots=True)
class Stages:
    """Stages of one stream that process faces; they keep state per track."""

    detect: Callable[[Luma], list[Face]]
    smoother: EmotionSmoother
    hysteresis: EmotionHysteresis
    is_picture: bool = False


def build_stages(settings: Settings, *, detect: Callable[[Luma], list[Face]], is_picture: bool = False) -> Stages:
    """New stages for one stream, or for one still picture, which `detect` then searches as a whole."""
    classify = settings.classify
    return Stages(
        detect,
        EmotionSmoother(time_constant_seconds=classify.smoothing_seconds),
        EmotionHysteresis(
            hold_seconds=classify.hold_seconds, margin=classify.switch_margin, min_confidence=classify.min_confidence
        ),
        is_picture,
    )


def build_picture_search(settings: Settings, *, detector: FaceDetector) -> PictureSearch:
    """A search for one still picture, with a detector that `settings` loaded."""
    detect = settings.detect
    return PictureSearch(
        detector,
        min_face_pixels=detect.min_face_pixels,
        min_score=detect.min_score,
        max_iou=detect.max_iou,
        max_faces=detect.max_faces_per_picture,
        is_turned=detect.turned_heads != "never",
        num_threads=num_usable_cores(),
    )


def unsearched_notice(settings: Settings, detector: FaceDetector, width: int, height: int) -> str:
    """Which faces that are wanted are too small to be found in frames of this size; empty where none are."""
    wanted = settings.detect.min_face_pixels
    smallest = smallest_face_pixels(detector, width, height)
    if smallest is None or smallest <= wanted * _ROUNDING:
        return ""
    return (
        f"faces below {math.ceil(smallest)} pixels are not looked for in frames of {width}×{height} "
        f"(detect.min_face_pixels is {wanted}); raise detect.max_input_pixels to find smaller ones, at more cost"
    )


def build_pipeline(
    spec: StreamSpec,
    *,
    settings: Settings,
    models: Models,
    sink: EventSink,
    epoch: int,
    source: FrameSource | None = None,
    stages: Stages | None = None,
    on_event: EventObserver | None = None,
    on_voice: VoiceObserver | None = None,
    tracer: FrameTracer | None = None,
    has_voice: bool = False,
) -> Pipeline:
    """Build the pipeline of one stream.

    Args:
        spec: the stream.
        settings: all settings.
        models: shared; not closed by the pipeline.
        sink: destination of the events; shared, not closed by the pipeline.
        epoch: number of this run of the stream.
        source: replaces the source at the spec's URL.
        stages: replace the stages from the settings.
        on_event: called with each frame and its event.
        on_voice: called with each voice event.
        tracer: traces some of the frames; None traces none.
        has_voice: measures the voice. Its sound is read from the spec's URL itself, so the source must be one that may
            be opened twice, by whichever user runs this.
    """
    stages = stages or build_stages(settings, detect=models.detector.detect)
    detect, notice_of_size = stages.detect, None
    if not stages.is_picture:
        notice_of_size = partial(unsearched_notice, settings, models.detector)
        detect = VideoSearch(
            stages.detect,
            look=models.detector.detect,
            confirm_score=settings.track.confirm_score,
            max_faces=settings.detect.max_faces_per_frame,
            max_iou=settings.detect.max_iou,
            is_turned=settings.detect.turned_heads == "always",
            notice_of_size=notice_of_size,
            name=spec.stream_id,
        )
    embedder = None if stages.is_picture else _embedder_of(settings, spec.kind)
    persons = None if embedder is None else _person_finder(settings, spec.kind, embedder)
    return Pipeline(
        source or open_source(spec, settings=settings.decode),
        stream_id=spec.stream_id,
        epoch=epoch,
        follower=FaceFollower(
            detect,
            settings=settings.track,
            detections_per_second=settings.track.detections_per_second,
            phase=crc32(spec.stream_id.encode()) / (1 << 32),
            vector_of=None if embedder is None else embedder.vector_of,
        ),
        classifier=models.classifier,
        smoother=stages.smoother,
        hysteresis=stages.hysteresis,
        changed=None if settings.classify.every_crop else ChangedCrops(),
        zones=spec.zones or zones_from(settings.zones.get(spec.stream_id, ())),
        persons=persons,
        summary=_rolling_summary(settings.publish.summary_seconds),
        voice=_voice_track(spec, settings) if has_voice else None,
        sink=sink,
        workers=models.workers,
        on_event=on_event,
        on_voice=on_voice,
        notice_of_size=notice_of_size,
        tracer=tracer,
        max_frames=spec.max_frames if spec.kind is StreamKind.LIVE else None,  # the source of a file ends by itself
    )
