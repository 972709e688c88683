"""Works with the registry, also with the code of an earlier version: `python registry_process.py URL COMMAND …`.

It imports what every version has. Commands: `list`, `create ID`, `pause ID`, `remove ID`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace

from emostream.config import PublishSettings
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import StreamRecord
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry


async def main(redis_url: str, command: str, *ids: str) -> None:
    """Print the streams and their states as JSON after the command."""
    async with RegistryStore(PublishSettings(max_retry_seconds=0.2), redis_url=redis_url) as store:
        registry = StreamRegistry(store)
        for stream_id in ids:
            if command == "create":
                await registry.create(StreamRecord(StreamSpec(stream_id, "rtsp://camera/1", StreamKind.LIVE)))
            elif command == "pause":
                await registry.change(stream_id, lambda record: replace(record, is_paused=True))
            else:
                await registry.remove(stream_id)
        view = await StreamLeases(store, worker_id="looker", max_streams=0, ttl_seconds=1.0).look()
        print(json.dumps({status.record.stream_id: status.state.value for status in await registry.statuses(view)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
