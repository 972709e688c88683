"""Runs the application from a program, on a new local Ray instance or an existing cluster."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.config import HTTPOptions
from ray.serve.exceptions import RayServeException

from emostream.config import Settings
from emostream.deployments.app import bind_app
from emostream.deployments.http_proxy import ENVIRONMENT as PROXY_ENVIRONMENT
from emostream.deployments.ray_watch import RayWatch
from emostream.errors import ConfigError, EmostreamError

# Ray's message when a node did not join in time, in a plain `Exception`.
_SLOW = "timed out during startup"
# The last error of this package in a traceback from a replica.
_OURS = re.compile(r"^emostream\.errors\.\w+: (.*)\Z", re.MULTILINE | re.DOTALL)


def is_slow_start(exc: Exception) -> bool:
    """Whether Ray's start timed out, so that another attempt may succeed."""
    return _SLOW in str(exc)


def error_of_ray(exc: Exception, *, address: str | None) -> EmostreamError:
    """Translate an error of `ray.init`.

    Args:
        exc: the error.
        address: of the requested cluster; None for a local Ray instance.
    """
    reason = _first_line(exc)
    if address is not None:
        return ConfigError(
            f"cannot use a Ray cluster at {address}: {reason.rstrip('.')}; "
            "if there is one, set RAY_AUTH_TOKEN to its token"
        )
    if is_slow_start(exc):
        return EmostreamError(
            "Ray did not start within its limit of 30 s, twice in a row: this machine is too busy or low on memory. "
            "Stop other programs and try again; Ray's logs are in /tmp/ray/session_latest/logs"
        )
    return EmostreamError(f"Ray did not start on this machine: {reason}")


def error_of_app(exc: BaseException, *, told: Mapping[str, str]) -> EmostreamError:
    """Translate an error of the application's start.

    Args:
        exc: raised by `serve.run`.
        told: deployment name → Serve's message about it, usually a traceback.
    """
    for name, text in told.items():
        if (ours := _OURS.search(text)) is not None:
            return EmostreamError(f"{name} did not start: {ours.group(1).strip()}")
        if text:
            return EmostreamError(f"{name} did not start: {text.strip().splitlines()[-1]}")
    return EmostreamError(
        f"the application did not start: {_first_line(exc)}; run it with EMOSTREAM_LOG_LEVEL=info for details"
    )


def _first_line(exc: BaseException) -> str:
    return next(iter(str(exc).splitlines()), "") or type(exc).__name__


logger = logging.getLogger(__name__)

APP_NAME = "emostream"

# Workers release their streams within one or two seconds. A replica that is still starting cannot be stopped and ends
# with Ray instead.
_STOP_SECONDS = 6.0
# Replicas load models, and may first wait for a machine that the cluster adds.
_APP_SECONDS = 300.0
_GONE_SECONDS = 15.0  # measured: 2 s without a raylet, 7 s without a head
_POLL_SECONDS = 0.2  # Serve has no notification that an application is running
_RAY_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_START_ATTEMPTS = 2  # Ray's limit of 30 s may be too short on a machine that starts other programs as well


@contextlib.contextmanager
def running_app(
    settings: Settings,
    *,
    host: str,
    port: int,
    num_workers: int,
    address: str | None,
    shared_classifier: bool = False,
    shared_detector: bool = False,
    tls: tuple[Path, Path] | None = None,
    stopped: threading.Event | None = None,
    on_phase: Callable[[str], None] = lambda what: None,
) -> Iterator[RayWatch]:
    """Run the application while the context is open; a Ray instance that was started for it ends as well.

    Yields a `RayWatch`, which says whether Ray ended meanwhile.

    Args:
        settings: all settings, including the Redis URL.
        host, port: address of the HTTP API.
        num_workers: number of stream worker replicas.
        address: of an existing Ray cluster; None starts a local instance.
        shared_classifier: classify in a separate deployment.
        shared_detector: detect faces in a separate deployment.
        tls: certificate and private key (PEM), for HTTPS.
        stopped: stops waiting for the application when it is set; also set when Ray has ended.
        on_phase: called with the phase that begins, from several threads.

    Raises:
        ConfigError: the port is in use, or there is no cluster at the address.
        EmostreamError: Ray or a deployment did not start.
    """
    if address is None:
        _check_port(host, port)
    on_phase("starting Ray on this machine" if address is None else f"joining the Ray cluster at {address}")
    _start_ray(settings, address=address)
    stopped = stopped or threading.Event()
    watch = RayWatch(stopped)
    try:
        app = bind_app(
            settings,
            shared_classifier=shared_classifier,
            shared_detector=shared_detector,
            num_workers=num_workers,
        )
        certificate, key = (str(tls[0]), str(tls[1])) if tls else (None, None)
        http_options = HTTPOptions(host=host, port=port, ssl_certfile=certificate, ssl_keyfile=key)
        with watch:
            try:
                on_phase(f"starting the HTTP server on {host}, port {port}")
                num_shown = f"{num_workers} worker{'s' if num_workers > 1 else ''}"
                _start_app(
                    app,
                    http_options=http_options,
                    stopped=stopped,
                    on_http=lambda: on_phase(f"starting the application with {num_shown}, which load the models"),
                )
                yield watch
            finally:
                if not watch.why_gone:
                    _delete_app(timeout_seconds=_STOP_SECONDS if address is None else None)
    finally:
        _end_ray(is_gone=bool(watch.why_gone))


