"""Kinds of sources that always worked, each with an input made here, through the command as a user has it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.integration.command_line import Outcome, run_emostream
from tests.media import gray_level, make_clip, textured_picture, video_frame

pytestmark = pytest.mark.integration

NUM_FRAMES, FPS = 30, 25
_VARIABLE = [round(index / FPS + 0.013 * (index % 3) + (1.5 if index > 20 else 0), 3) for index in range(NUM_FRAMES)]
_MULTIPART = "multipart/x-mixed-replace;boundary="
MJPEG_KINDS = {
    "plain": (f"{_MULTIPART}b", b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: LENGTH\r\n\r\n"),
    "dashes": (f"{_MULTIPART}--b", b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: LENGTH\r\n\r\n"),
    "quoted": (f'{_MULTIPART}"b"', b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: LENGTH\r\n\r\n"),
    "without-length": (f"{_MULTIPART}b", b"--b\r\nContent-Type: image/jpeg\r\n\r\n"),
    "without-type": (f"{_MULTIPART}b", b"--b\r\nContent-Length: LENGTH\r\n\r\n"),
    "line-feeds": (f"{_MULTIPART}b", b"--b\nContent-Type: image/jpeg\nContent-Length: LENGTH\n\n"),
    "lower-case": (f"{_MULTIPART}b", b"--b\r\ncontent-type:image/jpeg\r\ncontent-length:LENGTH\r\n\r\n"),
    "more-headers": (f"{_MULTIPART}b", b"--b\r\nX-Timestamp: 1.5\r\nContent-Type: image/jpeg\r\n\r\n"),
    "jpg": (f"{_MULTIPART}b", b"--b\r\nContent-Type: image/jpg\r\nContent-Length: LENGTH\r\n\r\n"),
    "one-after-the-other": ("video/x-motion-jpeg", b""),
}


def by_source(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    """The events of each source, by its stream id."""
    events: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in outcome.out.splitlines():
        event = json.loads(line)
        events[event["stream_id"]].append(event)
    return events


def make_with_edit_list(folder: Path) -> Path:
    """The first three pictures are left out, though the others are made from them."""
    cut = folder / "edit-list.mp4"
    with (
        av.open(str(make_clip(folder / "uncut.mp4", num_frames=NUM_FRAMES + 3))) as source,
        av.open(str(cut), "w") as to,
    ):
        copy = to.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.dts is not None and packet.time_base is not None:
                shift = round(3 / FPS / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                to.mux(packet)
    return cut


def make_sizes(folder: Path) -> Path:
    """An encoder that changes its size in the middle."""
    parts = [make_clip(folder / f"{width}.ts", num_frames=NUM_FRAMES // 2, width=width) for width in (64, 128)]
    target = folder / "sizes.ts"
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


def make_encrypted_playlist(folder: Path) -> Path:
    """HLS with AES-128, whose key is given."""
    options = {"hls_list_size": "0", "hls_time": "0.4", "hls_enc": "1", "hls_enc_key_url": "hls.m3u8.key"}
    options["hls_enc_key"] = "00112233445566778899aabbccddeeff"
    with contextlib.chdir(folder), av.open("hls.m3u8", "w", format="hls", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(NUM_FRAMES):
            container.mux(stream.encode(video_frame(np.full((48, 64), gray_level(index), np.uint8))))
        container.mux(stream.encode(None))
    assert "METHOD=AES-128" in (folder / "hls.m3u8").read_text()
    return folder / "hls.m3u8"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    folder: Path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: readers leave."""


