"""One sender: a peer connection (aiortc) whose pictures go to a stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.clock import datetime_from_ntp
from aiortc.exceptions import OperationError
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket

from emostream.config import WebRtcSettings
from emostream.decode.handed_pictures import PictureQueue
from emostream.errors import SourceUnavailableError
from emostream.service.senders.figures import SenderFigures
from emostream.service.senders.refusal import RefusedError
from emostream.service.senders.sdp import cleaned_offer, finished_answer, has_candidates

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 1.0
_MAX_SECONDS_ABOVE_BITRATE = 5.0  # a key frame, or a congestion that ends, may exceed it
_RTP_CLOCK = 90_000  # of all video
_HALF_STAMPS = 1 << 31
_MAX_UNDECODED = 50  # pictures; two seconds
_BITRATE_SLACK = 1.5  # packets, retransmissions, sound


class _CountedLosses(NackGenerator):
    """Also counts the packets that it stops to wait for. The library's own figure is that of the last of several
    sources, which is the one of retransmissions where there is one."""

    def __init__(self, figures: SenderFigures) -> None:
        super().__init__()
        self._figures = figures

    def truncate(self) -> None:
        num_missing = len(self.missing)
        super().truncate()
        self._figures.num_lost += num_missing - len(self.missing)


class WebRtcSession:
    """A sender from its offer to its end. All methods are called in one event loop.

    Args:
        stream_id: where its pictures go.
        settings: limits and addresses.
        figures: to which this sender adds.
        max_pixels: larger pictures end it.
        stall_seconds: so long without a picture ends it.
        on_ended: called once, when it has ended.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        settings: WebRtcSettings,
        figures: SenderFigures,
        max_pixels: int,
        stall_seconds: float,
        on_ended: Callable[[], None],
    ) -> None:
        self.stream_id = stream_id
        self._figures = figures
        self._figures_before = replace(figures)
        self._settings = settings
        self._max_pixels = max_pixels
        self._stall_seconds = stall_seconds
        self._on_ended = on_ended
        loop = asyncio.get_running_loop()
        self.pictures = PictureQueue(
            codec="webrtc",
            on_left=lambda: _in_loop(loop, partial(self._begin_to_end, "its stream was stopped")),
        )
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=_ice_servers(settings), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._connection.on("track", self._on_track)
        self._connection.on("connectionstatechange", self._on_state)
        self._begun_seconds = self._last_picture_seconds = time.monotonic()
        self._num_bytes = 0
        self._above_bitrate_since: float | None = None
        self._clock_of: dict[int, tuple[datetime, int]] = {}  # SSRC → its wall clock at an RTP time
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: asyncio.Task[None] | None = None

    async def answer(self, offer: str) -> str:
        """Accept an offer; the media come when the sender has the answer.

        Raises:
            RefusedError: the offer cannot be read (400) or accepted (422), or there is no free port now (503).
        """
        offer = cleaned_offer(offer)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
            for transceiver in self._connection.getTransceivers():
                if transceiver.kind != "video":  # not received: nothing hears it
                    transceiver.direction = "inactive"
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except OperationError as exc:
            raise RefusedError("no codec in common: expected an offer of video as H.264 or VP8") from exc
        except Exception as exc:  # whatever the parser stumbles over; the offer comes from outside
            raise RefusedError(f"the SDP offer cannot be read ({type(exc).__name__})", status=400) from exc
        answer = self._connection.localDescription.sdp
        if not has_candidates(answer):
            raise RefusedError("no free UDP port (webrtc.min_port to webrtc.max_port); try again later", status=503)
        if not any(track.receiver.track for track in self._connection.getTransceivers() if track.kind == "video"):
            raise RefusedError("the offered video is not sent: expected a=sendonly or a=sendrecv")
        self._listen_to_control()
        self._tasks.append(asyncio.create_task(self._watch(), name=f"watch of the sender of {self.stream_id}"))
        announced = self._settings.announced_address
        return finished_answer(
            answer,
            announced_address=None if announced is None else str(announced),
            max_bitrate_kbps=self._settings.max_bitrate_kbps,
        )

    async def end(self, reason: str) -> None:
        """End it and release its sockets and threads. May be called again."""
        self._begin_to_end(reason)
        if self._ending is not None:
            await asyncio.wait({self._ending})

    def _begin_to_end(self, reason: str) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(reason))

    async def _end(self, reason: str) -> None:
        self.pictures.finish(SourceUnavailableError(reason))
        for transceiver in self._connection.getTransceivers():
            _forget_undecoded(transceiver.receiver)  # `close` waits until they are decoded
        for task in self._tasks:
            task.cancel()
        try:
            await self._read_figures()
            await self._connection.close()
            if self._tasks:
                await asyncio.wait(self._tasks)
        except Exception:  # a bug of the library must not keep the session in the books
            logger.exception("stream %s: cannot close a WebRTC session", self.stream_id)
        before, now = self._figures_before, self._figures
        logger.info(
            "stream %s: %s; %d packets were lost, %d key frames and %d retransmissions were asked for",
            self.stream_id,
            reason,
            now.num_lost - before.num_lost,
            now.num_key_frame_requests - before.num_key_frame_requests,
            now.num_retransmission_requests - before.num_retransmission_requests,
        )
        self._on_ended()

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self._tasks.append(asyncio.create_task(self._receive(track), name=f"pictures of {self.stream_id}"))

    def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._begin_to_end("the connection to the sender was lost")

    async def _receive(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                picture: Any = await track.recv()
                self._last_picture_seconds = time.monotonic()
                if picture.width * picture.height > self._max_pixels:
                    self._begin_to_end(
                        f"its pictures have {picture.width}×{picture.height} pixels, at most {self._max_pixels} are "
                        "accepted (webrtc.max_pixels)"
                    )
                    return
                has_stamp = picture.pts is not None and picture.time_base is not None
                self.pictures.put(
                    picture,
                    stamp_seconds=float(picture.pts * picture.time_base) if has_stamp else None,
                    sent_at=self._sent_at(picture.pts) if has_stamp else None,
                )
        self._begin_to_end("the sender has ended")

    def _listen_to_control(self) -> None:
        """Count losses and what is asked of the sender, and note its clock (RTCP). The library reports none of it,
        so three of its methods are wrapped, and what keeps the numbers of lost packets is replaced."""
        for transceiver in self._connection.getTransceivers():
            receiver: Any = transceiver.receiver
            receiver._RTCRtpReceiver__nack_generator = _CountedLosses(self._figures)
            asks_for_key_frame, asks_again = receiver._send_rtcp_pli, receiver._send_rtcp_nack

            async def key_frame(ssrc: int, ask: Any = asks_for_key_frame) -> None:
                self._figures.num_key_frame_requests += 1
                await ask(ssrc)

            async def again(ssrc: int, lost: list[int], ask: Any = asks_again) -> None:
                self._figures.num_retransmission_requests += 1
                await ask(ssrc, lost)

            hears = receiver._handle_rtcp_packet

            async def hear(packet: AnyRtcpPacket, hears: Any = hears) -> None:
                if isinstance(packet, RtcpSrPacket):
                    info = packet.sender_info
                    self._clock_of[packet.ssrc] = datetime_from_ntp(info.ntp_timestamp), info.rtp_timestamp
                await hears(packet)

            receiver._send_rtcp_pli, receiver._send_rtcp_nack = key_frame, again
            receiver._handle_rtcp_packet = hear

    def _sent_at(self, pts: int) -> datetime | None:
        """When a picture was taken by the sender's clock; None until it was sent."""
        for transceiver in self._connection.getTransceivers():
            mapper = getattr(transceiver.receiver, "_RTCRtpReceiver__timestamp_mapper", None)
            origin = getattr(mapper, "_origin", None)
            if transceiver.kind != "video" or origin is None:
                continue
            for source in transceiver.receiver.getSynchronizationSources():
                if source.source in self._clock_of:
                    at, stamp = self._clock_of[source.source]
                    ticks = (origin + pts - stamp + _HALF_STAMPS) % (2 * _HALF_STAMPS) - _HALF_STAMPS  # stamps wrap
                    return at + timedelta(seconds=ticks / _RTP_CLOCK)
        return None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = time.monotonic()
            if self._connection.connectionState != "connected":
                if now - self._begun_seconds > self._settings.connect_seconds:
                    self._begin_to_end(f"no connection within {self._settings.connect_seconds:g} s (ICE)")
                    return
                self._last_picture_seconds = now
            elif now - self._last_picture_seconds > self._stall_seconds:
                self._begin_to_end(f"the sender has sent no picture for {self._stall_seconds:g} s")
                return
            for transceiver in self._connection.getTransceivers():
                if transceiver.kind == "video":
                    self._check_backlog(transceiver.receiver)
            self._check_bitrate(await self._read_figures(), now)

    def _check_backlog(self, receiver: RTCRtpReceiver) -> None:
        """End a sender of more than can be decoded: the library queues what waits without a bound, out of reach."""
        waiting = _undecoded(receiver)
        if waiting is not None and waiting.qsize() > _MAX_UNDECODED:
            self._begin_to_end("its pictures come faster than they are decoded here; send smaller or fewer ones")

    async def _read_figures(self) -> int:
        """Read what the library has counted; how many bytes came since the last time."""
        self.pictures.num_lost = self._figures.num_lost - self._figures_before.num_lost
        before = self._num_bytes
        for transceiver in self._connection.getTransceivers():
            if transceiver.kind == "video":  # there is one, and one transport for all media
                stats = await transceiver.receiver.getStats()
                self._num_bytes = sum(getattr(item, "bytesReceived", 0) for item in stats.values())
        self._figures.num_bytes += self._num_bytes - before
        return self._num_bytes - before

    def _check_bitrate(self, num_bytes: int, now: float) -> None:
        kbps = 8 * num_bytes / 1000 / _CHECK_SECONDS
        if kbps <= self._settings.max_bitrate_kbps * _BITRATE_SLACK:
            self._above_bitrate_since = None
        elif self._above_bitrate_since is None:
            self._above_bitrate_since = now
        elif now - self._above_bitrate_since > _MAX_SECONDS_ABOVE_BITRATE:
            self._begin_to_end(
                f"it sends {kbps:.0f} kbit/s, at most {self._settings.max_bitrate_kbps} are accepted "
                "(webrtc.max_bitrate_kbps)"
            )


def _ice_servers(settings: WebRtcSettings) -> list[RTCIceServer]:
    """Those of the settings and no other: the library's own default is a server of Google."""
    servers = [RTCIceServer(settings.stun_url)] if settings.stun_url else []
    if settings.turn_url:
        password = None if settings.turn_password is None else settings.turn_password.get_secret_value()
        servers.append(RTCIceServer(settings.turn_url, username=settings.turn_username, credential=password))
    return servers


def _undecoded(receiver: RTCRtpReceiver) -> queue.Queue[Any] | None:
    """What waits for the decoder; None where another version of the library keeps it elsewhere."""
    return getattr(receiver, "_RTCRtpReceiver__decoder_queue", None)


def _forget_undecoded(receiver: RTCRtpReceiver) -> None:
    if (waiting := _undecoded(receiver)) is not None:
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait()


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, and all sessions with it
        loop.call_soon_threadsafe(call)
