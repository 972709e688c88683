"""`emostream serve`: runs the service on this machine, or on an existing Ray cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shlex
import signal
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import SecretStr

from emostream.cli.options import ConfigOption, RedisOption, notes, settings_for_command, tell
from emostream.cli.redis_url_file import redis_url_file
from emostream.config import Settings
from emostream.domain.redact import redact, shown_address
from emostream.errors import ConfigError, EmostreamError, SinkUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.publish.registry import check_detached_sinks
from emostream.service.egress.policy import SourcePolicy
from emostream.service.registry.store import RegistryStore

if TYPE_CHECKING:  # an extra
    from emostream.deployments.ray_watch import RayWatch

_READY_TIMEOUT_SECONDS = 120.0  # the detector may have to be pulled first
_POLL_SECONDS = 0.2  # readiness can only be polled over HTTP
_RAY_ON_LOOPBACK = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
"""A Ray instance that no other machine joins: all its ports are on the loopback interface, as on other systems."""
_HTTP, _SOURCES, _EVENTS, _PROCESSES = "HTTP", "Sources", "Events", "Processes"


def serve(
    *,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 for all IPv4 addresses, :: for all IPv6 addresses.",
            metavar="ADDRESS",
            rich_help_panel=_HTTP,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to listen on.", metavar="PORT", rich_help_panel=_HTTP)
    ] = 8000,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            help="Serve HTTPS with this certificate (PEM).",
            exists=True,
            dir_okay=False,
            metavar="FILE",
            rich_help_panel=_HTTP,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            help="Private key of --tls-cert (PEM).",
            exists=True,
            dir_okay=False,
            metavar="FILE",
            rich_help_panel=_HTTP,
        ),
    ] = None,
    media_root: Annotated[
        Path | None,
        typer.Option(
            help="Allow file:// sources under this folder.", file_okay=False, metavar="FOLDER", rich_help_panel=_SOURCES
        ),
    ] = None,
    allow_network: Annotated[
        list[str] | None,
        typer.Option(
            help="Allow sources in this private network, for example 192.168.1.0/24; repeatable.",
            metavar="NETWORK",
            rich_help_panel=_SOURCES,
        ),
    ] = None,
    redis: RedisOption = None,
    redis_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port of the Redis server that is started here, for other programs of this machine; by default a free "
            "one.",
            metavar="PORT",
            rich_help_panel=_EVENTS,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the data of the Redis server that is started here; by default the data is deleted on "
            "exit.",
            metavar="FOLDER",
            rich_help_panel=_EVENTS,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, help="Number of stream workers.", metavar="N", rich_help_panel=_PROCESSES),
    ] = 1,
    shared_classifier: Annotated[
        bool,
        typer.Option(
            "--shared-classifier",
            help="Run one classifier process shared by all workers.",
            rich_help_panel=_PROCESSES,
        ),
    ] = False,
    shared_detector: Annotated[
        bool,
        typer.Option(
            "--shared-detector",
            help="Run one face detector process shared by all workers.",
            rich_help_panel=_PROCESSES,
        ),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            help="Use the Ray cluster at this address instead of starting one.",
            metavar="HOST:PORT",
            rich_help_panel=_PROCESSES,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Run the service until Ctrl-C.

    Add streams over HTTP; receive events over HTTP or from Redis.
    """
    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("HTTPS needs both --tls-cert and --tls-key")
    service: dict[str, Any] = {}
    if media_root is not None:
        service["media_root"] = media_root.resolve()
    if allow_network:
        service["allowed_networks"] = tuple(allow_network)
    settings = settings_for_command(config, redis=redis, **({"service": service} if service else {}))
    SourcePolicy(settings.service)  # report invalid networks and sinks here instead of in a worker
    check_detached_sinks(settings.publish)
    own_redis = settings.publish.redis_url
    if own_redis is not None and not settings.service.name:
        named = settings.service.model_copy(update={"name": f"{platform.node()}:{port}"})
        settings = settings.model_copy(update={"service": named})
    if own_redis is not None and redis_port is not None:
        raise ConfigError("--redis-port is of the server that serve starts itself; leave out either it or --redis")
    phase = _PhaseLines()
    with (
        _stopped_by_signals() as stopped,
        _redis(settings, phase, port=redis_port, data_dir=data_dir, address=address) as (redis_url, url_file),
    ):
        publish = settings.publish.model_copy(update={"redis_url": SecretStr(redis_url)})
        settings = settings.model_copy(update={"publish": publish})
        with _ray_app(
            settings,
            host=host,
            port=port,
            num_workers=workers,
            address=address,
            shared_classifier=shared_classifier,
            shared_detector=shared_detector,
            tls=(tls_cert.resolve(), tls_key.resolve()) if tls_cert and tls_key else None,
            stopped=stopped,
            on_phase=phase,
        ) as watch:
            base = _base_url("https" if tls_cert else "http", host=host, port=port)
            phase("waiting for the first answer")
            _wait_until_ready(base, stopped=stopped)
            if not stopped.is_set():
                _print_addresses(
                    base,
                    redis_url=redis_url,
                    url_file=url_file,
                    has_tokens=bool(settings.service.tokens or settings.service.tokens_file),
                )
                stopped.wait()
            if watch.why_gone:
                raise EmostreamError(
                    f"{watch.why_gone}, so the service stopped; start it again. Ray's logs are in "
                    "the folder /tmp/ray/session_latest/logs; a common reason is lack of memory"
                )
            notes.print("stopping: releasing streams and delivering events")
    notes.print("stopped")


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set while the context is open, instead of ending the program."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _PhaseLines:
    """Prints each phase of the start with the time since its beginning."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, what: str) -> None:
        tell(f"{time.monotonic() - self._started:5.1f} s  {what}")


@contextlib.contextmanager
def _redis(
    settings: Settings, phase: _PhaseLines, *, port: int | None, data_dir: Path | None, address: str | None
) -> Iterator[tuple[str, Path | None]]:
    """URL of the configured Redis server, or of an embedded one with the file in which other programs find it."""
    if settings.publish.redis_url is not None:
        url = settings.publish.redis_url.get_secret_value()
        phase(f"looking for Redis at {shown_address(url)}")
        asyncio.run(_check_redis(settings, url=url))
        yield url, None
        return
    if address is not None:
        raise ConfigError("a service on a cluster needs a Redis server that all machines can reach: use --redis URL")
    max_memory_bytes = settings.publish.embedded_max_memory_bytes
    phase("starting a Redis server on this machine")
    with (
        EmbeddedRedis(data_dir=data_dir, port=port, is_restarted=True, max_memory_bytes=max_memory_bytes) as server,
        contextlib.ExitStack() as stack,
    ):
        try:
            url_file: Path | None = stack.enter_context(redis_url_file(server.url, port=server.port))
        except OSError as exc:
            url_file = None
            tell(f"the URL of the Redis server cannot be written to a file ({exc}): read events over HTTP")
        yield server.url, url_file


async def _check_redis(settings: Settings, *, url: str) -> None:
    """Check the server once here, before the workers report the same problem repeatedly."""
    sink = RedisSink(settings.publish, redis_url=url)
    try:
        await sink.check()
    except SinkUnavailableError as exc:  # it may start later, or be reachable only from the cluster's machines
        tell(redact(str(exc)))
        return
    finally:
        await sink.close()
    async with RegistryStore(settings.publish, redis_url=url) as store:
        await store.claim(settings.service.name)


@contextlib.contextmanager
def _ray_app(settings: Settings, **options: Any) -> Iterator[RayWatch]:
    """Run Ray and the application; options and result as for `running_app`."""
    if options["address"] is None:  # Ray reads it when it is imported
        os.environ.setdefault(*_RAY_ON_LOOPBACK)
    try:
        from emostream.deployments.local import running_app
    except ImportError as exc:
        raise ConfigError(
            f"the service needs packages that are not installed ({exc.name}): pip install 'emostream[serve]'"
        ) from exc
    with running_app(settings, **options) as watch:
        yield watch


def _base_url(scheme: str, *, host: str, port: int) -> str:
    """URL of the service as seen from this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"{scheme}://{f'[{reached}]' if ':' in reached else reached}:{port}"


