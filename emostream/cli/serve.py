"""`emostream serve`: runs the service on this machine, or on an existing Ray cluster."""

from __future__ import annotations

import asyncio
import contextlib
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

from emostream.cli.options import ConfigOption, RedisOption, notes, settings_for_command
from emostream.config import Settings
from emostream.domain.redact import redact, shown_address
from emostream.errors import ConfigError, EmostreamError, SinkUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.publish.registry import check_detached_sinks
from emostream.service.egress.policy import SourcePolicy

if TYPE_CHECKING:  # an extra
    from emostream.deployments.ray_watch import RayWatch

_READY_TIMEOUT_SECONDS = 120.0  # the detector may have to be pulled first
_POLL_SECONDS = 0.2  # readiness can only be polled over HTTP


def serve(
    *,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 for all IPv4 addresses, :: for all IPv6 addresses.", metavar="ADDRESS"
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.", metavar="PORT")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of stream workers.", metavar="N")] = 1,
    media_root: Annotated[
        Path | None, typer.Option(help="Allow file:// sources under this folder.", file_okay=False, metavar="FOLDER")
    ] = None,
    allow_network: Annotated[
        list[str] | None,
        typer.Option(help="Allow sources in this private network; repeatable.", metavar="CIDR"),
    ] = None,
    redis: RedisOption = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the embedded Redis server's data; by default the data is deleted on exit.",
            metavar="FOLDER",
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Use the Ray cluster at this address instead of starting one.", metavar="ADDRESS")
    ] = None,
    shared_classifier: Annotated[
        bool, typer.Option("--shared-classifier", help="Run one classifier process shared by all workers.")
    ] = False,
    shared_detector: Annotated[
        bool, typer.Option("--shared-detector", help="Run one face detector process shared by all workers.")
    ] = False,
    tls_cert: Annotated[
        Path | None,
        typer.Option(help="Serve HTTPS with this certificate (PEM).", exists=True, dir_okay=False, metavar="FILE"),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key of --tls-cert (PEM).", exists=True, dir_okay=False, metavar="FILE")
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
    with _stopped_by_signals() as stopped, _redis(settings, data_dir=data_dir, address=address) as redis_url:
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
        ) as watch:
            base = _base_url("https" if tls_cert else "http", host=host, port=port)
            _wait_until_ready(base, stopped=stopped)
            if not stopped.is_set():
                _print_addresses(base, redis_url=own_redis, has_tokens=bool(settings.service.tokens))
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


@contextlib.contextmanager
def _redis(settings: Settings, *, data_dir: Path | None, address: str | None) -> Iterator[str]:
    """URL of the configured Redis server, or of an embedded one."""
    if settings.publish.redis_url is not None:
        url = settings.publish.redis_url.get_secret_value()
        asyncio.run(_check_redis(settings, url=url))
        yield url
        return
    if address is not None:
        raise ConfigError("a service on a cluster needs a Redis server that all machines can reach: use --redis URL")
    max_memory_bytes = settings.publish.embedded_max_memory_bytes
    with EmbeddedRedis(data_dir=data_dir, is_restarted=True, max_memory_bytes=max_memory_bytes) as server:
        yield server.url


async def _check_redis(settings: Settings, *, url: str) -> None:
    """Check the server once here, before the workers report the same problem repeatedly."""
    sink = RedisSink(settings.publish, redis_url=url)
    try:
        await sink.check()
    except SinkUnavailableError as exc:  # it may start later, or be reachable only from the cluster's machines
        notes.print(redact(str(exc)), markup=False)
    finally:
        await sink.close()


@contextlib.contextmanager
def _ray_app(settings: Settings, **options: Any) -> Iterator[RayWatch]:
    """Run Ray and the application; options and result as for `running_app`."""
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


def _print_addresses(base: str, *, redis_url: SecretStr | None, has_tokens: bool) -> None:
    """Print the service's addresses. `redis_url` is the user's own server; the embedded one's password stays secret."""
    in_redis = "in Redis, if you set --redis" if redis_url is None else shown_address(redis_url.get_secret_value())
    lines = [
        f"ready: {base}/ (console), {base}/v1/streams (HTTP API, documentation at {base}/docs)",
        f"events: {base}/v1/streams/STREAM/events, and {in_redis}",
        *([] if has_tokens else ["there is no access control: set service.tokens to require a token"]),
        "press Ctrl-C to stop",
    ]
    for line in lines:
        notes.print(line, markup=False, soft_wrap=True)
