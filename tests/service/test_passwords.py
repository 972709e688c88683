"""No part of a password is in anything that is said, whatever it holds, wherever it is given, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from emostream.cli.app import app, run_guarded
from emostream.client.http.apply import read_streams
from emostream.client.http.calls import checked_url
from emostream.config import DecodeSettings, PublishSettings, ServiceSettings, load_settings
from emostream.decode.location import parse_location
from emostream.decode.picture import read_picture
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.remote_file import open_remote
from emostream.domain.redact import redact, shown_address
from emostream.domain.stream import StreamKind, StreamSpec, stream_id_from_url
from emostream.errors import EmostreamError
from emostream.publish.redis.connection import open_redis, translate
from emostream.publish.registry import open_sink
from emostream.service.api.conversions import record_from_request
from emostream.service.api.pictures import PictureUrl
from emostream.service.api.problems import add_problem_handlers
from emostream.service.egress.fetch import fetch
from emostream.service.egress.policy import SourcePolicy
from emostream.wire.http_models import StreamRequest
from emostream.wire.job_models import JobRequest

CORE = "zebra"
AROUND = st.text(alphabet="0123456789/?#@:%&=;+ .,'\"\\[]()é<>{}|^`~!$*-_", max_size=8)
PASSWORDS = st.tuples(AROUND, AROUND).map(lambda parts: f"{parts[0]}{CORE}{parts[1]}")
USERS = st.sampled_from(["admin", "", "john.doe", "me@example.org", "ze bra"])
SOURCES = ["rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "udp", "tcp", "sftp", "s3", "memory", "nosuch"]
SINKS = [
    "redis",
    "rediss",
    "redis+sentinel",
    "redis+cluster",
    "kafka",
    "mqtt",
    "webhook+https",
    "webhook+http",
    "nosuch",
]
# Each of them is wrong in its own way, or right where nobody listens.
ENDS = ["@127.0.0.1:9/x", "@nobody.invalid/x", "@camera/x", "@camera:99999/x", "@camera:/x", "@:1/x", "@[bad/x", "@/x",
        "@camera/%0a?token=zebra", "@10.0.0.1:1/x?pin=zebra1&channel=1", "@camera\n/x"]  # fmt: skip
URLS = st.builds(
    lambda scheme, user, password, end: f"{scheme}://{user}:{password}{end}",
    st.sampled_from(SOURCES), USERS, PASSWORDS, st.sampled_from(ENDS),
)  # fmt: skip
SINK_URLS = st.builds(
    lambda scheme, user, password, end: f"{scheme}://{user}:{password}{end}",
    st.sampled_from(SINKS), USERS, PASSWORDS, st.sampled_from(ENDS),
)  # fmt: skip
HARD = [
    "1234#5zebra",
    "pa/zebra",
    "12345/zebra",
    "z zebra",
    "zebra@x/y",
    "50%zebra",
    "%zz zebra",
    "8080/@zebra",
    "a://zebra",
]


def nobody(host: str) -> list[str]:
    if host == "camera":
        return ["10.1.2.3"]
    if host[0].isdigit():
        return [host]
    raise OSError("no such host")


POLICY = SourcePolicy(ServiceSettings(), resolver=nobody)
DECODE = DecodeSettings(open_timeout_seconds=0.5, read_timeout_seconds=0.5)


def said_by(door: Callable[[str], Any], url: str) -> str:
    """What comes out at a door: what it returns, or its error with all that lies behind it."""
    try:
        return repr(door(url))
    except EmostreamError as exc:
        return f"{exc} {vars(exc)}"


@pytest.mark.parametrize(
    "door",
    [
        shown_address,
        stream_id_from_url,
        lambda url: parse_location(url, settings=DECODE),
        POLICY.check_folder,
        lambda url: fetch(url, policy=POLICY, max_bytes=10, timeout_seconds=0.2),
        lambda url: repr(StreamSpec("x", url, StreamKind.LIVE)),
        lambda url: checked_url(url) and "",
    ],
    ids=["shown", "stream id", "location", "folder", "fetch", "spec", "service"],
)
@given(url=URLS)
@example(url="rtsp://admin:1234#5zebra@camera/x")
@example(url="rtsp://10.0.0.7/user=admin_password=zebra_channel=1_stream=0.sdp?real_stream")
def test_sources(door: Callable[[str], Any], url: str) -> None:
    assert CORE not in said_by(door, url)


@given(url=URLS)
def test_the_policy_says_nothing_in_its_errors(url: str) -> None:
    try:
        POLICY.check(url)
    except EmostreamError as exc:
        assert CORE not in str(exc)


@pytest.mark.parametrize("password", HARD)
@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtmp", "srt", "tcp", "sftp"])
def test_ffmpeg_and_what_it_says(scheme: str, password: str, caplog: pytest.LogCaptureFixture) -> None:
    url = f"{scheme}://admin:{password}@127.0.0.1:9/x"
    caplog.set_level(logging.DEBUG)

    def door(url: str) -> Any:
        if scheme == "sftp":
            return open_remote(url)
        with PyAVSource(StreamSpec("x", url, StreamKind.LIVE), settings=DECODE) as source:
            return list(source)

    with pytest.raises(EmostreamError) as caught:
        door(url)
    assert CORE not in f"{caught.value} {caught.value.__cause__!r} {caplog.text}"
    assert "***@127.0.0.1:9" in str(caught.value)
    if scheme == "http":
        with pytest.raises(EmostreamError) as caught:
            read_picture(url, settings=DECODE)
        assert CORE not in str(caught.value)


@given(url=SINK_URLS)
@example(url="redis://:1234#5zebra@camera/0")
@example(url="redis+cluster://u:zebra,1:2@a:1,b:x")
def test_sinks(url: str) -> None:
    assert CORE not in said_by(lambda url: type(open_sink(url, settings=PublishSettings())), url)
    assert CORE not in said_by(lambda url: f"{translate(ConnectionError('x'), url=url)}", url)


@pytest.mark.parametrize("password", [*HARD, "p@ss?zebra", "a:b"])
def test_passwords_of_redis_are_what_was_typed(password: str) -> None:
    async def opened() -> Any:
        client = open_redis(f"redis://user:{password}@127.0.0.1:9/3", timeout_seconds=1)
        await client.aclose()
        return client.connection_pool.connection_kwargs

    options = asyncio.run(opened())
    assert (options["username"], options["password"], options["host"], options["db"]) == (
        "user",
        password,
        "127.0.0.1",
        3,
    )


@given(url=URLS, message=st.sampled_from(["cannot open {}: refused", "{}", "'{}' and {}.", '{{"url": "{}"}}']))
def test_texts_with_encoded_addresses(url: str, message: str) -> None:
    """What other programs say of what they were given; blanks are encoded in it."""
    assert CORE not in redact(message.format(*2 * [url.replace(" ", "%20").replace("\n", "%0a")]))


@pytest.fixture(scope="module")
def interface() -> FastAPI:
    """The bodies of the interface, and its errors, without what lies behind."""
    api = FastAPI()
    add_problem_handlers(api)

    @api.post("/streams")
    def stream(body: StreamRequest) -> str:
        POLICY.check(body.url)
        return record_from_request(body).stream_id

    @api.post("/jobs")
    def job(body: JobRequest) -> None:
        POLICY.check_folder(body.url)

    @api.post("/images")
    def image(body: PictureUrl) -> None:
        fetch(body.url, policy=POLICY, max_bytes=10, timeout_seconds=0.2)

    return api


async def answers_of(api: FastAPI, requests: list[tuple[str, str]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        return [await client.post(path, content=content) for path, content in requests]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(url=URLS, wrong=st.sampled_from([{}, {"every": 0}, {"id": "a b"}, {"no": 1}, "url as name", "list", "number"]))
def test_the_interface(interface: FastAPI, url: str, wrong: Any) -> None:
    body: Any = {"url": url, "id": "door"}
    if isinstance(wrong, dict):
        body |= wrong
    else:
        body = {"url as name": {url: 1}, "list": [url], "number": {"url": [url], "kind": url, "every": url}}[wrong]
    content = json.dumps(body)
    requests = [(path, content) for path in ("/streams", "/jobs", "/images")]
    for answer in asyncio.run(answers_of(interface, [*requests, ("/streams", content[:-1])])):
        assert answer.status_code in (200, 422)
        assert CORE not in answer.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(url=URLS, wrong=st.sampled_from([{}, {"every": 0}, {"id": "a b"}, {"id": None}, {"no": 1}]))
def test_files_of_streams(tmp_path: Path, url: str, wrong: dict[str, Any]) -> None:
    file = tmp_path / "streams.json"
    file.write_text(json.dumps([{"id": "door", "url": url} | wrong, {url: 1}]))
    assert CORE not in said_by(lambda _: len(read_streams(file)), url)
    file.write_text(f"- url: {url}\n  id: [")
    assert CORE not in said_by(lambda _: len(read_streams(file)), url)


@pytest.mark.heavy
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(url=SINK_URLS)
def test_settings(tmp_path: Path, url: str) -> None:
    wrong: list[dict[str, Any]] = [
        {"publish": url},
        {"publish": {"redis_url": [url]}},
        {"decode": {"http_proxy": {url: url}}},
        {"tracing": {"endpoint": url}},
        {"service": {"allowed_networks": url}},
        {"log_level": url},
    ]
    for arguments in wrong:
        assert CORE not in said_by(lambda _: repr(load_settings(**arguments)), url)  # noqa: B023  # called at once
    file = tmp_path / "settings.yaml"
    for text in (f"publish:\n  redis_url: {url}\n oops: [", f"publish: '{url}", f"{url}"):
        file.write_text(text)
        assert CORE not in said_by(lambda _: repr(load_settings(config_file=file)), url)


@pytest.mark.parametrize("password", HARD)
@pytest.mark.parametrize(
    "arguments",
    [
        ["{url}"],
        ["streams", "list", "--service", "{url}"],
        ["streams", "add", "{url}", "{url}"],
        ["doctor", "{url}"],
        ["tail", "door", "--redis", "redis://u:{password}@127.0.0.1:9/0", "--since", "{url}"],
        ["analyze", "{url}", "--every", "{url}"],
        ["explain", "{url}", "--output", "x.png"],
        ["explain", "x.png", "--output", "{url}"],
        ["export", "{url}"],
        ["export", "--output", "{url}"],
        ["analyze", "x.mp4", "--output", "{url}"],
        ["analyze", "x.mp4", "--annotate", "{url}"],
        ["classify", "x.png", "--annotate", "{url}"],
        ["streams", "change", "door", "--fps", "{url}"],
        ["tail", "--service", "{url}", "--from", "{url}"],
        ["classify", "{url}", "--json"],
    ],
    ids=" ".join,
)
def test_the_command_line(
    arguments: list[str], password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://admin:{password}@127.0.0.1:9/x"
    given = [argument.format(url=url, password=password) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["emostream", *given])
    assert run_guarded(app) != 0
    said = capsys.readouterr()
    assert CORE not in said.out + said.err


@pytest.mark.parametrize("command", ["analyze", "classify", "explain"])
def test_a_blank_without_quotes(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["emostream", command, "rtsp://admin:ze", "bra", "zebra@camera/x"])
    assert run_guarded(app) == 2
    assert "bra" not in capsys.readouterr().err.replace("***", "")
