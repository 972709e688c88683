"""A consumer group for code without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Self

from emostream.client.delivery import Delivery, GroupStats
from emostream.client.group import ConsumerGroup


class BlockingConsumerGroup:
    """`ConsumerGroup` without an event loop: a context manager to iterate over, with `ack`. Arguments alike."""

    def __init__(self, redis_url: str, **arguments: Any) -> None:
        self._group = ConsumerGroup(redis_url, **arguments)
        self._runner = asyncio.Runner()

    @property
    def stats(self) -> GroupStats:
        """Counted while it runs."""
        return self._group.stats

    def __iter__(self) -> Iterator[Delivery]:
        """Events one by one, as `ConsumerGroup` gives them; errors as in `ConsumerGroup.batches`."""
        batches = self._group.batches()
        while True:
            self._group.put_back(self._runner.run(anext(batches)))  # type: ignore[arg-type]
            yield from self._group.take_rest()

    def ack(self, *deliveries: Delivery) -> None:
        """Say that events are handled."""
        self._runner.run(self._group.ack(*deliveries))

    def __enter__(self) -> Self:
        """Nothing to do: it connects at the first read."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the connections."""
        self._runner.run(self._group.close())
        self._runner.close()
