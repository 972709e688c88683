"""Every metric of the product: name, type, unit, labels, help, and what to do when it moves.

Nothing else declares one; `docs/metrics.md` is made of this file (`python -m emostream.telemetry.metrics`), and a test
holds the names in `deploy/` and `helm/` against it. Names, labels and types are the same wherever the figures are read.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import StrEnum

from emostream.domain.emotion import EMOTIONS
from emostream.domain.event import UNKNOWN
from emostream.domain.stream import StreamState

STREAM_LABEL = "stream_id"
"""The only label whose number of values grows with the load; the setting `metrics.stream_label` switches it off."""


class MetricType(StrEnum):
    """As Prometheus has them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: with its unit, and `_total` for counters.
        help: what it counts or measures.
        action: what you would do if it moves.
        type: counter, gauge or histogram.
        labels: names of its labels, in order.
        values: of a label other than `stream_id`, where they are known.
        label_values: how many values such a label can have, in words.
        buckets: upper bounds, for histograms; +Inf is understood.
        takes_maximum: how values meet when the stream label is off: the greatest counts, otherwise their sum.
    """

    name: str
    help: str
    action: str
    type: MetricType = MetricType.COUNTER
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    label_values: str = ""
    buckets: tuple[float, ...] = ()
    takes_maximum: bool = False

    def __post_init__(self) -> None:
        if (self.type is MetricType.COUNTER) != self.name.endswith("_total"):
            raise ValueError(f"expected `_total` at the end of counters and of nothing else, got {self.name}")
        if (self.type is MetricType.HISTOGRAM) != bool(self.buckets):
            raise ValueError(f"expected buckets for histograms and nothing else, got {self.buckets} for {self.name}")
        if self.values and not self.label_values:
            words = f"{len(self.values)} {self.labels[-1]}s: {', '.join(self.values)}"
            object.__setattr__(self, "label_values", words)


_GAUGE, _HISTOGRAM = MetricType.GAUGE, MetricType.HISTOGRAM
_STREAM = (STREAM_LABEL,)

# --- sources and decoding ---------------------------------------------------------------------------------------------

DECODED_FRAMES = Metric(
    "emostream_decode_frames_total",
    "Decoded frames.",
    "Falls to 0: the camera is unreachable or its picture is frozen; look at the stream's state and last error.",
    labels=_STREAM,
)
DROPPED_FRAMES = Metric(
    "emostream_decode_dropped_frames_total",
    "Decoded frames that were not processed.",
    "Reason `late` grows: the machine is too slow for its streams; add a worker or lower `target_fps`. "
    "`sampled` counts frames skipped by the options `every` and `target_fps`.",
    labels=(STREAM_LABEL, "reason"),
    values=("late", "sampled"),
)
CORRUPT_PACKETS = Metric(
    "emostream_decode_corrupt_total",
    "Packets that could not be decoded, and damaged or missing frames (missing HLS segments).",
    "Grows steadily: the network loses packets; use `rtsp_transport: tcp`, look at the cable or the camera.",
    labels=_STREAM,
)
DECODER_INFO = Metric(
    "emostream_decode_info",
    "1 for each open source, labelled with the decoder in use.",
    "An unexpected decoder: the camera was set to another codec, or the decoder of the GPU is not in use.",
    type=_GAUGE,
    labels=(STREAM_LABEL, "decoder"),
    label_values="a few decoders",
)
SOURCE_LAG = Metric(
    "emostream_source_lag_seconds",
    "Age of the newest published frame.",
    "Grows: no frames arrive, or publishing is stuck; compare with frames decoded.",
    type=_GAUGE,
    labels=_STREAM,
    takes_maximum=True,
)
RECONNECTS = Metric(
    "emostream_source_reconnects_total",
    "Reconnections of a live source.",
    "Grows for one stream: check its camera or its link; for all: check the network and the connection limit.",
    labels=_STREAM,
)
STALLS = Metric(
    "emostream_source_stalls_total",
    "Calls into a source that hung and were abandoned.",
    "Grows: the server accepts connections and then sends nothing; restart the camera, report the source.",
    labels=_STREAM,
)

CLOCK_FAULTS = Metric(
    "emostream_source_clock_faults_total",
    "Connections whose time stamps ran more than 20 % faster or slower than their pictures arrived.",
    "Grows: the stream's time follows arrival, with the jitter of the network; set the camera's clock and rate.",
    labels=_STREAM,
)

# --- streams and workers ----------------------------------------------------------------------------------------------

STREAMS = Metric(
    "emostream_streams",
    "Streams by state. Workers report their own streams. `ended` and `failed` are reported by each process of the "
    "HTTP interface for the whole service: use their maximum, and the sum of all others.",
    "`reconnecting` grows: cameras are unreachable; `failed` grows: see the detail of these streams.",
    type=_GAUGE,
    labels=("state",),
    values=tuple(StreamState),
)
WANTED_STREAMS = Metric(
    "emostream_streams_wanted",
    "Streams of the whole service that need a worker, as this process sees it.",
    "Above the number that workers run: streams wait; add workers or raise `service.max_streams_per_worker`.",
    type=_GAUGE,
    takes_maximum=True,
)
MAX_STREAMS = Metric(
    "emostream_worker_max_streams",
    "Maximum number of streams of this worker.",
    "The sum is the capacity of the service.",
    type=_GAUGE,
)
LEASE_CHANGES = Metric(
    "emostream_lease_changes_total",
    "Leases that this worker claimed, released or lost.",
    "`lost` grows: a worker did not renew its leases in time (`service.lease_seconds`): it is overloaded or offline.",
    labels=("change",),
    values=("claimed", "released", "lost"),
)

# --- senders ---------------------------------------------------------------------------------------------------------

SENDERS = Metric(
    "emostream_senders",
    "Senders of video that are connected to this worker, by WebRTC or with single pictures.",
    "At `webrtc.max_sessions` or `service.max_pushed_streams`: further ones are refused; add a worker.",
    type=_GAUGE,
    labels=("kind",),
    values=("webrtc", "pictures"),
)
WAITING_FOR_SENDER = Metric(
    "emostream_sender_waiting_streams",
    "Streams of this worker that had a sender or waited for one in vain, and wait; part of those `reconnecting`.",
    "Grows: senders left or cannot reach the worker (UDP ports, `webrtc.announced_address`); nothing is wrong here "
    "when they are off.",
    type=_GAUGE,
)
SENDER_OFFERS = Metric(
    "emostream_sender_offers_total",
    "Wishes to send that reached this worker, by answer.",
    "`refused` grows: clients offer what cannot be received; their answer says why. `later` grows: too many senders, "
    "or too many that ask at once. `failed`: see the log.",
    labels=("result",),
    values=("accepted", "refused", "later", "failed"),
)
SENDER_BYTES = Metric(
    "emostream_sender_received_bytes_total",
    "Bytes received from the sender of a stream, with retransmissions and control.",
    "8 times its rate is the bitrate. Near `webrtc.max_bitrate_kbps`: the sender will be ended; lower its bitrate.",
    labels=_STREAM,
)
SENDER_LOST = Metric(
    "emostream_sender_lost_packets_total",
    "Packets of a sender (WebRTC) that never came, also when asked for again.",
    "Grows steadily: the way from the sender loses packets; lower its bitrate, or use a cable in place of Wi-Fi.",
    labels=_STREAM,
)
SENDER_RETRANSMISSIONS = Metric(
    "emostream_sender_retransmission_requests_total",
    "Requests to a sender (WebRTC) to send lost packets again (NACK).",
    "Grows while no packets are lost for good: the way from the sender is bad, and this mends it.",
    labels=_STREAM,
)
SENDER_KEY_FRAMES = Metric(
    "emostream_sender_key_frame_requests_total",
    "Requests to a sender (WebRTC) for a key frame (PLI), because pictures could not be decoded.",
    "Grows: pictures are missing until the next key frame; look at lost packets.",
    labels=_STREAM,
)

# --- faces and emotions -----------------------------------------------------------------------------------------------

FACES = Metric(
    "emostream_track_faces_total",
    "Faces published, summed over frames.",
    "Falls to 0 while frames arrive: the scene is empty, or the camera was turned or is dirty.",
    labels=_STREAM,
)
TRACKS = Metric(
    "emostream_track_tracks_total",
    "Tracks started.",
    "Grows much faster than people pass: tracks break; look at light, frame rate and `track.*`.",
    labels=_STREAM,
)
VISIBLE_FACES = Metric(
    "emostream_track_visible_faces",
    "Faces in the newest frame.",
    "At `detect.max_faces`: further faces of a crowd are left out.",
    type=_GAUGE,
    labels=_STREAM,
)
EMOTION_FACES = Metric(
    "emostream_emotion_faces_total",
    "Faces published, by dominant emotion.",
    "One emotion dominates everywhere at once: check the model version and the light first.",
    labels=(STREAM_LABEL, "emotion"),
    values=(*EMOTIONS, UNKNOWN),
    label_values="the model's labels and `unknown`",
)

# --- stages and models ------------------------------------------------------------------------------------------------

STAGE_SECONDS = Metric(
    "emostream_stage_seconds_total",
    "Seconds spent in a stage, summed over its threads and streams; waiting for a batch is a stage of its own.",
    "Its rate is the number of cores (or streams, for `wait` and `publish`) that a stage keeps busy: start there.",
    labels=("stage",),
    values=("decode", "detect", "follow", "wait", "classify", "publish"),
)
BATCH_SIZE = Metric(
    "emostream_classify_batch_size",
    "Crops in a batch of the classifier.",
    "Always 1 on a GPU: batches do not fill; look at `wait` and the number of streams per worker.",
    type=_HISTOGRAM,
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
BATCH_WAIT = Metric(
    "emostream_classify_wait_seconds_total",
    "Seconds that requests waited for their batch to start.",
    "Per batch more than a few milliseconds: all threads of the classifier are busy; add cores, a GPU or a worker.",
)
BATCH_COMPUTE = Metric(
    "emostream_classify_compute_seconds_total",
    "Seconds that batches took to compute.",
    "Per crop more than before: another engine or precision is in use, or the machine is throttled or shared.",
)
REPEATED_FRAMES = Metric(
    "emostream_classify_repeated_frames_total",
    "Frames published with the emotions of an earlier frame because of overload (load shedding).",
    "Grows: the machine is close to its limit and skips classification before it drops frames; "
    "add a worker or lower `target_fps`.",
    labels=_STREAM,
)
MODEL_INFO = Metric(
    "emostream_model_info",
    "1, with name and version of the emotion model.",
    "Two versions at once outside an upgrade: some workers were not replaced.",
    type=_GAUGE,
    labels=("model", "version"),
    label_values="one model, two during an upgrade",
    takes_maximum=True,
)

ENGINE_INFO = Metric(
    "emostream_engine_info",
    "1, with the engine that computes the emotion model, its arithmetic and its device (`cpu`, or the name of a GPU).",
    "Device `cpu` where you pay for a GPU: the log of that process says why at its start.",
    type=_GAUGE,
    labels=("engine", "precision", "device"),
    label_values="one per kind of machine",
    takes_maximum=True,
)
GPU_UNUSED = Metric(
    "emostream_gpu_unused_ratio",
    "1 where a GPU was given to the process and the emotion model runs on the CPU, else 0.",
    "1: driver, image or package do not fit; `emostream doctor -v` on that machine has the reason.",
    type=_GAUGE,
    takes_maximum=True,
)

# --- delivery ---------------------------------------------------------------------------------------------------------

EVENT_LATENCY = Metric(
    "emostream_event_latency_seconds",
    "Seconds from the arrival of a frame to the delivery of its event.",
    "Upper quantiles grow: a stage is overloaded; compare the stages, then frames dropped as `late`.",
    type=_HISTOGRAM,
    buckets=(0.01, 0.02, 0.04, 0.06, 0.08, 0.12, 0.2, 0.35, 0.5, 1, 2, 5, 10, 30, 60),
)
LAST_LATENCY = Metric(
    "emostream_event_last_latency_seconds",
    "Latency of the newest event of a stream, in seconds.",
    "High for one stream only: its frames are large or full of faces.",
    type=_GAUGE,
    labels=_STREAM,
    takes_maximum=True,
)
PUBLISHED_EVENTS = Metric(
    "emostream_publish_events_total",
    "Events delivered, or stored in the spool.",
    "Falls below frames decoded less those dropped: Redis is slow or away.",
    labels=_STREAM,
)
SINK_EVENTS = Metric(
    "emostream_sink_events_total",
    "Events delivered by a sink, and events rejected by its receiver.",
    "`rejected` grows: the receiver refuses them; its answer is in the log.",
    labels=("sink", "result"),
    label_values="the sinks of the settings, without secrets; `delivered` and `rejected`",
)
SINK_UP = Metric(
    "emostream_sink_up_ratio",
    "1 while a sink is healthy, 0 from its first failure until a call succeeds again.",
    "0: its receiver is unreachable or refuses the login; see the log. Other sinks go on; its events wait.",
    type=_GAUGE,
    labels=("sink",),
    label_values="as above",
)
SINK_FAILURES = Metric(
    "emostream_sink_failures_total",
    "Failed calls of a sink; they are retried.",
    "Grows while `emostream_sink_up_ratio` is 1: the receiver is unstable, or slower than its time-outs.",
    labels=("sink",),
    label_values="as above",
)
SINK_WAITING = Metric(
    "emostream_sink_waiting_events",
    "Records that wait for a sink, on disk or in memory.",
    "Grows: the sink is unreachable or too slow; when its spool is full, live streams lose their oldest events.",
    type=_GAUGE,
    labels=("sink",),
    label_values="as above",
)
SINK_LOST = Metric(
    "emostream_sink_lost_events_total",
    "Events lost for a sink, because its spool was full or damaged.",
    "Any: give its spool more room (`publish.spool_dir`, `publish.spool_max_bytes`), or restore it sooner.",
    labels=("sink",),
    label_values="as above",
)
REDIS_EVENTS = Metric(
    "emostream_redis_events_total",
    "Events and status events that Redis acknowledged.",
    "`repeated` grows: answers are lost; nothing is published twice, but the connection is unreliable.",
    labels=("result",),
    values=("new", "repeated"),
)
REDIS_RETRIES = Metric(
    "emostream_redis_retries_total",
    "Retried calls to Redis.",
    "Grows: Redis is unreachable or restarting, or the network is unreliable.",
)
GROUP_LAG = Metric(
    "emostream_redis_group_lag_events",
    "Events that a consumer group has not acknowledged, read or not.",
    "Grows: the consumers of this group are too slow or gone; unread events are trimmed in the end.",
    type=_GAUGE,
    labels=(STREAM_LABEL, "group"),
    label_values="consumer groups per stream: as many as your consumers make",
    takes_maximum=True,
)
BEHIND_WARNINGS = Metric(
    "emostream_redis_behind_warnings_total",
    "Warnings that trimming is about to overtake a consumer group.",
    "Any: speed the group up or keep more events (`publish.max_events_per_stream`), or it loses some.",
)
REDIS_MEMORY_USED = Metric(
    "emostream_redis_memory_used_bytes",
    "Memory used by Redis; in a cluster, by its fullest primary. Updated every 10 seconds while events arrive.",
    "Near its limit: new events will be refused; find other users of its memory, or raise the limit.",
    type=_GAUGE,
    takes_maximum=True,
)
REDIS_MEMORY_LIMIT = Metric(
    "emostream_redis_memory_limit_bytes",
    "Memory limit of Redis: `maxmemory`, or else the memory of its machine.",
    "Constant.",
    type=_GAUGE,
    takes_maximum=True,
)
TRIMMED_EVENTS = Metric(
    "emostream_redis_trimmed_events_total",
    "Events trimmed early because the events of all streams reached their share of Redis memory.",
    "Grows: events are kept for less time than configured; give Redis more memory, or keep fewer events.",
)
SPOOLED_EVENTS = Metric(
    "emostream_spool_events_total",
    "Events written to the spool, and events sent from it.",
    "`spooled` grows: the sink is unreachable; `sent` catches up when it is back.",
    labels=("result",),
    values=("spooled", "sent"),
)
WAITING_EVENTS = Metric(
    "emostream_spool_waiting_events",
    "Records that wait in the spool.",
    "Grows: the sink is still away; falls after it came back. Mind the disk.",
    type=_GAUGE,
)
LOST_EVENTS = Metric(
    "emostream_events_lost_total",
    "Events that will never be delivered.",
    "`spool_full`: the sink was away for too long; `rejected`: another owner published the stream meanwhile.",
    labels=("reason",),
    values=("spool_full", "rejected"),
)

# --- the process and its machine --------------------------------------------------------------------------------------

MEMORY = Metric(
    "emostream_process_resident_memory_bytes",
    "Memory of this process.",
    "Grows for hours with the same streams: a leak; note the streams' codecs and report it.",
    type=_GAUGE,
)
CPU_SECONDS = Metric(
    "emostream_process_cpu_seconds_total",
    "Processor time of this process.",
    "Its rate is at the number of cores: the machine is full; frames will be dropped next.",
)
BUILD_INFO = Metric(
    "emostream_build_info",
    "1, with the version of emostream and of Python.",
    "Absent: nothing is scraped. Two versions outside an upgrade: some processes were not replaced.",
    type=_GAUGE,
    labels=("version", "python"),
    label_values="one each, two during an upgrade",
    takes_maximum=True,
)
GPU_MEMORY_USED = Metric(
    "emostream_gpu_memory_used_bytes",
    "Memory in use on a GPU of this machine, by all programs.",
    "Near the total: engines of larger batches do not fit; lower `classify.batches`.",
    type=_GAUGE,
    labels=("gpu",),
    label_values="GPUs of the machine",
    takes_maximum=True,
)
GPU_MEMORY_TOTAL = Metric(
    "emostream_gpu_memory_total_bytes",
    "Memory of a GPU of this machine.",
    "Constant.",
    type=_GAUGE,
    labels=("gpu",),
    label_values="GPUs of the machine",
    takes_maximum=True,
)
GPU_UTILIZATION = Metric(
    "emostream_gpu_utilization_ratio",
    "Share of the last moments in which the GPU computed, 0…1.",
    "Near 1: add a GPU. Near 0 with late frames: the CPU side is the bottleneck.",
    type=_GAUGE,
    labels=("gpu",),
    label_values="GPUs of the machine",
    takes_maximum=True,
)

METRICS: dict[str, Metric] = {found.name: found for found in list(globals().values()) if isinstance(found, Metric)}
"""Every metric above, by name."""


_PAGE_COLUMNS = 100
_PAGE_HEAD = (
    "Made of `emostream/telemetry/metrics.py` by `python -m emostream.telemetry.metrics > docs/metrics.md`. How "
    "to read and scrape them is in [operations](operations.md#metrics)."
)
_CARDINALITY = (
    "Only `stream_id` grows with the load. {num_metrics} metrics carry it. A stream has one series of each, but "
    "{several} and one of `{per_group}` per consumer group: at most {num_series} series with the shipped model, "
    "and one per group. The histograms are per process. Tracks, faces and URLs are never labels. The series of a "
    "stream go when it leaves the process."
)
_STREAM_LABEL_OFF = (
    "`metrics.stream_label: false` (or `EMOSTREAM_METRICS__STREAM_LABEL=false`) leaves the label out: counters "
    "and most gauges are then sums over the streams of a process, lag and latency the greatest of them. Switch it "
    "off above some thousand streams per Prometheus, or where stream names must not leave the service."
)


def metrics_page() -> str:
    """The text of `docs/metrics.md`."""
    per_stream = [metric for metric in METRICS.values() if STREAM_LABEL in metric.labels]
    with_values = [metric for metric in per_stream if metric.values]
    cardinality = _CARDINALITY.format(
        num_metrics=len(per_stream),
        several=", ".join(f"{len(metric.values)} of `{metric.name}`" for metric in with_values),
        per_group=GROUP_LAG.name,
        num_series=sum(len(metric.values) or 1 for metric in per_stream if metric is not GROUP_LAG),
    )
    parts = ["# Metrics", _wrapped(_PAGE_HEAD)]
    for metric in METRICS.values():
        parts += [f"## `{metric.name}`", *_paragraphs(metric)]
    parts += ["## Cardinality", _wrapped(cardinality), _wrapped(_STREAM_LABEL_OFF)]
    return "\n\n".join(parts) + "\n"


def _paragraphs(metric: Metric) -> tuple[str, str]:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    values = f" ({metric.label_values})" if metric.label_values else ""
    kind = f"{metric.type.capitalize()}, labels: {labels}{values}. {metric.help}"
    return _wrapped(kind), _wrapped(f"**If it moves:** {metric.action}")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _PAGE_COLUMNS, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    print(metrics_page(), end="")
