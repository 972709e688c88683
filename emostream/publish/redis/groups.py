"""How long events stay, and which consumer groups are about to lose some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

EntryId = tuple[int, int]
"""(milliseconds, sequence)."""

# A group that has this share of what is kept still before it is warned about; again when it caught up in between.
_WARN_AT_SHARE = 0.8
_REARM_AT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class StreamExtent:
    """What an event stream holds.

    Attributes:
        length: entries.
        first, last: ids of the oldest and the newest entry.
    """

    length: int
    first: EntryId
    last: EntryId


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """How far a consumer group is.

    Attributes:
        name: of the group.
        done: everything up to this id is handled: before its oldest unacknowledged entry, else its last delivered one.
        num_unread: entries it was not given yet and not acknowledged ones together; None where the server cannot tell
            (before Redis 7.0, and after entries were deleted).
    """

    name: str
    done: EntryId
    num_unread: int | None


@dataclass(frozen=True, slots=True)
class ServerMemory:
    """What a server says of its memory.

    Attributes:
        used_bytes: by all its data and clients.
        max_bytes: its `maxmemory`; 0 is none.
        machine_bytes: of its machine; 0 where it does not say.
        policy: what it does when `maxmemory` is reached.
    """

    used_bytes: int
    max_bytes: int
    machine_bytes: int = 0
    policy: str = ""

    @property
    def bound_bytes(self) -> int:
        """Most that it may use; 0 is unknown."""
        return self.max_bytes or self.machine_bytes


@dataclass(frozen=True, slots=True)
class StoredEvents:
    """What an event stream takes.

    Attributes:
        num_bytes: of memory.
        first_ms, last_ms: times of its oldest and its newest entry; see `stored_events`.
        ahead_ms: how far the times in its ids are ahead of these.
    """

    num_bytes: int
    first_ms: int
    last_ms: int
    ahead_ms: int = 0


def stored_events(num_bytes: int, *, first_ms: int, last_ms: int, now_ms: int) -> StoredEvents:
    """What an event stream takes, with times that can be compared with those of others: none is later than now.

    Clocks of cameras' machines may be ahead, and files are read faster than they were recorded. Where all of a stream
    is ahead, its newest event counts as made now.

    >>> stored_events(9, first_ms=100, last_ms=300, now_ms=200)
    StoredEvents(num_bytes=9, first_ms=100, last_ms=200, ahead_ms=0)
    >>> stored_events(9, first_ms=250, last_ms=300, now_ms=200)
    StoredEvents(num_bytes=9, first_ms=150, last_ms=200, ahead_ms=100)
    """
    ahead_ms = last_ms - now_ms if first_ms > now_ms else 0
    return StoredEvents(num_bytes, first_ms - ahead_ms, min(last_ms - ahead_ms, now_ms), ahead_ms)


def bytes_for_events(memory: ServerMemory, *, event_bytes: int, max_share: float, max_bytes: int | None) -> int:
    """Most that the events of all streams on a server may take: a share of its memory, less as other data grows.

    Other data takes away at most three quarters of it, so that it cannot push out all events.

    >>> server = ServerMemory(used_bytes=70, max_bytes=100)
    >>> bytes_for_events(server, event_bytes=60, max_share=0.8, max_bytes=None)
    70
    >>> bytes_for_events(server, event_bytes=5, max_share=0.8, max_bytes=None)
    20
    """
    share = round(max_share * memory.bound_bytes)
    others = max(0, memory.used_bytes - event_bytes)
    # Of a server that says nothing about its memory only the number of bytes can be held.
    bounds = [max(share - others, share // 4)] if share else []
    return min([*bounds, *([max_bytes] if max_bytes is not None else [])], default=memory.used_bytes)


def cut_for(streams: Sequence[StoredEvents], num_bytes: int) -> int:
    """The time in ms before which all events must go so that about `num_bytes` become free; as even as events came.

    >>> cut_for([StoredEvents(1000, 0, 100), StoredEvents(1000, 100, 200)], 500)
    50
    """
    low = min((stream.first_ms for stream in streams), default=0)
    high = max((stream.last_ms for stream in streams), default=0)
    while high - low > 1:
        middle = (low + high) // 2
        freed = sum(_bytes_before(stream, middle) for stream in streams)
        low, high = (low, middle) if freed >= num_bytes else (middle, high)
    return high


def _bytes_before(stream: StoredEvents, time_ms: int) -> float:
    span_ms = stream.last_ms - stream.first_ms
    share = (time_ms - stream.first_ms) / span_ms if span_ms else 0.0
    return stream.num_bytes * min(max(share, 0.0), 1.0)


def entry_id(text: str | bytes) -> EntryId:
    """An entry id as Redis writes it.

    >>> entry_id(b"1700000000000-5")
    (1700000000000, 5)
    """
    milliseconds, _, sequence = (text if isinstance(text, str) else text.decode()).partition("-")
    return int(milliseconds), int(sequence or 0)


def num_behind(group: GroupPosition, stream: StreamExtent) -> int:
    """How many entries the group still has to handle; estimated from times where the server cannot tell."""
    if group.num_unread is not None:
        return min(group.num_unread, stream.length)
    if group.done >= stream.last or not stream.length:
        return 0
    if group.done < stream.first:
        return stream.length
    span_ms = stream.last[0] - stream.first[0]
    share = (stream.last[0] - group.done[0]) / span_ms if span_ms else 1.0
    return min(stream.length, max(1, round(share * stream.length)))


def used_share(group: GroupPosition, stream: StreamExtent, *, max_events: int, max_age_seconds: float | None) -> float:
    """How much of what is kept the group has still before it: near 1, the next events push out what it has not read."""
    by_length = num_behind(group, stream) / max_events
    if max_age_seconds is None or group.done >= stream.last:
        return by_length
    oldest_needed_ms = max(group.done[0], stream.first[0])
    return max(by_length, (stream.last[0] - oldest_needed_ms) / (1000 * max_age_seconds))


class BehindWarnings:
    """Says once that a group falls behind, and again only after it had caught up."""

    def __init__(self) -> None:
        self._warned: set[tuple[str, str]] = set()

    def update(self, stream_id: str, shares: Iterable[tuple[str, float]]) -> list[str]:
        """The groups to warn about now, given the name and `used_share` of every group of the stream."""
        newly_behind = []
        for name, share in shares:
            key = (stream_id, name)
            if share < _REARM_AT_SHARE:
                self._warned.discard(key)
            elif share >= _WARN_AT_SHARE and key not in self._warned:
                self._warned.add(key)
                newly_behind.append(name)
        return newly_behind

    def forget(self, stream_id: str) -> None:
        """The stream ended."""
        self._warned = {key for key in self._warned if key[0] != stream_id}


async def group_positions(redis: Redis, key: str) -> tuple[StreamExtent, list[GroupPosition]]:
    """What the stream holds, and its groups."""
    first: Any = await redis.xrange(key, count=1)
    last: Any = await redis.xrevrange(key, count=1)
    extent = StreamExtent(
        length=await redis.xlen(key),
        first=entry_id(first[0][0]) if first else (0, 0),
        last=entry_id(last[0][0]) if last else (0, 0),
    )
    groups = await redis.xinfo_groups(key)
    pending = [await redis.xpending(key, group["name"]) for group in groups]
    return extent, [_position(group, of_group) for group, of_group in zip(groups, pending, strict=True)]


def _position(group: dict[str, Any], pending: dict[str, Any]) -> GroupPosition:
    done = entry_id(group["last-delivered-id"])
    if pending["pending"]:
        milliseconds, sequence = entry_id(pending["min"])
        done = min(done, (milliseconds, sequence - 1) if sequence else (milliseconds - 1, 0))
    lag = group.get("lag")
    return GroupPosition(
        name=group["name"].decode(errors="replace"),
        done=done,
        num_unread=None if lag is None else lag + pending["pending"],
    )
