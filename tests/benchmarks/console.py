"""What does the console cost, and how soon can it be used?

    python -m tests.benchmarks.console [--seconds 10] [--width 640 --height 360]

Interface and worker run as one process with four live cameras on loopback, 10 frames a second each. Processor time of
that process and of Redis is taken per frame, while nobody looks and while one connection gets the pictures of all four:
the difference is what pictures cost, also where the machine is too busy for all frames. Before that, while the streams
are paused, Chromium opens the console several times; usable is the moment when the first stream stands in the list. On
a busy machine that says more about the others' work; the processor time of service and browser does not.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
from playwright.sync_api import sync_playwright

from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.publish.redis.embedded import EmbeddedRedis
from tests.browser import launch_chromium
from tests.service.console.service_process import Service, running_service
from tests.service.mjpeg_server import jpegs_of, mjpeg_server

_CAMERAS = ("door", "hall", "lobby", "yard")
_NUM_LOADS = 7
_NUM_ROUNDS = 5  # each without and with a viewer: other programs' work changes with time


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clip = folder / "faces.mp4"
        make_demo_clip(clip, num_frames=100, width=arguments.width, height=arguments.height)
        pictures = jpegs_of(clip)
        redis = stack.enter_context(EmbeddedRedis())
        service = stack.enter_context(running_service(redis.url, service={"allowed_networks": ["127.0.0.0/8"]}))
        for name in _CAMERAS:
            url = stack.enter_context(mjpeg_server(pictures=pictures))
            wish = {"id": name, "url": url, "kind": "live", "target_fps": 10, "paused": True}
            httpx.post(f"{service.url}v1/streams", json=wish, timeout=30).raise_for_status()
        _wait_until_running(service)
        _measure_loading(service)
        for name in _CAMERAS:
            httpx.patch(f"{service.url}v1/streams/{name}", json={"paused": False}, timeout=30).raise_for_status()
        _wait_until_running(service)
        _measure_previews(service, seconds=arguments.seconds)


def _wait_until_running(service: Service) -> None:
    while True:
        streams = httpx.get(f"{service.url}v1/streams", timeout=30).json()["streams"]
        if all(stream["state"] == "running" for stream in streams):
            time.sleep(5)
            return
        time.sleep(0.5)


def _measure_previews(service: Service, *, seconds: float) -> None:
    per_picture: list[float] = []
    per_second: list[float] = []
    for _ in range(_NUM_ROUNDS):
        alone, num_frames = _cpu(service, seconds=seconds)
        per_frame = alone / num_frames
        with _viewer(service) as num_parts:
            before = num_parts[0]
            spent, num_frames = _cpu(service, seconds=seconds)
            num_pictures = (num_parts[0] - before) / 2
        if not num_pictures:
            print("  no picture in this round: the machine is too busy")
            continue
        per_picture.append((spent - per_frame * num_frames) / num_pictures)
        per_second.append(num_pictures / seconds)
        print(f"  {1000 * per_frame:.2f} ms per frame, {1000 * per_picture[-1]:.2f} ms per picture")
    each = statistics.median(per_picture)
    print(
        f"4 previews: {1000 * each:.2f} ms per picture, {statistics.median(per_second):.0f} of 40 a second shown here"
    )
    print(f"40 pictures a second are {100 * 40 * each:.1f} % of a core")


@contextlib.contextmanager
def _viewer(service: Service) -> Iterator[list[int]]:
    """One who looks at all four; the number of parts so far, two for each picture."""
    num_parts = [0]
    stopping = threading.Event()
    viewer = threading.Thread(target=_look, args=(service, num_parts, stopping))
    viewer.start()
    time.sleep(3)
    yield num_parts
    stopping.set()
    viewer.join()
    time.sleep(4)  # until the worker makes none


def _look(service: Service, num_parts: list[int], stopping: threading.Event) -> None:
    query = httpx.QueryParams([("stream", name) for name in _CAMERAS])
    with httpx.stream("GET", f"{service.url}v1/previews?{query}", timeout=60) as response:
        for chunk in response.iter_raw():
            num_parts[0] += chunk.count(b"--frame\r\n")
            if stopping.is_set():
                return


def _cpu(service: Service, *, seconds: float) -> tuple[float, int]:
    """Processor seconds of the service and of Redis in so many seconds, and frames published in them."""
    assert service.process is not None
    here = psutil.Process()
    processes = [psutil.Process(service.process.pid), *(each for each in here.children() if "server" in each.name())]

    def total() -> tuple[float, int]:
        streams = httpx.get(f"{service.url}v1/streams", timeout=30).json()["streams"]
        times = sum(sum(process.cpu_times()[:2]) for process in processes)
        return times, sum(stream["num_frames"] for stream in streams)

    before_seconds, before_frames = total()
    time.sleep(seconds)
    after_seconds, after_frames = total()
    return after_seconds - before_seconds, after_frames - before_frames


def _cpu_of_children() -> float:
    """Processor seconds of all that this process started: service, Redis, browser."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:2])
    return total


def _measure_loading(service: Service) -> None:
    took_ms: list[float] = []
    spent_ms: list[float] = []
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        for _ in range(_NUM_LOADS):
            page = browser.new_context().new_page()
            before = _cpu_of_children()
            page.goto(service.url, wait_until="commit")
            page.wait_for_selector(".stream-name", state="attached")
            took_ms.append(page.evaluate("performance.now()"))
            spent_ms.append(1000 * (_cpu_of_children() - before))
            page.context.close()
        browser.close()
    span = f"{min(took_ms):.0f} to {max(took_ms):.0f}, {_NUM_LOADS} loads"
    print(f"usable after {statistics.median(took_ms):.0f} ms ({span})")
    print(f"processor time of a load, service and browser: {statistics.median(spent_ms):.0f} ms")


if __name__ == "__main__":
    main()
