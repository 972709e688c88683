"""WHIP clients that are not ours: FFmpeg's, and OBS by its sequence of requests and the shape of its offers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import cv2
import httpx
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from emostream.pipeline.build import Models
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.open import open_worker
from tests.conftest import REPOSITORY
from tests.service.http_service import served_api
from tests.service.senders.test_whip import events_of, metric, settings_of, until
from tests.service.senders.webrtc_sender import OnePicture, needs_an_address, offered

pytestmark = [pytest.mark.integration, needs_an_address]


@pytest.fixture
async def client(store: RegistryStore, redis_server: EmbeddedRedis, models: Models) -> AsyncIterator[httpx.AsyncClient]:
    """Of the interface, which has a worker that takes senders."""
    settings = settings_of()
    async with (
        open_worker(settings, redis_url=redis_server.url, worker_id="w1", models=models),
        served_api(settings, redis_url=redis_server.url) as base,
        httpx.AsyncClient(base_url=base, headers={"Authorization": "Bearer sender"}, timeout=30) as client,
    ):
        yield client


@pytest.mark.skipif("whip" not in av.formats_available, reason="FFmpeg has it since version 8")
async def test_ffmpeg(client: httpx.AsyncClient, store: RegistryStore, portrait: Any, tmp_path: Path) -> None:
    """Its own HTTP, ICE, DTLS and RTP; it ends its session."""

    async def has_no_sender() -> bool:
        return await metric(client, "emostream_senders", kind="webrtc") == 0

    picture, num_seconds = tmp_path / "portrait.png", 3
    cv2.imwrite(str(picture), np.ascontiguousarray(portrait[:, :, ::-1]))
    arguments = [f"{client.base_url}/v1/whip/desk", "sender", str(picture), str(num_seconds)]
    command = [sys.executable, "-m", "tests.service.senders.ffmpeg_sender", *arguments]
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(90):
            _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await until(has_no_sender)
    events = await events_of(store, "desk")
    assert {(event.frame_width, event.frame_height) for event in events} == {(512, 512)}
    assert {face.dominant for event in events[5:] for face in event.faces} == {"happy"}
    assert events[-1].pts_seconds - events[0].pts_seconds == pytest.approx(num_seconds, abs=0.5)
    assert (await metric(client, "emostream_sender_received_bytes_total", stream_id="desk") or 0) > 10_000
    assert await metric(client, "emostream_sender_waiting_streams") == 1


async def test_obs(client: httpx.AsyncClient, store: RegistryStore, portrait: Any) -> None:
    """An offer before it knows addresses, no `PATCH`, and `DELETE` after it has closed its connection."""
    agent = {"User-Agent": "Mozilla/5.0 (OBS-Studio/30.2.3; Linux x86_64; en-US)"}

    async def has_faces() -> bool:
        return any(event.faces for event in (await events_of(store, "desk"))[5:])

    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        pictures = OnePicture(portrait)
        offer = as_of_obs(await offered(connection, pictures, codec="video/H264", has_sound=True))
        url = f"{client.base_url}/v1/whip/desk"
        sent = await client.post(url, content=offer, headers={"Content-Type": "application/sdp", **agent})
        assert sent.status_code == 201 and sent.text.startswith("v=0")
        session = urljoin(url, sent.headers["location"])
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sent.text, type="answer"))
        await until(has_faces)
        assert await metric(client, "emostream_senders", kind="webrtc") == 1
    finally:
        await connection.close()
    assert (await client.delete(session, headers=agent)).status_code in (200, 404)  # the worker may have seen the end

    async def has_no_sender() -> bool:
        return await metric(client, "emostream_senders", kind="webrtc") == 0

    await until(has_no_sender)


def as_of_obs(offer: str) -> str:
    """The same offer as libdatachannel writes it: one fingerprint for all, no addresses, only the codecs it sends."""
    ufrag, password = found(offer, "a=ice-ufrag:"), found(offer, "a=ice-pwd:")
    video = offer[offer.index("m=video") :]
    payload = found(video, r"a=rtpmap:(?=\d+ H264)").split()[0]
    names = {"audio": "0", "video": "1"}
    head = [
        "v=0",
        "o=rtc 3767197920 0 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=group:LS 0 1",
        "a=msid-semantic:WMS *",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {found(offer, 'a=fingerprint:sha-256 ')}",
    ]
    codecs = {
        "audio": [
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;useinbandfec=1",
        ],
        "video": [
            f"m=video 9 UDP/TLS/RTP/SAVPF {payload}",
            f"a=rtpmap:{payload} H264/90000",
            *(f"a=rtcp-fb:{payload} {kind}" for kind in ("nack", "nack pli", "goog-remb")),
            f"a=fmtp:{payload} profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1",
        ],
    }
    media = []
    for kind, (line, *codec) in codecs.items():
        ssrc = found(video, "a=ssrc:").split()[0] if kind == "video" else "1234"
        media += [
            line,
            "c=IN IP4 0.0.0.0",
            f"a=mid:{names[kind]}",
            "a=sendonly",
            f"a=ssrc:{ssrc} cname:Tbqd0FNOB4ya6xpY",
        ]
        media += [f"a=ssrc:{ssrc} msid:2pWKhnYl5sQmE9zV 2pWKhnYl5sQmE9zV-{kind}", "a=rtcp-mux", *codec]
        media += ["a=setup:actpass", f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}"]
    return "\r\n".join([*head, *media]) + "\r\n"


def found(text: str, mark: str) -> str:
    match = re.search(f"^{mark}(.*?)\r?$", text, re.MULTILINE)
    assert match is not None, mark
    return match[1]
