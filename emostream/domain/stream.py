"""What to watch, and the life of a stream."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from numbers import Integral, Real

from emostream.domain.address import file_path
from emostream.domain.redact import MASK, shown_address
from emostream.domain.zones import Zone, check_zones, zone_from
from emostream.errors import ConfigError

_STREAM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MIN_PIXEL_ASPECT, MAX_PIXEL_ASPECT = 0.2, 5.0
"""Pixels are nowhere narrower or wider; what says so is mistaken."""

STANDARD_INPUT = "-"
"""Names what is piped into the process, in place of the address of a source."""

PUSHED = "push://"
"""In place of an address: the video is sent to the service (WHIP), which does not fetch it."""

_LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "rtp", "tcp", "v4l2", "push"})


class StreamKind(StrEnum):
    """Live sources keep up with time and may lose frames; files are read to their end and lose none (decision D6)."""

    LIVE = "live"
    FILE = "file"


class StreamState(StrEnum):
    """Where a stream is in its life."""

    PENDING = "pending"
    """Wanted; no worker has it yet."""
    CONNECTING = "connecting"
    """Its source is being opened for the first time."""
    RUNNING = "running"
    """Frames arrive and events are published."""
    RECONNECTING = "reconnecting"
    """Its source went away; it is tried again with growing pauses."""
    ENDED = "ended"
    """The file is finished, or the stream was removed."""
    FAILED = "failed"
    """It cannot work as specified; the detail of the status event says why."""

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return not TRANSITIONS[self]

    def can_become(self, other: StreamState) -> bool:
        """Whether the step to `other` is legal."""
        return other in TRANSITIONS[self]


TRANSITIONS: dict[StreamState, frozenset[StreamState]] = {
    StreamState.PENDING: frozenset({StreamState.CONNECTING, StreamState.ENDED, StreamState.FAILED}),
    StreamState.CONNECTING: frozenset(
        {StreamState.RUNNING, StreamState.RECONNECTING, StreamState.PENDING, StreamState.ENDED, StreamState.FAILED}
    ),
    StreamState.RUNNING: frozenset(
        {StreamState.RECONNECTING, StreamState.PENDING, StreamState.ENDED, StreamState.FAILED}
    ),
    StreamState.RECONNECTING: frozenset(
        {StreamState.RUNNING, StreamState.PENDING, StreamState.ENDED, StreamState.FAILED}
    ),
    StreamState.ENDED: frozenset(),
    StreamState.FAILED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One source to watch.

    Attributes:
        stream_id: letters, digits, `.`, `_`, `-`; at most 64 characters. Part of the Redis key.
        url: path of a file, URL of a source, or `-` for standard input. May hold credentials, so `repr` hides it.
        kind: live or file; derived from the URL when not given.
        every: process one of this many frames (1 = all).
        target_fps: process at most this many frames per second of source time; None = all.
        keyframes: decode and process the key frames of a file only, for a quick preview; not together with `every`.
        max_frames: stop after this many processed frames; None = never.
        track: which of several videos of the source, by its number in the container; None reads the one that players
            show.
        pixel_aspect: width of a pixel over its height, upright, in place of what the source says. Also taken as a
            text ("64:45").
        zones: named parts of the picture; faces carry the names of those they are in. Also taken as mappings with
            `name` and `polygon`.

    Raises:
        ConfigError: a value is out of range.
    """

    stream_id: str
    url: str
    kind: StreamKind
    every: int = 1
    target_fps: float | None = None
    max_frames: int | None = None
    track: int | None = None
    pixel_aspect: float | None = None
    zones: tuple[Zone, ...] = ()
    keyframes: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.stream_id, str) or not _STREAM_ID.fullmatch(self.stream_id):
            raise ConfigError(
                f"stream id {self.stream_id!r} is not usable: expected 1–64 letters, digits, '.', '_' or '-', "
                "starting with a letter or digit"
            )
        if not self.url:
            raise ConfigError(f"stream {self.stream_id} has no source: give a file or a URL")
        self._check_types()
        if self.every < 1:
            raise ConfigError(f"every must be at least 1 (process all frames), got {self.every}")
        if self.target_fps is not None and not 0 < self.target_fps <= 1000:
            raise ConfigError(f"target_fps must be between 0 and 1000 frames per second, got {self.target_fps}")
        self._check_keyframes()
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(f"max_frames must be at least 1, got {self.max_frames}")
        if self.track is not None and self.track < 0:
            raise ConfigError(f"track must be 0 or more, got {self.track}")
        if self.pixel_aspect is not None:
            try:
                object.__setattr__(self, "pixel_aspect", pixel_aspect_from(self.pixel_aspect))
            except ValueError as exc:
                raise ConfigError(f"pixel_aspect: {exc}") from None
        object.__setattr__(self, "zones", tuple(zone_from(zone) for zone in self.zones))
        check_zones(self.zones)

    def _check_types(self) -> None:
        """Programs give these numbers, too; a comparison with something else would be an error of Python's."""
        for name, kind, what in (
            ("every", Integral, "a whole number"),
            ("target_fps", Real, "a number"),
            ("max_frames", Integral, "a whole number"),
            ("track", Integral, "a whole number"),
        ):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise ConfigError(f"{name} must be {what}, got {value!r}")

    def _check_keyframes(self) -> None:
        if not isinstance(self.keyframes, bool):
            raise ConfigError(f"keyframes must be true or false, got {self.keyframes!r}")
        if not self.keyframes:
            return
        if self.kind is StreamKind.LIVE:
            raise ConfigError(f"stream {self.stream_id} is live: expected a file for keyframes; target_fps limits it")
        if self.every > 1:
            raise ConfigError(f"keyframes and every={self.every} exclude each other: leave out one, or use target_fps")

    def __repr__(self) -> str:
        # The URL may carry a camera's password.
        return f"StreamSpec({self.stream_id!r}, kind={self.kind.value})"


