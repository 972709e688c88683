"""Places of clients: never more than there are, of nobody more than allowed, all given back."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from emostream.service.api.client_places import ClientPlaces, Place


@given(
    clients=st.lists(st.sampled_from("abc"), max_size=30),
    in_all=st.integers(1, 10),
    per_client=st.integers(1, 6),
)
def test_places_are_bounded_and_given_back(clients: list[str], in_all: int, per_client: int) -> None:
    places = ClientPlaces(in_all, per_client=per_client)
    taken: list[str] = []
    with contextlib.ExitStack() as stack:
        for client in clients:
            place = stack.enter_context(places.asked_for(client))
            if taken.count(client) == per_client:
                assert place is Place.CLIENT_HAS_TOO_MANY
            elif len(taken) == in_all:
                assert place is Place.NONE_LEFT
            else:
                assert place is Place.TAKEN
                taken.append(client)
            assert len(places) == len(taken)
    assert len(places) == 0
