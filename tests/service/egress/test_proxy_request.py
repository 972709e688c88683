"""What is asked of the proxy, and what of the server in its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.service.egress.proxy_request import HEAD_END, parse_proxy_request


def test_a_tunnel() -> None:
    request = parse_proxy_request(b"CONNECT camera.example:443 HTTP/1.1\r\nproxy-authorization: Basic eA==\r\n\r\n")
    assert request is not None
    assert (request.host, request.port, request.is_tunnel) == ("camera.example", 443, True)
    assert (request.head_for_server, request.authorization) == (b"", b"Basic eA==")


def test_the_server_learns_nothing_of_the_proxy() -> None:
    request = parse_proxy_request(
        b"GET http://user@[::1]:81/a%20b?c=d#e HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n"
        b"Proxy-Authorization: Basic eA==\r\nRange: bytes=0-\r\n\r\n"
    )
    assert request is not None
    assert (request.host, request.port) == ("::1", 81)
    assert request.head_for_server == (
        b"GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    "first",
    [
        b"POST http://camera/ HTTP/1.1",
        b"GET /only-a-path HTTP/1.1",
        b"GET ftp://camera/ HTTP/1.1",
        b"GET http:// HTTP/1.1",
        b"GET http://camera:99999/ HTTP/1.1",
        b"CONNECT camera HTTP/1.1",
        b"CONNECT [bad:1 HTTP/1.1",
        b"CONNECT \xff:1 HTTP/1.1",
        b"GET",
        b"",
    ],
)
def test_anything_else_is_not_served(first: bytes) -> None:
    assert parse_proxy_request(first + HEAD_END) is None


@pytest.mark.parametrize(
    "lines",
    [
        b'Authorization: Digest username="a"\r\nX-Evil: 1\r\nY: ", realm="r", response="0f"',
        b'Authorization: Digest username="a", response="0"\r\nX-Evil: 1\r\nY: ", realm="r", response="0f"',
        b'Authorization: Digest username="a"\r\nHost: inside\r\nAuthorization: ", response="0f"',
        b"Host: inside",
        b"no header",
        b"X: a\rY: b",
        b"X: a\nY: b",
        b"X\x00: b",
    ],
)
def test_a_head_with_lines_that_a_redirect_put_there(lines: bytes) -> None:
    head = b"GET http://camera/ HTTP/1.1\r\nHost: camera\r\n%s\r\nProxy-Authorization: Basic eA==\r\n\r\n"
    assert parse_proxy_request(head % b'Authorization: Digest username="a", response="0f"') is not None
    assert parse_proxy_request(head % lines) is None


@given(st.binary(max_size=300))
def test_whatever_comes_is_answered(head: bytes) -> None:
    request = parse_proxy_request(head + HEAD_END)
    assert request is None or (request.host and 0 < request.port < 65536)
