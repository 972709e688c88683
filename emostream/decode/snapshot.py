"""Cameras that give one picture per request (`/snap.jpg`): it is fetched again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx

from emostream.config import DecodeSettings
from emostream.decode.http_client import http_client
from emostream.decode.packet_reader import OddMultipartError, SinglePictureError
from emostream.decode.picture import open_picture_content
from emostream.decode.pixel_aspect import in_square_pixels
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.sampling import FrameSampler
from emostream.decode.source import DecodeStats, SourceInfo
from emostream.domain.address import Address, parse_address
from emostream.domain.clock import utc_now
from emostream.domain.frame import Frame
from emostream.domain.redact import redact, shown_address
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import (
    DecodeError,
    SourceError,
    SourceRejectedError,
    SourceTimeoutError,
    SourceUnavailableError,
)

DEFAULT_POLL_FPS = 1.0
"""Pictures per second that are asked for where the stream has no `target_fps`."""

_MAX_PICTURE_BYTES = 64 << 20


class LiveHttpSource:
    """A live `FrameSource` over HTTP: a video, or one picture that is fetched `poll_fps` times a second.

    FFmpeg opens it first. Where what comes is one picture and then the end, it is a snapshot: it is fetched again, with
    the `ETag` and `Last-Modified` of the last answer, and an answer that it has not changed gives no frame. Frames of
    snapshots have the times of a steady clock; a fetch that takes longer than its time leaves pictures out.

    Args:
        spec: what to read; `every`, and `target_fps` of videos, apply here.
        settings: time-outs, limits, proxy.
        poll_fps: of snapshots; None is the spec's `target_fps`, else `DEFAULT_POLL_FPS`.
    """

    def __init__(self, spec: StreamSpec, *, settings: DecodeSettings, poll_fps: float | None = None) -> None:
        self._spec = spec
        self._settings = settings
        self._seconds_per_fetch = 1.0 / (poll_fps or spec.target_fps or DEFAULT_POLL_FPS)
        self._video = PyAVSource(spec, settings=settings)
        self._stats = DecodeStats()  # of snapshots
        self._closed = threading.Event()
        self._is_polled = False

    @property
    def kind(self) -> StreamKind:
        """Live."""
        return StreamKind.LIVE

    @property
    def info(self) -> SourceInfo:
        """What FFmpeg says of the video, or of the first picture."""
        return replace(self._video.info, is_polled=True) if self._is_polled else self._video.info

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        video, polled = self._video.stats, self._stats
        return replace(
            video,
            num_packets=video.num_packets + polled.num_packets,
            num_decoded=video.num_decoded + polled.num_decoded,
            num_skipped=video.num_skipped + polled.num_skipped,
            num_corrupt=video.num_corrupt + polled.num_corrupt,
            decode_seconds=video.decode_seconds + polled.decode_seconds,
        )

    def __enter__(self) -> Self:
        """Open; raises `SourceError`."""
        self._video.__enter__()
        self._is_polled = self._video.is_picture_of_known_size
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Runs in the decode thread, once."""
        started = time.monotonic()
        try:
            yield from self._video
        except SinglePictureError:
            self._is_polled = True
            self._video.close()
            yield from self._snapshots(started)
        except OddMultipartError:
            self._video.close()
            yield from self._searched_pictures(started)

    def _searched_pictures(self, started: float) -> Iterator[Frame]:
        """Pictures of a multipart body whose headers are wrong, numbered and timed after those that came before."""
        before = self._video.stats
        self._stats = replace(before, num_corrupt=0)  # none was damaged
        self._video = PyAVSource(self._spec, settings=self._settings, finds_pictures_anywhere=True)
        if self._closed.is_set():
            return
        with self._video as video:
            later_seconds = time.monotonic() - started
            for frame in video:
                yield replace(
                    frame,
                    frame_index=frame.frame_index + before.num_decoded,
                    pts_seconds=frame.pts_seconds + later_seconds,
                )

    def close(self) -> None:
        """Release everything; a fetch in another thread ends with its time-outs at the latest."""
        self._closed.set()
        self._video.close()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _snapshots(self, started: float) -> Iterator[Frame]:
        """The pictures after the first, which the video has given."""
        stats, sampler = self._stats, FrameSampler(every=self._spec.every)
        sampler.keep(0.0)
        num_bad, slot = 0, 0
        with _Fetcher(self._spec.url, settings=self._settings) as fetcher:
            while True:
                slot = max(slot + 1, int((time.monotonic() - started) / self._seconds_per_fetch))
                due_at = started + slot * self._seconds_per_fetch
                if self._closed.wait(max(0.0, due_at - time.monotonic())):
                    return
                content = fetcher.fetch()
                stats.num_packets += 1
                if content is None:
                    continue
                try:
                    frame = self._frame(content, name=fetcher.name)
                except DecodeError:
                    stats.num_corrupt += 1
                    num_bad += 1
                    if num_bad >= self._settings.max_corrupt_in_a_row:
                        raise
                    continue
                num_bad = 0
                frame_index = self._video.stats.num_decoded + stats.num_decoded
                stats.num_decoded += 1
                pts_seconds = slot * self._seconds_per_fetch
                if sampler.keep(pts_seconds):
                    yield replace(frame, frame_index=frame_index, pts_seconds=pts_seconds)
                else:
                    stats.num_skipped += 1

    def _frame(self, content: bytes, *, name: str) -> Frame:
        captured_at = utc_now()
        with (
            open_picture_content(content, name=name, settings=self._settings, may_be_blank=True) as (source, _),
            source,
        ):
            frame = next(iter(source), None)
            self._stats.decode_seconds += source.stats.decode_seconds
        if frame is None:
            raise DecodeError(f"{name}: expected a picture, got nothing that can be decoded")
        frame = replace(frame, stream_id=self._spec.stream_id, captured_at=captured_at)
        return in_square_pixels(
            frame, aspect=self._spec.pixel_aspect or 1.0, max_pixels=self._settings.max_frame_pixels
        )


