"""Counters of senders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class OfferResult(StrEnum):
    """What became of a sender's wish to send."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """It can never be accepted as it is."""
    LATER = "later"
    """It may be accepted later: there are too many senders, or too many that ask at once."""
    FAILED = "failed"
    """A bug here."""


@dataclass(slots=True)
class SenderFigures:
    """Counters of all senders that a stream had on this worker.

    Attributes:
        num_bytes: that came; by WebRTC with the heads of packets, control, and what was sent again.
        num_lost: packets that never came, by their numbers; sent again is not lost. Noticed 128 packets later.
        num_key_frame_requests: how often a key frame was asked for (PLI), because pictures could not be decoded.
        num_retransmission_requests: how often packets were asked for again (NACK).
    """

    num_bytes: int = 0
    num_lost: int = 0
    num_key_frame_requests: int = 0
    num_retransmission_requests: int = 0


class SenderCounters:
    """The counters of a worker's senders. Each sender adds to those of its stream."""

    def __init__(self) -> None:
        self.offers: Counter[OfferResult] = Counter()
        self._of_streams: dict[str, SenderFigures] = {}

    def of(self, stream_id: str) -> SenderFigures:
        """Those of a stream, to add to."""
        return self._of_streams.setdefault(stream_id, SenderFigures())

    def of_streams(self) -> Mapping[str, SenderFigures]:
        """Stream id → its counters. Called in any thread."""
        return dict(self._of_streams)

    def keep_streams(self, stream_ids: Collection[str]) -> None:
        """Forget all other streams. Called in any thread."""
        for stream_id in self.of_streams().keys() - stream_ids:
            self._of_streams.pop(stream_id, None)
