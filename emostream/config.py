"""The settings: one tree, read once, at start-up.

Precedence: argument, environment (`EMOSTREAM_DETECT__MIN_FACE_PIXELS=40`), settings file (YAML, `EMOSTREAM_CONFIG` or
`--config`), default. Nothing else in the package reads the environment. Code below the entry points receives the values
it needs, not the tree.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from emostream.domain.redact import redact
from emostream.errors import ConfigError

_PREFIX, _DELIMITER = "EMOSTREAM_", "__"
_SECRETS = ("redis_url", "sinks", "http_proxy", "tokens")
"""Their values stand in no error message, whatever is wrong with them."""
MIN_FACE_PIXELS, MAX_FACES = 12, 1000
"""Bounds of the settings: the smallest face in pixels, and faces of one frame."""
_MAX_FACES_PER_FRAME = 64


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _origin(value: str) -> str:
    """An origin as browsers send it: lower case, without the port that its scheme implies."""
    match = re.fullmatch(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?/?", value.strip().lower())
    if match is None:
        raise ValueError(
            "expected an origin such as https://dashboard.example.org or http://localhost:5173; no *, no path"
        )
    scheme, host, port = match.groups()
    return f"{scheme}://{host}{'' if port in (None, {'http': ':80', 'https': ':443'}[scheme]) else port}"


Origin = Annotated[str, AfterValidator(_origin)]
"""Scheme, host and port of a web page."""


class DecodeSettings(_Section):
    """How sources are opened and read."""

    open_timeout_seconds: float = Field(10.0, gt=0)
    """Time-out for opening a source."""
    read_timeout_seconds: float = Field(10.0, gt=0)
    """Time-out for the next packet."""
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    """TCP passes firewalls and loses no packets; UDP has less delay on an unreliable network."""
    max_frame_pixels: int = Field(8192 * 4320, gt=0)
    """Maximum pixels of a frame; protects against files that would exhaust the memory."""
    max_corrupt_in_a_row: int = Field(100, gt=0)
    """A stream ends after this many consecutive packets that cannot be decoded."""
    num_threads: int = Field(0, ge=0)
    """FFmpeg threads per file source; 0 lets FFmpeg choose."""
    hwaccel: Literal["none", "auto", "cuda", "vaapi", "videotoolbox"] = "none"
    """Decode on a GPU where it is there and knows the codec, else on the processor; `auto` takes the device of this
    machine. What is really in use is shown with each stream (`decoder`)."""
    references: Literal["all", "hls", "none"] = "all"
    """Which places that a source names are opened as well: all (redirects, HLS, lists of files, …), redirects and HLS
    only, or none. For the service `service.allow_playlists` decides."""
    http_proxy: SecretStr | None = None
    """Reach HTTP and HTTPS sources through this proxy, for example `http://user:password@proxy:3128`. The service has
    one of its own, which checks where sources lead; with this one, its operator answers for that."""
    verify_tls: bool = False
    """Certificates of sources must be valid for their name; many cameras have none that is."""


class DetectSettings(_Section):
    """How faces are found."""

    kind: str = "centerface"
    """`centerface`, `yunet` (needs `path`), or a detector that an installed package brings."""
    path: Path | None = None
    """Model file for `yunet`; it is not downloaded."""
    engine: Literal["auto", "onnxruntime", "tensorrt", "tensorrt_rtx"] = "onnxruntime"
    """What computes `centerface`: the CPU, or a GPU. `auto` is a GPU where one can be used, else the CPU. It is not the
    default, because the GPU of a cluster may have enough to do with the classifier."""
    precision: Literal["auto", "fp32", "int8"] = "auto"
    """Arithmetic of `centerface`; `auto` measures once, on processors with INT8 instructions, and takes the faster; on
    a GPU it is FP16."""
    min_face_pixels: int = Field(32, ge=MIN_FACE_PIXELS, le=2000)
    """Smallest face looked for, as height in pixels of the frame. Smaller costs more time. A still picture is searched
    in parts until this is kept; a large frame of a video is not (`max_input_pixels`)."""
    max_input_pixels: int | None = Field(None, ge=64 * 64, le=4096 * 4096)
    """Frames are shrunk to about this many pixels before they are searched, which bounds the time of a search and, in
    large frames, the smallest face found; a stream's status says which. None is 245,760 for `centerface` (faces of 60
    pixels in 1080p, 30 to 50 ms on one core) and 942,080 for `yunet`."""
    min_score: float = Field(0.3, gt=0, lt=1)
    """Detections below this confidence are dropped; weak ones may continue a track."""
    max_iou: float = Field(0.3, gt=0, lt=1)
    """Of two detections with a greater overlap (IoU), the one with the lower score is discarded."""
    max_faces: int | None = Field(None, ge=1, le=MAX_FACES)
    """Maximum number of faces per frame or picture; those with the highest scores are kept, and it is said that there
    are more. None is 64 in a frame of a video and 1,000 in a picture."""
    turned_heads: Literal["never", "pictures", "always"] = "pictures"
    """Where heads that lie on their side or stand upside down are looked for, by up to four searches: in pictures, or
    in videos as well while no upright face is found."""

    @property
    def max_faces_per_frame(self) -> int:
        """`max_faces` in a frame of a video."""
        return self.max_faces or _MAX_FACES_PER_FRAME

    @property
    def max_faces_per_picture(self) -> int:
        """`max_faces` in a still picture."""
        return self.max_faces or MAX_FACES


class TrackSettings(_Section):
    """How faces are followed."""

    max_lost_seconds: float = Field(1.0, gt=0)
    """A track ends when frames were looked at without its face for this long; frames that are far apart count half of
    it each, so that at any frame rate a track ends with the third of them. Tracks that ended with a cut, or because
    another person took the place, continue when the picture or a face that surely looks the same returns within three
    times as long."""
    min_iou: float = Field(0.2, gt=0, lt=1)
    """Minimum overlap (IoU) of a predicted and a detected box of the same face."""
    confirm_score: float = Field(0.5, gt=0, lt=1)
    """A new track starts only with a detection at least this good."""
    detections_per_second: float = Field(6.0, gt=0)
    """How often a frame is searched, in source time, while faces change or something new moves; half as often
    otherwise, twice as often for a moment after a face was lost. In between, faces are followed. At twice the frame
    rate and above: always."""


class PersonSettings(_Section):
    """How tracks are grouped into persons, by vectors of their faces (biometric data: see data protection)."""

    grouped: Literal["never", "files", "always"] = "files"
    """Where `person_id` says which tracks are one person: nowhere, in files, or in live streams as well. With `never`
    no such vector is computed anywhere."""
    forget_after_seconds: float = Field(600.0, gt=0)
    """A person of a live stream who was not seen for this long is forgotten, and is a new one on return. In files
    persons are kept to the end of the file."""


class ClassifySettings(_Section):
    """How expressions are classified."""

    model: Path | None = None
    """ONNX file with its manifest beside it; none means the model inside the package."""
    engine: str = "auto"
    """`onnxruntime` (CPU), `tensorrt` (data-centre GPUs), `tensorrt_rtx` (RTX GPUs), `onnxruntime_tensorrt` and
    `onnxruntime_cuda` (the package onnxruntime-gpu), or one that an installed package brings; `auto` is the fastest of
    those on a GPU that can run here, measured once, else `onnxruntime`."""
    gpu_required: bool = False
    """The model must run on a GPU: where it cannot, it is not loaded. Otherwise `auto` takes the CPU there, with a
    warning where a GPU was given to the process."""
    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    """Arithmetic of the model; `auto` is FP16 on a GPU, on a CPU INT8 where the processor has instructions for it."""
    max_batch_size: int = Field(32, ge=1, le=1024)
    """Largest batch given to the engine; must not exceed what the manifest allows."""
    batches: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field((1, 8, 32, 128), min_length=1, max_length=16)
    """Batch sizes that engines on a GPU are compiled for; others are cut into these."""
    every_crop: bool = False
    """Classify every face in every frame. Otherwise a face of 40 pixels or more that hardly changed since it was last
    classified, less than 0.2 s ago, is not classified again: events say so (`is_classified`) and have its probabilities
    from the frames before and after. `emostream bench agreement` measures the difference."""
    smoothing_seconds: float = Field(0.5, ge=0)
    """Time constant of the smoothed probabilities per track; 0 turns smoothing off."""
    hold_seconds: float = Field(0.4, ge=0)
    """A dominant emotion is named for at least this long; 0 names the most probable one of every frame."""
    switch_margin: float = Field(0.2, ge=0, le=1)
    """An emotion that leads by this much takes over without waiting for `hold_seconds` of lead."""
    min_confidence: float = Field(0.4, ge=0, le=1)
    """Below this smoothed probability no emotion is named (`unknown`). Of the answers of the packaged model below 0.4
    more than half are wrong (`python -m training.reliability`). 0 always names the most probable one."""


class RetentionSettings(_Section):
    """How long the events of one stream stay; None takes the value for all streams."""

    max_events: int | None = Field(None, ge=100)
    """As `max_events_per_stream`."""
    max_age_seconds: float | None = Field(None, gt=0)
    """As `max_age_seconds` of all streams."""
    max_idle_seconds: float | None = Field(None, gt=0)
    """As `max_idle_seconds` of all streams."""


class EventSettings(_Section):
    """What the events of a stream look like in Redis."""

    encoding: Literal["json", "msgpack"] = "json"
    """JSON, or MessagePack: a little smaller, and read without a JSON parser."""
    probability_digits: int = Field(4, ge=2, le=6)
    """Digits of probabilities; fewer make shorter entries."""
    landmarks: bool = True
    """Whether faces carry their five landmarks."""
    empty_frames: bool = True
    """Whether frames without a face are published."""


class PublishSettings(_Section):
    """Where events go and how long they stay."""

    redis_url: SecretStr | None = None
    """A server, servers behind Sentinels, or a cluster (docs/events.md has the forms); none means: the embedded server
    where a command needs Redis."""
    sinks: tuple[SecretStr, ...] = ()
    """URLs of further sinks: `jsonl:FILE`, `parquet:FILE`, `webhook+https://…`, `kafka://…`, `mqtt://…`, another Redis,
    or the scheme of a plugin (docs/plugins.md). `analyze` and every worker of the service send all events to each of
    them. `{worker}` in a URL stands for the name of the worker, which names of files need."""
    max_events_per_stream: int = Field(100_000, ge=100)
    """Length each event stream is trimmed to, approximately (`MAXLEN ~`)."""
    max_age_seconds: float | None = Field(None, gt=0)
    """Events are removed when they are this much older than the newest of their stream, and all of them when none came
    for so long; approximate (`MINID ~`). None keeps them up to `max_events_per_stream`."""
    max_idle_seconds: float | None = Field(7 * 86_400.0, gt=0)
    """All events of a stream are removed when none came for so long, so those of ended and removed streams go; status
    and summary events are removed at this age. None keeps them."""
    max_memory_share: float = Field(0.75, gt=0, le=0.95)
    """Share of the server's memory (its `maxmemory`, else that of its machine) that the events of all streams may take,
    on a cluster of each primary. Beyond it the oldest events of all streams are removed. Where other data grows, events
    give way to it, down to a quarter of this."""
    max_memory_bytes: int | None = Field(None, ge=1 << 20)
    """The same as a number of bytes; the smaller of both counts."""
    embedded_max_memory_bytes: int | None = Field(None, ge=4 << 20)
    """`maxmemory` of the embedded server; None is a quarter of the memory that this process may use."""
    retention: dict[str, RetentionSettings] = {}
    """Limits on length, age and idle time of single streams, by stream id."""
    events: EventSettings = EventSettings()
    """What events look like."""
    stream_events: dict[str, EventSettings] = {}
    """The same for single streams, by stream id."""
    group_check_seconds: float = Field(5.0, ge=0)
    """How often each stream is checked for consumer groups that trimming is about to overtake."""
    connect_timeout_seconds: float = Field(5.0, gt=0)
    """Time-out for connecting and for answers."""
    wait_replicas: int = Field(0, ge=0, le=16)
    """Events count as delivered when this many replicas have them, so that a failover loses none; costs a round trip to
    the replicas per call."""
    max_retry_seconds: float = Field(30.0, ge=0)
    """Retry a lost connection for this long."""
    spool_dir: Path | None = None
    """Keep events in this folder while Redis or another sink with a server is away, and send them in order afterwards;
    one folder per process. None waits for `max_retry_seconds` and gives up; for `sinks` of the service it keeps the
    newest 1,000 events per stream in memory."""
    spool_max_bytes: int = Field(64 << 20, ge=1 << 16)
    """Bound of the spool per sink and stream; beyond it a live stream loses its oldest events, a file waits."""
    summary_seconds: float = Field(0.0, ge=0)
    """Interval of summary events per stream, in source time; 0 turns them off."""


class ZoneSettings(_Section):
    """A named part of the picture; faces whose middle is in it carry its name in the field `zones` of events.

    Corners are fractions, so a zone holds for every resolution of the source. This one is the left third of the
    picture of stream `door`, below its upper fifth, with the corners in clockwise order; the last is joined to the
    first. Zones may overlap.

    ```yaml
    zones:
      door:
        - name: entrance
          polygon: [[0, 0.2], [0.33, 0.2], [0.33, 1], [0, 1]]
    ```

    A running stream gets zones with `PATCH /v1/streams/door`, or in the console, where they are drawn on the picture.
    """

    name: str = Field(min_length=1, max_length=64)
    """Carried by faces in it."""
    polygon: tuple[tuple[float, float], ...] = Field(min_length=3, max_length=64)
    """Corners as fractions of width and height, (0, 0) is the top left."""


class TokenSettings(_Section):
    """Who may use the HTTP interface. Only a hash of the token is kept: `printf %s "$TOKEN" | sha256sum`."""

    name: str = Field(min_length=1, max_length=64)
    """Named in logs instead of the token."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the token, in hex."""
    scopes: tuple[Literal["read", "fetch", "write"], ...] = ("read",)
    """`read` shows streams, events and models, and classifies pictures that are sent; `fetch` also lets the service
    fetch a picture from a URL; `write` also changes streams."""


