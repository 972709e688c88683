"""Previews on their way: made while somebody looks, of the right frame, and for nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.event import EmotionEvent
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.errors import InferenceError, RecordError, RegistryUnavailableError
from emostream.service.worker.preview_tap import PreviewTap
from emostream.testing.fakes import face_at, gray_frames
from emostream.wire.events import event_from_json
from emostream.wire.preview import (
    PreviewKind,
    PreviewPicture,
    bytes_from_preview,
    preview_channel,
    preview_from_bytes,
    preview_kind,
)
from tests.media import textured_picture
from tests.publish.samples import events_of


@given(jpeg=st.binary(), index=st.integers(0, 2**53), pts=st.floats(allow_nan=False, allow_infinity=False))
def test_a_picture_comes_back_as_it_was_sent(jpeg: bytes, index: int, pts: float) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    picture = PreviewPicture("door", 7, index, pts, at, 640, 360, jpeg, event_json=b'{"faces": []}')
    assert preview_from_bytes(bytes_from_preview(picture)) == picture


@pytest.mark.parametrize("message", [b"", b"{}", b"[]\n", b'{"captured_at": "2026-01-01"}\n\nx', b"\xff\xd8\n"])
def test_what_is_no_preview_is_refused(message: bytes) -> None:
    with pytest.raises(RecordError):
        preview_from_bytes(message)


def test_every_kind_is_reached() -> None:
    kinds = {preview_kind(has_boxes=boxes, is_blurred=blur) for boxes in (True, False) for blur in (True, False)}
    small = {preview_kind(has_boxes=False, is_blurred=blur, is_small=True) for blur in (True, False)}
    assert kinds | small == set(PreviewKind)


class Channel:
    """Keeps what is sent."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.sent: list[tuple[str, PreviewPicture]] = []
        self.error = error

    async def send(self, channel: str, message: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((channel, preview_from_bytes(message)))


class Stream:
    """A tap with frames and events going through it."""

    def __init__(self, channel: Channel) -> None:
        self.seconds = 0.0
        self.tap = PreviewTap("door", send=channel.send, detect=self._detect, clock=lambda: self.seconds)
        self.found: list[Face] | Exception = []
        self.num_searches = 0
        self._frames = gray_frames(100)
        self._events = events_of("door", range(100))

    def show(self, picture: npt.NDArray[np.uint8]) -> None:
        """From now on every frame is this one."""
        self._frames = [replace(frame, luma=picture) for frame in self._frames]

    def _detect(self, luma: Luma) -> list[Face]:
        self.num_searches += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def decode(self, *indexes: int) -> None:
        for index in indexes:
            self.tap.offer(self._frames[index])
            self.seconds += 0.04

    async def publish(self, *indexes: int) -> None:
        events: list[EmotionEvent] = [self._events[index] for index in indexes]
        self.tap.published(events)
        while self.tap.is_busy:
            await asyncio.sleep(0.005)


async def test_no_preview_is_made_without_viewers() -> None:
    channel = Channel()
    stream = Stream(channel)
    stream.decode(*range(10))
    await stream.publish(*range(10))
    assert channel.sent == []


async def test_the_newest_frame_with_an_event_is_sent_in_each_kind_looked_at() -> None:
    channel = Channel()
    stream = Stream(channel)
    stream.tap.kinds = frozenset({PreviewKind.PLAIN, PreviewKind.BOXES})
    stream.decode(*range(10))  # 0, 3, 5 and 8 are about 0.1 s apart
    await stream.publish(*range(8))
    assert {name for name, _ in channel.sent} == {preview_channel("door", kind) for kind in stream.tap.kinds}
    assert {picture.frame_index for _, picture in channel.sent} == {5}
    assert channel.sent[0][1].jpeg.startswith(b"\xff\xd8")
    await stream.publish(8, 9)
    assert channel.sent[-1][1].frame_index == 8


async def test_frames_without_events_do_not_pile_up() -> None:
    channel = Channel()
    stream = Stream(channel)
    stream.tap.kinds = frozenset({PreviewKind.PLAIN})
    stream.decode(*range(60))
    await stream.publish(59)
    assert len(channel.sent) <= 1
    await stream.publish(*range(5))
    assert len(channel.sent) <= 1


async def test_a_server_that_is_away_is_no_trouble() -> None:
    channel = Channel(error=RegistryUnavailableError("away"))
    stream = Stream(channel)
    stream.tap.kinds = frozenset(PreviewKind)
    stream.decode(0)
    await stream.publish(0)
    channel.error = None
    stream.seconds += 1
    stream.decode(5)
    await stream.publish(5)
    assert len(channel.sent) == len(PreviewKind)
    stream.tap.close()


async def test_pictures_for_many_are_small_and_seldom_and_bring_their_event() -> None:
    channel = Channel()
    stream = Stream(channel)
    stream.tap.kinds = frozenset({PreviewKind.SMALL})
    for index in range(50):  # 2 seconds
        stream.decode(index)
        await stream.publish(index)
    assert [picture.frame_index for _, picture in channel.sent] == [0, 12, 24, 37, 49]
    event = event_from_json(channel.sent[1][1].event_json)
    assert (event.frame_index, len(event.faces)) == (12, len(stream._events[12].faces))


async def test_ten_frames_a_second_are_all_shown() -> None:
    channel = Channel()
    stream = Stream(channel)
    stream.tap.kinds = frozenset({PreviewKind.PLAIN})
    for index in range(40):
        stream.seconds = 0.1 * index + (0.004 if index % 2 else 0.0)  # frames come a little late or early
        stream.tap.offer(stream._frames[index])
        await stream.publish(index)
    assert len(channel.sent) == 40


def detail(picture: PreviewPicture, *, left: int = 0, right: int = 320) -> float:
    """How much neighbouring pixels differ between these columns, where nobody stands in the events."""
    gray = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    return float(np.abs(np.diff(gray[100:200, left:right].astype(np.int16), axis=1)).mean())


@pytest.mark.parametrize("kind", [PreviewKind.BLURRED, PreviewKind.BLURRED_BOXES, PreviewKind.SMALL_BLURRED])
async def test_a_blurred_picture_is_searched_itself_and_covered_wholly_where_that_fails(kind: PreviewKind) -> None:
    """The events know nothing of the weak face on the right: no track starts with it."""
    channel = Channel()
    stream = Stream(channel)
    stream.show(textured_picture(0, width=320, height=240))
    stream.tap.kinds = frozenset({kind})
    stream.found = [face_at(220, 120, size=60, score=0.35)]
    stream.decode(0)
    await stream.publish(0)
    stream.found = InferenceError("the detector is away")
    stream.seconds += 1
    stream.decode(1)
    await stream.publish(1)
    (_, found), (_, failed) = channel.sent
    clear = detail(found, left=100, right=190)
    assert clear > 5
    assert detail(found, left=215, right=285) < clear / 2
    assert detail(failed, left=100, right=190) < clear / 2, "nothing is clear before a search has answered"
    assert detail(failed, left=215, right=285) < clear / 2


async def test_of_pixels_that_are_not_square_the_faces_of_the_event_are_covered_where_they_are_shown() -> None:
    channel = Channel()
    stream = Stream(channel)
    stream.show(textured_picture(0, width=320, height=240))
    stream._frames = [replace(frame, pixel_aspect=2.0, stored_size=(160, 240)) for frame in stream._frames]
    known = stream._events[0].faces[0]
    known = replace(known, face=replace(known.face, box_xyxy=(110.0, 120.0, 140.0, 180.0)))
    stored = replace(stream._events[0], frame_width=160, frame_height=240, pixel_aspect=2.0, faces=(known,))
    stream._events[0] = stored
    stream.tap.kinds = frozenset({PreviewKind.BLURRED})
    stream.decode(0)
    await stream.publish(0)
    ((_, picture),) = channel.sent
    assert (picture.frame_width, picture.frame_height) == (160, 240)
    assert event_from_json(picture.event_json).pixel_aspect == 2.0
    clear = detail(picture, left=20, right=100)
    assert detail(picture, left=225, right=275) < clear / 2
    assert detail(picture, left=115, right=135) > clear / 2


async def test_a_face_that_the_next_search_misses_stays_covered_for_a_moment() -> None:
    channel = Channel()
    stream = Stream(channel)
    stream.show(textured_picture(0, width=320, height=240))
    stream.tap.kinds = frozenset({PreviewKind.BLURRED})
    for index in range(50):
        stream.found = [face_at(220, 120, size=60)] if index < 5 else []
        stream.decode(index)
        await stream.publish(index)
    details = {picture.frame_index: detail(picture, left=225, right=275) for _, picture in channel.sent}
    clear = detail(channel.sent[0][1], left=100, right=190)
    assert all(each < clear / 2 for index, each in details.items() if index <= 12)
    assert details[max(details)] > clear / 2


async def test_pictures_that_are_not_blurred_cost_no_search() -> None:
    stream = Stream(Channel())
    stream.tap.kinds = frozenset({PreviewKind.PLAIN, PreviewKind.BOXES, PreviewKind.SMALL})
    stream.decode(0)
    await stream.publish(0)
    assert stream.num_searches == 0
