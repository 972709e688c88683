"""Time of real sources whose clocks are odd: cameras by when their pictures come, files by their container."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from emostream.decode.live_source import LiveSource
from emostream.decode.open_source import open_source
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import SourceError
from tests.decode.cameras import mjpeg_camera, odd_clock_camera
from tests.decode.conftest import Read
from tests.decode.test_gaps import GOP, make_playlist, segments_of
from tests.decode.test_stopped_picture import SETTINGS
from tests.media import http_server, make_clip

FAULTS: dict[str, Callable[[float], float]] = {
    "stand still": lambda at: 0.0,
    "crawl": lambda at: at / 90,
    "run": lambda at: 10 * at,
    "run 90 times too fast": lambda at: 90 * at,
}


def frames_of(url: str, kind: StreamKind) -> tuple[list[Frame], PyAVSource]:
    frames: list[Frame] = []
    with PyAVSource(StreamSpec("stream", url, kind), settings=SETTINGS) as source:
        try:
            frames.extend(source)
        except SourceError:
            assert kind is StreamKind.LIVE  # which never ends, but breaks off
    return frames, source


def passed(frames: Sequence[Frame]) -> tuple[float, float]:
    """Seconds from the first frame to the last: told, and real."""
    first, last = frames[0], frames[-1]
    return last.pts_seconds - first.pts_seconds, (last.captured_at - first.captured_at).total_seconds()


@pytest.mark.integration
@pytest.mark.parametrize("fault", FAULTS)
def test_stamps_of_a_camera_that(fault: str) -> None:
    """Real time passes, also where the machine is busy, and it is said that the stamps are not believed."""
    with odd_clock_camera(FAULTS[fault]) as url:
        frames, source = frames_of(url, StreamKind.LIVE)
    told, real = passed(frames)
    assert len(frames) > 40
    assert told == pytest.approx(real, abs=0.5)
    assert source.stats.num_clock_faults == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    "stamp_of", [lambda at: at, lambda at: at - 0.4 * (at // 0.6), lambda at: at - 3 * (at > 0.7)], ids=str
)
def test_stamps_of_a_camera_that_tell_the_pace_are_kept(stamp_of: Callable[[float], float]) -> None:
    """Also where its clock is set now and then."""
    with odd_clock_camera(stamp_of) as url:
        frames, source = frames_of(url, StreamKind.LIVE)
    told, real = passed(frames)
    assert told == pytest.approx(real, abs=0.5)
    assert source.stats.num_clock_faults == 0


@pytest.mark.integration
def test_a_stream_says_that_its_stamps_are_not_believed() -> None:
    said: list[tuple[StreamState, str]] = []
    with odd_clock_camera(FAULTS["stand still"], seconds=1.5) as url:
        source = open_source(
            StreamSpec("stream", url, StreamKind.LIVE),
            settings=SETTINGS,
            on_state=lambda state, detail: said.append((state, detail)),
        )
        assert isinstance(source, LiveSource)
        with source:
            for _ in source:
                if said:
                    break
    assert said[0][0] is StreamState.RUNNING
    assert said[0][1] == source.info.notice != ""
    assert source.stats.num_clock_faults == 1


@pytest.mark.integration
@pytest.mark.parametrize("kind", StreamKind)
def test_pictures_over_http_come_when_they_come(kind: StreamKind) -> None:
    """FFmpeg takes every such camera for one of 25 pictures a second."""
    with mjpeg_camera(fps=10, num_pictures=15) as url:
        frames, source = frames_of(url, kind)
    told, real = passed(frames)
    assert len(frames) >= 14
    assert told == pytest.approx(real, abs=0.3)
    assert told > 0.8
    assert source.stats.num_clock_faults == 0


@pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.hevc", "libx265")])
@pytest.mark.parametrize("fps", [30, 50])
def test_raw_streams_have_the_rate_of_their_headers(
    tmp_path: Path, read: Read, name: str, codec: str, fps: int
) -> None:
    reading = read(make_clip(tmp_path / name, codec=codec, num_frames=20, fps=fps))
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx([index / fps for index in range(20)])
    assert reading.info is not None
    assert reading.info.declared_fps == fps


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_a_video_that_begins_after_its_sound(tmp_path: Path, read: Read, name: str) -> None:
    times = [2.0 + index / 25 for index in range(10)]
    reading = read(make_clip(tmp_path / name, num_frames=10, pts_seconds=times, audio=True))
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx(times, abs=0.025)
    assert reading.info is not None
    assert reading.info.zero_seconds == pytest.approx(0, abs=0.025)


@pytest.mark.parametrize("num_frames", [8, 20, 40])
def test_recordings_put_together(tmp_path: Path, read: Read, num_frames: int) -> None:
    """As cameras write them on motion: each begins at 0."""
    part = make_clip(tmp_path / "a.ts", num_frames=num_frames, options={"bf": "0"}, gop_size=100)
    whole = tmp_path / "whole.ts"
    whole.write_bytes(part.read_bytes() * 3)
    reading = read(whole)
    expected = [index / 25 for index in range(3 * num_frames)]
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx(expected, abs=0.001)


def test_segments_of_a_playlist_with_clocks_of_their_own(tmp_path: Path, read: Read) -> None:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1"]
    for index in range(3):
        folder = tmp_path / str(index)
        folder.mkdir()
        first = segments_of(make_playlist(folder))[0]
        lines += ["#EXT-X-DISCONTINUITY", f"#EXTINF:{GOP / 25:.6f},", f"{index}/{first.name}"]
    (tmp_path / "all.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST"]), encoding="utf-8")
    with http_server(tmp_path) as base:
        reading = read(f"{base}/all.m3u8")
    assert reading.error is None
    expected = [index / 25 for index in range(3 * GOP)]
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx(expected, abs=0.001)


def test_segments_of_a_live_playlist_are_given_out_at_their_pace(tmp_path: Path) -> None:
    """They arrive at once; where frames came so, all but a few of each segment would be dropped."""
    path = make_playlist(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("#EXT-X-ENDLIST", ""), encoding="utf-8")
    with http_server(tmp_path) as base:
        spec = StreamSpec("stream", f"{base}/list.m3u8", StreamKind.LIVE, max_frames=2 * GOP)
        with PyAVSource(spec, settings=SETTINGS) as source:
            frames = list(source)
    assert len(frames) == 2 * GOP
    begun_at = frames[0].captured_at.timestamp()
    for frame in frames:
        assert frame.pts_seconds == pytest.approx(frame.frame_index / 25, abs=0.001)
        assert frame.captured_at.timestamp() - begun_at > frame.pts_seconds - 0.05  # never before its time


@pytest.mark.integration
def test_live_flv_without_sound_keeps_its_times(tmp_path: Path) -> None:
    """FFmpeg would look for sound for 5 s, and so many pictures would come at once."""
    clip = make_clip(tmp_path / "live.flv", num_frames=100).read_bytes()

    class Paced(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for part in range(100):
                    self.wfile.write(clip[len(clip) * part // 100 : len(clip) * (part + 1) // 100])
                    time.sleep(max(0.0, began + (part + 1) / 25 - time.monotonic()))

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Paced) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        frames, _ = frames_of(f"http://127.0.0.1:{server.server_port}/live.flv", StreamKind.LIVE)
        server.shutdown()
    assert [frame.pts_seconds for frame in frames] == pytest.approx([index / 25 for index in range(100)], abs=0.3)
