"""Connections to a host with several addresses (RFC 8305): all are tried, the next one after a short delay."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from aiohappyeyeballs import start_connection

_NEXT_SECONDS = 0.25  # recommended by RFC 8305


async def connected_socket(addresses: Sequence[str], port: int) -> socket.socket:
    """A connection to the first address that answers.

    Args:
        addresses: IP addresses, checked by the policy; at least one.
        port: on all of them.

    Raises:
        OSError: none answers; its text names no address.
    """
    targets = [
        (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))
        if ":" in address
        else (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
        for address in addresses
    ]
    try:
        return await start_connection(targets, happy_eyeballs_delay=_NEXT_SECONDS)
    except OSError as exc:
        number = exc.errno or errno.EHOSTUNREACH
        raise OSError(number, os.strerror(number)) from exc
