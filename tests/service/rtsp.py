"""Starts the RTSP server of `rtsp_server.py`."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_PYTHON = "/usr/bin/python3"
_CHECK = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst; Gst.init(None); "
_ELEMENTS = "assert all(Gst.ElementFactory.find(name) for name in ('x264enc', 'rtph264pay', 'h264parse', 'rtspsrc'))"


def need_gstreamer() -> None:
    """Skip the test where the server cannot run."""
    if (
        not Path(_PYTHON).exists()
        or subprocess.run([_PYTHON, "-c", _CHECK + _ELEMENTS], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs GStreamer's RTSP server: run tests/install-debian-packages.sh")


@contextlib.contextmanager
def rtsp_server(port: int = 0, *, width: int = 320, height: int = 180, fps: int = 25) -> Iterator[str]:
    """The URL of a live stream, for as long as the context lasts; then its server is killed. Port 0: a free one."""
    script = Path(__file__).with_name("rtsp_server.py")
    process = subprocess.Popen(
        [_PYTHON, str(script), str(port), str(width), str(height), str(fps)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        said, _, bound_port = process.stdout.readline().strip().partition(" ")
        assert said == "ready", f"the RTSP server did not get port {port}"
        yield f"rtsp://127.0.0.1:{bound_port}/live"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