class _Fetcher:
    """Brings the picture behind an address."""

    def __init__(self, url: str, *, settings: DecodeSettings) -> None:
        address = parse_address(url)
        self.name = shown_address(url)
        self._url = address.without_login().url
        self._conditions: dict[str, str] = {}  # headers that ask for what is newer than the last answer
        self._settings = settings
        self._client = http_client(
            settings,
            auth=None if address.login is None else _Login(address),
            timeout_seconds=settings.read_timeout_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def fetch(self) -> bytes | None:
        """The picture as it is now; None where it has not changed since the last call."""
        try:
            with self._client.stream("GET", self._url, headers=self._conditions) as answer:
                if answer.status_code == HTTPStatus.NOT_MODIFIED:
                    return None
                self._check(answer)
                content = bytearray()
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > _MAX_PICTURE_BYTES:
                        raise SourceRejectedError(f"{self.name}: the picture has more than {_MAX_PICTURE_BYTES} bytes")
                self._conditions = _conditions_of(answer)
                return bytes(content)
        except httpx.TimeoutException as exc:
            raise SourceTimeoutError(
                f"cannot read {self.name}: no answer within {self._settings.read_timeout_seconds:g} s; check the "
                "address and the network, or raise decode.read_timeout_seconds"
            ) from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            reason = redact(str(exc)) or type(exc).__name__
            raise SourceUnavailableError(f"cannot read {self.name}: {reason}") from exc

    def _check(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status == HTTPStatus.OK:
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind in ("text/html", "application/xhtml+xml"):
                raise SourceUnavailableError(f"cannot read {self.name}: expected a picture, got a web page")
            if kind.startswith("multipart/"):
                raise SourceRejectedError(
                    f"cannot read {self.name}: of multipart streams only JPEGs are read; set the camera to JPEG"
                )
            return
        raise _status_error(self.name, status)


def _conditions_of(answer: httpx.Response) -> dict[str, str]:
    names = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
    return {ask: answer.headers[said] for said, ask in names.items() if said in answer.headers}


def _status_error(name: str, status: int) -> SourceError:
    if status == HTTPStatus.UNAUTHORIZED:
        return SourceRejectedError(
            f"cannot read {name}: login refused (401); check the user name and password in the URL"
        )
    if status == HTTPStatus.FORBIDDEN:
        return SourceRejectedError(f"cannot read {name}: access forbidden (403); check the rights of this user")
    return SourceUnavailableError(f"cannot read {name}: the server answered with HTTP status {status}")


class _Login(httpx.Auth):
    """Basic or Digest, whichever the server asks for."""

    def __init__(self, address: Address) -> None:
        self._basic = httpx.BasicAuth(*_login_of(address))
        self._digest = httpx.DigestAuth(*_login_of(address))
        self._chosen: httpx.Auth | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Asks first without a login, and then as the answer wants it."""
        request.headers.encoding = "utf-8"  # of user names
        if self._chosen is not None:
            yield from self._chosen.auth_flow(request)
            return
        answer = yield request
        if answer.status_code != HTTPStatus.UNAUTHORIZED:
            return
        offers = answer.headers.get_list("WWW-Authenticate")
        is_digest = any(offer.lower().startswith("digest") for offer in offers)
        self._chosen = self._digest if is_digest else self._basic
        yield from self._chosen.auth_flow(request)


def _login_of(address: Address) -> tuple[bytes, bytes]:
    user, _, password = address.login_bytes.partition(b":")
    return user, password