class ServiceSettings(_Section):
    """How the service shares streams among its workers, and what it lets in."""

    name: str = Field("", max_length=200)
    """Of the service, where a Redis server is used by several: a database that living workers of a service with another
    name use is refused at the start. `emostream serve --redis` without a name takes that of the machine and its port;
    commands with the same name share their streams. Empty: not checked."""
    max_streams_per_worker: int = Field(16, ge=1, le=1000)
    """Maximum number of streams per worker; further streams wait."""
    max_streams: int = Field(1000, ge=1, le=100_000)
    """Maximum number of streams of the service, not counting finished files; further ones are refused."""
    max_streams_per_token: int | None = Field(None, ge=1, le=100_000)
    """Of these, created with one token (identified by its name), so that it leaves room for others. None: no own
    limit."""
    lease_seconds: float = Field(5.0, ge=0.5, le=60)
    """A worker that does not renew its leases for this long loses its streams to other workers."""
    heartbeat_seconds: float = Field(0.5, gt=0, le=10)
    """Interval at which a worker renews its leases and reads changes."""
    drain_seconds: float = Field(8.0, gt=0)
    """Time-out for handing over streams when a worker shuts down."""
    media_root: Path | None = None
    """Files under this folder may be submitted as `file://` URLs; none means no files."""
    allowed_networks: tuple[str, ...] = ()
    """Private networks that sources may be in, for example `192.168.0.0/16`; beside these, public addresses only."""
    object_stores: tuple[str, ...] = ()
    """Prefixes under which files may be submitted, for example `s3://videos/`; credentials are those of the workers."""
    max_job_files: int = Field(10_000, ge=1, le=1_000_000)
    """Jobs (a folder or prefix as a whole) with more files are refused."""
    udp_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = ()
    """Ports on which streams may be received (MPEG-TS over UDP, `udp://:5000` or with a multicast address)."""
    devices: tuple[Path, ...] = ()
    """Cameras of the workers' machine that may be submitted, for example `/dev/video0` as `v4l2:///dev/video0`."""
    allow_playlists: bool = True
    """Accept playlists (HLS) and redirects; each place that they name is checked as the source itself."""
    tokens: tuple[TokenSettings, ...] = ()
    """Bearer tokens of the HTTP interface; without any, every client has full access."""
    tokens_file: Path | None = None
    """File with further tokens (YAML or JSON, a list like `tokens`). It is read again when it changes: new tokens are
    let in, and what is open with withdrawn ones ends. With a file a token is needed, even if the file has none."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names by which the HTTP interface is called, for example `video.example.org` or `*.example.org`; `*` allows
    all. Without tokens, other names than addresses, names without a dot, and names inside networks (`.local`,
    `.internal`, `.svc`, …) are refused, so that no web page can use a visitor's browser to call it (DNS rebinding)."""
    allowed_origins: tuple[Origin, ...] = ()
    """Web pages of other origins that may call the HTTP interface from a browser (CORS), for example
    `https://dashboard.example.org`; none means that only the console of the service itself may."""
    max_pushed_streams: int = Field(16, ge=0, le=1000)
    """Streams per worker whose pictures are sent over a WebSocket (`/v1/streams/{id}/push`); 0 lets none in. Also the
    number of such connections per process of the interface."""
    max_body_bytes: int = Field(8 << 20, ge=1024)
    """Maximum size of a request body."""
    max_requests_per_second: float = Field(100.0, ge=0)
    """Of one token, over all processes of the interface, or of one address, per process; twice as many may come at
    once. 0 means no limit."""
    max_requests: int = Field(600, ge=1, le=1500)
    """At once, per process of the interface; each reader of events or previews is one. Health is not counted."""
    max_requests_per_client: int = Field(300, ge=1)
    """Of these, of one address; or of one token, over all processes of the interface."""
    max_body_seconds: float = Field(30.0, gt=0, le=600)
    """Time-out for receiving a request body."""
    previews: Literal["off", "blurred", "clear"] = "clear"
    """Previews of running streams: disabled, with blurred faces, or unchanged."""


