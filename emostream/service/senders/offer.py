"""What a sender asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """A sender that wants to send.

    Attributes:
        stream_id: to which stream.
        session_id: what its session will be called.
        owner: whose session it is, for the limit per token.
        sdp: its offer; holds the keys of the session.
    """

    stream_id: str
    session_id: str
    owner: str
    sdp: str

    def __repr__(self) -> str:
        return f"Offer({self.stream_id!r})"
