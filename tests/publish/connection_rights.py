"""What a user may do with connections: look after its own, and touch nobody else's."""

from __future__ import annotations

import pytest
import redis

OWN = [
    ("PING",),
    ("ECHO", "x"),
    ("SELECT", "0"),
    ("CLIENT", "ID"),
    ("CLIENT", "INFO"),
    ("CLIENT", "SETNAME", "me"),
    ("CLIENT", "GETNAME"),
]
OF_OTHERS = [
    ("CLIENT", "PAUSE", "100000", "ALL"),
    ("CLIENT", "UNPAUSE"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "KILL", "ID", "1"),
    ("CLIENT", "LIST"),
    ("CLIENT", "UNBLOCK", "1"),
    ("CLIENT", "NO-EVICT", "on"),
    ("CLIENT", "TRACKING", "on", "BCAST"),
    ("CLIENT", "REPLY", "OFF"),
]


def assert_only_its_own_connection(client: redis.Redis) -> None:
    """Each command that a usual client sends works; each that reaches others, or costs the server, is refused."""
    for command in OF_OTHERS:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)  # type: ignore[no-untyped-call]
    for command in OWN:
        client.execute_command(*command)  # type: ignore[no-untyped-call]