class WebRtcSettings(_Section):
    """Senders that push their video to the service by WebRTC (WHIP): browsers, phones, OBS. Needs the extra
    `webrtc`."""

    enabled: bool = False
    """Whether senders are let in. Each worker receives the video of its streams itself, so its UDP ports must be
    reachable from the senders."""
    min_port: int | None = Field(None, ge=1024, le=65535)
    """First UDP port at which workers receive; with `max_port` the range that a firewall lets through. Each sender
    takes one port per address of the machine. None leaves the choice to the system."""
    max_port: int | None = Field(None, ge=1024, le=65535)
    """Last UDP port; 65535 where only the first is given."""
    announced_address: IPvAnyAddress | None = None
    """Address by which senders reach the worker, where that is not an address of its machine (NAT that keeps the
    port)."""
    stun_url: str | None = Field(None, pattern=r"^stuns?:[^\s]+$")
    """Server that reports their public address to workers behind NAT, for example `stun:stun.example.org:3478`. None
    asks none."""
    turn_url: str | None = Field(None, pattern=r"^turns?:[^\s]+$")
    """Server that relays where nothing else works, for example `turn:turn.example.org:3478?transport=tcp`."""
    turn_username: str | None = None
    """Login at the TURN server."""
    turn_password: SecretStr | None = None
    """Its password."""
    max_sessions: int = Field(16, ge=1, le=1000)
    """Senders per worker."""
    max_sessions_per_token: int = Field(16, ge=1, le=1000)
    """Of these, with one token, or with none where none is needed."""
    max_bitrate_kbps: int = Field(6000, ge=100, le=100_000)
    """Announced to senders; one that exceeds it by half for 5 seconds is ended."""
    max_pixels: int = Field(1920 * 1088, ge=64 * 64, le=8192 * 4320)
    """Of a picture; a sender of larger ones is ended."""
    connect_seconds: float = Field(15.0, gt=0, le=120)
    """A sender that cannot be reached for so long is forgotten."""

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        last = 65535 if self.max_port is None else self.max_port
        if (self.min_port is None and self.max_port is not None) or (self.min_port or 0) > last:
            raise ValueError("expected min_port ≤ max_port, and min_port where max_port is given")
        return self


