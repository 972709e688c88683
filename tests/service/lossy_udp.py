"""A UDP network that loses some of what is sent."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator

_MAX_DATAGRAM_BYTES = 65_536


@contextlib.contextmanager
def lossy_udp(to_port: int, *, loss_ratio: float, seed: int = 0) -> Iterator[int]:
    """A port whose datagrams go on to another one, except for a share of them."""
    rng = random.Random(seed)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as incoming,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outgoing,
    ):
        incoming.bind(("127.0.0.1", 0))
        incoming.settimeout(0.2)
        stopping = threading.Event()

        def forward() -> None:
            while not stopping.is_set():
                with contextlib.suppress(OSError):
                    data = incoming.recv(_MAX_DATAGRAM_BYTES)
                    if rng.random() >= loss_ratio:
                        outgoing.sendto(data, ("127.0.0.1", to_port))

        thread = threading.Thread(target=forward, daemon=True)
        thread.start()
        try:
            yield incoming.getsockname()[1]
        finally:
            stopping.set()
            thread.join(timeout=5)
