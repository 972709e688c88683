"""Runs the application from a program: on a Ray of its own, or on one that runs already."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import ray
from ray import serve
from ray.serve.config import HTTPOptions

from emostream.config import Settings
from emostream.deployments.app import bind_app
from emostream.errors import ConfigError

APP_NAME = "emostream"

# Workers hand their streams over within a second or two; a replica that is being started cannot be stopped before it is
# up, and ends with Ray instead.
_STOP_SECONDS = 6.0


@contextlib.contextmanager
def running_app(
    settings: Settings,
    *,
    host: str,
    port: int,
    num_workers: int,
    address: str | None,
    shared_classifier: bool,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[None]:
    """The application, deleted at the end; the Ray that was started for it ends as well.

    Args:
        settings: all settings, with the Redis URL.
        host, port: where the HTTP interface listens.
        num_workers: stream worker replicas.
        address: of a Ray cluster that runs already; None starts one.
        shared_classifier: classify in a deployment of its own.
        tls: certificate and private key (PEM), for HTTPS.

    Raises:
        ConfigError: the port is taken, or there is no cluster at the address.
    """
    if address is None:
        _check_port(host, port)
    try:
        with _own_signal_handlers():
            ray.init(
                address=address or "local",
                include_dashboard=False if address is None else None,
                log_to_driver=settings.log_level in ("debug", "info"),
                logging_level=logging.ERROR,
                configure_logging=True,
            )
    except ConnectionError as exc:
        raise ConfigError(f"there is no Ray cluster at {address}: {exc}") from exc
    try:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        certificate, key = (str(tls[0]), str(tls[1])) if tls else (None, None)
        serve.start(http_options=HTTPOptions(host=host, port=port, ssl_certfile=certificate, ssl_keyfile=key))
        app = bind_app(settings, shared_classifier=shared_classifier, num_workers=num_workers)
        try:
            serve.run(app, name=APP_NAME, route_prefix="/")
            yield
        finally:
            _delete_app(timeout_seconds=_STOP_SECONDS if address is None else None)
    finally:
        ray.shutdown()


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
    deleting = threading.Thread(target=serve.delete, args=(APP_NAME,), daemon=True)
    deleting.start()
    deleting.join(timeout_seconds)


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror}; choose another --port") from exc
