"""Ports for servers that tests start."""

from __future__ import annotations

import contextlib
import random
import socket


def unused_port(lowest: int = 20_000, highest: int = 32_000) -> int:
    """A loopback port on which nothing listens.

    Below those that the system gives to whoever asks for any (32768 and up on Linux), since Ray alone asks for dozens
    while it starts, and above those that Ray keeps for the workers of a cluster (10002 to 19999).
    """
    while True:
        port = random.SystemRandom().randint(lowest, highest)  # not repeated where a test sets a seed
        if is_free(port):
            return port


def has_ipv6_loopback() -> bool:
    """Whether servers on this machine can listen on ::1; in many containers they cannot."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def is_free(port: int) -> bool:
    """Whether somebody could listen there."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
