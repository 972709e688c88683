"""Real clips through PyAV: gray values, ranges, rotation, order, time, sampling, life cycle."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from tests.decode.conftest import Read
from tests.media import LOSSY_TOLERANCE, corner_picture, gray_level, http_server, make_clip, rtsp_responder, wait_until

FULL = {"is_full_range": True}
FORMATS = [
    # name, codec, pixel format, maker arguments, whether luma comes without conversion
    pytest.param("a.mp4", "libx264", "yuv420p", {}, True, id="H.264"),
    pytest.param("a.mp4", "libx264", "yuv420p", {"is_full_range": False}, True, id="H.264 limited, said so"),
    pytest.param("a.mp4", "libx264", "yuv420p", FULL, True, id="H.264 full"),
    pytest.param("a.mp4", "libx264", "yuv422p", {}, True, id="H.264 4:2:2"),
    pytest.param("a.mp4", "libx264", "yuv444p", {}, True, id="H.264 4:4:4"),
    pytest.param("a.mp4", "libx264", "yuv420p10le", {}, False, id="H.264 10 bit"),
    pytest.param("a.mkv", "libx264", "yuv420p10le", FULL, False, id="H.264 10 bit full"),
    pytest.param("a.mp4", "libx264rgb", "rgb24", {}, False, id="H.264 RGB"),
    pytest.param("a.mov", "libx265", "yuv420p", {}, True, id="HEVC"),
    pytest.param("a.mp4", "libx265", "gray", {}, True, id="HEVC gray limited"),
    pytest.param("a.mp4", "libx265", "gray10le", {}, False, id="HEVC gray 10 bit limited"),
    pytest.param("a.mp4", "libx265", "yuv420p12le", {}, False, id="HEVC 12 bit"),
    pytest.param("a.webm", "libvpx-vp9", "yuv420p", {}, True, id="VP9"),
    pytest.param("a.webm", "libvpx-vp9", "gbrp", {}, False, id="VP9 RGB"),
    pytest.param("a.mp4", "libsvtav1", "yuv420p", {}, True, id="AV1"),
    pytest.param("a.mp4", "libsvtav1", "yuv420p10le", {}, False, id="AV1 10 bit"),
    pytest.param("a.avi", "mjpeg", "yuvj420p", {}, True, id="MJPEG"),
    pytest.param("a.avi", "mpeg4", "yuv420p", {}, True, id="MPEG-4"),
    pytest.param("a.gif", "gif", "gray", FULL, False, id="GIF"),
    pytest.param("a.mov", "png", "rgb24", {}, False, id="PNG"),
    pytest.param("a.mov", "png", "rgba", {}, False, id="PNG with alpha"),
    pytest.param("a.mov", "png", "gray", FULL, True, id="PNG gray"),
    pytest.param("a.mov", "png", "gray16be", FULL, False, id="PNG gray 16 bit"),
    pytest.param("a.mov", "prores_ks", "yuv422p10le", {}, False, id="ProRes"),
    pytest.param("a.mkv", "ffv1", "yuv420p10le", {}, False, id="FFV1 10 bit"),
    pytest.param("a.mkv", "ffv1", "yuva420p", {}, True, id="FFV1 with alpha"),
    pytest.param("a.nut", "rawvideo", "yuyv422", {}, False, id="packed YUYV"),
    pytest.param("a.nut", "rawvideo", "uyvy422", {}, False, id="packed UYVY"),
    pytest.param("a.nut", "rawvideo", "nv12", {}, True, id="NV12"),
    pytest.param("a.nut", "rawvideo", "nv21", {}, True, id="NV21"),
    pytest.param("a.nut", "rawvideo", "bgr24", {}, False, id="BGR"),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "arguments", "is_view"), FORMATS)
def test_every_format_ends_as_right_gray(
    tmp_path: Path, read: Read, name: str, codec: str, pix_fmt: str, arguments: dict[str, Any], is_view: bool
) -> None:
    clip = make_clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt, num_frames=6, **arguments)
    reading = read(clip)
    assert reading.error is None
    expected = [gray_level(index) for index in range(6)]
    assert reading.levels == pytest.approx(expected, abs=LOSSY_TOLERANCE)
    for frame, level in zip(reading.frames, expected, strict=True):
        assert frame.luma.shape == (48, 64)
        assert not frame.luma.flags.writeable
        rgb = frame.rgb()
        assert rgb.shape == (48, 64, 3)
        assert rgb[24, 32].tolist() == pytest.approx([level] * 3, abs=LOSSY_TOLERANCE + 1)
    if is_view and not arguments.get("is_full_range") and "yuvj" not in pix_fmt:
        assert not reading.frames[0].is_full_range


def test_frames_are_numbered_timed_and_stamped(tmp_path: Path, read: Read) -> None:
    reading = read(make_clip(tmp_path / "a.mp4", num_frames=30, audio=True))
    assert [frame.frame_index for frame in reading.frames] == list(range(30))
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx([index / 25 for index in range(30)])
    assert all(frame.stream_id == "stream" for frame in reading.frames)
    assert reading.frames[0].captured_at < reading.frames[1].captured_at
    info = reading.info
    assert info is not None
    assert (info.width, info.height, info.codec, info.decoder) == (64, 48, "h264", "h264")
    assert (info.declared_fps, info.num_frames, info.has_audio) == (25.0, 30, True)
    assert info.duration_seconds == pytest.approx(1.2, abs=0.05)
    stats = reading.stats
    assert (stats.num_packets, stats.num_decoded, stats.num_skipped, stats.num_corrupt) == (30, 30, 0, 0)
    assert stats.decode_seconds > 0


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_frame_rate(tmp_path: Path, read: Read, name: str) -> None:
    times = [0.0, 0.04, 0.05, 0.3, 0.31, 2.31, 2.4, 12.4]
    reading = read(make_clip(tmp_path / name, num_frames=len(times), pts_seconds=times))
    assert reading.error is None
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx(times, abs=0.0011)
    assert reading.levels == pytest.approx([gray_level(index) for index in range(len(times))], abs=LOSSY_TOLERANCE)


def test_late_start_is_zero(tmp_path: Path, read: Read) -> None:
    reading = read(make_clip(tmp_path / "a.mkv", num_frames=3, pts_seconds=[5.0, 5.5, 6.0]))
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx([0.0, 0.5, 1.0], abs=0.002)


@pytest.mark.parametrize(
    ("arguments", "corners"),
    [
        pytest.param({}, [[40, 100], [160, 220]], id="upright"),
        pytest.param({"rotation": 90}, [[100, 220], [40, 160]], id="counter-clockwise 90"),
        pytest.param({"rotation": -90}, [[160, 40], [220, 100]], id="clockwise 90"),
        pytest.param({"rotation": 180}, [[220, 160], [100, 40]], id="180"),
        pytest.param({"hflip": True}, [[100, 40], [220, 160]], id="mirrored"),
        pytest.param({"vflip": True}, [[160, 220], [40, 100]], id="upside down mirrored"),
        pytest.param({"rotation": 90, "hflip": True}, [[220, 100], [160, 40]], id="counter-clockwise, then mirrored"),
    ],
)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_rotation_of_phone_videos(
    tmp_path: Path, read: Read, arguments: dict[str, Any], corners: list[list[int]], pix_fmt: str
) -> None:
    clip = make_clip(
        tmp_path / "a.mp4", num_frames=3, pix_fmt=pix_fmt, picture=lambda _: corner_picture(64, 48), **arguments
    )
    reading = read(clip)
    width, height = (48, 64) if arguments.get("rotation") in (90, -90) else (64, 48)
    assert reading.info is not None
    assert (reading.info.width, reading.info.height) == (width, height)
    for frame in reading.frames:
        assert (frame.width, frame.height) == (width, height)
        luma, rgb = frame.full_luma(frame.luma), frame.rgb()
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            y, x = (1 + 2 * row) * height // 4, (1 + 2 * column) * width // 4
            assert int(luma[y, x]) == pytest.approx(corners[row][column], abs=LOSSY_TOLERANCE)
            assert rgb[y, x].tolist() == pytest.approx([corners[row][column]] * 3, abs=LOSSY_TOLERANCE + 1)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "height", "tolerance", "luma_weights"),
    [
        pytest.param("libx264rgb", "rgb24", 48, 2, (0.299, 0.587, 0.114), id="RGB"),
        pytest.param("libx264", "yuv444p", 48, 5, (0.299, 0.587, 0.114), id="BT.601"),
        pytest.param("libx264", "yuv420p", 720, 5, (0.2126, 0.7152, 0.0722), id="BT.709 from 720 lines on"),
    ],
)
def test_colour_on_demand(
    tmp_path: Path,
    read: Read,
    codec: str,
    pix_fmt: str,
    height: int,
    tolerance: int,
    luma_weights: tuple[float, float, float],
) -> None:
    red, green, blue = 200, 60, 20
    colour = np.full((height, 64, 3), (red, green, blue), np.uint8)
    clip = make_clip(
        tmp_path / "a.mp4",
        codec=codec,
        pix_fmt=pix_fmt,
        height=height,
        num_frames=2,
        picture=lambda _: colour,
        options={"crf": "10"},
    )
    reading = read(clip)
    rgb = reading.frames[1].rgb()
    assert rgb.flags.c_contiguous
    assert rgb[20, 20].tolist() == pytest.approx([red, green, blue], abs=tolerance)
    expected = np.dot(luma_weights, (red, green, blue))
    assert reading.levels[1] == pytest.approx(expected, abs=LOSSY_TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "indexes"),
    [
        pytest.param({"every": 3}, [0, 3, 6, 9, 12, 15, 18], id="every third"),
        pytest.param({"target_fps": 5.0}, [0, 4, 9, 14, 19], id="5 of 25 a second"),
        pytest.param({"max_frames": 4}, [0, 1, 2, 3], id="first four"),
        pytest.param({"every": 2, "max_frames": 3}, [0, 2, 4], id="three of every second"),
    ],
)
def test_sampling(tmp_path: Path, read: Read, arguments: dict[str, Any], indexes: list[int]) -> None:
    reading = read(make_clip(tmp_path / "a.mp4", num_frames=20), **arguments)
    assert [frame.frame_index for frame in reading.frames] == indexes
    assert reading.levels == pytest.approx([gray_level(index) for index in indexes], abs=LOSSY_TOLERANCE)
    assert reading.stats.num_decoded == len(reading.frames) + reading.stats.num_skipped
    if "max_frames" in arguments:
        assert reading.stats.num_decoded == indexes[-1] + 1


@pytest.mark.parametrize(
    ("width", "height", "codec", "pix_fmt"),
    [(1, 1, "png", "rgb24"), (1, 1, "ffv1", "yuv420p"), (16, 16, "libx264", "yuv420p"), (18, 34, "mjpeg", "yuvj420p")],
)
def test_tiny_pictures(tmp_path: Path, read: Read, width: int, height: int, codec: str, pix_fmt: str) -> None:
    name = "a.mov" if codec == "png" else "a.mkv"
    reading = read(make_clip(tmp_path / name, width=width, height=height, codec=codec, pix_fmt=pix_fmt, num_frames=3))
    assert reading.error is None
    assert [frame.luma.shape for frame in reading.frames] == [(height, width)] * 3
    assert reading.levels == pytest.approx([gray_level(index) for index in range(3)], abs=LOSSY_TOLERANCE)


@pytest.mark.slow
def test_8k_pictures(tmp_path: Path, read: Read) -> None:
    clip = make_clip(tmp_path / "a.mp4", width=7680, height=4320, num_frames=2, options={"preset": "ultrafast"})
    reading = read(clip)
    assert [frame.luma.shape for frame in reading.frames] == [(4320, 7680)] * 2


def test_size_change_in_the_middle(tmp_path: Path, read: Read) -> None:
    small = make_clip(tmp_path / "small.ts", num_frames=5, pix_fmt="yuv420p10le")
    large = make_clip(tmp_path / "large.ts", width=320, height=240, num_frames=5, pix_fmt="yuv420p10le")
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    reading = read(both)
    assert reading.error is None
    assert [frame.width for frame in reading.frames] == [64] * 5 + [320] * 5
    times = [frame.pts_seconds for frame in reading.frames]
    assert times == sorted(set(times))
    assert reading.levels == pytest.approx([gray_level(index) for index in range(5)] * 2, abs=LOSSY_TOLERANCE)


def test_cover_art_is_not_the_video(tmp_path: Path, read: Read) -> None:
    reading = read(make_clip(tmp_path / "a.mp4", num_frames=4, cover_art=True))
    assert [frame.luma.shape for frame in reading.frames] == [(48, 64)] * 4


def test_over_http(tmp_path: Path, read: Read) -> None:
    make_clip(tmp_path / "a b.mp4", num_frames=8)
    with http_server(tmp_path) as base:
        reading = read(f"{base}/a%20b.mp4?token=x")
    assert reading.error is None
    assert reading.levels == pytest.approx([gray_level(index) for index in range(8)], abs=LOSSY_TOLERANCE)


def test_hls_playlist_over_http(tmp_path: Path, read: Read) -> None:
    make_clip(tmp_path / "a.m3u8", num_frames=50, gop_size=10, mux_options={"hls_time": "0.4", "hls_list_size": "0"})
    assert len(list(tmp_path.glob("*.ts"))) > 1
    with http_server(tmp_path) as base:
        reading = read(f"{base}/a.m3u8")
    assert reading.error is None
    assert reading.levels == pytest.approx([gray_level(index) for index in range(50)], abs=LOSSY_TOLERANCE)


def test_luma_is_a_view_that_outlives_the_source(tmp_path: Path, read: Read) -> None:
    reading = read(make_clip(tmp_path / "a.mp4", num_frames=40))
    frames, levels = reading.frames, reading.levels
    assert all(frame.luma.base is not None for frame in frames)
    reading.frames = []
    gc.collect()
    assert levels == pytest.approx([gray_level(index) for index in range(40)], abs=LOSSY_TOLERANCE)
    assert [int(frame.full_luma(frame.luma[:1, :1])[0, 0]) for frame in frames] == levels


def open_source(path: Path, **settings: Any) -> PyAVSource:
    return PyAVSource(StreamSpec("s", str(path), StreamKind.FILE), settings=DecodeSettings(**settings))


def test_info_needs_an_open_source(tmp_path: Path) -> None:
    source = open_source(tmp_path / "a.mp4")
    with pytest.raises(RuntimeError):
        _ = source.info
    source.close()
    source.close()


@pytest.mark.parametrize("num_threads", [1, 2])
def test_close_from_another_thread_ends_the_iteration(tmp_path: Path, num_threads: int) -> None:
    source = open_source(make_clip(tmp_path / "a.mp4", num_frames=100), num_threads=num_threads)
    frames: list[Frame] = []
    is_closed = threading.Event()

    def iterate() -> None:
        with source:
            for frame in source:
                frames.append(frame)
                if len(frames) == 5:
                    is_closed.wait(5)

    thread = threading.Thread(target=iterate)
    thread.start()
    assert wait_until(lambda: len(frames) == 5)
    source.close()
    is_closed.set()
    thread.join(5)
    assert not thread.is_alive()
    assert len(frames) < 100
    assert frames[-1].rgb().shape == (48, 64, 3)
    assert source._opened.is_released


@pytest.mark.parametrize("kind", StreamKind)
def test_a_camera_is_not_kept_waiting_for_its_frame_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: StreamKind
) -> None:
    given: list[dict[str, str]] = []
    open_container = av.open

    def noting(*arguments: Any, **options: Any) -> Any:
        given.append(options["options"])
        return open_container(*arguments, **options)

    make_clip(tmp_path / "a.ts", num_frames=20)
    monkeypatch.setattr(av, "open", noting)
    with http_server(tmp_path) as base:
        spec = StreamSpec("s", f"{base}/a.ts", kind)
        with PyAVSource(spec, settings=DecodeSettings()) as source:
            assert next(iter(source)).luma.shape
    assert [options.get("fpsprobesize") for options in given] == ["0" if kind is StreamKind.LIVE else None]


def test_close_during_a_blocked_open_returns_at_once() -> None:
    errors: list[Exception] = []
    with rtsp_responder(None) as address:
        spec = StreamSpec("s", f"rtsp://{address}/live", StreamKind.LIVE)
        source = PyAVSource(spec, settings=DecodeSettings(open_timeout_seconds=1.0, read_timeout_seconds=1.0))

        def enter() -> None:
            try:
                source.__enter__()
            except Exception as exc:
                errors.append(exc)

        thread = threading.Thread(target=enter)
        thread.start()
        assert wait_until(lambda: source._opened.is_busy)
        source.close()  # does not wait for the reader
        assert thread.is_alive()
        thread.join(5)
    assert len(errors) == 1
    assert source._opened.is_released


def test_close_during_an_open_that_succeeds_leaves_nothing_open(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "a.ts", num_frames=5).read_bytes()
    may_answer = threading.Event()

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            may_answer.wait(20)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        spec = StreamSpec("s", f"http://127.0.0.1:{listener.getsockname()[1]}/a.ts", StreamKind.FILE)
        source = PyAVSource(spec, settings=DecodeSettings())
        threads = [threading.Thread(target=answer, args=(listener,)), threading.Thread(target=source.__enter__)]
        for thread in threads:
            thread.start()
        assert wait_until(lambda: source._opened.is_busy)
        source.close()
        may_answer.set()
        for thread in threads:
            thread.join(20)
    assert source._opened.is_released


@pytest.mark.slow
def test_open_and_close_leak_no_files(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", num_frames=3)
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc")
    counts = []
    for _ in range(30):
        with open_source(clip) as source:
            next(iter(source))
        counts.append(len(list(descriptors.iterdir())))
    assert counts[-1] == counts[0]
