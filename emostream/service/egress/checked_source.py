"""A source at an untrusted address, which is checked against the source policy whenever it is opened."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from emostream.config import DecodeSettings
from emostream.decode.open_source import open_once
from emostream.decode.resuming import ResumableSource, ResumePoint
from emostream.decode.source import DecodeStats, FrameSource, SourceInfo
from emostream.domain.address import parse_address
from emostream.domain.frame import Frame
from emostream.domain.redact import shown_address
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceError, SourceUnavailableError
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import LOOPBACK, LOOPBACK_V6, Egress, Way

_PLAIN_OF = {"rtsps": "rtsp", "rtmps": "rtmp"}
_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "rtmps": 443, "http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SourceRules:
    """Settings to open the service's sources.

    Attributes:
        settings: time-outs and limits.
        policy: the allowed addresses.
        egress: makes the connections.
    """

    settings: DecodeSettings
    policy: SourcePolicy
    egress: Egress


@dataclass(frozen=True, slots=True)
class _Route:
    """The arguments for FFmpeg.

    Attributes:
        url: to open.
        settings: for this URL.
        way: through the egress; None where FFmpeg connects itself.
    """

    url: str
    settings: DecodeSettings
    way: Way | None = None


class CheckedSource:
    """A `FrameSource` that checks its address and connects through `Egress`.

    Args:
        spec: the source.
        rules: settings to open it.
        poll_fps: as for `open_once`.
        attempt: number of this attempt; of several addresses of a name, the next one is tried each time.
    """

    def __init__(
        self, spec: StreamSpec, *, rules: SourceRules, poll_fps: float | None = None, attempt: int = 0
    ) -> None:
        self._poll_fps = poll_fps
        self._attempt = attempt
        self._spec = spec
        self._rules = rules
        self._lock = threading.Lock()
        self._is_closed = False
        self._source: FrameSource | None = None
        self._route: _Route | None = None
        self._resume: tuple[ResumePoint, float] | None = None

    def resume_near(self, point: ResumePoint, *, warm_up_seconds: float) -> None:
        """See `ResumableSource.resume_near`."""
        self._resume = point, warm_up_seconds

    @property
    def kind(self) -> StreamKind:
        """Live or file, as in the spec."""
        return self._spec.kind

    @property
    def info(self) -> SourceInfo:
        """Available once opened."""
        return self._opened().info

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        return DecodeStats() if self._source is None else self._source.stats

    def __enter__(self) -> Self:
        """Check the address, then open the source. Raises `SourceError`."""
        route = self._route = self._find_route()
        source = open_once(replace(self._spec, url=route.url), settings=route.settings, poll_fps=self._poll_fps)
        if self._resume is not None and isinstance(source, ResumableSource):
            source.resume_near(self._resume[0], warm_up_seconds=self._resume[1])
        with self._lock:
            if self._is_closed:
                raise SourceUnavailableError("the source was closed before it could be opened")
            self._source = source
        watched = contextlib.nullcontext() if route.way is None else self._rules.egress.opening(route.way)
        with self._named(), watched:
            source.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Release everything. Safe to call twice and from another thread."""
        with self._lock:
            self._is_closed = True
            source = self._source
        if source is not None:
            source.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames of the source."""
        with self._named():
            yield from self._opened()

    def _opened(self) -> FrameSource:
        if self._source is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        return self._source

    def _find_route(self) -> _Route:
        rules, settings = self._rules, self._rules.settings
        url = rules.policy.check(self._spec.url, attempt=self._attempt)
        address = parse_address(self._spec.url)
        if address.scheme in ("http", "https") and settings.http_proxy is None:
            way = rules.egress.proxy()
            return _Route(url, settings.model_copy(update={"http_proxy": SecretStr(way.proxy_url)}), way)
        is_tls = address.scheme in _PLAIN_OF
        if not is_tls and address.scheme != "rtsp":
            return _Route(url, settings)
        # Media over UDP come past the relay, so they are allowed only in the operator's networks.
        over_udp = address.scheme == "rtsp" and settings.rtsp_transport == "udp" and rules.policy.is_inside(url)
        host = parse_address(url).host if over_udp else address.host
        loopback = LOOPBACK_V6 if over_udp and ":" in host else LOOPBACK
        scheme = _PLAIN_OF.get(address.scheme, address.scheme)
        way = rules.egress.relay(
            host,
            address.port or _DEFAULT_PORTS[address.scheme],
            is_tls=is_tls,
            is_rtsp=scheme == "rtsp",
            has_udp_media=over_udp,
            loopback=loopback,
        )
        if not over_udp:  # a relay forwards one connection, which the media must use as well
            settings = settings.model_copy(update={"rtsp_transport": "tcp"})
        return _Route(replace(address, scheme=scheme).at(loopback, way.port).url, settings, way)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Make errors name the submitted URL, and the reason why the egress ended the connection."""
        try:
            yield
        except SourceError as exc:
            route = self._route
            if route is None or route.way is None:
                raise
            name = shown_address(self._spec.url)
            if failure := self._rules.egress.failure_of(route.way):
                raise failure.saying(f"{name}: {self._without_place(str(failure))}") from exc
            raise exc.saying(str(exc).replace(shown_address(route.url), name)) from exc

    def _without_place(self, text: str) -> str:
        """A message without its first words where they name the host of this source, which its URL contains."""
        address = parse_address(self._spec.url)
        port = address.port or _DEFAULT_PORTS[address.scheme]
        return text.removeprefix(f"{address.host}:{port}: ").removeprefix(f"{address.host}: ")
