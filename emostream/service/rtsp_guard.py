"""Pure: watches an RTSP conversation for redirects, which FFmpeg would follow without asking anybody."""

from __future__ import annotations

import re

# Anywhere, not only where a message should begin: a hostile server may end lines and bodies in ways that FFmpeg and we
# understand differently. The number is read as C's `atoi` reads it.
_REDIRECT = re.compile(rb"RTSP/\S*\s+[+0]*3\d\d")
_PLAY = b"\nPLAY "
_MAX_LINE_BYTES = 8192  # twice what FFmpeg takes of a line


class RtspRedirectError(Exception):
    """The server redirects."""


class RtspGuard:
    """Reads along. FFmpeg follows redirects only before it plays, so from then on nothing is looked at any more.

    >>> guard = RtspGuard()
    >>> guard.received(b"RTSP/1.0 200 OK\\r\\nCSeq: 1\\r\\n\\r\\nRTSP/1")
    >>> guard.received(b".0 302 Moved\\r\\nLocation: rtsp://inside/\\r\\n\\r\\n")
    Traceback (most recent call last):
    emostream.service.rtsp_guard.RtspRedirectError: RTSP/1.0 302
    """

    def __init__(self) -> None:
        self._is_playing = False
        self._received = b""
        self._sent = b""

    def sent(self, data: bytes) -> None:
        """What the client sent."""
        if not self._is_playing:
            self._sent += data
            self._is_playing = _PLAY in self._sent
            self._sent = self._sent[1 - len(_PLAY) :]

    def received(self, data: bytes) -> None:
        """What the server sent, before it is passed on.

        Raises:
            RtspRedirectError: it must not be passed on.
        """
        if self._is_playing:
            self._received = b""
            return
        self._received += data
        if (found := _REDIRECT.search(self._received)) is not None:
            raise RtspRedirectError(found[0].decode("latin-1"))
        self._received = self._received[-_MAX_LINE_BYTES:]