def _wait_until_ready(base: str, *, stopped: threading.Event) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while not stopped.is_set() and not _is_ready(base):
        if time.monotonic() > deadline:
            raise EmostreamError(
                f"the service did not become ready within {_READY_TIMEOUT_SECONDS:g} s; run it with "
                "EMOSTREAM_LOG_LEVEL=info for details"
            )
        stopped.wait(_POLL_SECONDS)


def _is_ready(base: str) -> bool:
    # Only checks that our own service answers; its certificate is for another host name.
    context = ssl._create_unverified_context() if base.startswith("https") else None  # noqa: S323
    try:
        with urllib.request.urlopen(f"{base}/readyz", timeout=5, context=context) as response:  # noqa: S310
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _print_addresses(base: str, *, redis_url: str, url_file: Path | None, has_tokens: bool) -> None:
    """Print where the service is, without passwords."""
    lines = [
        f"ready: {base}/ (console), {base}/v1/streams (HTTP API, documentation at {base}/docs)",
        f"events: {base}/v1/streams/STREAM/events, and in Redis at {shown_address(redis_url)}",
    ]
    if url_file is not None:
        lines += [
            f"its URL with the password, for programs of yours on this machine: {url_file}",
            f"for example: EMOSTREAM_PUBLISH__REDIS_URL=$(cat {shlex.quote(str(url_file))}) emostream tail",
        ]
    if not has_tokens:
        lines.append("there is no access control: `emostream token new` makes a token and says how to require it")
    for line in [*lines, "press Ctrl-C to stop"]:
        tell(line)
