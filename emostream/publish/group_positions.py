"""Asks Redis how far the consumer groups of an event stream are."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from emostream.publish.retention import GroupPosition, StreamExtent, entry_id


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
