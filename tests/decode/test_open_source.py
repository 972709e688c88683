"""Each kind of spec gets the source that suits it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from emostream.config import DecodeSettings
from emostream.decode.open_source import open_source
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import SourceError
from emostream.testing.fakes import ScriptedSource, gray_frames
from tests.media import http_server, make_clip

SETTINGS = DecodeSettings(open_timeout_seconds=5, read_timeout_seconds=5)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    make_clip(tmp_path / "clip.ts", num_frames=5)
    with http_server(tmp_path) as base:
        yield f"{base}/clip.ts"


def test_a_file_is_read_once(url: str) -> None:
    with open_source(StreamSpec("x", url, StreamKind.FILE), settings=SETTINGS) as source:
        assert len(list(source)) == 5


def test_a_live_source_reconnects_and_leaves_counting_to_the_pipeline(url: str) -> None:
    states: list[StreamState] = []
    spec = StreamSpec("x", url, StreamKind.LIVE, max_frames=2)
    with open_source(spec, settings=SETTINGS, on_state=lambda state, detail: states.append(state)) as source:
        assert [frame.frame_index for frame in itertools.islice(source, 8)] == list(range(8))
    assert states == [StreamState.RECONNECTING, StreamState.RUNNING]


def test_a_live_source_that_must_be_there_at_once(tmp_path: Path) -> None:
    with http_server(tmp_path) as base:
        spec = StreamSpec("x", f"{base}/none.ts", StreamKind.LIVE)
        with pytest.raises(SourceError), open_source(spec, settings=SETTINGS, gives_up_unopened=True):
            pass


@pytest.mark.parametrize("kind", list(StreamKind))
def test_connections_can_be_made_by_another(kind: StreamKind) -> None:
    spec = StreamSpec("x", "rtsp://nowhere.invalid/x", kind)
    source = open_source(spec, settings=SETTINGS, connect=lambda: ScriptedSource(gray_frames(3), kind=kind))
    with source:
        assert source.kind is kind
        assert len(list(source)) == 3
