"""Reads several event streams at once, from one server with one command, from a cluster with one per stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from emostream.errors import ConfigError, UnknownEventStreamError
from emostream.publish.redis.connection import REDIS_ERRORS, is_cluster
from emostream.wire.keys import EVENTS_PATTERN, STREAMS_KEY, events_key, stream_id_from_key

_MAX_KEYS_PER_CALL = 1000
_MAX_SHOWN = 10  # names of streams in a message

RawEntry = tuple[str, str, dict[bytes, bytes]]
"""(key, entry id, fields); no fields where the entry was trimmed."""

# A cluster cannot wait for several of its nodes in one command, so their streams are asked in turn; the pauses double
# while nothing comes, which bounds both the delay of an event and what asking costs.
_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.08


async def event_stream_keys(redis: Redis, *, known: Collection[str] = ()) -> list[str]:
    """The event streams there are now, from their list, where there is one that this user may read.

    Args:
        redis: from `open_redis`.
        known: keys of event streams; of the others it is checked whether they are there.
    """
    client: Any = redis
    try:
        listed = [events_key(stream_id.decode()) for stream_id in await client.smembers(STREAMS_KEY)]
        if listed:
            return [key for key in listed if key in known] + await _existing(
                client, [key for key in listed if key not in known]
            )
    except redis_errors.NoPermissionError:
        pass
    return await scan_event_stream_keys(redis)


async def scan_event_stream_keys(redis: Redis) -> list[str]:
    """The same by a search of all keys, which takes a second per million of them."""
    found = redis.scan_iter(EVENTS_PATTERN, count=1000, _type="stream")
    return [key.decode() async for key in found if key.isascii()]  # others are not ours


async def _existing(client: Any, keys: Sequence[str]) -> list[str]:
    existing: list[str] = []
    if is_cluster(client):
        await client.initialize()
    for start in range(0, len(keys), _MAX_KEYS_PER_CALL):
        part = keys[start : start + _MAX_KEYS_PER_CALL]
        asking = client.pipeline() if is_cluster(client) else client.pipeline(transaction=False)
        for key in part:
            asking.execute_command(
                "TYPE", key, **({"target_nodes": node_of(client, key)} if is_cluster(client) else {})
            )
        existing += [
            key for key, kind in zip(part, await asking.execute(), strict=True) if kind in (b"stream", "stream")
        ]
    return existing


def ids_from(streams: str | Sequence[str] | None) -> list[str] | None:
    """The ids of streams, given as one id or several; None means all.

    >>> ids_from("door"), ids_from(("door", "hall"))
    (['door'], ['door', 'hall'])

    Raises:
        ConfigError: there are none, or one is no text.
    """
    if streams is None:
        return None
    ids = [streams] if isinstance(streams, str) else list(dict.fromkeys(streams))
    if not ids or not all(isinstance(stream_id, str) and stream_id for stream_id in ids):
        raise ConfigError(f"expected the id of a stream, or a list of them, got {streams!r}; None means all streams")
    return ids


async def find_unknown(redis: Redis, stream_ids: Sequence[str]) -> UnknownEventStreamError | None:
    """An error that says which streams have no events, and which there are; None when all have some."""
    try:
        unknown = [stream_id for stream_id in stream_ids if await redis.type(events_key(stream_id)) == b"none"]
        if not unknown:
            return None
        known = sorted(stream_id_from_key(key) for key in await event_stream_keys(redis))
    except redis_errors.NoPermissionError:  # of a user who may only read
        return None
    near = [name for stream_id in unknown for name in get_close_matches(stream_id, known, n=1)]
    shown = near or known[:_MAX_SHOWN]
    there = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(shown)}"
    more = f" and {len(known) - len(shown)} more" if not near and len(known) > len(shown) else ""
    message = f"there are no events of {', '.join(unknown)}; {there if known else 'there is no stream'}{more}"
    return UnknownEventStreamError(message, stream_ids=unknown)


async def read_streams(
    redis: Redis, positions: Mapping[str, str], *, count: int, block_seconds: float, group: Sequence[str] = ()
) -> list[RawEntry]:
    """The next entries of event streams; empty when there are none within `block_seconds`.

    Args:
        redis: from `open_redis`.
        positions: key → id after which to read, or `>` for what the group was not given yet; not empty.
        count: largest number of entries of each stream.
        block_seconds: wait this long for the first; 0 does not wait.
        group: name of the consumer group and of the consumer; empty reads without one.
    """
    command = ["XREADGROUP", "GROUP", *group] if group else ["XREAD"]
    command += ["COUNT", str(count)]
    client: Any = redis
    if is_cluster(redis):
        replies = await _from_cluster(client, command, positions, block_seconds=block_seconds)
    else:
        replies = await client.execute_command(*_words(command, positions, block_seconds))
    return [(key.decode(), entry.decode(), fields or {}) for key, of_key in replies or () for entry, fields in of_key]


def _words(command: Sequence[str], positions: Mapping[str, str], block_seconds: float) -> list[str]:
    block = ["BLOCK", str(int(1000 * block_seconds))] if block_seconds else []
    return [*command, *block, "STREAMS", *positions, *positions.values()]


async def _from_cluster(
    cluster: Any, command: Sequence[str], positions: Mapping[str, str], *, block_seconds: float
) -> list[Any]:
    await cluster.initialize()
    if len(positions) == 1:
        node = node_of(cluster, next(iter(positions)))
        reply: list[Any] = await cluster.execute_command(*_words(command, positions, block_seconds), target_nodes=node)
        return reply
    pause = _FIRST_PAUSE_SECONDS
    ends_at = time.monotonic() + block_seconds
    while True:
        replies = await _ask_each(cluster, command, positions)
        if replies or time.monotonic() + pause > ends_at:
            return replies
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


async def _ask_each(cluster: Any, command: Sequence[str], positions: Mapping[str, str]) -> list[Any]:
    """One round trip per node, which answers for all its streams."""
    asking = cluster.pipeline()
    for key, position in positions.items():
        # Named, because finding the node from the command would be a question to the server for each.
        asking.execute_command(*_words(command, {key: position}, 0), target_nodes=node_of(cluster, key))
    try:
        replies = await asking.execute()
    except REDIS_ERRORS:
        await cluster.aclose()  # the nodes may have other roles now: ask for them before the next command
        raise
    return [of_key for reply in replies for of_key in reply or ()]


async def first_of_each(redis: Redis, key: str, spans_ms: Sequence[tuple[int, int]]) -> list[RawEntry]:
    """The first entry of an event stream in each time span; spans without an entry are left out.

    Args:
        redis: from `open_redis`.
        key: the event stream.
        spans_ms: first and last millisecond of capture since 1970 of each span; asked for in one round trip.
    """
    client: Any = redis
    named: dict[str, Any] = {}
    if is_cluster(redis):
        await client.initialize()
        named["target_nodes"] = node_of(client, key)
    asking = client.pipeline(transaction=False)
    for first_ms, last_ms in spans_ms:
        asking.execute_command("XRANGE", key, first_ms, last_ms, "COUNT", 1, **named)
    replies = await asking.execute()
    return [(key, entry.decode(), fields or {}) for reply in replies for entry, fields in reply]


async def entries_by_id(redis: Redis, key: str, ids: Sequence[str]) -> dict[str, dict[bytes, bytes]]:
    """Entries of an event stream by their ids; those that were trimmed are left out."""
    client: Any = redis
    named: dict[str, Any] = {}
    if is_cluster(redis):
        await client.initialize()
        named["target_nodes"] = node_of(client, key)
    asking = client.pipeline(transaction=False)
    for entry_id in ids:
        asking.execute_command("XRANGE", key, entry_id, entry_id, **named)
    replies = await asking.execute()
    return {entry.decode(): fields for reply in replies for entry, fields in reply}


async def ends_of(redis: Redis, key: str) -> tuple[str, str] | None:
    """Ids of the oldest and the newest entry of an event stream; None when it has none."""
    client: Any = redis
    oldest, newest = await client.xrange(key, count=1), await client.xrevrange(key, count=1)
    return (oldest[0][0].decode(), newest[0][0].decode()) if oldest and newest else None


def node_of(cluster: Any, key: str) -> Any:
    """The node of a cluster that holds a key, as far as its client knows; the client must be initialized."""
    return cluster.nodes_manager.get_node_from_slot(cluster.keyslot(key))
