"""Reads the counters of all parts of a process into its metric values, whenever they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from emostream.decode.live_source import LiveSource
from emostream.decode.source import FrameSource
from emostream.domain.clock import utc_now
from emostream.domain.model_manifest import ModelManifest
from emostream.publish.sink import EventSink, readings_of
from emostream.telemetry.metrics import (
    BATCH_COMPUTE,
    BATCH_SIZE,
    BATCH_WAIT,
    CLOCK_FAULTS,
    CORRUPT_PACKETS,
    DECODED_FRAMES,
    DECODER_INFO,
    DROPPED_FRAMES,
    ENGINE_INFO,
    GPU_UNUSED,
    METRICS,
    MODEL_INFO,
    RECONNECTS,
    SOURCE_LAG,
    STAGE_SECONDS,
    STALLS,
    STREAM_LABEL,
    Metric,
    MetricType,
)
from emostream.telemetry.metrics_sink import MetricsSink
from emostream.telemetry.process import ProcessMetrics
from emostream.telemetry.values import Deltas, MetricFamily, MetricValues
from emostream.vision.classify.batcher import BatchStats, CropBatcher
from emostream.vision.classify.classifier import EngineInfo, SharedClassifier
from emostream.vision.engines.trt.cuda import is_gpu_given


@dataclass(frozen=True, slots=True)
class _Watched:
    source: FrameSource
    live: LiveSource | None


class MetricsCollector:
    """All metric values of a process that runs pipelines.

    Args:
        has_stream_label: see `MetricValues`.
        now: wall clock, aware UTC.
    """

    def __init__(self, *, has_stream_label: bool = True, now: Callable[[], datetime] = utc_now) -> None:
        self.metric_values = MetricValues(has_stream_label=has_stream_label)
        self._now = now
        self._deltas = Deltas()
        self._process = ProcessMetrics(self.metric_values)
        self._sources: dict[str, _Watched] = {}
        self._sinks: list[EventSink] = []
        self._sink_gauges: set[str] = set()
        self._measured: list[MetricsSink] = []
        self._manifest: ModelManifest | None = None
        self._engine: EngineInfo | None = None
        self._batches: BatchStats | None = None
        self._lock = threading.Lock()

    def measured(self, sink: EventSink) -> MetricsSink:
        """The sink to give to pipelines instead of this one."""
        self._sinks.append(sink)
        self._measured.append(MetricsSink(sink, metric_values=self.metric_values, now=self._now))
        return self._measured[-1]

    def watch_sink(self, sink: EventSink) -> None:
        """Read the counters of a sink to which no pipeline publishes directly."""
        self._sinks.append(sink)

    def watch_classifier(self, classifier: SharedClassifier) -> None:
        """Read its batches, if it makes them in this process."""
        self._manifest = classifier.manifest
        self._batches = classifier.stats if isinstance(classifier, CropBatcher) else None
        self._engine = classifier.engine_info if isinstance(classifier, CropBatcher) else None

    def watch_batches(self, stats: BatchStats, *, manifest: ModelManifest, engine: EngineInfo | None = None) -> None:
        """Read batches that a classifier without streams makes in this process, on this engine."""
        self._manifest, self._batches, self._engine = manifest, stats, engine

    def watch_source(self, stream_id: str, source: FrameSource, *, live: LiveSource | None = None) -> None:
        """Read the counters of a stream's source from now on; `live` is the live source inside it."""
        self._read_source(stream_id)  # what the one before counted last
        for count in ("decoded", "sampled", "corrupt", "clock", "seconds", "reconnects", "stalls"):
            self._deltas.forget((stream_id, count))
        self._sources[stream_id] = _Watched(source, live)

    def keep_streams(self, stream_ids: Collection[str]) -> None:
        """Forget all other streams; what they counted stays in sums."""
        for stream_id in self._sources.keys() - stream_ids:
            self._read_source(stream_id)
            del self._sources[stream_id]
            for measured in self._measured:
                measured.forget(stream_id)
        self.metric_values.keep_streams(stream_ids)

    def collect(self, *, resting_ids: Collection[str] = ()) -> list[MetricFamily]:
        """Look at everything now; `resting_ids` are streams that are paused and so have no lag. From any thread."""
        with self._lock:
            self._look(resting_ids)
            return self.metric_values.families()

    def _look(self, resting_ids: Collection[str]) -> None:
        self._process.collect()
        for stream_id in self._sources:
            self._read_source(stream_id)
        self._set_stream_gauges(resting_ids)
        if self._batches is not None:
            self._read_batches(self._batches)
        if self._manifest is not None:
            self.metric_values.set(MODEL_INFO, 1, model=self._manifest.name, version=self._manifest.version)
        if self._engine is not None:
            self.metric_values.set(ENGINE_INFO, 1, **asdict(self._engine))
            self.metric_values.set(GPU_UNUSED, float(self._engine.device == "cpu" and is_gpu_given()))
        self._read_sinks()

    def _grow(self, metric: Metric, key: tuple[object, ...], count: float, **labels: str) -> None:
        self.metric_values.add(metric, self._deltas.of(key, count), **labels)

    def _read_source(self, stream_id: str) -> None:
        watched = self._sources.get(stream_id)
        if watched is None:
            return
        stats = watched.source.stats
        self._grow(DECODED_FRAMES, (stream_id, "decoded"), stats.num_decoded, stream_id=stream_id)
        self._grow(DROPPED_FRAMES, (stream_id, "sampled"), stats.num_skipped, stream_id=stream_id, reason="sampled")
        self._grow(CORRUPT_PACKETS, (stream_id, "corrupt"), stats.num_corrupt, stream_id=stream_id)
        self._grow(CLOCK_FAULTS, (stream_id, "clock"), stats.num_clock_faults, stream_id=stream_id)
        self._grow(STAGE_SECONDS, (stream_id, "seconds"), stats.decode_seconds, stage="decode")
        if watched.live is not None:
            live_stats = watched.live.live_stats
            self._grow(RECONNECTS, (stream_id, "reconnects"), live_stats.num_reconnects, stream_id=stream_id)
            self._grow(STALLS, (stream_id, "stalls"), live_stats.num_stalls, stream_id=stream_id)

    def _set_stream_gauges(self, resting_ids: Collection[str]) -> None:
        decoders = {stream_id: _decoder_of(watched.source) for stream_id, watched in self._sources.items()}
        self.metric_values.replace(
            DECODER_INFO,
            [({"stream_id": name, "decoder": decoder}, 1) for name, decoder in decoders.items() if decoder],
        )
        now, lags = self._now(), []
        for measured in self._measured:
            measured.collect()
            lags += [
                ({"stream_id": name}, (now - event.captured_at).total_seconds())
                for name, event in measured.newest().items()
                if name not in resting_ids
            ]
        self.metric_values.replace(SOURCE_LAG, lags)

    def _read_batches(self, stats: BatchStats) -> None:
        self._grow(BATCH_WAIT, ("wait",), stats.wait_seconds)
        self._grow(BATCH_COMPUTE, ("compute",), stats.compute_seconds)
        for size, count in list(stats.batch_sizes.items()):
            if grown := self._deltas.of(("size", size), count):
                self.metric_values.observe(BATCH_SIZE, size, count=int(grown))

    def _read_sinks(self) -> None:
        """Counters and gauges of all sinks; series that several sinks have are one."""
        totals: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        gauges: dict[str, list[tuple[Mapping[str, str], float]]] = {name: [] for name in self._sink_gauges}
        for sink in self._sinks:
            for reading in readings_of(sink):
                metric = METRICS.get(reading.metric)
                if metric is None:  # of a plugin that was made for another version
                    continue
                if metric.type is MetricType.GAUGE:
                    if reading.labels.get(STREAM_LABEL) in {None, *self._sources}:
                        gauges.setdefault(metric.name, []).append((reading.labels, reading.value))
                    continue
                key = (metric.name, frozenset(reading.labels.items()))
                totals[key] = totals.get(key, 0) + reading.value
        for (name, labels), total in totals.items():
            self._grow(METRICS[name], (name, labels), total, **dict(labels))
        self._sink_gauges = set(gauges)
        for name, values in gauges.items():
            self.metric_values.replace(METRICS[name], values)


def live_source_of(source: FrameSource) -> LiveSource | None:
    """The source itself, if it is a live one."""
    return source if isinstance(source, LiveSource) else None


def _decoder_of(source: FrameSource) -> str:
    try:
        return source.info.decoder
    except RuntimeError:  # not open yet
        return ""
