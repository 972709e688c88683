"""Senders by WebRTC, with a real client: pictures and their times, ends of all kinds, and what is left behind."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCPeerConnection
from aiortc.codecs.vpx import Vp8Decoder

from emostream.config import WebRtcSettings
from emostream.decode.handed_pictures import HandedPictureSource, PictureQueue
from emostream.domain.frame import Frame
from emostream.errors import SourceTimeoutError, SourceUnavailableError
from emostream.service.senders.figures import SenderCounters
from emostream.service.senders.offer import Offer
from emostream.service.senders.refusal import RefusedError
from emostream.service.senders.waiting import WaitingSenders
from emostream.service.senders.webrtc_hub import WebRtcHub
from tests.service.senders.webrtc_sender import FPS, GrayPictures, NoisyPictures, needs_an_address, offered, sending

pytestmark = [pytest.mark.integration, needs_an_address]


WAITING: weakref.WeakKeyDictionary[WebRtcHub, WaitingSenders] = weakref.WeakKeyDictionary()
COUNTERS: weakref.WeakKeyDictionary[WebRtcHub, SenderCounters] = weakref.WeakKeyDictionary()


def hub_of(settings: WebRtcSettings, *, stall_seconds: float = 5.0) -> WebRtcHub:
    waiting, counters = WaitingSenders(), SenderCounters()
    hub = WebRtcHub(settings, waiting=waiting, counters=counters, stall_seconds=stall_seconds)
    WAITING[hub], COUNTERS[hub] = waiting, counters
    return hub


@pytest.fixture
def hub() -> Iterator[WebRtcHub]:
    with hub_of(WebRtcSettings(enabled=True), stall_seconds=5.0) as hub:
        yield hub


def source_of(hub: WebRtcHub, stream_id: str = "door", *, seconds: float = 20.0) -> HandedPictureSource:
    return HandedPictureSource(
        lambda left: WAITING[hub].take(stream_id, left), stream_id=stream_id, open_timeout_seconds=seconds
    )


def exchange(hub: WebRtcHub, session_id: str = "s1", *, stream_id: str = "door", owner: str = "a") -> Any:
    return lambda sdp: hub.answer(Offer(stream_id, session_id, owner, sdp))


async def frames_of(source: HandedPictureSource, num_frames: int) -> list[Frame]:
    """Some frames, read in a thread as the pipeline does."""

    def read() -> list[Frame]:
        frames = []
        for frame in source:
            frames.append(frame)
            if len(frames) == num_frames:
                break
        return frames

    return await asyncio.to_thread(read)


def sockets_and_threads() -> tuple[int, set[str]]:
    names = {thread.name for thread in threading.enumerate()}
    return len(list(Path("/proc/self/fd").iterdir())), {name for name in names if "decoder" in name}


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
async def test_pictures_and_their_times_arrive(hub: WebRtcHub, codec: str) -> None:
    source = source_of(hub)
    async with sending(exchange(hub), codec=codec, has_sound=codec == "video/VP8"):
        await asyncio.to_thread(source.__enter__)
        frames = await frames_of(source, 30)
        source.close()
    assert (source.info.width, source.info.height) == (320, 240)
    assert [frame.frame_index for frame in frames] == list(range(30))
    assert {frame.luma.shape for frame in frames} == {(240, 320)}
    times = [frame.pts_seconds for frame in frames]
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert all(step > 0 for step in steps)
    # The brightness says which picture it is, so its time is known, however late it came.
    numbers = [(float(frame.full_luma(frame.luma[100:140, 100:220]).mean()) - 40) / 3 for frame in frames]
    for number, seconds in zip(numbers, times, strict=True):
        assert seconds - times[0] == pytest.approx((number - numbers[0]) / FPS, abs=0.2)


@pytest.mark.parametrize(
    ("candidate", "by"),
    [
        pytest.param(r"a=candidate:.*\r\n|a=end-of-candidates\r\n", "", id="none-as-of-obs"),
        pytest.param(r"a=candidate:.*\r\n", "", id="none-and-said-to-be-all"),
        pytest.param(
            r"a=candidate:(\S+ \d udp \d+) \S+ (\d+ typ host).*",
            r"a=candidate:\1 8e5b3b5e-2b1c-4c1f-9d2e-0a1b2c3d4e5f.local \2",
            id="names-as-of-browsers",
        ),
    ],
)
async def test_senders_are_found_by_their_own_checks(hub: WebRtcHub, candidate: str, by: str) -> None:
    source = source_of(hub)
    async with sending(lambda sdp: exchange(hub)(re.sub(candidate, by, sdp))):
        await asyncio.to_thread(source.__enter__)
        assert len(await frames_of(source, 3)) == 3
        source.close()


async def test_lost_packets_are_requested_again(hub: WebRtcHub) -> None:
    source, figures = source_of(hub), COUNTERS[hub].of("door")
    async with sending(exchange(hub), pictures=NoisyPictures()) as (connection, pictures):
        lose_packets(connection, pictures)
        await asyncio.to_thread(source.__enter__)
        frames = await frames_of(source, 60)
        assert figures.num_retransmission_requests > 0
        source.close()
    await until_none_is_left(hub)
    assert len(frames) == 60
    # All but the few whose requests or second copies were lost as well (1 of 12 of them) came in the end.
    assert figures.num_lost < figures.num_retransmission_requests / 2
    assert figures.num_bytes > 30_000  # 250 kbit/s, the least that this sender sends, for 2.4 s would be 75,000


async def test_packets_that_never_come_are_counted_over_all_senders(hub: WebRtcHub) -> None:
    counted = []
    for number in range(2):
        source, figures = source_of(hub), COUNTERS[hub].of("door")
        async with sending(exchange(hub, f"s{number}"), pictures=NoisyPictures()) as (connection, pictures):
            lose_packets(connection, pictures)

            async def nothing(sequence_number: int) -> None:
                """Send it again: this sender cannot."""

            connection.getSenders()[0]._retransmit = nothing  # type: ignore[method-assign]
            await asyncio.to_thread(source.__enter__)
            await frames_of(source, 20)
            async with asyncio.timeout(20):
                while source.stats.num_corrupt == 0:
                    await frames_of(source, 1)
            source.close()
        await until_none_is_left(hub)
        counted.append((figures.num_lost, figures.num_key_frame_requests, figures.num_bytes))
    assert all(0 < first < second for first, second in zip(*counted, strict=True))
    COUNTERS[hub].keep_streams({"gate"})
    assert COUNTERS[hub].of_streams() == {}


def lose_packets(connection: RTCPeerConnection, pictures: GrayPictures) -> None:
    """Let every 12th packet be lost on its way, once it sends pictures."""
    transport: Any = connection.getSenders()[0].transport.transport  # ICE: below it are only packets
    send, numbers = transport._send, itertools.count()

    async def lossy(packet: bytes) -> None:
        if next(numbers) % 12 or pictures.num_sent < 10:
            await send(packet)

    transport._send = lossy


async def test_the_clock_of_the_sender(hub: WebRtcHub) -> None:
    source = source_of(hub)
    async with sending(exchange(hub)):
        await asyncio.to_thread(source.__enter__)
        frames = await asyncio.to_thread(iter, source)
        async with asyncio.timeout(20):  # RTCP comes every second or so
            while source.stats.source_delay_seconds is None:
                await asyncio.to_thread(next, frames)
        assert -0.1 < source.stats.source_delay_seconds < 2  # it is this machine's clock
        source.close()


async def test_pictures_that_cannot_be_decoded_in_time_end_the_sender(
    hub: WebRtcHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()  # never set

    class SlowDecoder(Vp8Decoder):
        def decode(self, encoded_frame: Any) -> Any:
            slow.wait(0.4)
            return super().decode(encoded_frame)

    monkeypatch.setattr("aiortc.rtcrtpreceiver.get_decoder", lambda codec: SlowDecoder())
    source = source_of(hub)
    async with sending(exchange(hub)):
        await asyncio.to_thread(source.__enter__)
        with pytest.raises(SourceUnavailableError):
            await frames_of(source, 10_000)
        async with asyncio.timeout(3):  # what waits is not decoded any more
            await until_none_is_left(hub)


async def test_a_sender_that_ends_is_waited_for_again(hub: WebRtcHub) -> None:
    source = source_of(hub)
    async with sending(exchange(hub)):
        await asyncio.to_thread(source.__enter__)
        assert await hub.end("other", "s1") is False and await hub.end("door", "s2") is False
        assert await hub.end("door", "s1") is True
        with pytest.raises(SourceUnavailableError):
            await frames_of(source, 10_000)
    assert hub.num_sessions == 0 and await hub.end("door", "s1") is False
    again = source_of(hub)
    async with sending(exchange(hub, "s2")):
        await asyncio.to_thread(again.__enter__)
        assert len(await frames_of(again, 3)) == 3
        again.close()


async def test_a_new_sender_takes_the_place_of_the_one_before(hub: WebRtcHub) -> None:
    source = source_of(hub)
    async with sending(exchange(hub)):
        await asyncio.to_thread(source.__enter__)
        async with sending(exchange(hub, "s2")):
            with pytest.raises(SourceUnavailableError):
                await frames_of(source, 10_000)
            assert hub.num_sessions == 1
            again = source_of(hub)
            await asyncio.to_thread(again.__enter__)
            assert len(await frames_of(again, 3)) == 3
            again.close()


async def test_a_sender_of_another_kind_takes_the_place_as_well(hub: WebRtcHub) -> None:
    source = source_of(hub)
    async with sending(exchange(hub)):
        await asyncio.to_thread(source.__enter__)
        other = PictureQueue(codec="pictures", on_left=lambda: None)
        WAITING[hub].put("door", other)
        with pytest.raises(SourceUnavailableError):
            await frames_of(source, 10_000)
        source.close()  # as the pipeline does
        await until_none_is_left(hub)
        assert WAITING[hub].take("door", 0) is other and WAITING[hub].take("door", 0) is None


async def test_a_stream_that_stops_ends_its_sender(hub: WebRtcHub) -> None:
    source = source_of(hub)
    async with sending(exchange(hub)):
        await asyncio.to_thread(source.__enter__)
        source.close()
        await until_none_is_left(hub)


async def test_a_stream_without_a_sender(hub: WebRtcHub) -> None:
    with pytest.raises(SourceTimeoutError):
        await asyncio.to_thread(source_of(hub, seconds=0.3).__enter__)
    source = source_of(hub)
    opening = asyncio.create_task(asyncio.to_thread(source.__enter__))
    await asyncio.sleep(0.1)
    source.close()
    with pytest.raises(SourceUnavailableError):
        await opening


async def test_a_sender_that_falls_silent_is_ended() -> None:
    with hub_of(WebRtcSettings(enabled=True), stall_seconds=1.0) as hub:
        source = source_of(hub)
        async with sending(exchange(hub)) as (_, pictures):
            await asyncio.to_thread(source.__enter__)
            pictures.is_silent = True
            with pytest.raises(SourceUnavailableError):
                await frames_of(source, 10_000)
            await until_none_is_left(hub)


async def test_pictures_that_are_too_large_end_the_sender() -> None:
    with hub_of(WebRtcSettings(enabled=True, max_pixels=64 * 64), stall_seconds=5.0) as hub:
        async with sending(exchange(hub), pictures=GrayPictures(96, 64)):
            with pytest.raises(SourceUnavailableError, match="pixels"):
                await asyncio.to_thread(source_of(hub).__enter__)
            await until_none_is_left(hub)


async def test_a_sender_that_never_connects_is_forgotten() -> None:
    with hub_of(WebRtcSettings(enabled=True, connect_seconds=0.5), stall_seconds=5.0) as hub:
        answer = await hub.answer(Offer("door", "s1", "a", await unanswered_offer()))
        assert "a=candidate:" in answer and hub.num_sessions == 1
        await until_none_is_left(hub)


async def test_limits() -> None:
    settings = WebRtcSettings(enabled=True, max_sessions=2, max_sessions_per_token=1)
    with hub_of(settings, stall_seconds=5.0) as hub:
        offer = await unanswered_offer()
        await hub.answer(Offer("one", "s1", "a", offer))
        for stream_id, owner in (("two", "a"), ("three", "b"), ("four", "c")):
            if owner == "b":
                await hub.answer(Offer(stream_id, f"s-{stream_id}", owner, offer))
                continue
            with pytest.raises(RefusedError) as refused:
                await hub.answer(Offer(stream_id, f"s-{stream_id}", owner, offer))
            assert refused.value.status == 503
        await hub.answer(Offer("one", "again", "a", offer))  # in the place of the one before
        assert hub.num_sessions == 2


async def test_ports_and_address() -> None:
    settings = WebRtcSettings(enabled=True, min_port=42_000, max_port=42_003, announced_address="203.0.113.5")
    with hub_of(settings, stall_seconds=5.0) as hub:
        offer, answers = await unanswered_offer(), []
        with pytest.raises(RefusedError) as refused:
            for number in range(6):
                answers.append(await hub.answer(Offer(f"c{number}", f"s{number}", "a", offer)))
        assert refused.value.status == 503 and 1 <= len(answers) <= 4
        for answer in answers:
            found = re.findall(r"a=candidate:\S+ \d+ udp \d+ (\S+) (\d+) typ host", answer)
            assert {address for address, _ in found} == {"203.0.113.5"}
            assert all(42_000 <= int(port) <= 42_003 for _, port in found)
            assert "b=AS:6000" in answer


NONSENSE = [
    "",
    "x",
    "v=0",
    "v=0\r\n" * 5000,
    "v=0\r\nm=\r\n",
    "v=0\r\nm=video\r\n",
    "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF x\r\n",
    "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    "\x00\xff",
    '{"sdp": "v=0"}',
]


@pytest.mark.parametrize("sdp", NONSENSE, ids=range(len(NONSENSE)))
async def test_offers_that_cannot_be_read(hub: WebRtcHub, sdp: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await hub.answer(Offer("door", "s1", "a", sdp))
    assert refused.value.status in (400, 422) and hub.num_sessions == 0


@pytest.mark.parametrize(
    ("change", "by"),
    [
        (r"VP8/90000", "AV1/90000"),
        (r"a=sendonly", "a=recvonly"),
        (r"a=sendonly", "a=inactive"),
        (r"m=video.*", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"),
        (r"m=video", "m=text"),
    ],
)
async def test_offers_that_cannot_be_accepted(hub: WebRtcHub, change: str, by: str) -> None:
    offer = re.sub(change, by, await unanswered_offer())
    with pytest.raises(RefusedError) as refused:
        await hub.answer(Offer("door", "s1", "a", offer))
    assert refused.value.status in (400, 422) and hub.num_sessions == 0


async def test_candidates_are_few_and_addresses() -> None:
    with hub_of(WebRtcSettings(enabled=True), stall_seconds=5.0) as hub:
        line = "a=candidate:1 1 udp 1 {} 9 typ host\r\n"
        offer = await unanswered_offer()
        names = "".join(line.format(f"x{number}.local") for number in range(100))
        assert await hub.answer(Offer("door", "s1", "a", offer + names))
        with pytest.raises(RefusedError):
            await hub.answer(Offer("door", "s2", "a", offer + "".join(line.format("192.0.2.9") for _ in range(100))))


async def test_two_hundred_senders_leave_nothing_behind(hub: WebRtcHub) -> None:
    offer = await unanswered_offer()
    await hub.answer(Offer("warm", "s", "a", offer))
    await hub.end("warm", "s")
    before = sockets_and_threads()
    for number in range(200):
        if number % 4 == 3:
            with pytest.raises(RefusedError):
                await hub.answer(Offer("door", f"s{number}", "a", offer.replace("VP8", "XX8")))
        else:
            await hub.answer(Offer(f"door{number % 7}", f"s{number}", "a", offer))
            if number % 2:
                await hub.end(f"door{number % 7}", f"s{number}")
    for number in range(200):
        await hub.end(f"door{number % 7}", f"s{number}")
    await until_none_is_left(hub)
    assert sockets_and_threads() == before


async def until_none_is_left(hub: WebRtcHub) -> None:
    async with asyncio.timeout(30):
        while hub.num_sessions:
            await asyncio.sleep(0.05)


async def unanswered_offer() -> str:
    from aiortc import RTCConfiguration, RTCPeerConnection

    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        return await offered(connection, GrayPictures())
    finally:
        await connection.close()
