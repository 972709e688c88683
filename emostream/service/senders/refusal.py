"""Why a sender is not let in."""

from __future__ import annotations

from emostream.errors import EmostreamError


class RefusedError(EmostreamError):
    """An offer is not accepted.

    Attributes:
        status: the HTTP status that says so: 400 for what cannot be read, 422 for what cannot be done, 503 for what may
            be done later.
        is_shared: whether others send to the stream, or may be about to: it must stay.
    """

    def __init__(self, message: str, *, status: int = 422, is_shared: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.is_shared = is_shared
