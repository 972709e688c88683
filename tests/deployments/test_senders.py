"""Video that is sent through the proxy of Ray Serve, over HTTPS: WHIP, and pictures over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from emostream.publish.redis.embedded import EmbeddedRedis
from tests.deployments.service_process import running_service
from tests.publish.redis.test_servers import make_certificate
from tests.service.senders.webrtc_sender import OnePicture, needs_an_address, sending

pytest.importorskip("ray")
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600), needs_an_address]


async def test_whip_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skimage import data

    portrait: Any = data.astronaut()  # type: ignore[no-untyped-call]
    make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))  # what the client of the service trusts
    monkeypatch.setenv("EMOSTREAM_WEBRTC__ENABLED", "true")
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    options = ("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem")
    with (
        EmbeddedRedis() as redis,
        running_service(*options, "--redis", redis.url, log=tmp_path / "serve.log") as service,
    ):
        async with httpx.AsyncClient(base_url=service.url, verify=trust, timeout=60) as client:
            await send_by_whip(client, portrait)
        await send_pictures(service.url.replace("https", "wss"), trust, portrait)


async def send_by_whip(client: httpx.AsyncClient, portrait: Any) -> None:
    sessions = []

    async def exchange(sdp: str) -> str:
        answer = await client.post("/v1/whip/phone", content=sdp, headers={"Content-Type": "application/sdp"})
        assert (answer.status_code, answer.headers["content-type"]) == (201, "application/sdp"), answer.text
        sessions.append(answer.headers["location"])
        return answer.text

    async with sending(exchange, pictures=OnePicture(portrait)):
        async with asyncio.timeout(60):
            while (await client.get("/v1/streams/phone")).json()["num_faces"] < 5:
                await asyncio.sleep(0.2)
        assert (await client.delete(sessions[0])).status_code == 200
    refused = await client.post("/v1/whip/x", content="nonsense", headers={"Content-Type": "application/sdp"})
    assert refused.status_code == 400 and refused.json()["status"] == 400


async def send_pictures(url: str, trust: ssl.SSLContext, portrait: Any) -> None:
    _, picture = cv2.imencode(".jpg", np.ascontiguousarray(portrait[:, :, ::-1]))
    push = f"{url}/v1/streams/robot/push"
    async with connect(push, ssl=trust, subprotocols=["emostream"], open_timeout=30) as connection:  # type: ignore[list-item]
        assert connection.subprotocol == "emostream"
        assert json.loads(await connection.recv())["credit"] > 0
        for number in range(3):
            await connection.send(struct.pack(">d", number / 10) + picture.tobytes())
            async with asyncio.timeout(60):
                answer = json.loads(await connection.recv())
            assert answer["at"] == number / 10
        assert [face["dominant"] for face in answer["event"]["faces"]] == ["happy"]
    with pytest.raises(InvalidStatus) as refused:
        async with connect(push, ssl=trust, origin="https://evil.example", open_timeout=30):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403
