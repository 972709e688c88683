"""`emostream analyze` of a camera that goes away and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.ports import unused_port
from tests.service.rtsp import need_gstreamer, rtsp_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NUM_FRAMES = 150


def test_a_camera_that_comes_back_is_watched_on() -> None:
    need_gstreamer()
    port = unused_port()
    command = [sys.executable, "-m", "emostream", "analyze", f"rtsp://127.0.0.1:{port}/live", "--json"]
    with rtsp_server(port):
        process = subprocess.Popen(
            [*command, "--max-frames", str(NUM_FRAMES)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20)]
    time.sleep(1)
    with rtsp_server(port):
        out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    events = [json.loads(line) for line in lines + out.splitlines()]
    indexes = [event["frame_index"] for event in events]
    assert indexes == sorted(set(indexes))
    assert len(events) + sum(event["num_dropped"] for event in events) >= NUM_FRAMES - 8  # some may wait at the end
    assert {event["epoch"] for event in events} == {events[0]["epoch"]}
    assert "reconnecting" in err