class MetricsSettings(_Section):
    """Metrics for Prometheus."""

    stream_label: bool = True
    """Tell streams apart (label `stream_id`). Without it there are sums over the streams of a process: for thousands of
    streams, or where their names must not leave the service."""
    interval_seconds: float = Field(2.0, gt=0, le=60)
    """Interval at which a worker updates its metric values."""
    host: str = "127.0.0.1"
    """Where `emostream analyze --metrics-port` listens; 0.0.0.0 for all addresses of the machine."""


class TracingSettings(_Section):
    """Traces of frames for OpenTelemetry (`pip install 'emostream[tracing]'`)."""

    ratio: float = Field(0.0, ge=0, le=1)
    """Share of frames whose way is traced, for example 0.001; 0 means none. A frame is among them by its trace id
    alone, which follows from stream, epoch and frame index."""
    endpoint: str | None = Field(None, pattern=r"^https?://")
    """Receiver of OTLP over HTTP, for example `http://collector:4318`; none leaves it to the variables of OpenTelemetry
    (`OTEL_EXPORTER_OTLP_ENDPOINT`), which set the rest as well (docs/operations.md)."""


class ModelSettings(_Section):
    """Where model files are kept."""

    cache_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("emostream") / "models")
    """Folder of pulled models; by default under the XDG cache folder."""
    offline: bool = False
    """Never download; fail with what to do instead."""


