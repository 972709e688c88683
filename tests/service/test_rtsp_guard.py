"""No redirect reaches FFmpeg before it plays, however it is written or cut into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.service.rtsp_guard import RtspGuard, RtspRedirectError

SDP = b"v=0\r\no=- 0 0 IN IP4 10.0.0.1\r\ns=302\r\nm=video 0 RTP/AVP 96\r\na=control:rtsp://camera/300\r\n"
DESCRIBED = b"RTSP/1.0 200 OK\r\nCSeq: 300\r\nContent-Length: %d\r\n\r\n%s" % (len(SDP), SDP)
REDIRECTS = [
    b"RTSP/1.0 302 Moved\r\nLocation: rtsp://127.0.0.1/\r\n\r\n",
    b"RTSP/1.0 200 OK\n\nRTSP/1.0 301 Moved\n",
    DESCRIBED + b"RTSP/1.0 307 Moved\r\n",
    b"RTSP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nxyzRTSP/2.0 0305 Use Proxy\r\n",
    b"RTSP/ \t+300 x\r\n",
    b"RTSP/1.0 200 OK\r\n\r\n$\x00\x00\x02abRTSP/1.0 302 x\r\n",
]


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[one:other] for one, other in pairwise(edges)]


@given(data=st.sampled_from(REDIRECTS), cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_a_redirect_is_seen_in_whatever_pieces(data: bytes, cuts: list[int]) -> None:
    guard = RtspGuard()
    with pytest.raises(RtspRedirectError):
        for piece in in_pieces(data, cuts):
            guard.received(piece)


@given(cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_a_session_passes_and_media_is_not_looked_at(cuts: list[int]) -> None:
    guard = RtspGuard()
    for piece in in_pieces(b"OPTIONS rtsp://camera/1 RTSP/1.0\r\n\r\nDESCRIBE rtsp://camera/1\r\n\r\n", cuts):
        guard.sent(piece)
    for piece in in_pieces(b"RTSP/1.0 401 Unauthorized\r\n\r\n" + DESCRIBED, cuts):
        guard.received(piece)
    for piece in in_pieces(b"PLAY rtsp://camera/1 RTSP/1.0\r\n\r\n", cuts):
        guard.sent(piece)
    guard.received(REDIRECTS[0])


def test_a_url_cannot_pretend_to_play() -> None:
    guard = RtspGuard()
    guard.sent(b"DESCRIBE rtsp://camera/xPLAY rtsp RTSP/1.0\r\n")
    guard.sent(b"PLAY-Header: x\r\n\r\n")
    with pytest.raises(RtspRedirectError):
        guard.received(REDIRECTS[0])
