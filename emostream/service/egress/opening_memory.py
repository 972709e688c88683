"""Ends the connections of a source that takes the process's memory while it is opened.

FFmpeg reads a playlist to its end before it looks at it, and an entry of twenty bytes may take kilobytes. So a server
that sends one without an end would end the process, with all its other streams.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from emostream.domain.machine_limits import usable_memory_bytes
from emostream.telemetry.process import resident_memory_bytes

_WATCH_SECONDS = 0.05  # FFmpeg takes up to a gigabyte in a second
_LEAST_BYTES = 64 << 10  # who received no more cannot be the cause


def max_growth_bytes() -> int:
    """Memory that the process may take while sources are opened: an eighth of the machine's or the container's."""
    return min(2 << 30, max(512 << 20, usable_memory_bytes() // 8))


@dataclass(eq=False, slots=True)
class _Opening:
    resident_bytes: int  # of the process when it began
    num_received: int = 0
    transports: set[asyncio.WriteTransport] = field(default_factory=set)
    is_cut: bool = False


class OpeningMemory:
    """Watches the process while sources are opened. Methods run in the event loop, except `opening`.

    Args:
        loop: in which it watches.
        max_bytes: growth of the process at which it acts.
        on_cut: is told of a source whose connections it ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_bytes: int, on_cut: Callable[[str], None]) -> None:
        self._loop = loop
        self._max_bytes = max_bytes
        self._on_cut = on_cut
        self._openings: dict[str, _Opening] = {}
        self._watching: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def opening(self, name: str) -> Iterator[None]:
        """While a source is opened; called in any thread.

        Args:
            name: of its way through the egress.
        """
        self._openings[name] = _Opening(resident_memory_bytes())
        self._loop.call_soon_threadsafe(self._start)
        try:
            yield
        finally:
            self._openings.pop(name, None)

    def is_cut(self, name: str) -> bool:
        """Whether a source gets no more connections."""
        opening = self._openings.get(name)
        return opening is not None and opening.is_cut

    def connected(self, name: str, transport: asyncio.WriteTransport) -> None:
        """A connection of a source."""
        opening = self._openings.get(name)
        if opening is not None and opening.is_cut:
            transport.abort()
        elif opening is not None:
            opening.transports.add(transport)

    def received(self, name: str, num_bytes: int) -> None:
        """What its server sent."""
        if (opening := self._openings.get(name)) is not None:
            opening.num_received += num_bytes

    async def stop(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    def _start(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while self._openings:
            await asyncio.sleep(_WATCH_SECONDS)
            resident = resident_memory_bytes()
            suspects = {
                name: opening
                for name, opening in list(self._openings.items())
                if not opening.is_cut
                and opening.num_received >= _LEAST_BYTES
                and resident - opening.resident_bytes > self._max_bytes
            }
            for name, opening in suspects.items():
                opening.is_cut = True
                self._on_cut(name)
                for transport in opening.transports:
                    transport.abort()
                opening.transports.clear()
