"""Pure: how long events stay, and which consumer groups are about to lose some."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
