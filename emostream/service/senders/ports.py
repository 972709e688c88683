"""An event loop whose UDP sockets lie in a range of ports, which firewalls can let through."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable
from typing import Any


class PortRangeLoop(asyncio.SelectorEventLoop):
    """Binds UDP sockets that may have any port to one of a range.

    `aioice` asks for any port and has no setting for it; it asks the loop in which it runs.

    Args:
        ports: the range; None leaves the choice to the system.
    """

    def __init__(self, ports: range | None = None) -> None:
        super().__init__()
        self._ports = ports

    async def create_datagram_endpoint(
        self, protocol_factory: Callable[[], Any], local_addr: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """As of other loops.

        Raises:
            OSError: all ports of the range are taken (`EADDRINUSE`).
        """
        if self._ports is None or local_addr is None or local_addr[1] != 0:
            return await super().create_datagram_endpoint(protocol_factory, local_addr, *args, **kwargs)
        # Not for security: so that two processes with the same range seldom try the same port.
        for port in random.sample(self._ports, len(self._ports)):
            try:
                address = (local_addr[0], port)
                return await super().create_datagram_endpoint(protocol_factory, address, *args, **kwargs)
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, f"all ports from {self._ports[0]} to {self._ports[-1]} are taken")
