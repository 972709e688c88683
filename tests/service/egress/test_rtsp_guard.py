"""What an RTSP server says never leads a client elsewhere, however it is written or cut into pieces."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emostream.service.egress.rtsp_guard import RtspGuard, RtspGuardError, RtspRedirectError

SDP = b"v=0\r\no=- 0 0 IN IP4 10.0.0.1\r\ns=302\r\nm=video 0 RTP/AVP 96\r\na=control:rtsp://camera/300\r\n"
DESCRIBED = b"RTSP/1.0 200 OK\r\nCSeq: 300\r\nContent-Length: %d\r\n\r\n%s" % (len(SDP), SDP)
REDIRECTS = [
    b"RTSP/1.0 302 Moved\r\nLocation: rtsp://127.0.0.1/\r\n\r\n",
    b"RTSP/1.0 200 OK\n\nRTSP/1.0 301 Moved\n",
    DESCRIBED + b"RTSP/1.0 307 Moved\r\n",
    b"RTSP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nxyzRTSP/2.0 0305 Use Proxy\r\n",
    b"RTSP/ \t+300 x\r\n",
    b"RTSP/1.0 200 OK\r\n\r\n$\x00\x00\x02abRTSP/1.0 302 x\r\n",
    b"\r\n \rRT\rSP/1.0 3\r02 x\r\n",
    b"RTSP/1.0 4294967598 x\r\n",  # an `int` of C takes it for 302
    b"noise\xff\r\nRTSP/1.0 302 x\n",
    b"REDIRECT rtsp://camera/ RTSP/1.0\r\nLocation: rtsp://inside/\r\n\r\n",
]
PLAYED = b"PLAY rtsp://camera/1 RTSP/1.0\r\nCSeq: 4\r\n\r\n"
FORGED = b'DESCRIBE rtsp://camera/x RTSP/1.0\r\nAuthorization: Digest username="a"\r\nPLAY b: c\r\n\r\n'


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[one:other] for one, other in pairwise(edges)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(data=st.sampled_from(REDIRECTS), cuts=CUTS, has_played=st.booleans())
def test_a_redirect_is_seen_in_whatever_pieces(data: bytes, cuts: list[int], has_played: bool) -> None:
    guard = RtspGuard("127.0.0.1:5000")
    if has_played:
        guard.sent(PLAYED)
        guard.received(b"RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n$\x00\x00\x08abcdefgh")
    passed_on = b""
    with pytest.raises(RtspRedirectError):
        for piece in in_pieces(data, cuts):
            passed_on += guard.received(piece)
    assert not leads_away(passed_on)


@given(data=st.sampled_from(REDIRECTS))
def test_frames_are_not_looked_into(data: bytes) -> None:
    guard = RtspGuard("127.0.0.1:5000")
    media = b"\n" + data + b"12345678"
    frame = b"$\x00" + len(media).to_bytes(2, "big") + media
    assert guard.received(frame + frame) == frame + frame


def test_a_session_passes() -> None:
    guard = RtspGuard("127.0.0.1:5000")
    described = (
        b"DESCRIBE rtsp://127.0.0.1:5000/a b?c=d RTSP/1.0\r\nAccept: application/sdp\r\nCSeq: 2\r\n"
        b'Authorization: Digest username="a b\xc3\xa9", response="0f"\r\n\r\n'
    )
    assert guard.sent(described[:30]) == b""
    assert guard.sent(described[30:]) == described
    answer = b'RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\nWWW-Authenticate: Digest realm="x"\r\n\r\n'
    assert guard.received(answer) == answer
    report = b"$\x01\x00\x0812345678"
    assert guard.sent(PLAYED + report) == PLAYED + report
    announced = b"SET_PARAMETER rtsp://camera/1 RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc"
    assert guard.received(announced) == announced
    assert guard.sent(b"RTSP/1.0 501 Not Implemented\r\n\r\n") == b"RTSP/1.0 501 Not Implemented\r\n\r\n"


def test_other_hosts_are_replaced() -> None:
    guard = RtspGuard("127.0.0.1:5000")
    sdp = (
        b"a=control:rtsp://u:p@10.0.0.1:554/x\r\na=control:track1\r\nA=Control:RTSPS://inside\r\ni=rtsp://10.0.0.1/\r\n"
    )
    answer = guard.received(
        b"RTSP/1.0 200 OK\r\nContent-Base: rtsps://10.0.0.1/x/\r\nContent-Location: rtsp://10.0.0.1/x\r\n"
        b"Location: rtsp://10.0.0.1/\r\nRTP-Info: url=rtsp://10.0.0.1/x/t1;seq=1,url=rtsp://10.0.0.1/x/t2\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(sdp), sdp)
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"RTSP/1.0 200 OK",
        b"Content-Base: rtsp://127.0.0.1:5000/x/",
        b"RTP-Info: url=rtsp://127.0.0.1:5000/x/t1;seq=1,url=rtsp://127.0.0.1:5000/x/t2",
        b"Content-Length: %d" % len(body),
    ]
    assert body == (
        b"a=control:rtsp://127.0.0.1:5000/x\r\na=control:track1\r\nA=Control:rtsp://127.0.0.1:5000\r\ni=rtsp://10.0.0.1/\r\n"
    )


SPACED = [b" ", b"\t", b"\r", b"\r \t", b""]
PLACES = [b"rtsp://10.9.9.9", b"RTSPS://u:p@[::1]:1", b"http://10.9.9.9:80", b"x-y+z.1://10.9.9.9"]


@given(
    before=st.sampled_from(SPACED),
    after=st.sampled_from([b"", b" "]),
    end=st.sampled_from([b"\r\n", b"\n"]),
    place=st.sampled_from(PLACES),
)
def test_hosts_are_replaced_in_whatever_form(before: bytes, after: bytes, end: bytes, place: bytes) -> None:
    sdp = end.join((b"v=0", b"m=video 0 RTP/AVP 96", before + b"a=control:" + after + place + b"/t", b""))
    answer = RtspGuard("127.0.0.1:5000").received(
        b"RTSP/1.0 200 OK\r\nContent-Base: %s/x\r\nContent-Length: %d\r\n\r\n%s" % (place, len(sdp), sdp)
    )
    assert place not in answer
    assert answer.count(b"rtsp://127.0.0.1:5000/") == 2


@pytest.mark.parametrize(
    ("transport", "passed_on"),
    [
        (b"RTP/AVP;unicast;server_port=5-6", b"RTP/AVP;unicast;server_port=5-6;source=10.0.0.1"),
        (b"RTP/AVP;source=10.9.9.9;server_port=5-6", b"RTP/AVP;server_port=5-6;source=10.0.0.1"),
        (b"RTP/AVP; SOURCE =10.9.9.9;destination=10.9.9.9", b"RTP/AVP;source=10.0.0.1"),
        (b"RTP/AVP;a=1,RTP/AVP;source=10.9.9.9", b"RTP/AVP;a=1;source=10.0.0.1"),
    ],
)
def test_media_over_udp_come_from_the_server_alone(transport: bytes, passed_on: bytes) -> None:
    guard = RtspGuard("127.0.0.1:5000", media_from="10.0.0.1")
    answer = guard.received(b"RTSP/1.0 200 OK\r\nTransport: %s\r\n\r\n" % transport)
    assert answer == b"RTSP/1.0 200 OK\r\nTransport: %s\r\n\r\n" % passed_on


@pytest.mark.parametrize(
    "data",
    [
        FORGED,
        b"DESCRIBE rtsp://camera/x RTSP/1.0\r\nSET pwned 1\r\n\r\n",
        b"SET pwned 1\r\n",
        b"DESCRIBE rtsp://camera/x RTSP/1.0\r\nA: b\rSET: c\r\n\r\n",
        b"DESCRIBE rtsp://camera/x RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
@given(cuts=CUTS)
def test_what_is_no_request_reaches_no_server(data: bytes, cuts: list[int]) -> None:
    guard = RtspGuard("127.0.0.1:5000")
    passed_on = b""
    with pytest.raises(RtspGuardError):
        for piece in in_pieces(data, cuts):
            passed_on += guard.sent(piece)
    assert passed_on == b""


def test_nothing_grows_without_end() -> None:
    guard = RtspGuard("127.0.0.1:5000")
    for _ in range(100):
        guard.received(b"x" * 10_000)  # noise
    guard.received(b"\nRTSP/1.0 200 OK\r\n")
    with pytest.raises(RtspGuardError):
        for _ in range(100):
            guard.received(b"a: b\r\n" * 1000)
    with pytest.raises(RtspGuardError):
        RtspGuard("127.0.0.1:5000").received(b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n")


# --- a grammar of what servers say, right and wrong -------------------------------------------------------------------

_END = st.sampled_from([b"\r\n", b"\n", b"\r\r\n", b"\n\r"])
_STATUS = st.sampled_from([b"200", b"401", b"302", b"0302", b"+302", b"4294967598", b"200OK", b"3", b"", b"999"])
_HEADER = st.sampled_from(
    [
        b"CSeq: 1", b"Location: rtsp://10.9.9.9/x", b"Content-Base: rtsp://10.9.9.9/x/", b"content-length: 4",
        b"Content-Length:4", b"Content-Length : 9", b"Content-Length: -1", b"Content-Length: 99", b"Content-Length: 4x",
        b"Session: 1;timeout=60", b"$\x00\x00\x04abcd", b"$a!!: x", b"$ab:c", b" $:!!: x",
        b" folded", b"RTSP/1.0 302 x", b"\x00: y", b"a" * 5000 + b": b",
    ]
)  # fmt: skip
_FIRST = st.one_of(
    st.tuples(st.sampled_from([b"RTSP/1.0 ", b"RTSP/2.0\t", b" RTSP/ ", b"RT\rSP/1.0 ", b"rtsp/1.0 "]), _STATUS).map(
        b"".join
    ),
    st.sampled_from([b"OPTIONS * RTSP/1.0", b"REDIRECT rtsp://10.9.9.9/ RTSP/1.0", b"\xffnoise", b""]),
)


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    lines = [draw(_FIRST), *draw(st.lists(_HEADER, max_size=4)), b""]
    return b"".join(line + draw(_END) for line in lines) + draw(
        st.sampled_from([b"", b"abcd", b"RTSP/1.0 302 x\r\n\r\n"])
    )


_FRAMES = st.tuples(st.binary(min_size=1, max_size=1), st.binary(max_size=40)).map(
    lambda parts: b"$" + parts[0] + len(parts[1]).to_bytes(2, "big") + parts[1]
)
_CONVERSATIONS = st.lists(st.one_of(_messages(), _FRAMES, st.binary(max_size=10)), max_size=6).map(b"".join)


def head_at(data: bytes, position: int) -> tuple[list[bytes], int]:
    """The lines of a head as FFmpeg reads them, and where it ends."""
    lines, line = [], b""
    while position < len(data):
        byte = data[position : position + 1]
        position += 1
        if byte == b"$" and not line:
            position += 3 + int.from_bytes(data[position + 1 : position + 3], "big")
        elif byte == b"\n":
            if not line:
                break
            lines.append(line)
            line = b""
        elif byte != b"\r" and len(line) < 4095:
            line += byte
    return lines, position


def has_frame_in_a_head(data: bytes) -> bool:
    """Whether a reader that works as FFmpeg does skips a frame inside a head, and reads on where the server wants."""
    position = 0
    while position < len(data):
        if data[position : position + 1] == b"$":
            position += 4 + int.from_bytes(data[position + 2 : position + 4], "big")
            continue
        head, separator, _ = data[position:].partition(b"\r\n\r\n")
        if b"\n$" in head or (not separator and data[position:].startswith(b"$")):
            return True
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        position += len(head) + 4 + (int(length[1]) if length else 0)
    return False


def number_at(text: bytes) -> int:
    """As C's `atoi`."""
    found = re.match(rb"\s*([+-]?\d+)", text)
    return 0 if found is None else int(found[1])


