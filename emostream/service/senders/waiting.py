"""Where pictures that are sent to a worker wait for the sources of their streams."""

from __future__ import annotations

import threading

from emostream.decode.handed_pictures import PictureQueue
from emostream.errors import SourceUnavailableError


class WaitingSenders:
    """The newest sender of each stream, until its source takes it. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: dict[str, PictureQueue] = {}
        self._waiting: set[str] = set()  # streams whose newest sender was not taken yet

    def put(self, stream_id: str, pictures: PictureQueue) -> None:
        """Let a sender wait. One that sends to the stream already is ended, of whatever kind it is."""
        with self._changed:
            before, is_taken = self._newest.get(stream_id), stream_id not in self._waiting
            self._newest[stream_id] = pictures
            self._waiting.add(stream_id)
            self._changed.notify_all()
        if before is not None and before is not pictures:
            before.finish(SourceUnavailableError("another sender has taken its place"))
            if not is_taken:  # else its source leaves it when it has heard of the end
                before.leave()

    def take(self, stream_id: str, timeout_seconds: float) -> PictureQueue | None:
        """The pictures of the newest sender of a stream, once; None when none came in time. Blocks its thread."""
        with self._changed:
            self._changed.wait_for(lambda: stream_id in self._waiting, timeout=timeout_seconds)
            if stream_id not in self._waiting:
                return None
            self._waiting.remove(stream_id)
            return self._newest[stream_id]

    def withdraw(self, stream_id: str, pictures: PictureQueue) -> None:
        """Forget a sender that has ended, unless another one came."""
        with self._changed:
            if self._newest.get(stream_id) is pictures:
                del self._newest[stream_id]
                self._waiting.discard(stream_id)
