"""Benchmarks the service: its overhead over the plain pipeline, start-up time and response times."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr

from emostream.cli.bench.camera import NetworkCamera
from emostream.cli.bench.machine import describe_machine
from emostream.client.http.client import ServiceClient
from emostream.config import PublishSettings, Settings
from emostream.domain.clock import utc_now
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import ConfigError, EmostreamError
from emostream.pipeline.build import Models, build_pipeline, load_models, new_epoch
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink

_WARM_UP_SECONDS = 3.0
_OPENING_SECONDS = 1.0  # between claiming a stream and receiving its packets
_READY_SECONDS = 120.0
_FILE_SECONDS = 600.0
_REQUESTS_PER_SECOND = 50
_POLL_SECONDS = 0.2  # polling uses the service's time as well


@dataclass(frozen=True, slots=True)
class ServiceBenchmark:
    """Result for a service on this machine: Ray, one stream worker, a Redis-compatible server.

    Attributes:
        ready_seconds: from the start of Ray until the service is ready.
        first_event_seconds: from a camera's first key frame to its first event over HTTP.
        num_files, num_frames: clips processed at the same time, and their total number of frames.
        plain_fps, plain_fps_runs: frames per second of the plain pipelines in one process; median and each run.
        service_fps, service_fps_runs: the same for the service.
        cost_ratio: relative loss of throughput; 0.1 is ten per cent.
        num_streams, seconds: number of cameras, and duration of the measurement.
        camera_fps: frames per second that each camera sends.
        live_fps: frames per second published, per camera.
        num_dropped: frames dropped, over all cameras.
        latency_ms: capture to Redis, mean over the last seconds, of the slowest camera.
        api_requests: number of read requests during the measurement, at 50 per second.
        api_ms: percentiles of their response times.
        machine: description of the machine.
    """

    ready_seconds: float
    first_event_seconds: float
    num_files: int
    num_frames: int
    plain_fps: float
    plain_fps_runs: tuple[float, ...]
    service_fps: float
    service_fps_runs: tuple[float, ...]
    cost_ratio: float
    num_streams: int
    seconds: float
    camera_fps: float
    live_fps: float
    num_dropped: int
    latency_ms: float
    api_requests: int
    api_ms: dict[str, float]
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-compatible values."""
        return asdict(self)


def bench_service(
    video: Path,
    *,
    settings: Settings,
    num_files: int = 4,
    num_streams: int = 4,
    seconds: float = 15.0,
    num_runs: int = 3,
) -> ServiceBenchmark:
    """Run the benchmark; takes a few minutes.

    Args:
        video: the clip, used as file and by each simulated camera.
        settings: all settings; some service settings are replaced.
        num_files: copies processed at the same time.
        num_streams: number of simulated cameras.
        seconds: duration of the camera measurement.
        num_runs: number of runs with files; medians are reported.

    Raises:
        ConfigError: the service's packages are not installed.
        EmostreamError: the service did not start, or a stream failed.
    """
    with EmbeddedRedis() as redis:
        plain_runs = asyncio.run(_plain_runs(video, settings, num_files=num_files, num_runs=num_runs, url=redis.url))
        ports = [_free_port(socket.SOCK_DGRAM) for _ in range(num_streams)]
        service = settings.service.model_copy(
            update={"media_root": video.resolve().parent, "udp_ports": tuple(ports), "max_requests_per_second": 0.0}
        )
        publish = settings.publish.model_copy(update={"redis_url": SecretStr(redis.url)})
        started = time.monotonic()
        with _running(settings.model_copy(update={"service": service, "publish": publish})) as client:
            ready_seconds = time.monotonic() - started
            _files_run(client, video, names=["warm-up"], url=redis.url)
            named = [[f"file-{run}-{number}" for number in range(num_files)] for run in range(num_runs)]
            runs = [_files_run(client, video, names=names, url=redis.url) for names in named]
            live = _live_run(client, video, ports=ports, seconds=seconds, url=redis.url)
    plain_fps = statistics.median(rate for rate, _ in plain_runs)
    service_fps = statistics.median(rate for rate, _ in runs)
    return ServiceBenchmark(
        ready_seconds=ready_seconds,
        num_files=num_files,
        num_frames=runs[0][1],
        plain_fps=plain_fps,
        plain_fps_runs=tuple(rate for rate, _ in plain_runs),
        service_fps=service_fps,
        service_fps_runs=tuple(rate for rate, _ in runs),
        cost_ratio=1 - service_fps / plain_fps,
        num_streams=num_streams,
        seconds=seconds,
        machine=describe_machine(),
        **live,
    )


def bench_shared_calls(settings: Settings, *, num_streams: int, seconds: float) -> dict[str, Any]:
    """Processor time that a crop costs a worker, at home and by the shared classifier; see `CallCosts`.

    Raises:
        ConfigError: the service's packages are not installed.
        EmostreamError: Ray did not start, or the model cannot be used.
    """
    try:
        from emostream.deployments.call_costs import measure_call_costs
    except ImportError as exc:
        raise ConfigError(f"the service needs {exc.name}: pip install 'emostream[serve]'") from exc
    return measure_call_costs(settings, num_streams=num_streams, seconds=seconds).as_dict()


# --- files ------------------------------------------------------------------------------------------------------------


async def _plain_runs(
    video: Path, settings: Settings, *, num_files: int, num_runs: int, url: str
) -> list[tuple[float, int]]:
    models = await asyncio.to_thread(load_models, settings)
    try:
        async with RedisSink(settings.publish, redis_url=url) as sink:
            await _plain_run(video, settings, names=["plain-warm-up"], models=models, sink=sink)
            runs = []
            for run in range(num_runs):
                names = [f"plain-{run}-{number}" for number in range(num_files)]
                num_frames = await _plain_run(video, settings, names=names, models=models, sink=sink)
                runs.append((num_frames / await _seconds_of(names, url=url), num_frames))
            return runs
    finally:
        models.close()