def leads_away(data: bytes) -> bool:
    """Whether a reader that works as FFmpeg does finds a redirect, or another host."""
    position = 0
    while position < len(data):
        lines, position = head_at(data, position)
        words = lines[0].split() if lines else []
        if len(words) > 1 and words[0].startswith(b"RTSP/") and 300 <= number_at(words[1]) % 2**32 < 400:
            return True
        if any(b"10.9.9.9" in line for line in lines):
            return True
        lengths = [number_at(line[15:]) for line in lines[1:] if line.lower().startswith(b"content-length:")]
        position += max([0, *lengths[-1:]])
    return False


@pytest.mark.parametrize("data", [data for data in REDIRECTS if not data.startswith((b"noise", b"REDIRECT"))])
def test_such_a_reader_finds_these(data: bytes) -> None:
    assert leads_away(data)


@given(data=_CONVERSATIONS, cuts=CUTS)
@example(data=REDIRECTS[0], cuts=[])
@example(data=b"RTSP/1.0 200 OK\r\n$a!!: x\r\n\r\n", cuts=[])
def test_whatever_a_server_says_leads_nowhere(data: bytes, cuts: list[int]) -> None:
    guard = RtspGuard("127.0.0.1:5000")
    passed_on = b""
    try:
        for piece in in_pieces(data, cuts):
            passed_on += guard.received(piece)
    except RtspGuardError:
        pass
    assert not leads_away(passed_on)
    assert not has_frame_in_a_head(passed_on)


@given(data=_CONVERSATIONS, cuts=CUTS)
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    def said(pieces: list[bytes]) -> tuple[bytes, str]:
        guard, passed_on = RtspGuard("127.0.0.1:5000"), b""
        try:
            for piece in pieces:
                passed_on += guard.received(piece)
        except RtspGuardError as exc:
            return b"", type(exc).__name__
        return passed_on, ""

    assert said(in_pieces(data, cuts)) == said([data])
