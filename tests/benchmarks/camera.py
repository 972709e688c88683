"""How soon is the event of a camera's picture on the page that shows the camera?

    python -m tests.benchmarks.camera [--sessions 2] [--seconds 30]

Interface and worker run as one process, and Chromium sends its cameras, 640×360 at 25 pictures a second, with the
console's own modules; browser and service share the machine. By WebRTC the time has two parts: the age of a picture
when it is decoded at the worker, by the clock that the browser sends (RTCP; read ten times a second), and from then to
the event on the page, of every event. Their quantiles are summed, which is an estimate. By pictures over a WebSocket
it is measured as a whole, from before a picture is made a JPEG.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import psutil
from playwright.sync_api import Browser, sync_playwright

from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.publish.redis.embedded import EmbeddedRedis
from tests.browser import launch_chromium
from tests.service.console.service_process import Service, running_service

_FPS = 25
_WARM_SECONDS = 8.0
_BEGIN = """async (name) => {
  const { startSending } = await import("/console/camera_senders.js");
  const video = document.createElement("video");
  video.muted = true;
  const wanted = { width: 640, height: 360, frameRate: { ideal: 25, max: 25 } };
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
  await video.play();
  window.arrived = [];
  window.sizes = {};
  const now = () => performance.timeOrigin + performance.now();
  const onEvent = (event) => {
    window.arrived.push(now() - Date.parse(event.captured_at));
    const size = `${event.frame_width}×${event.frame_height} with ${event.faces.length} faces`;
    window.sizes[size] = (window.sizes[size] ?? 0) + 1;
  };
  return (await startSending(name, video, { onEvent, onEnd: (reason) => { throw new Error(reason); } })).way;
}"""
_WHOLE = """
  delete window.RTCPeerConnection;
  window.whole = [];
  const Plain = window.WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...args) {
      super(...args);
      this.addEventListener("message", ({ data }) => {
        const { at, event } = JSON.parse(data);
        if (event) window.whole.push(performance.now() - 1000 * at);
      });
    }
  };
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        camera = f"--use-file-for-fake-video-capture={_camera_file(folder)}"
        redis = stack.enter_context(EmbeddedRedis())
        service = stack.enter_context(running_service(redis.url, webrtc={"enabled": True}))
        playwright = stack.enter_context(sync_playwright())
        browser = launch_chromium(
            playwright, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", camera
        )
        print("| way | events/s each | dropped | p50 | p95 | p99 |\n|---|---|---|---|---|---|")
        for is_webrtc in (True, False):
            _measure(browser, service, arguments, is_webrtc=is_webrtc)
        print(f"load of the machine over the last minute: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
        browser.close()


def _camera_file(folder: Path) -> Path:
    """Two real faces that move, as Chromium's camera plays them; of JPEGs it would not know the rate."""
    make_demo_clip(folder / "faces.mp4", num_frames=100, width=640, height=360)
    path = folder / "faces.y4m"
    with av.open(str(folder / "faces.mp4")) as clip, av.open(str(path), "w", format="yuv4mpegpipe") as output:
        stream: Any = output.add_stream("wrapped_avframe", rate=_FPS)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number, frame in enumerate(clip.decode(video=0)):
            picture = frame.reformat(format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, _FPS)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def _measure(browser: Browser, service: Service, arguments: argparse.Namespace, *, is_webrtc: bool) -> None:
    names, pages = [f"camera-{number}" for number in range(arguments.sessions)], []
    with httpx.Client(base_url=service.url, timeout=30) as client:
        for name in names:
            client.post("v1/streams", json={"id": name, "url": "push://"}).raise_for_status()
            page = browser.new_context().new_page()
            if not is_webrtc:
                page.add_init_script(_WHOLE)
            page.goto(service.url)
            way = page.evaluate(_BEGIN, name)
            if is_webrtc != (way == "Sending by WebRTC"):
                raise SystemExit(f"expected another way than: {way}")
            pages.append(page)
        pages[0].wait_for_timeout(1000 * _WARM_SECONDS)
        for page in pages:
            page.evaluate("() => { arrived.length = 0; sizes = {}; if (window.whole) whole.length = 0; }")
        before = [client.get(f"v1/streams/{name}").json()["num_dropped"] for name in names]
        delays: list[float] = []
        began = time.monotonic()
        for _ in range(int(10 * arguments.seconds)):
            pages[0].wait_for_timeout(100)
            shown = [client.get(f"v1/streams/{name}").json() for name in names]
            delays += [item["source_delay_ms"] for item in shown if item["source_delay_ms"] is not None]
        dropped = sum(item["num_dropped"] for item in shown) - sum(before)
        found = [page.evaluate("() => window.whole ?? window.arrived") for page in pages]
        took_seconds = time.monotonic() - began
        sizes = [page.evaluate("() => window.sizes") for page in pages]
        for page in pages:
            page.close()
        for name in names:
            client.delete(f"v1/streams/{name}").raise_for_status()
    times = [time for of_page in found for time in of_page]
    quantiles = np.percentile(times, (50, 95, 99))
    if is_webrtc:
        quantiles += np.percentile(delays, (50, 95, 99))
    rate = len(times) / arguments.sessions / took_seconds
    row = " | ".join(f"{value:.0f} ms" for value in quantiles)
    print(f"| {'WebRTC' if is_webrtc else 'WebSocket'} | {rate:.1f} | {dropped} | {row} |", flush=True)
    print(f"<!-- pictures: {sizes} -->")


if __name__ == "__main__":
    main()
