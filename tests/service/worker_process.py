"""A stream worker as a process of its own, on scripted sources: `python -m tests.service.worker_process URL ID`.

With `broken` behind it crashes when it looks at a picture.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from emostream.decode.source import FrameSource
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.stream import StreamSpec
from emostream.publish.redis.sink import RedisSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.host import StreamHost
from emostream.service.worker.worker import StreamWorker
from tests.service.conftest import SETTINGS
from tests.service.streams import CrashingSource, EndlessSource, ScriptedParts

CRASHING = "crashing"
"""A stream of this name ends the process."""


def _source_of(spec: StreamSpec) -> FrameSource:
    return CrashingSource() if spec.stream_id == CRASHING else EndlessSource(seconds_per_frame=0.04, kind=spec.kind)


class _CrashingDetector:
    """A driver that ends the process with the first picture that is looked at."""

    def detect(self, luma: Luma) -> list[Face]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return []


async def main(redis_url: str, worker_id: str, *, is_broken: bool) -> None:
    """Work until SIGTERM, then drain."""
    async with (
        RegistryStore(SETTINGS, redis_url=redis_url) as store,
        RedisSink(SETTINGS, redis_url=redis_url) as sink,
    ):
        leases = StreamLeases(store, worker_id=worker_id, max_streams=20, ttl_seconds=2.0)
        parts = ScriptedParts(_source_of)
        if is_broken:
            parts.detector = _CrashingDetector()
        host = StreamHost(parts, sink=sink, worker_id=worker_id)
        worker = StreamWorker(store, leases=leases, host=host, worker_id=worker_id, heartbeat_seconds=0.2)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        running = asyncio.create_task(worker.run())
        await stopped.wait()
        await worker.drain(timeout_seconds=5)
        await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], is_broken="broken" in sys.argv))
