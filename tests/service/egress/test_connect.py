"""A host with several addresses: all of them are tried."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from emostream.config import ServiceSettings, load_settings
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.service.egress.checked_source import CheckedSource, SourceRules
from emostream.service.egress.connect import connected_socket
from emostream.service.egress.fetch import fetch
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress
from tests.media import http_server, make_clip

ADDRESSES = ["127.0.0.2", "::1", "127.0.0.1"]  # the servers of these tests listen on the last one alone

pytestmark = pytest.mark.integration


@pytest.fixture
def policy() -> SourcePolicy:
    settings = ServiceSettings(allowed_networks=["127.0.0.0/8", "::1/128"])
    return SourcePolicy(settings, resolver=lambda host: ADDRESSES)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_the_first_that_answers(listener: socket.socket) -> None:
    with await connected_socket(ADDRESSES, listener.getsockname()[1]) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"


async def test_no_answer_and_no_address_in_the_error(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    for addresses in (["127.0.0.2"], ["127.0.0.2", "127.0.0.3"], ["127.0.0.2", "::1"]):
        with pytest.raises(OSError) as caught:
            await connected_socket(addresses, port)
        assert not any(address in str(caught.value) for address in addresses)


def test_a_picture_and_a_video(policy: SourcePolicy, tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", num_frames=5)
    with http_server(tmp_path) as base, Egress(policy) as egress:
        url = base.replace("127.0.0.1", "camera.example") + "/clip.mp4"
        content = fetch(url, policy=policy, max_bytes=1 << 20, timeout_seconds=10)
        assert content == (tmp_path / "clip.mp4").read_bytes()
        rules = SourceRules(load_settings().decode, policy, egress)
        with CheckedSource(StreamSpec("x", url, StreamKind.FILE), rules=rules) as source:
            assert len(list(source)) == 5


def test_where_the_address_is_in_the_url_each_attempt_takes_the_next(policy: SourcePolicy) -> None:
    urls = [policy.check("rtmp://camera.example/live/x", attempt=attempt) for attempt in range(4)]
    first = "rtmp://127.0.0.2/live/x"
    assert urls == [first, "rtmp://[::1]/live/x", "rtmp://127.0.0.1/live/x", first]
