"""Events come out of the text of server-sent events, in whatever pieces it arrives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.client.http.server_sent import ServerSentEvents
from emostream.errors import EventRejectedError
from emostream.wire.events import json_from_event
from tests.publish.samples import events_of

EVENTS = events_of("door", range(3))
TEXT = ": emostream\n\n" + "".join(
    f"id: 1-{event.frame_index}\r\nevent: emotion\r\ndata: {json_from_event(event)}\r\n\r\n: waiting\n\n"
    for event in EVENTS
)


@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_whatever_the_pieces(cuts: list[int]) -> None:
    reading = ServerSentEvents()
    content = TEXT.encode()
    edges = [0, *sorted(cuts), len(content)]
    found = [event for one, other in pairwise(edges) for event in reading.take(content[one:other])]
    assert [event.frame_index for event in found] == [0, 1, 2]
    assert (reading.last_id, reading.is_over) == ("1-2", False)
    assert list(reading.take(b"event: end\ndata: {}\n\n")) == []
    assert reading.is_over


def test_other_events_are_left_out_and_broken_ones_refused() -> None:
    reading = ServerSentEvents()
    assert list(reading.take(b"event: news\ndata: {}\n\nevent: emotion\n\ndata: {}\n\n\n\n")) == []
    with pytest.raises(EventRejectedError):
        list(reading.take(b"event: emotion\ndata: {}\n\n"))


def test_half_an_event_of_a_lost_connection_is_forgotten() -> None:
    reading = ServerSentEvents()
    assert list(reading.take(TEXT.encode()[:300])) == []
    reading.begin()
    assert len(list(reading.take(TEXT.encode()))) == 3
