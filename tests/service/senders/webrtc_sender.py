"""A real sender: aiortc as a WHIP client, whose pictures are plain gray of a known brightness."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aioice.ice
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import VideoFrame

FPS = 25
RTP_CLOCK = 90_000

needs_an_address = pytest.mark.skipif(
    not aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False),
    reason="ICE uses no loopback address, and this machine has no other",
)


class GrayPictures(VideoStreamTrack):
    """Pictures of one size, brighter by 3 from each to the next, from 40 to 220."""

    def __init__(self, width: int = 320, height: int = 240) -> None:
        super().__init__()
        self.size = width, height
        self.num_sent = 0
        self.is_silent = False
        self._began = 0.0

    async def recv(self) -> VideoFrame:
        self._began = self._began or time.monotonic()
        await asyncio.sleep(max(0.0, self._began + self.num_sent / FPS - time.monotonic()))
        while self.is_silent:
            await asyncio.sleep(0.05)
        frame = self.picture()
        frame.pts, frame.time_base = self.num_sent * RTP_CLOCK // FPS, fractions.Fraction(1, RTP_CLOCK)
        self.num_sent += 1
        return frame

    def picture(self) -> VideoFrame:
        """The next one."""
        width, height = self.size
        level = 40 + 3 * min(self.num_sent, 60)
        return VideoFrame.from_ndarray(np.full((height, width), level, np.uint8), format="gray").reformat(
            format="yuv420p"
        )


class NoisyPictures(GrayPictures):
    """Pictures that take several packets each."""

    def __init__(self) -> None:
        super().__init__()
        self._random = np.random.default_rng(0)

    def picture(self) -> VideoFrame:
        width, height = self.size
        rgb = self._random.integers(0, 256, (height, width, 3), np.uint8)
        return VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")


class OnePicture(GrayPictures):
    """The same picture all the time.

    Args:
        rgb: uint8, H×W×3.
    """

    def __init__(self, rgb: Any) -> None:
        super().__init__()
        self._frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="yuv420p")

    def picture(self) -> VideoFrame:
        return self._frame


@contextlib.asynccontextmanager
async def sending(
    exchange: Callable[[str], Awaitable[str]],
    *,
    codec: str = "video/VP8",
    has_sound: bool = False,
    pictures: GrayPictures | None = None,
) -> AsyncIterator[tuple[RTCPeerConnection, GrayPictures]]:
    """Send while the context is open.

    Args:
        exchange: takes the offer and gives the answer.
    """
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pictures = pictures or GrayPictures()
    try:
        offer = await offered(connection, pictures, codec=codec, has_sound=has_sound)
        answer = await exchange(offer)
        await connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        yield connection, pictures
    finally:
        pictures.is_silent = False
        await connection.close()


async def offered(
    connection: RTCPeerConnection, pictures: GrayPictures, *, codec: str = "video/VP8", has_sound: bool = False
) -> str:
    """The offer of a sender."""
    if has_sound:
        connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
    transceiver = connection.addTransceiver(pictures, direction="sendonly")
    known: list[Any] = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([item for item in known if item.mimeType in (codec, "video/rtx")])
    await connection.setLocalDescription(await connection.createOffer())
    return connection.localDescription.sdp
