"""Every Redis key of the product. Nothing else spells one out."""

from __future__ import annotations

_EVENTS_PREFIX = "emostream:events:"

EVENTS_PATTERN = f"{_EVENTS_PREFIX}*"
"""Matches the event streams of all streams."""

STREAMS_KEY = "emostream:streams"
"""Set: ids of the streams that have events, so that readers need not search all keys for them. May be missing."""

STATUS_KEY = "emostream:status"
"""The event stream of life-cycle events, of all streams together."""

SUMMARIES_KEY = "emostream:summaries"
"""The event stream of summary events, of all streams together."""

VOICE_KEY = "emostream:voice"
"""The event stream of voice events, of all streams together."""

REGISTRY_PREFIX = "emostream:{registry}:"
"""Everything the service keeps for itself. Stream specs hold cameras' passwords, so consumers must not read keys with
this prefix; docs/operations.md has the access list to give them. The braces keep all of them on one node of a cluster,
as its scripts need."""


def registry_key(name: str) -> str:
    """A key of the service's registry.

    >>> registry_key("leases")
    'emostream:{registry}:leases'
    """
    return f"{REGISTRY_PREFIX}{name}"


def offers_channel(worker_id: str) -> str:
    """The channel that informs a worker of senders (WebRTC) that want to send to its streams.

    >>> offers_channel("w1")
    'emostream:{registry}:offers:w1'
    """
    return registry_key(f"offers:{worker_id}")


def offer_answer_channel(request_id: str) -> str:
    """The channel by which the worker answers."""
    return registry_key(f"offer-answers:{request_id}")


def pictures_channel(session_id: str) -> str:
    """The channel by which a worker gets the pictures of a sender."""
    return registry_key(f"pictures:{session_id}")


def events_key(stream_id: str) -> str:
    """The event stream of one stream.

    >>> events_key("door")
    'emostream:events:door'
    """
    return f"{_EVENTS_PREFIX}{stream_id}"


def fence_key(stream_id: str) -> str:
    """Says for some minutes which run of a stream began last. On a cluster it lies where the event stream lies.

    >>> fence_key("door")
    'emostream:fence:{emostream:events:door}'
    """
    return f"emostream:fence:{{{events_key(stream_id)}}}"


def dead_letter_key(group: str) -> str:
    """Where a consumer group puts entries it cannot handle.

    >>> dead_letter_key("alarms")
    'emostream:dead:alarms'
    """
    return f"emostream:dead:{group}"


def stream_id_from_key(key: str) -> str:
    """The inverse of `events_key`.

    >>> stream_id_from_key("emostream:events:door")
    'door'

    Raises:
        ValueError: the key is not one of an event stream.
    """
    stream_id = key.removeprefix(_EVENTS_PREFIX)
    if stream_id == key or not stream_id:
        raise ValueError(f"expected a key like {events_key('door')}, got {key!r}")
    return stream_id
