"""The way to a source: a stream's spec and the settings → the source that suits it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from emostream.config import DecodeSettings
from emostream.decode.backoff import Backoff
from emostream.decode.live_source import LiveSource, StateObserver
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.snapshot import LiveHttpSource
from emostream.decode.source import FrameSource
from emostream.domain.stream import StreamKind, StreamSpec

_WATCHDOG_GRACE_SECONDS = 5.0  # FFmpeg's own time-outs come first and say more


def open_source(
    spec: StreamSpec,
    *,
    settings: DecodeSettings,
    on_state: StateObserver | None = None,
    is_known_good: bool = False,
    gives_up_unopened: bool = False,
    connect: Callable[[], FrameSource] | None = None,
) -> FrameSource:
    """The source of a stream, to be used in a `with` statement. A live one reconnects by itself.

    Args:
        spec: what to read, and which frames of it; `max_frames` of a live source is counted by the pipeline.
        settings: time-outs and limits.
        on_state: called when a live source is lost and when it is back.
        is_known_good: a live source has worked before, so no error of it is final.
        gives_up_unopened: every error of a live source is final until it has worked once.
        connect: makes the source of one connection, in place of `open_once`.
    """

    if spec.kind is StreamKind.LIVE:  # frames that are lost after the source do not count
        spec = replace(spec, max_frames=None)

    def connect_directly() -> FrameSource:
        return open_once(spec, settings=settings)

    connect = connect or connect_directly
    if spec.kind is StreamKind.FILE:
        return connect()
    return LiveSource(
        connect,
        backoff=Backoff(random.Random()),  # noqa: S311  # not security: it spreads reconnections
        open_stall_seconds=settings.open_timeout_seconds + _WATCHDOG_GRACE_SECONDS,
        read_stall_seconds=settings.read_timeout_seconds + _WATCHDOG_GRACE_SECONDS,
        on_state=on_state,
        is_known_good=is_known_good,
        gives_up_unopened=gives_up_unopened,
    )


def open_once(spec: StreamSpec, *, settings: DecodeSettings, poll_fps: float | None = None) -> FrameSource:
    """One connection to a source: the first error ends it, of a live one as well.

    Args:
        spec: as in `open_source`.
        settings: as in `open_source`.
        poll_fps: how often a live source that gives one picture per request (`/snap.jpg`) is asked for it; None is the
            spec's `target_fps`, else once a second.
    """
    if spec.kind is StreamKind.LIVE and spec.url.partition("://")[0].lower() in ("http", "https"):
        return LiveHttpSource(spec, settings=settings, poll_fps=poll_fps)
    return PyAVSource(spec, settings=settings)