class Handler(http.server.SimpleHTTPRequestHandler):
    """`/digest/FILE` after a login, `/mjpeg/KIND` for ever, and files."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, directory=str(args[2].folder), **kwargs)

    def do_GET(self) -> None:
        if self.path.startswith("/mjpeg/"):
            self._send_pictures(*MJPEG_KINDS[self.path.rpartition("/")[2]])
        elif self.path.startswith("/digest/") and not self._is_known():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Digest realm="camera", nonce="n", qop="auth", algorithm=MD5')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.path = self.path.removeprefix("/digest")
            super().do_GET()

    def _is_known(self) -> bool:
        def md5(text: str) -> str:
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        given = dict(re.findall(r'(\w+)="?([^",]*)"?', self.headers.get("Authorization", "")))
        login, asked = md5("admin:camera:p@ss/w"), md5(f"GET:{given.get('uri')}")
        return given.get("response") == md5(f"{login}:n:{given.get('nc')}:{given.get('cnonce')}:auth:{asked}")

    def _send_pictures(self, content_type: str, part: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        for index in range(10_000):
            picture = _jpeg(gray_level(index))
            self.wfile.write(part.replace(b"LENGTH", b"%d" % len(picture)) + picture + b"\r\n")
            time.sleep(0.02)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _jpeg(level: int) -> bytes:
    import cv2

    noise = np.random.default_rng(level).integers(0, 20, (48, 64), dtype=np.uint8)
    return cv2.imencode(".jpg", np.full((48, 64), level, np.uint8) + noise)[1].tobytes()


@contextlib.contextmanager
def served(folder: Path, *, is_v6: bool = False) -> Iterator[str]:
    """The beginning of the URL."""

    class OfFamily(Server):
        address_family = socket.AF_INET6 if is_v6 else socket.AF_INET

    OfFamily.folder = folder
    with OfFamily(("::1" if is_v6 else "127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        host = "[::1]" if is_v6 else "127.0.0.1"
        yield f"http://{host}:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_files(tmp_path: Path) -> None:
    options: dict[str, Any] = {"num_frames": NUM_FRAMES}
    make_clip(tmp_path / "rotation.mp4", rotation=90, **options)
    make_with_edit_list(tmp_path)
    make_clip(tmp_path / "variable.mkv", pts_seconds=_VARIABLE, **options)
    make_clip(tmp_path / "fragments.mp4", mux_options={"movflags": "frag_keyframe+empty_moov"}, **options)
    make_clip(tmp_path / "wrap.ts", mux_options={"output_ts_offset": "95442.9"}, **options)
    make_sizes(tmp_path)
    names = ["rotation.mp4", "edit-list.mp4", "variable.mkv", "fragments.mp4", "wrap.ts", "sizes.ts"]
    outcome = run_emostream("analyze", "--json", *(tmp_path / name for name in names))
    assert outcome.code == 0, outcome.err
    events = by_source(outcome)
    found = {name: next(events[key] for key in events if Path(name).stem in key) for name in names}
    for name in names:
        assert [event["frame_index"] for event in found[name]] == list(range(NUM_FRAMES)), name
        times = _VARIABLE if name == "variable.mkv" else [index / FPS for index in range(NUM_FRAMES)]
        assert [event["pts_seconds"] for event in found[name]] == pytest.approx(times, abs=0.045), name
        sizes = {(event["frame_width"], event["frame_height"]) for event in found[name]}
        expected = {(48, 64)} if name == "rotation.mp4" else {(64, 48)}
        assert sizes == expected | ({(128, 48)} if name == "sizes.ts" else set()), name


def test_over_the_network(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.ts", num_frames=NUM_FRAMES)
    make_encrypted_playlist(tmp_path)
    with served(tmp_path) as base:
        digest = f"{base.replace('://', '://admin:p@ss/w@')}/digest/clip.ts"
        outcome = run_emostream("analyze", "--json", digest, f"{base}/hls.m3u8")
    assert outcome.code == 0, outcome.err
    assert "p@ss" not in outcome.out + outcome.err
    assert [len(events) for events in by_source(outcome).values()] == [NUM_FRAMES, NUM_FRAMES]


def test_over_ipv6(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("needs IPv6")
    make_clip(tmp_path / "clip.mp4", num_frames=NUM_FRAMES)
    try:
        with served(tmp_path, is_v6=True) as base:
            outcome = run_emostream("analyze", "--json", f"{base}/clip.mp4")
    except OSError:
        pytest.skip("needs an IPv6 loopback address")
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) == NUM_FRAMES


def test_pictures_one_after_the_other(tmp_path: Path) -> None:
    with served(tmp_path) as base:
        urls = [f"{base}/mjpeg/{kind}" for kind in MJPEG_KINDS]
        outcome = run_emostream("analyze", "--json", "--kind", "live", "--max-frames", "8", *urls)
    assert outcome.code == 0, outcome.err
    events = by_source(outcome)
    assert [len(of_one) for of_one in events.values()] == [8] * len(MJPEG_KINDS)


@pytest.mark.parametrize("name", ["growing.ts", "growing.mkv", "growing.mp4"])
def test_a_recording_that_is_still_written(tmp_path: Path, name: str) -> None:
    """It is read to where it ends by then."""
    fragments = {"movflags": "frag_keyframe+empty_moov"} if name.endswith("mp4") else {}
    live = {"live": "1"} if name.endswith("mkv") else {}
    clip = make_clip(
        tmp_path / f"whole-{name}",
        num_frames=NUM_FRAMES * 4,
        picture=lambda index: textured_picture(index, width=64, height=48),
        mux_options=fragments | live,
    )
    whole = clip.read_bytes()
    growing = tmp_path / name
    growing.write_bytes(whole[: len(whole) // 2])
    command = [sys.executable, "-m", "emostream", "analyze", "--json", str(growing)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.stderr.read() if process.stderr is not None else ""
        with growing.open("ab") as file:
            file.write(whole[len(whole) // 2 :])
        rest, err = list(process.stdout), "" if process.stderr is None else process.stderr.read()
    indexes = [json.loads(line)["frame_index"] for line in [first, *rest]]
    assert process.returncode in (0, 4), err  # 4: its end was in the middle of a picture
    assert indexes == list(range(len(indexes)))
    assert NUM_FRAMES < len(indexes) <= NUM_FRAMES * 4
