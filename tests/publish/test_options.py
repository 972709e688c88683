"""Per stream: encoding, digits, landmarks, empty frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import EventSettings, PublishSettings
from emostream.domain.event import EmotionEvent
from emostream.domain.event_content import round_probabilities
from emostream.errors import EventRejectedError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink, without_empty_frames
from emostream.wire.events import (
    WireOptions,
    decode_event,
    encode_event,
    json_from_event,
    packed_from_event,
)
from tests.publish.samples import EPOCH, EVENT, STATUS, events_of
from tests.strategies import distributions, emotion_events

PACKED = WireOptions(encoding="msgpack")


def packed_fields(content: bytes) -> dict[bytes, bytes]:
    return {b"epoch": b"1", b"frame_index": b"1", b"packed": content}


@given(emotion_events)
def test_messagepack_says_the_same_as_json(event: EmotionEvent) -> None:
    read = decode_event(packed_fields(packed_from_event(event)))
    again = decode_event({b"event": json_from_event(event).encode()})
    assert replace(read, faces=()) == replace(again, faces=())
    for got, wanted in zip(read.faces, again.faces, strict=True):
        assert replace(got, face=wanted.face) == wanted
        assert got.face.box_xyxy == pytest.approx(wanted.face.box_xyxy, rel=1e-6)
        assert got.face.track_id == wanted.face.track_id


def test_messagepack_is_compact() -> None:
    assert len(packed_from_event(EVENT)) < 0.9 * len(json_from_event(EVENT).encode())


@given(st.binary(max_size=300))
def test_noise_is_rejected(noise: bytes) -> None:
    with pytest.raises(EventRejectedError):
        decode_event(packed_fields(noise))


@given(st.integers(0, len(packed_from_event(EVENT)) - 1), st.integers(0, 255))
def test_one_changed_byte_is_an_event_or_rejected(position: int, value: int) -> None:
    content = bytearray(packed_from_event(EVENT))
    content[position] = value
    try:
        decode_event(packed_fields(bytes(content)))
    except EventRejectedError as exc:
        assert len(str(exc)) <= 300


@pytest.mark.parametrize("hostile", [b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff", b"\xc7\xff\x01" + b"x" * 255, b"\xc0"])
def test_hostile_messagepack_is_rejected(hostile: bytes) -> None:
    with pytest.raises(EventRejectedError):
        decode_event(packed_fields(hostile))


@given(distributions(), st.integers(2, 6))
def test_probabilities_sum_to_one_in_any_number_of_digits(values: tuple[float, ...], digits: int) -> None:
    rounded = round_probabilities(values, digits=digits)
    assert sum(rounded) == pytest.approx(1, abs=1e-9)
    assert all(round(value, digits) == value for value in rounded)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30), st.integers(0, 5), st.integers(1, 7))
def test_lost_frames_before_and_within_a_batch_are_all_counted(
    frames: list[tuple[int, bool]], carried: int, size: int
) -> None:
    events = [
        replace(EVENT, frame_index=index, num_dropped=num_dropped, faces=EVENT.faces if has_face else ())
        for index, (num_dropped, has_face) in enumerate(frames)
    ]
    selected: list[EmotionEvent] = []
    total = carried + sum(event.num_dropped for event in events)
    for start in range(0, len(events), size):
        part, carried = without_empty_frames(events[start : start + size], num_carried=carried)
        selected += part
    assert [event.frame_index for event in selected] == [
        index for index, (_, has_face) in enumerate(frames) if has_face
    ]
    assert sum(event.num_dropped for event in selected) + carried == total


def test_options_shape_the_json() -> None:
    fields = encode_event(EVENT, WireOptions(probability_digits=2, has_landmarks=False))
    assert b"landmarks" not in str(fields["event"]).encode()
    assert '"happy":0.9,' in str(fields["event"])


@pytest.mark.integration
async def test_each_stream_as_it_is_set(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = PublishSettings(
        stream_events={
            f"{stream_id}-packed": EventSettings(encoding="msgpack"),
            f"{stream_id}-few": EventSettings(empty_frames=False, landmarks=False),
        }
    )
    async with RedisSink(settings, redis_url=redis_server.url) as sink:
        for name in ("plain", "packed", "few"):
            events = events_of(f"{stream_id}-{name}", range(10))
            await sink.publish(
                [replace(event, faces=event.faces * (event.frame_index % 2), num_dropped=1) for event in events]
            )
    names = [f"{stream_id}-{name}" for name in ("plain", "packed", "few")]
    async with RedisReader(
        settings, redis_url=redis_server.url, stream_ids=names, start="start", follow=False
    ) as reader:
        read = [entry.event async for entry in reader if isinstance(entry.event, EmotionEvent)]
        assert reader.num_rejected == 0
    plain, packed, few = ([event for event in read if event.stream_id == name] for name in names)
    assert [replace(event, stream_id="") for event in plain] == [replace(event, stream_id="") for event in packed]
    assert [(event.frame_index, event.num_dropped) for event in few] == [(index, 2) for index in range(1, 10, 2)]
    assert all(face.face.landmarks == () for event in few for face in event.faces)


@pytest.mark.integration
async def test_what_an_ended_run_left_unsaid_is_not_said_of_the_next(
    redis_server: EmbeddedRedis, stream_id: str
) -> None:
    settings = PublishSettings(events=EventSettings(empty_frames=False))
    empty, seen = events_of(stream_id, range(2))
    async with RedisSink(settings, redis_url=redis_server.url) as sink:
        await sink.publish([replace(empty, faces=(), num_dropped=3)])
        await sink.publish_status(replace(STATUS, stream_id=stream_id))
        await sink.publish([replace(seen, epoch=EPOCH + 1)])
    async with RedisReader(
        settings, redis_url=redis_server.url, stream_ids=[stream_id], start="start", follow=False
    ) as reader:
        (event,) = [entry.event async for entry in reader if isinstance(entry.event, EmotionEvent)]
    assert (event.epoch, event.num_dropped) == (EPOCH + 1, 0)
