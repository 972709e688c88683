"""Session descriptions (SDP, RFC 8866) as text: what is checked in an offer and changed in an answer."""

from __future__ import annotations

import re
from ipaddress import ip_address

from emostream.service.senders.refusal import RefusedError

MAX_OFFER_BYTES = 64 * 1024
"""Offers of browsers with all their codecs have some 8 kB."""

_MAX_LINES = 2000
_MAX_MEDIA = 8
_MAX_CANDIDATES = 32
_MEDIA = re.compile(r"m=([a-z]+) (\d+)[ /]")
_CANDIDATE = re.compile(r"(a=candidate:\S+ \d+ \S+ \d+ )(\S+)( \d+ typ (\S+).*)")


def cleaned_offer(text: str) -> str:
    """An offer with the candidates that are of use; `\\r\\n` ends its lines.

    Each candidate is an address to which this machine will send packets, so there may be few of them. Names (`.local`,
    by which browsers hide addresses) are left out: the sender's own checks show where it is. So the list is never taken
    as complete, and senders that name none (OBS) are found in the same way.

    Raises:
        RefusedError: it is no SDP (400), or there is no video in it that could be received (422).
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "v=0" or len(lines) > _MAX_LINES:
        raise RefusedError("expected an SDP offer (application/sdp), which begins with v=0", status=400)
    media = [match[1] for line in lines if (match := _MEDIA.match(line)) is not None]
    if any(line.startswith("m=") and _MEDIA.match(line) is None for line in lines):
        raise RefusedError("the SDP offer cannot be read: a line m= is damaged", status=400)
    if media.count("video") != 1 or len(media) > _MAX_MEDIA or set(media) - {"video", "audio"}:
        found = ", ".join(media[:_MAX_MEDIA]) or "none"
        raise RefusedError(f"expected an offer of one video, with or without sound, got these media: {found}")
    kept, num_candidates = [], 0
    for line in lines:
        if line.startswith("a=candidate:"):
            if not _is_address(line):
                continue
            num_candidates += 1
            if num_candidates > _MAX_CANDIDATES:
                raise RefusedError(f"the offer has more than {_MAX_CANDIDATES} candidates")
        if line != "a=end-of-candidates":
            kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def finished_answer(text: str, *, announced_address: str | None, max_bitrate_kbps: int) -> str:
    """An answer that names the address by which this machine is reached, and the bitrate that it takes.

    Args:
        text: the answer.
        announced_address: in place of the addresses of this machine of the same kind (IPv4, IPv6); None leaves them.
        max_bitrate_kbps: what the video may have, for browsers (`b=AS`, RFC 8866, 5.8) and others (`b=TIAS`, RFC 3890).
    """
    lines, is_video, announced = [], False, set[str]()
    for line in text.splitlines():
        kept = line
        match = _CANDIDATE.match(line)
        if match is not None and announced_address is not None and match[4] == "host":
            if ip_address(match[2]).version != ip_address(announced_address).version:
                continue
            if match[3].split()[0] in announced:  # another address of this machine, with the same port
                continue
            announced.add(match[3].split()[0])
            kept = f"{match[1]}{announced_address}{match[3]}"
        lines.append(kept)
        if line.startswith("m="):
            is_video = line.startswith("m=video")
        if line.startswith("c=") and is_video:
            lines += [f"b=AS:{max_bitrate_kbps}", f"b=TIAS:{1000 * max_bitrate_kbps}"]
    return "\r\n".join(lines) + "\r\n"


def has_candidates(text: str) -> bool:
    """Whether there is an address in it at which packets are received."""
    return "a=candidate:" in text


def _is_address(line: str) -> bool:
    match = _CANDIDATE.match(line)
    try:
        return match is not None and ip_address(match[2]) is not None
    except ValueError:
        return False
