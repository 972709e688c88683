"""What a consumer group gives out, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass

from emostream.event import EmotionEvent


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that is this consumer's to handle, until it is acknowledged.

    Attributes:
        key: the event stream.
        entry_id: its id there.
        event: what it says.
        num_deliveries: 1 for the first time; more when a consumer had it before and did not acknowledge it.
    """

    key: str
    entry_id: str
    event: EmotionEvent
    num_deliveries: int = 1


@dataclass(slots=True)
class GroupStats:
    """Counted while it runs.

    Attributes:
        num_delivered: events given out.
        num_acknowledged: events acknowledged.
        num_claimed: events taken over from a consumer that abandoned them.
        num_dead: entries moved to the dead letters: given out too often, or no events at all.
        num_trimmed: entries that were trimmed before they could be handled.
    """

    num_delivered: int = 0
    num_acknowledged: int = 0
    num_claimed: int = 0
    num_dead: int = 0
    num_trimmed: int = 0
