"""Pure: whom to wait for before streams are claimed, after the registry was away for all workers at once."""

from __future__ import annotations

from collections.abc import Collection


class ReturningWorkers:
    """Workers that lived before the registry went away and have not said since that they live.

    While it was away nobody could renew a lease, so the first worker that reaches it again finds the streams of all
    others free, though they run. Each renews its leases with its first heartbeat; until then, or until the time of a
    lease has passed, what looks free is left alone.

    >>> returning = ReturningWorkers(lease_seconds=5.0)
    >>> returning.note({"a", "b"}, was_away=False, now_seconds=0.0)
    >>> returning.note({"a"}, was_away=True, now_seconds=60.0)
    >>> returning.are_awaited
    True
    >>> returning.note({"a", "b"}, was_away=False, now_seconds=60.5)
    >>> returning.are_awaited
    False
    """

    def __init__(self, *, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._known: frozenset[str] = frozenset()
        self._awaited: frozenset[str] = frozenset()
        self._until_seconds = 0.0

    @property
    def are_awaited(self) -> bool:
        """Whether streams that look free may be those of somebody who comes back."""
        return bool(self._awaited)

    def note(self, living: Collection[str], *, was_away: bool, now_seconds: float) -> None:
        """What one heartbeat said.

        Args:
            living: ids of the workers that live, according to it.
            was_away: it is the first one that was answered, with the leases of before.
            now_seconds: monotonic.
        """
        if was_away:
            self._awaited |= self._known
            self._until_seconds = now_seconds + self._lease_seconds
        self._awaited = frozenset() if now_seconds >= self._until_seconds else self._awaited - frozenset(living)
        self._known = frozenset(living)