def pixel_aspect_from(given: str | float) -> float:
    """Width of a pixel over its height, from a number or two with a colon between them.

    Raises:
        ValueError: it is no such number, or out of range.

    >>> pixel_aspect_from("64:45"), pixel_aspect_from("2"), pixel_aspect_from(0.5)
    (1.422222, 2.0, 0.5)
    """
    try:
        width, _, height = str(given).replace("/", ":").partition(":")
        aspect = float(width) / float(height or 1)
    except (ValueError, ZeroDivisionError):
        aspect = 0.0
    if not MIN_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        raise ValueError(
            f"expected the width of a pixel over its height, {MIN_PIXEL_ASPECT:g} to {MAX_PIXEL_ASPECT:g}, as a number "
            f"or as two (64:45), got {str(given)[:20]!r}"
        )
    return round(aspect, 6)


def stream_kind_of(url: str) -> StreamKind:
    """Guess the kind from the URL's scheme: cameras' protocols are live, everything else is a file.

    >>> stream_kind_of("rtsp://camera/1").value, stream_kind_of("/data/clip.mp4").value
    ('live', 'file')
    """
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    return StreamKind.LIVE if scheme in _LIVE_SCHEMES else StreamKind.FILE


def stream_id_from_url(url: str) -> str:
    """A readable stream id from the last part of a path or URL; query and credentials never enter it.

    >>> stream_id_from_url("rtsp://user:pw@10.0.0.7/front door?token=x")
    'front-door'
    >>> stream_id_from_url("rtsp://10.0.0.7/user=admin&password=pw&channel=1")
    'user-admin-password-channel-1'
    >>> stream_id_from_url("/data/clip.mp4")
    'clip'
    """
    if url == STANDARD_INPUT:
        return "stdin"
    path = file_path(url)
    if path is None:
        shown = shown_address(url).replace(f"{MASK}@", "", 1) if "://" in url else url
        # What is masked in a path may be all of its last part, or the end of it.
        path = re.split(r"[?#]", shown, maxsplit=1)[0].replace(MASK, "")
    path = path.rstrip("/")
    name = path.rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64]
    return cleaned or "stream"