@contextlib.contextmanager
def running_ray(settings: Settings) -> Iterator[None]:
    """A Ray instance of this machine, without the application, while the context is open.

    Raises:
        EmostreamError: Ray did not start.
    """
    _start_ray(settings, address=None)
    try:
        yield
    finally:
        ray.shutdown()


def _end_ray(*, is_gone: bool) -> None:
    """Disconnect from Ray, and end a local instance. When Ray has ended, the call may hang, so it has a time-out."""
    if not is_gone:
        ray.shutdown()
        return
    ending = threading.Thread(target=ray.shutdown, daemon=True)
    ending.start()
    ending.join(_GONE_SECONDS)


def _start_ray(settings: Settings, *, address: str | None) -> None:
    if address is None:
        # All processes of this Ray instance inherit these.
        os.environ.setdefault(*PROXY_ENVIRONMENT)
        if not any(map(os.environ.get, _RAY_TOKENS)):
            # Ray requires a token by default; the one that it would generate is world-readable in the home folder.
            os.environ[_RAY_TOKENS[0]] = secrets.token_hex(32)
    for attempts_left in reversed(range(_START_ATTEMPTS)):
        try:
            with _own_signal_handlers():
                ray.init(
                    address=address or "local",
                    include_dashboard=False if address is None else None,
                    log_to_driver=settings.log_level in ("debug", "info"),
                    logging_level=logging.ERROR,
                    configure_logging=True,
                )
            return
        except Exception as exc:  # of many types, including plain `Exception`
            ray.shutdown()
            if not is_slow_start(exc) or attempts_left == 0:
                raise error_of_ray(exc, address=address) from exc
            logger.warning("Ray did not start within its limit of 30 s; trying once more")


def _start_app(
    app: Application, *, http_options: HTTPOptions, stopped: threading.Event, on_http: Callable[[], None]
) -> None:
    """Start the application; return when it is running, or `stopped` is set.

    `on_http` is called in another thread, when the HTTP server has been started.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    started: Future[None] = Future()

    def start() -> None:
        try:
            serve.start(http_options=http_options)
            on_http()
            serve.run(app, name=APP_NAME, route_prefix="/")
            started.set_result(None)
        except Exception as exc:  # raised below
            started.set_exception(exc)

    # In a daemon thread, because `serve.run` waits without a limit.
    threading.Thread(target=start, daemon=True).start()
    deadline = time.monotonic() + _APP_SECONDS
    while not started.done() and not stopped.is_set() and time.monotonic() < deadline:
        wait([started], timeout=_POLL_SECONDS)
    if started.done():
        exc = started.exception()
    else:
        exc = None if stopped.is_set() else TimeoutError(f"it was not running after {_APP_SECONDS:g} s")
    if exc is not None:
        raise error_of_app(exc, told=_told_of_failed()) from exc


def _told_of_failed() -> dict[str, str]:
    """Serve's message about each deployment that is not healthy; empty when Serve does not run."""
    with contextlib.suppress(RayError, RayServeException):
        app = serve.status().applications.get(APP_NAME)
        deployments = app.deployments if app is not None else {}
        return {name: it.message for name, it in deployments.items() if it.status != "HEALTHY"}
    return {}


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Restore the program's signal handlers, which Ray replaces by ones that abort the program on SIGTERM."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _delete_app(*, timeout_seconds: float | None) -> None:
    """Delete the application, and wait at most this long for its replicas to end (None: without a limit)."""

    def delete() -> None:
        with contextlib.suppress(RayError, RayServeException):  # Serve may not be running yet
            serve.delete(APP_NAME)

    deleting = threading.Thread(target=delete, daemon=True)
    deleting.start()
    deleting.join(timeout_seconds)


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            # An unknown host name or an address of another machine; otherwise the problem is the port.
            is_host = isinstance(exc, socket.gaierror) or exc.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
            option = "--host" if is_host else "--port"
            raise ConfigError(f"cannot listen on {host}, port {port}: {exc.strerror}; choose another {option}") from exc