class Settings(BaseSettings):
    """All settings. Frozen; unknown names are errors, because a typing error must not pass silently."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter=_DELIMITER,
        env_ignore_empty=True,  # `${NAME:-}` of a Compose file means that nothing is set
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    decode: DecodeSettings = DecodeSettings()
    detect: DetectSettings = DetectSettings()
    track: TrackSettings = TrackSettings()
    persons: PersonSettings = PersonSettings()
    classify: ClassifySettings = ClassifySettings()
    publish: PublishSettings = PublishSettings()
    service: ServiceSettings = ServiceSettings()
    webrtc: WebRtcSettings = WebRtcSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    models: ModelSettings = Field(default_factory=ModelSettings)
    zones: dict[str, tuple[ZoneSettings, ...]] = {}
    """Zones per stream id, for streams that bring none of their own. An example is with
    [ZoneSettings](#zonesettings)."""
    voice: bool = False
    """Measure the voice in the sound of files, and publish voice events (docs/events.md). `emostream
    analyze` and Python programs do; the service reads no sound."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """Minimum level of log messages."""
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object a line for machines: `at`, `level`, `logger`, `message`, and `stream_id` and
    `trace_id` where there is one."""
    log_copy_to: Path | None = None
    """Write each line to this file as well. Ray keeps what its processes write in files; in a container
    `/proc/1/fd/2` is the output of the container itself, which `docker logs` and `kubectl logs` show."""


def load_settings(*, config_file: Path | None = None, **arguments: Any) -> Settings:
    """The effective settings.

    Args:
        config_file: YAML file; when None, the one `EMOSTREAM_CONFIG` names, if any.
        arguments: highest precedence, nested as in the tree: `load_settings(detect={"min_face_pixels": 40})`.

    Raises:
        ConfigError: the file cannot be read, a name is unknown or a value does not fit.
    """
    _check_variables()
    if config_file is None and (from_environment := os.environ.get("EMOSTREAM_CONFIG")):
        config_file = Path(from_environment)
    if config_file is not None:
        _check_yaml(config_file)

    class FileSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=config_file))

    try:
        loaded = FileSettings(**arguments)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, config_file=config_file)) from exc
    except SettingsError as exc:
        raise ConfigError(_explain_json(exc)) from exc
    # A plain instance: the local class could neither be pickled, as Ray does, nor compared with other settings.
    return Settings.model_construct(**dict(loaded))