async def _plain_run(video: Path, settings: Settings, *, names: Sequence[str], models: Models, sink: RedisSink) -> int:
    """Process all files and return their total number of frames."""
    epoch = new_epoch()
    pipelines = [
        build_pipeline(
            StreamSpec(name, str(video), StreamKind.FILE), settings=settings, models=models, sink=sink, epoch=epoch
        )
        for name in names
    ]
    stats = await asyncio.gather(*(pipeline.run() for pipeline in pipelines))
    return sum(each.num_frames for each in stats)


def _files_run(client: ServiceClient, video: Path, *, names: Sequence[str], url: str) -> tuple[float, int]:
    """Process the files through the service. Returns frames per second and number of frames."""
    for name in names:
        client.add(f"file://{video.resolve()}", stream_id=name)
    _until(lambda: all(client.show(name).state.is_final for name in names), seconds=_FILE_SECONDS)
    views = [client.show(name) for name in names]
    for view in views:
        if view.state is StreamState.FAILED:
            raise EmostreamError(f"stream {view.id} failed: {view.detail}")
        client.remove(view.id)
    num_frames = sum(view.num_frames for view in views)
    return num_frames / asyncio.run(_seconds_of(names, url=url)), num_frames


async def _seconds_of(names: Sequence[str], *, url: str) -> float:
    """Time from the first start to the last end of these streams, by their status events."""
    events = await _read(url, stream_ids=[], with_status=True)
    told = [event for event in events if isinstance(event, StatusEvent) and event.stream_id in names]
    begun = min(event.at for event in told if event.state is StreamState.RUNNING)
    ended = max(event.at for event in told if event.state is StreamState.ENDED)
    return (ended - begun).total_seconds()


async def _events_of(names: Sequence[str], *, url: str) -> list[EmotionEvent]:
    return [event for event in await _read(url, stream_ids=names) if isinstance(event, EmotionEvent)]


async def _read(url: str, *, stream_ids: Sequence[str], with_status: bool = False) -> list[EmotionEvent | StatusEvent]:
    """All events published so far."""
    async with RedisReader(
        PublishSettings(), redis_url=url, stream_ids=stream_ids, start="start", follow=False, with_status=with_status
    ) as reader:
        return [entry.event async for entry in reader]


# --- cameras ----------------------------------------------------------------------------------------------------------


def _live_run(client: ServiceClient, video: Path, *, ports: Sequence[int], seconds: float, url: str) -> dict[str, Any]:
    with contextlib.ExitStack() as cameras:
        names = [f"camera-{number}" for number in range(len(ports))]
        for name, port in zip(names, ports, strict=True):
            client.add(f"udp://:{port}", stream_id=name)
        _until(
            lambda: all(client.show(name).state is not StreamState.PENDING for name in names), seconds=_READY_SECONDS
        )
        time.sleep(_OPENING_SECONDS)
        # A camera starts with a key frame, so the time is measured from here.
        sending = [cameras.enter_context(NetworkCamera(video, port=port)) for port in ports]
        started = time.monotonic()
        next(client.events(names[0], start="start"))
        first_event_seconds = time.monotonic() - started
        _until(lambda: all(client.show(name).num_frames > 0 for name in names), seconds=_READY_SECONDS)
        time.sleep(_WARM_UP_SECONDS)
        begun = utc_now()
        api_ms = _read_for(client, names, seconds=seconds)
        over = utc_now()
        after = [client.show(name) for name in names]
        for name in names:
            client.remove(name)
    events = [event for event in asyncio.run(_events_of(names, url=url)) if begun <= event.captured_at < over]
    return {
        "first_event_seconds": first_event_seconds,
        "camera_fps": sending[0].fps,
        "live_fps": len(events) / (over - begun).total_seconds() / len(names),
        "num_dropped": sum(event.num_dropped for event in events),
        "latency_ms": max(view.latency_ms or 0.0 for view in after),
        "api_requests": len(api_ms),
        "api_ms": {f"p{level}": float(np.percentile(api_ms, level)) for level in (50, 95, 99)},
    }


def _read_for(client: ServiceClient, names: Sequence[str], *, seconds: float) -> list[float]:
    """Milliseconds of each response at a constant request rate (requests do not wait for one another)."""

    def read(number: int) -> float:
        started = time.perf_counter()
        if number % 5:
            client.show(names[number % len(names)])
        else:
            list(client.streams())
        return 1000 * (time.perf_counter() - started)

    begun = time.monotonic()
    reads = []
    with ThreadPoolExecutor(max_workers=16) as pool:
        for number in range(round(seconds * _REQUESTS_PER_SECOND)):
            time.sleep(max(0.0, begun + number / _REQUESTS_PER_SECOND - time.monotonic()))
            reads.append(pool.submit(read, number))
    return [each.result() for each in reads]  # raises when a request failed


# --- the service ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _running(settings: Settings) -> Iterator[ServiceClient]:
    try:
        from emostream.deployments.local import running_app
    except ImportError as exc:
        raise ConfigError(f"the service needs {exc.name}: pip install 'emostream[serve]'") from exc
    port = _free_port(socket.SOCK_STREAM)
    with running_app(settings, host="127.0.0.1", port=port, num_workers=1, address=None):
        client = ServiceClient(f"http://127.0.0.1:{port}")
        _until(lambda: _is_ready(client), seconds=_READY_SECONDS)
        yield client


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(client: ServiceClient) -> bool:
    try:
        return client.readiness().ready
    except EmostreamError:
        return False


def _until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise EmostreamError(f"timeout: the service did not reach the expected state within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
