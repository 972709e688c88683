"""Counts concurrent requests, per client and in total."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from enum import Enum, auto


class Place(Enum):
    """What a client that asks for a place gets."""

    TAKEN = auto()
    """A place, until it is given back."""
    CLIENT_HAS_TOO_MANY = auto()
    """None: it has as many as one may have."""
    NONE_LEFT = auto()
    """None: all together have as many as there are."""


class ClientPlaces:
    """Places that clients take and give back.

    >>> places = ClientPlaces(2, per_client=1)
    >>> with places.asked_for("a") as first, places.asked_for("a") as second, places.asked_for("b") as third:
    ...     [first.name, second.name, third.name]
    ['TAKEN', 'CLIENT_HAS_TOO_MANY', 'TAKEN']
    """

    def __init__(self, in_all: int, *, per_client: int) -> None:
        self._in_all = in_all
        self._per_client = per_client
        self._num_by_client: Counter[str] = Counter()  # of those that have any

    def __len__(self) -> int:
        """How many are taken."""
        return self._num_by_client.total()

    @contextlib.contextmanager
    def asked_for(self, client: str) -> Iterator[Place]:
        """A place while the context lasts, or the reason why there is none."""
        if self._num_by_client[client] >= self._per_client:
            yield Place.CLIENT_HAS_TOO_MANY
            return
        if len(self) >= self._in_all:
            yield Place.NONE_LEFT
            return
        self._num_by_client[client] += 1
        try:
            yield Place.TAKEN
        finally:
            self._num_by_client[client] -= 1
            if not self._num_by_client[client]:
                del self._num_by_client[client]
