"""One list of formats and one reading of addresses, for people and for the service."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from emostream.config import DecodeSettings
from emostream.decode.open_source import open_source
from emostream.domain.address import file_url
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceRejectedError
from tests.media import make_clip

AS_A_PERSON = DecodeSettings()
AS_THE_SERVICE = DecodeSettings(references="hls")
NUM_FRAMES = 6

# ending, FFmpeg's writer, codec, size, pixel format
FORMATS = [
    pytest.param("mxf", "mxf", "mpeg2video", (320, 240), "yuv420p", id="MXF"),
    pytest.param("dv", "dv", "dvvideo", (720, 576), "yuv420p", id="DV"),
    pytest.param("gxf", "gxf", "mpeg2video", (720, 576), "yuv420p", id="GXF"),
    pytest.param("mpg", "mpeg", "mpeg1video", (320, 240), "yuv420p", id="MPEG-1"),
    pytest.param("vob", "vob", "mpeg2video", (320, 240), "yuv420p", id="DVD"),
    pytest.param("m2v", "mpeg2video", "mpeg2video", (320, 240), "yuv420p", id="MPEG-2 without container"),
    pytest.param("m4v", "m4v", "mpeg4", (320, 240), "yuv420p", id="MPEG-4 without container"),
    pytest.param("h264", "h264", "libx264", (320, 240), "yuv420p", id="H.264 without container"),
    pytest.param("265", "hevc", "libx265", (320, 240), "yuv420p", id="H.265 without container"),
    pytest.param("wmv", "asf", "wmv2", (320, 240), "yuv420p", id="WMV"),
    pytest.param("rm", "rm", "rv20", (352, 288), "yuv420p", id="RealMedia"),
    pytest.param("ivf", "ivf", "libvpx", (320, 240), "yuv420p", id="IVF"),
    pytest.param("nut", "nut", "mpeg4", (320, 240), "yuv420p", id="NUT"),
    pytest.param("y4m", "yuv4mpegpipe", "wrapped_avframe", (320, 240), "yuv420p", id="Y4M"),
    pytest.param("mjpeg", "mjpeg", "mjpeg", (320, 240), "yuvj420p", id="JPEGs one after the other"),
    pytest.param("swf", "swf", "flv", (320, 240), "yuv420p", id="Flash"),
]


def write(path: Path, writer: str, codec: str, size: tuple[int, int], pixel_format: str) -> Path:
    width, height = size
    with av.open(str(path), "w", format=writer) as container:
        options = {"libx265": {"x265-params": "log-level=none"}, "libvpx": {"deadline": "realtime"}}.get(codec)
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for index in range(NUM_FRAMES):
            picture = np.full((height, width, 3), 30 * index, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def num_frames(url: str, settings: DecodeSettings, *, kind: StreamKind = StreamKind.FILE) -> int:
    with open_source(StreamSpec("x", url, kind), settings=settings) as source:
        return sum(1 for _ in source)


@pytest.mark.parametrize(("ending", "writer", "codec", "size", "pixel_format"), FORMATS)
def test_the_service_takes_what_a_person_may_give(
    tmp_path: Path, ending: str, writer: str, codec: str, size: tuple[int, int], pixel_format: str
) -> None:
    url = str(write(tmp_path / f"clip.{ending}", writer, codec, size, pixel_format))
    assert num_frames(url, AS_A_PERSON) == num_frames(url, AS_THE_SERVICE) == NUM_FRAMES


def write_dav(path: Path, clip: Path) -> Path:
    """A recording in the layout of Dahua's recorders, after FFmpeg's reader."""
    content = b""
    with av.open(str(clip)) as container:
        for index, packet in enumerate(container.demux(video=0)):
            if not packet.size:
                continue
            extension = bytes([0x82, 0, 0, 0]) + (320).to_bytes(2, "little") + (240).to_bytes(2, "little")
            extension += bytes([0x81, 0, 2, 25])
            data = bytes(packet)
            length = 24 + len(extension) + len(data) + 8
            head = b"DHAV" + bytes([0xFD if packet.is_keyframe else 0xFC, 0, 0, 0])
            date = (26 << 26) | (11 << 22) | (30 << 17) | (10 << 12)
            head += b"".join(number.to_bytes(4, "little") for number in (index, length, date))
            head += (index * 40).to_bytes(2, "little") + bytes([len(extension)])
            head += bytes([sum(head) & 255])
            content += head + extension + data + b"dhav" + length.to_bytes(4, "little")
    path.write_bytes(content)
    return path


def test_recordings_of_dahua(tmp_path: Path) -> None:
    clip = write(tmp_path / "clip.h264", "h264", "libx264", (320, 240), "yuv420p")
    url = file_url(str(write_dav(tmp_path / "clip.dav", clip)))
    assert num_frames(url, AS_A_PERSON) == num_frames(url, AS_THE_SERVICE) == NUM_FRAMES


@pytest.mark.parametrize("name", ["c13 clip ü.mp4", "50%20off.mp4", "100%.mp4", "take#2?.mp4"])
def test_names_as_urls(tmp_path: Path, name: str) -> None:
    path = make_clip(tmp_path / name, num_frames=NUM_FRAMES)
    for url in (path.as_uri(), file_url(str(path)), f"file://localhost{path.as_uri()[7:]}", str(path)):
        assert num_frames(url, AS_THE_SERVICE) == NUM_FRAMES


def test_a_named_pipe(tmp_path: Path) -> None:
    clip, pipe = make_clip(tmp_path / "clip.ts", num_frames=NUM_FRAMES), tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=lambda: pipe.write_bytes(clip.read_bytes()))
    writing.start()
    assert num_frames(str(pipe), AS_A_PERSON) == NUM_FRAMES
    writing.join(5)
    with pytest.raises(SourceRejectedError):  # whoever submits it could hold a worker up
        num_frames(str(pipe), AS_THE_SERVICE)


READ_STANDARD_INPUT = """
import sys
from emostream.config import DecodeSettings
from emostream.decode.open_source import open_source
from emostream.domain.stream import StreamKind, StreamSpec
with open_source(StreamSpec("x", "-", StreamKind(sys.argv[1])), settings=DecodeSettings()) as source:
    print(sum(1 for _ in source))
"""


@pytest.mark.integration
@pytest.mark.parametrize("kind", list(StreamKind))
@pytest.mark.parametrize(("name", "is_piped"), [("clip.ts", True), ("clip.ts", False), ("clip.mp4", False)])
def test_standard_input(tmp_path: Path, name: str, is_piped: bool, kind: StreamKind) -> None:
    clip = make_clip(tmp_path / name, num_frames=NUM_FRAMES)
    command = [sys.executable, "-c", READ_STANDARD_INPUT, kind.value]
    if is_piped:
        done = subprocess.run(command, check=False, input=clip.read_bytes(), capture_output=True, timeout=60)
    else:
        with clip.open("rb") as file:
            done = subprocess.run(command, check=False, stdin=file, capture_output=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == (str(NUM_FRAMES).encode(), 0), done.stderr
