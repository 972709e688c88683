"""Bad input: one clear error of the right kind, the good frames before it, no credentials, no noise."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emostream.domain.stream import StreamKind
from emostream.errors import (
    DecodeError,
    SourceCutShortError,
    SourceError,
    SourceRejectedError,
    SourceTimeoutError,
    SourceUnavailableError,
)
from tests.decode.conftest import Read
from tests.media import (
    LOSSY_TOLERANCE,
    corrupt_packets,
    cut_file,
    gray_level,
    http_server,
    make_audio,
    make_clip,
    rtsp_responder,
)
from tests.ports import unused_port

SECRET = "hunter2"


def make_noisy_clip(path: Path, **arguments: Any) -> Path:
    """50 pictures that share nothing, so that their packets are of similar size and a cut falls into the middle."""
    return make_clip(
        path,
        num_frames=50,
        picture=lambda index: np.random.default_rng(index).integers(80, 160, (48, 64), dtype=np.uint8),
        **arguments,
    )


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.mp4", b"", "0 bytes"),
        ("text.txt", b"just some text\n" * 50, "only text"),
        ("text.mp4", b"just some text\n" * 50, "expected a video that FFmpeg can read"),
        ("noise.mp4", np.random.default_rng(0).bytes(5000), "expected a video that FFmpeg can read"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n", ""),
    ],
)
def test_not_a_video(tmp_path: Path, read: Read, name: str, content: bytes, said: str) -> None:
    reading = read(write(tmp_path / name, content))
    assert type(reading.error) is SourceRejectedError
    assert said in str(reading.error)
    assert reading.error.exit_code == 3


def test_folder_and_missing_file(tmp_path: Path, read: Read) -> None:
    assert "folder" in str(read(tmp_path).error)
    assert "no such file" in str(read(tmp_path / "nothing.mp4").error)


def test_audio_only(tmp_path: Path, read: Read) -> None:
    reading = read(make_audio(tmp_path / "a.m4a"))
    assert type(reading.error) is SourceRejectedError
    assert "only sound" in str(reading.error)


def test_moov_missing(tmp_path: Path, read: Read) -> None:
    clip = make_clip(tmp_path / "a.mp4", num_frames=20, faststart=False)
    reading = read(cut_file(clip, tmp_path / "cut.mp4"))
    assert type(reading.error) is SourceRejectedError
    assert "moov" in str(reading.error)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("a.mp4", {}, id="mp4"),
        pytest.param("a.mp4", {"audio": True}, id="mp4 with sound"),
        pytest.param("a.mov", {"codec": "libx265"}, id="mov, HEVC"),
        pytest.param("a.mp4", {"mux_options": {"movflags": "frag_keyframe+empty_moov"}}, id="fragmented mp4"),
        pytest.param("a.mkv", {}, id="mkv"),
        pytest.param("a.webm", {"codec": "libvpx-vp9"}, id="webm"),
        pytest.param("a.avi", {"codec": "mpeg4"}, id="avi"),
    ],
)
@pytest.mark.parametrize("num_threads", [1, 2])
def test_cut_in_the_middle(tmp_path: Path, read: Read, name: str, arguments: dict[str, Any], num_threads: int) -> None:
    clip = make_noisy_clip(tmp_path / name, **arguments)
    cut = cut_file(clip, tmp_path / f"cut-{name}", keep_ratio=0.6)
    complete, reading = read(clip), read(cut, settings={"num_threads": num_threads})
    assert complete.error is None
    assert len(complete.frames) == 50
    assert type(reading.error) is DecodeError
    assert "ends early at" in str(reading.error)
    assert reading.error.exit_code == 4
    num_good = reading.stats.num_packets
    assert 10 < num_good < 50
    assert len(reading.frames) == num_good
    for before, after in zip(complete.frames, reading.frames, strict=False):
        assert before.pts_seconds == after.pts_seconds
        assert np.array_equal(before.luma, after.luma)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_second_recording_that_is_not_read_is_no_good_end(tmp_path: Path, read: Read, name: str) -> None:
    clip = make_noisy_clip(tmp_path / name)
    together = tmp_path / f"two-{name}"
    together.write_bytes(2 * clip.read_bytes())
    reading = read(together)
    assert type(reading.error) is DecodeError
    assert reading.error.exit_code == 4
    assert len(reading.frames) == 50


def test_cut_is_not_reported_when_it_was_not_reached(tmp_path: Path, read: Read) -> None:
    cut = cut_file(make_noisy_clip(tmp_path / "a.mp4"), tmp_path / "cut.mp4")
    reading = read(cut, max_frames=5)
    assert reading.error is None
    assert len(reading.frames) == 5


def test_cut_over_http(tmp_path: Path, read: Read) -> None:
    cut_file(make_noisy_clip(tmp_path / "a.mp4"), tmp_path / "cut.mp4")
    with http_server(tmp_path) as base:
        reading = read(f"{base}/cut.mp4")
    assert type(reading.error) is DecodeError
    assert len(reading.frames) == reading.stats.num_packets


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_connection_breaks_in_the_middle(tmp_path: Path, read: Read, name: str) -> None:
    make_noisy_clip(tmp_path / name)
    with http_server(tmp_path) as base:
        reading = read(f"{base}/break/{name}")
    assert type(reading.error) is SourceCutShortError
    assert reading.error.exit_code == 4
    assert reading.error.retryable
    assert 10 < len(reading.frames) < 40
    assert len(reading.frames) >= reading.stats.num_packets  # MPEG-TS: the last packet counts as damaged
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx(
        [index / 25 for index in range(len(reading.frames))]
    )


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.h264", "a.avi"])
def test_the_end_of_a_body_without_a_length_is_an_end(tmp_path: Path, read: Read, name: str) -> None:
    make_noisy_clip(tmp_path / name)
    with http_server(tmp_path) as base:
        reading = read(f"{base}/nolength/{name}")
    assert reading.error is None
    assert len(reading.frames) == 50


@pytest.mark.parametrize("name", ["a.ts", "a.h264", "a.mkv", "a.mp4"])
@pytest.mark.parametrize("way", ["reset", "chunked/reset"])
def test_a_body_without_a_length_that_is_broken_off_did_not_end(
    tmp_path: Path, read: Read, way: str, name: str
) -> None:
    """A reset (RST) is no end of a connection (FIN)."""
    make_noisy_clip(tmp_path / name)
    with http_server(tmp_path) as base:
        reading = read(f"{base}/{way}/{name}")
    # FFmpeg's reader of Matroska hides the reset; the duration in its header tells.
    assert isinstance(reading.error, SourceCutShortError | DecodeError)
    assert reading.error.exit_code == 4
    assert 5 < len(reading.frames) < 45


def test_a_body_without_a_length_that_lacks_declared_pictures_is_damaged(tmp_path: Path, read: Read) -> None:
    cut_file(make_noisy_clip(tmp_path / "a.mp4"), tmp_path / "cut.mp4")
    with http_server(tmp_path) as base:
        reading = read(f"{base}/nolength/cut.mp4")
    assert type(reading.error) is DecodeError
    assert reading.error.exit_code == 4
    assert 10 < len(reading.frames) < 40


@pytest.mark.parametrize(
    "name", [pytest.param("a.gif", id="gif"), pytest.param("a.ts", id="ts"), pytest.param("a.mp4", id="mp4, edit list")]
)
def test_complete_files_are_not_accused(tmp_path: Path, read: Read, name: str) -> None:
    # B frames make the mp4 muxer write an edit list.
    arguments: dict[str, Any] = {"codec": "gif", "pix_fmt": "gray"} if name == "a.gif" else {"options": {"bf": "2"}}
    reading = read(make_clip(tmp_path / name, num_frames=30, **arguments))
    assert reading.error is None
    assert len(reading.frames) == 30


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mp4", "libx265"), ("a.avi", "mpeg4")])
def test_corrupt_packets_in_the_middle(tmp_path: Path, read: Read, name: str, codec: str, num_threads: int) -> None:
    clip = make_noisy_clip(tmp_path / name, codec=codec, gop_size=10)
    corrupt = corrupt_packets(clip, tmp_path / f"corrupt-{name}", [12, 13, 25])
    reading = read(corrupt, settings={"num_threads": num_threads})
    assert reading.error is None
    assert reading.stats.num_corrupt > 0
    assert 40 <= len(reading.frames) <= 50
    assert reading.frames[-1].pts_seconds == pytest.approx(49 / 25)
    times = [frame.pts_seconds for frame in reading.frames]
    assert times == sorted(set(times))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.gif"])
def test_random_damage_is_a_source_error_at_worst(tmp_path: Path, read: Read, name: str) -> None:
    codec = {"a.avi": "mpeg4", "a.gif": "gif"}.get(name, "libx264")
    content = np.frombuffer(
        make_noisy_clip(tmp_path / name, codec=codec, pix_fmt="gray" if codec == "gif" else "yuv420p").read_bytes(),
        np.uint8,
    )
    rng = np.random.default_rng(5)
    for num_bytes in (1, 10, 100, 1000) * 5:
        damaged = content.copy()
        damaged[rng.integers(0, len(content), num_bytes)] = rng.integers(0, 256, num_bytes)
        reading = read(write(tmp_path / f"damaged-{name}", damaged.tobytes()))
        times = [frame.pts_seconds for frame in reading.frames]
        assert times == sorted(set(times))


def test_too_many_corrupt_packets(tmp_path: Path, read: Read) -> None:
    clip = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="rgb24", num_frames=30)
    corrupt = corrupt_packets(clip, tmp_path / "corrupt.mov", range(5, 30))
    reading = read(corrupt, settings={"max_corrupt_in_a_row": 10})
    assert type(reading.error) is DecodeError
    assert "10 packets in a row" in str(reading.error)
    assert len(reading.frames) == 5


def test_no_picture_at_all(tmp_path: Path, read: Read) -> None:
    clip = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="rgb24", num_frames=3)
    reading = read(corrupt_packets(clip, tmp_path / "corrupt.mov", range(3)))
    assert type(reading.error) is SourceRejectedError
    assert "no picture" in str(reading.error)


def test_pictures_too_large(tmp_path: Path, read: Read) -> None:
    clip = make_clip(tmp_path / "a.mp4", width=320, height=240, num_frames=3)
    reading = read(clip, settings={"max_frame_pixels": 320 * 240 - 1})
    assert type(reading.error) is SourceRejectedError
    assert "320×240" in str(reading.error)
    assert reading.stats.num_packets == 0
    assert read(clip, settings={"max_frame_pixels": 320 * 240}).error is None


def test_pictures_grow_too_large_in_the_middle(tmp_path: Path, read: Read) -> None:
    small = make_clip(tmp_path / "small.ts", num_frames=12)
    large = make_clip(tmp_path / "large.ts", width=320, height=240, num_frames=12)
    both = write(tmp_path / "both.ts", small.read_bytes() + large.read_bytes())
    reading = read(both, settings={"max_frame_pixels": 100 * 100, "num_threads": 1})
    assert type(reading.error) is SourceRejectedError
    assert "320×240" in str(reading.error)
    assert 8 <= len(reading.frames) <= 12
    assert reading.levels == pytest.approx([gray_level(i) for i in range(len(reading.frames))], abs=LOSSY_TOLERANCE)


NETWORK_CASES = [
    pytest.param("/status/401", SourceRejectedError, "401", id="http 401"),
    pytest.param("/status/403", SourceRejectedError, "403", id="http 403"),
    pytest.param("/status/404", SourceRejectedError, "404", id="http 404"),
    pytest.param("/status/429", SourceUnavailableError, "error", id="http 429"),
    pytest.param("/status/500", SourceUnavailableError, "error", id="http 500"),
    pytest.param("/status/503", SourceUnavailableError, "error", id="http 503"),
    pytest.param("/page.html", SourceRejectedError, "web page", id="http, a page"),
    pytest.param("/hang", SourceTimeoutError, "no answer within", id="http, no answer"),
]


def assert_no_secret(error: SourceError | None) -> None:
    assert error is not None
    assert SECRET not in "".join(traceback.format_exception(error))
    assert "***" in str(error)


@pytest.mark.parametrize(("path", "expected", "said"), NETWORK_CASES)
def test_http_refusals(tmp_path: Path, read: Read, path: str, expected: type[SourceError], said: str) -> None:
    write(tmp_path / "page.html", b"<html>" + b"<p>no video here</p>" * 50)
    timeouts = {"open_timeout_seconds": 0.5, "read_timeout_seconds": 0.5} if path == "/hang" else None
    with http_server(tmp_path) as base:
        url = base.replace("http://", f"http://user:{SECRET}@")
        reading = read(f"{url}{path}?token={SECRET}", settings=timeouts)
    assert type(reading.error) is expected
    assert said in str(reading.error)
    assert_no_secret(reading.error)


@pytest.mark.parametrize(
    ("status", "expected", "said"),
    [
        ("401 Unauthorized", SourceRejectedError, "login refused (401)"),
        ("403 Forbidden", SourceRejectedError, "403"),
        ("404 Not Found", SourceUnavailableError, "404"),
        ("503 Service Unavailable", SourceUnavailableError, "error"),
        (None, SourceTimeoutError, "no answer within 0.5 s"),
    ],
)
def test_rtsp_refusals(read: Read, status: str | None, expected: type[SourceError], said: str) -> None:
    timeouts = {"open_timeout_seconds": 0.5, "read_timeout_seconds": 0.5} if status is None else None
    with rtsp_responder(status) as address:
        reading = read(f"rtsp://admin:{SECRET}@{address}/live", settings=timeouts)
    assert type(reading.error) is expected
    assert said in str(reading.error)
    assert_no_secret(reading.error)


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_a_camera_that_dies_while_it_is_opened_is_tried_again(read: Read, method: str) -> None:
    with rtsp_responder("200 OK", dies_at=method) as address:
        reading = read(f"rtsp://admin:{SECRET}@{address}/live", kind=StreamKind.LIVE)
    assert type(reading.error) is SourceUnavailableError, reading.error
    assert_no_secret(reading.error)


@pytest.mark.parametrize("scheme", ["http", "rtsp", "tcp"])
def test_a_refused_connection(read: Read, scheme: str) -> None:
    reading = read(f"{scheme}://user:{SECRET}@127.0.0.1:{unused_port()}/a")
    assert type(reading.error) is SourceUnavailableError
    assert reading.error.retryable
    assert_no_secret(reading.error)


def test_live_source_that_ends_is_unavailable(tmp_path: Path, read: Read) -> None:
    clip = make_clip(tmp_path / "a.ts", num_frames=20)
    with http_server(tmp_path) as base:
        reading = read(f"{base}/{clip.name}", kind=StreamKind.LIVE)
    assert type(reading.error) is SourceUnavailableError
    assert len(reading.frames) == 20
    assert reading.info is not None
    assert reading.info.duration_seconds is None


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.flv"])
@pytest.mark.parametrize("address", ["/{}", "/nolength/{}", "file"])
@pytest.mark.parametrize("is_cut", [True, False])
def test_a_file_that_ends_before_its_header_says(
    tmp_path: Path, read: Read, name: str, address: str, is_cut: bool
) -> None:
    """Whatever the server says of its length: the file itself was cut before."""
    codec = "libvpx" if name.endswith("webm") else "libx264"
    whole = make_clip(tmp_path / f"whole-{name}", codec=codec, num_frames=75)
    clip = cut_file(whole, tmp_path / name) if is_cut else whole.rename(tmp_path / name)
    with http_server(tmp_path) as base:
        reading = read(clip if address == "file" else base + address.format(name))
    assert isinstance(reading.error, DecodeError) == is_cut
    assert (len(reading.frames) == 75) == (not is_cut)
    if reading.error is not None:
        assert reading.error.exit_code == 4


def test_a_video_that_is_shorter_than_its_sound_is_complete(tmp_path: Path, read: Read) -> None:
    times = [index / 50 for index in range(50)]  # its sound has two seconds
    for name in ("a.mkv", "a.flv"):
        reading = read(make_clip(tmp_path / name, num_frames=50, pts_seconds=times, audio=True))
        assert reading.error is None
