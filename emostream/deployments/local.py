"""Runs the application from a program: on a Ray of its own, or on one that runs already."""

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
from collections.abc import Iterator, Mapping
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

# How Ray words it when a node did not join in time; it raises a plain `Exception`.
_SLOW = "timed out during startup"
# The last error of ours in a traceback that a replica sent.
_OURS = re.compile(r"^emostream\.errors\.\w+: (.*)\Z", re.MULTILINE | re.DOTALL)


def is_slow_start(exc: Exception) -> bool:
    """Whether Ray gave up waiting for itself, so that another try may succeed."""
    return _SLOW in str(exc)


def error_of_ray(exc: Exception, *, address: str | None) -> EmostreamError:
    """What to say when `ray.init` failed.

    Args:
        exc: what it raised.
        address: of the cluster that was asked for; None for a Ray of this machine.
    """
    reason = _first_line(exc)
    if address is not None:
        return ConfigError(
            f"there is no Ray cluster that can be used at {address}: {reason.rstrip('.')}; "
            "if there is one, set RAY_AUTH_TOKEN to the token that it asks for"
        )
    if is_slow_start(exc):
        return EmostreamError(
            "Ray did not start within its limit of 30 s, twice in a row: this machine is too busy, or short of memory. "
            "Stop other programs and try again; Ray's own logs are below /tmp/ray/session_latest/logs"
        )
    return EmostreamError(f"Ray did not start on this machine: {reason}")


def error_of_app(exc: BaseException, *, told: Mapping[str, str]) -> EmostreamError:
    """What to say when the application did not come up.

    Args:
        exc: what `serve.run` raised.
        told: what Serve tells of each deployment, by name; tracebacks, mostly.
    """
    for name, text in told.items():
        if (ours := _OURS.search(text)) is not None:
            return EmostreamError(f"{name} did not start: {ours.group(1).strip()}")
        if text:
            return EmostreamError(f"{name} did not start: {text.strip().splitlines()[-1]}")
    return EmostreamError(
        f"the application did not start: {_first_line(exc)}; run it with EMOSTREAM_LOG_LEVEL=info to see more"
    )


def _first_line(exc: BaseException) -> str:
    return next(iter(str(exc).splitlines()), "") or type(exc).__name__


logger = logging.getLogger(__name__)

APP_NAME = "emostream"

# Workers hand their streams over within a second or two; a replica that is being started cannot be stopped before it is
# up, and ends with Ray instead.
_STOP_SECONDS = 6.0
# Replicas load models, and may wait for a machine that a cluster brings first.
_APP_SECONDS = 300.0
_GONE_SECONDS = 15.0  # measured: 2 s without a raylet, 7 s without a head
_POLL_SECONDS = 0.2  # Serve tells nobody that an application is up
_RAY_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_START_ATTEMPTS = 2  # Ray waits 30 s for itself, which a machine may miss that starts many other things as well


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
) -> Iterator[RayWatch]:
    """The application, deleted at the end; the Ray that was started for it ends as well.

    What it yields says whether Ray went away meanwhile.

    Args:
        settings: all settings, with the Redis URL.
        host, port: where the HTTP interface listens.
        num_workers: stream worker replicas.
        address: of a Ray cluster that runs already; None starts one.
        shared_classifier: classify in a deployment of its own.
        shared_detector: search for faces in a deployment of its own.
        tls: certificate and private key (PEM), for HTTPS.
        stopped: when it is set, the application is not waited for any longer. Set when Ray went away.

    Raises:
        ConfigError: the port is taken, or there is no cluster at the address.
        EmostreamError: Ray, or a part of the application, did not start.
    """
    if address is None:
        _check_port(host, port)
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
                _start_app(app, http_options=http_options, stopped=stopped)
                yield watch
            finally:
                if not watch.why_gone:
                    _delete_app(timeout_seconds=_STOP_SECONDS if address is None else None)
    finally:
        _end_ray(is_gone=bool(watch.why_gone))


def _end_ray(*, is_gone: bool) -> None:
    """Disconnect, and end the Ray that was started here; what is left of one that is gone may not answer."""
    if not is_gone:
        ray.shutdown()
        return
    ending = threading.Thread(target=ray.shutdown, daemon=True)
    ending.start()
    ending.join(_GONE_SECONDS)


def _start_ray(settings: Settings, *, address: str | None) -> None:
    if address is None:
        # All processes of this Ray get these from here.
        os.environ.setdefault(*PROXY_ENVIRONMENT)
        if not any(map(os.environ.get, _RAY_TOKENS)):
            # Ray asks for a token by default; the one that it would make is readable by everybody, in the home.
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
        except Exception as exc:  # of many kinds, also plain ones
            ray.shutdown()
            if not is_slow_start(exc) or attempts_left == 0:
                raise error_of_ray(exc, address=address) from exc
            logger.warning("Ray did not start within its 30 s; it is tried once more")


def _start_app(app: Application, *, http_options: HTTPOptions, stopped: threading.Event) -> None:
    """Returns when the application is up, or `stopped` is set."""
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    started: Future[None] = Future()

    def start() -> None:
        try:
            serve.start(http_options=http_options)
            serve.run(app, name=APP_NAME, route_prefix="/")
            started.set_result(None)
        except Exception as exc:  # told below
            started.set_exception(exc)

    # In a thread that can be left behind: `serve.run` waits for ever.
    threading.Thread(target=start, daemon=True).start()
    deadline = time.monotonic() + _APP_SECONDS
    while not started.done() and not stopped.is_set() and time.monotonic() < deadline:
        wait([started], timeout=_POLL_SECONDS)
    if started.done():
        exc = started.exception()
    else:
        exc = None if stopped.is_set() else TimeoutError(f"it was not up after {_APP_SECONDS:g} s")
    if exc is not None:
        raise error_of_app(exc, told=_told_of_failed()) from exc


def _told_of_failed() -> dict[str, str]:
    """What Serve says of each deployment that did not start; nothing when Serve itself is not there."""
    with contextlib.suppress(RayError, RayServeException):
        app = serve.status().applications.get(APP_NAME)
        deployments = app.deployments if app is not None else {}
        return {name: it.message for name, it in deployments.items() if it.status != "HEALTHY"}
    return {}


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Put the program's handlers back: Ray replaces them when it starts, and its own abort the program on SIGTERM."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _delete_app(*, timeout_seconds: float | None) -> None:
    """End the replicas in order; those that are only just starting are not waited for longer than this."""

    def delete() -> None:
        with contextlib.suppress(RayError, RayServeException):  # Serve may not even have begun
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
            # No such name, or no such address on this machine; else it is the port.
            is_host = isinstance(exc, socket.gaierror) or exc.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
            option = "--host" if is_host else "--port"
            raise ConfigError(f"cannot listen on {host}, port {port}: {exc.strerror}; choose another {option}") from exc