def _check_variables() -> None:
    """Pydantic looks for the names it knows, so a section that there is not would pass silently.

    Names without the delimiter are left alone: Kubernetes sets some for a service that is called `emostream`.
    """
    for name in os.environ:
        section, delimiter, _ = name.upper().removeprefix(_PREFIX).partition(_DELIMITER)
        if name.upper().startswith(_PREFIX) and delimiter and section.lower() not in Settings.model_fields:
            raise ConfigError(
                f"environment variable {name}: no settings are called {section.lower()}; expected one of "
                f"{', '.join(Settings.model_fields)}. `emostream doctor -v` lists all settings."
            )


def _check_yaml(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"settings file {path} does not exist; give an existing YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as exc:  # its text repeats lines of the file, which may hold passwords
        mark, problem = getattr(exc, "problem_mark", None), getattr(exc, "problem", None) or "it cannot be parsed"
        where = f", near line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"settings file {path} is not readable YAML: {redact(problem)}{where}") from exc
    except (UnicodeDecodeError, OSError) as exc:
        raise ConfigError(f"settings file {path} is not readable YAML: {exc}") from exc
    if content is not None and not isinstance(content, dict):
        kind = type(content).__name__
        raise ConfigError(f"settings file {path} must hold names and values, got a {kind}; see `emostream doctor -v`")


def _explain(exc: ValidationError, *, config_file: Path | None) -> str:
    lines = []
    for error in exc.errors():
        name = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            lines.append(f"{name}: no such setting")
        elif any(secret in name for secret in _SECRETS) or not _is_plain(error["input"]):
            lines.append(f"{name}: {error['msg']}")
        else:
            lines.append(f"{name}: {error['msg']}, got {error['input']!r}")
    where = f" (environment, arguments or {config_file})" if config_file else " (environment or arguments)"
    return f"settings are not valid{where}: " + "; ".join(lines) + ". `emostream doctor -v` lists all settings."


def _is_plain(value: Any) -> bool:
    """Whether it may be repeated: no section with other values in it, and nothing that may be an address."""
    return isinstance(value, int | float | None) or (isinstance(value, str) and "@" not in value and "://" not in value)


def _explain_json(exc: SettingsError) -> str:
    """Which variable holds a list or a whole section, and is not the JSON that such are given as."""
    text = getattr(exc.__cause__, "doc", None)
    names = [name for name, value in os.environ.items() if name.upper().startswith(_PREFIX) and value == text]
    return (
        f"environment variable {' or '.join(names) or str(exc)}: lists and whole sections are given as JSON, for "
        f"example EMOSTREAM_SERVICE__ALLOWED_NETWORKS='[\"192.168.0.0/16\"]'. `emostream doctor -v` lists all settings."
    )
