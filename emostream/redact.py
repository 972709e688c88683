"""Pure: removes credentials from URLs and from text that may hold some (decision D9).

Everything that is logged, published, shown or raised and may hold a source's or a sink's URL goes through here first.
Where a URL can be read in two ways, more is masked rather than less.
"""

from __future__ import annotations

import re

MASK = "***"

# `user:secret@`, where the secret may hold `/`, `?`, `#` and `@`: up to the last `@` before white space. A number after
# the colon, followed by the end of the host, is a port, so `http://host:80/@name` stays as it is.
_LOGIN_WITH_SECRET = re.compile(r"(?<=//)[^\s/?#@:]*:(?!\d{1,5}(?:[/?#\s]|$))\S*@")
# `user@` alone, and secrets of digits that look like a port.
_LOGIN = re.compile(r"(?<=//)[^\s/?#]*@")
_SENSITIVE = r"[\w.%-]*(?:passw|pwd|secret|token|credential|signature|session|api[_-]?key|auth)[\w.%-]*|pass|key|sig|pw"
_PARAMETER = re.compile(rf"(?<![\w.%-])({_SENSITIVE})=[^\s&;#\"'<>]+", re.IGNORECASE)
_HEADER = re.compile(r"\b((?:proxy-)?authorization\s*[:=]\s*)(?:(basic|bearer|digest)\s+)?\S+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with user names and passwords of URLs, secret parameters and authorization headers masked.

    Masking twice changes nothing.

    >>> redact("cannot open rtsp://admin:pa/ss@10.0.0.7/live?token=abc&profile=1")
    'cannot open rtsp://***@10.0.0.7/live?token=***&profile=1'
    >>> redact("http://host:8080/@name/live")
    'http://host:8080/@name/live'
    """
    text = _LOGIN_WITH_SECRET.sub(f"{MASK}@", text)
    text = _LOGIN.sub(f"{MASK}@", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    return _PARAMETER.sub(rf"\1={MASK}", text)
