"""Makes previews of a running stream while they are watched."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from emostream.domain.event import EmotionEvent
from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Frame, Luma
from emostream.errors import EmostreamError, RegistryError
from emostream.render.overlay import Overlay
from emostream.render.preview import preview_jpeg, whole_picture
from emostream.vision.track.covers import FaceCovers
from emostream.wire.events import WireOptions, json_from_event
from emostream.wire.preview import PreviewKind, PreviewPicture, bytes_from_preview, preview_channel

_MAX_WAITING_FRAMES = 4  # each holds a buffer of the decoder until its event arrives
_EARLY = 0.1  # tolerance, as a share of the interval
_TO_DRAW = WireOptions(has_landmarks=False, probability_digits=3)

SendPreview = Callable[[str, bytes], Awaitable[None]]
"""Sends a message to the subscribers of a channel, if there are any. Raises `RegistryError`."""


class PreviewTap:
    """Makes the previews of one stream; does nothing while they are not watched.

    Frames are taken before the pipeline and wait here for their events, so the pipeline does not know about previews.
    Each frame of a blurred preview is searched here, because the pipeline searches only some frames and ignores weak
    detections.

    Args:
        stream_id: the stream.
        send: sends a message.
        detect: finds all faces of a picture; called in threads.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        send: SendPreview,
        detect: Callable[[Luma], list[Face]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kinds: frozenset[PreviewKind] = frozenset()
        """The kinds that are watched; set from the event loop."""
        self._stream_id = stream_id
        self._send = send
        self._detect = detect
        self._covers: FaceCovers | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Frame, frozenset[PreviewKind]]] = deque(maxlen=_MAX_WAITING_FRAMES)
        self._due_seconds: dict[PreviewKind, float] = {}
        self._overlays: dict[PreviewKind, Overlay] = {}  # each keeps its labels where they were
        self._making: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a preview is being made."""
        return self._making is not None and not self._making.done()

    def offer(self, frame: Frame) -> None:
        """Take a frame if a preview is due; called in the decoding thread for each frame."""
        if not self.kinds:
            self._covers = None  # it would hold the last frame
            return
        now_seconds = self._clock()
        due = frozenset(kind for kind in self.kinds if self._is_due(kind, now_seconds))
        if due:
            with self._lock:
                self._waiting.append((frame, due))

    def published(self, events: Sequence[EmotionEvent]) -> None:
        """Make a preview of the newest waiting frame with one of these events; called on the event loop."""
        if not self._waiting:
            return
        by_index = {event.frame_index: event for event in events}
        with self._lock:
            found = [(frame, due) for frame, due in self._waiting if frame.frame_index in by_index]
            while self._waiting and self._waiting[0][0].frame_index <= events[-1].frame_index:
                self._waiting.popleft()
        # One at a time: where making a preview takes longer than the interval, some are skipped.
        kinds = self.kinds & {kind for _, due in found for kind in due}
        if kinds and not self.is_busy:
            frame = found[-1][0]
            self._making = asyncio.create_task(self._make(frame, by_index[frame.frame_index], kinds))

    def close(self) -> None:
        """Drop waiting frames and the preview that is being made."""
        with self._lock:
            self._waiting.clear()
        if self._making is not None:
            self._making.cancel()

    def _is_due(self, kind: PreviewKind, now_seconds: float) -> bool:
        """Whether a preview is due; advances the schedule. Slightly early is accepted: frame intervals vary."""
        due_seconds = self._due_seconds.get(kind, now_seconds)
        if now_seconds < due_seconds - _EARLY * kind.interval_seconds:
            return False
        self._due_seconds[kind] = max(due_seconds + kind.interval_seconds, now_seconds)
        return True

    async def _make(self, frame: Frame, event: EmotionEvent, kinds: frozenset[PreviewKind]) -> None:
        for kind, picture in (await asyncio.to_thread(self._pictures, frame, event, kinds)).items():
            try:
                await self._send(preview_channel(self._stream_id, kind), bytes_from_preview(picture))
            except RegistryError:
                return  # previews may be lost; events report the problem

    def _pictures(
        self, frame: Frame, event: EmotionEvent, kinds: frozenset[PreviewKind]
    ) -> dict[PreviewKind, PreviewPicture]:
        """Make the previews, in a thread."""
        rgb = frame.rgb()
        event_json = json_from_event(event, _TO_DRAW).encode()
        covered = self._covered(frame, event) if any(kind.is_blurred for kind in kinds) else []
        return {
            kind: PreviewPicture(
                stream_id=event.stream_id,
                epoch=event.epoch,
                frame_index=event.frame_index,
                pts_seconds=event.pts_seconds,
                captured_at=event.captured_at,
                frame_width=event.frame_width,
                frame_height=event.frame_height,
                jpeg=preview_jpeg(
                    rgb,
                    event,
                    has_boxes=kind.has_boxes,
                    overlay=self._overlays.setdefault(kind, Overlay()),
                    covered=covered if kind.is_blurred else (),
                    max_side=kind.max_side,
                ),
                event_json=event_json,
            )
            for kind in kinds
        }

    def _covered(self, frame: Frame, event: EmotionEvent) -> list[BoxXyxy]:
        """The boxes to blur in this frame: its faces, or the whole picture where detection failed."""
        covers = self._covers = self._covers or FaceCovers(is_live=True)
        try:
            (covered,) = covers.add(frame, self._detect(frame.luma))
        except EmostreamError:
            return [whole_picture(frame.luma)]
        shown = event.scaled_to(width=frame.width, height=frame.height)
        return [*covered.boxes, *(item.face.box_xyxy for item in shown.faces)]
