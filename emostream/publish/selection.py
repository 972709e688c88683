"""Pure: which events are published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emostream.event import EmotionEvent


def without_empty_frames(events: Sequence[EmotionEvent], *, num_carried: int) -> tuple[list[EmotionEvent], int]:
    """The events with faces; lost frames that the others announced are announced by the next one with faces.

    Args:
        events: of one stream, in order.
        num_carried: lost frames that earlier events left to be announced.

    Returns:
        The events, and the number of lost frames that a later event must announce.
    """
    selected = []
    for event in events:
        num_carried += event.num_dropped
        if event.faces:
            selected.append(replace(event, num_dropped=num_carried) if num_carried != event.num_dropped else event)
            num_carried = 0
    return selected, num_carried
