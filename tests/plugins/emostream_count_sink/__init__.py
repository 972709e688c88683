"""A sink plugin: counts the faces of each emotion and writes the counts to a file at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.errors import ConfigError


class CountSink:
    """Holds the counts until `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counter[str] = Counter()

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Count the faces."""
        self._counts.update(face.dominant for event in events for face in event.faces)

    async def publish_status(self, event: StatusEvent) -> None:
        """Not counted."""

    async def close(self) -> None:
        """Write the counts."""
        self._path.write_text(json.dumps(self._counts), encoding="utf-8")


def open_count_sink(url: str, settings: PublishSettings) -> CountSink:
    """The entry point: `count:FILE`."""
    path = url.partition(":")[2]
    if not path:
        raise ConfigError("count needs a file: count:counts.json")
    return CountSink(Path(path))
