"""A picture that stops while sound or metadata goes on: reconnected every time, with nothing left open."""

from __future__ import annotations

import itertools
import random
import threading
from contextlib import AbstractContextManager
from functools import partial

import pytest

from emostream.config import DecodeSettings
from emostream.decode.backoff import Backoff
from emostream.decode.live_source import LiveSource
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import SourceTimeoutError
from tests.decode.cameras import NUM_PICTURES, StoppingCamera, stopping_rtsp_camera, stopping_ts_camera
from tests.media import wait_until

pytestmark = pytest.mark.integration

NUM_STOPS = 5  # more than the number of threads that may be left behind
SETTINGS = DecodeSettings(open_timeout_seconds=5, read_timeout_seconds=0.5)
CAMERAS = [
    pytest.param(partial(stopping_rtsp_camera, other="sound"), id="RTSP with sound"),
    pytest.param(partial(stopping_rtsp_camera, other="metadata"), id="RTSP with metadata"),
    pytest.param(stopping_ts_camera, id="MPEG-TS over HTTP"),
]
MakeCamera = partial[AbstractContextManager[StoppingCamera]]


def source_of(camera: StoppingCamera) -> PyAVSource:
    return PyAVSource(StreamSpec("stream", camera.url, StreamKind.LIVE), settings=SETTINGS)


@pytest.mark.parametrize("make_camera", CAMERAS)
def test_it_reconnects_every_time_and_leaves_nothing_open(make_camera: MakeCamera) -> None:
    details: list[str] = []

    def observe(state: StreamState, detail: str) -> None:
        details.append(detail)

    with make_camera() as camera:
        threads_before = set(threading.enumerate())
        live = LiveSource(
            lambda: source_of(camera),
            backoff=Backoff(random.Random(0), base_seconds=0.001, cap_seconds=0.01),
            open_stall_seconds=30,
            read_stall_seconds=30,
            on_state=observe,
        )
        with live:
            frames = list(itertools.islice(live, NUM_PICTURES * NUM_STOPS + 1))
        assert len(frames) == NUM_PICTURES * NUM_STOPS + 1
        assert live.live_stats.num_reconnects == NUM_STOPS
        assert live.live_stats.num_stalls == live.live_stats.num_abandoned == 0
        assert camera.num_opened == NUM_STOPS + 1
        assert wait_until(lambda: camera.num_open == 0)
        ours = {thread for thread in threading.enumerate() if thread.name == "emostream-live"} - threads_before
        assert wait_until(lambda: not any(thread.is_alive() for thread in ours))
    assert not [detail for detail in details if "blocked" in detail]


@pytest.mark.parametrize("make_camera", CAMERAS)
def test_the_pictures_before_it_are_all_there(make_camera: MakeCamera) -> None:
    with make_camera() as camera, source_of(camera) as source:
        with pytest.raises(SourceTimeoutError):
            list(source)
        assert source.stats.num_decoded == NUM_PICTURES


def test_closing_gets_through_while_only_sound_comes() -> None:
    settings = SETTINGS.model_copy(update={"read_timeout_seconds": 60.0})
    with stopping_rtsp_camera(other="sound") as camera:
        source = PyAVSource(StreamSpec("stream", camera.url, StreamKind.LIVE), settings=settings)
        with source:
            threading.Timer(0.5, source.close).start()
            assert len(list(source)) == NUM_PICTURES
        assert wait_until(lambda: camera.num_open == 0)
