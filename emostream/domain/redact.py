"""Removes credentials from URLs and from text that may contain them.

Everything that is logged, published, shown or raised and may contain the URL of a source or sink is passed through
here. Where a URL can be parsed in two ways, more is masked rather than less. `shown_address` is for a text that is an
address, `shown_sink` for the address of a sink, `redact` for a text that may contain some.
"""

from __future__ import annotations

import re

from emostream.domain.address import CERTAIN, AddressSplit, cut_place, place_certainty, split_address

MASK = "***"

_URL_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# In a text, a URL extends to the next white space, without trailing punctuation.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*")
_MARKS = "'\"`)>]},.:;"

# Remains of addresses without a scheme, or with spaces in their passwords. `user:secret@`, where the secret may contain
# `/`, `?`, `#` and `@`: up to the last `@` before white space. A number after the colon that ends the host is a port,
# so `//host:80/@name` is unchanged.
_LOGIN_WITH_SECRET = re.compile(r"(?<=//)[^\s/?#@:]*:(?!\d{1,5}(?:[/?#\s]|$))\S*@")
_LOGIN_WITH_BLANKS = re.compile(r"(?<=//)[^\s/?#@:]+:(?!\d{1,5}(?:[/?#\s,;.]|$))[^\s@]+[^\n@]{0,100}@")
_LOGIN = re.compile(r"(?<=//)[^\s/?#]*@")
# A URL with too few slashes or without a scheme is parsed as a file name.
_MISTYPED = re.compile(
    r"(?:(?:rtsps?|https?|rtmps?|srt|udp|sftp|smb)(?::/?|/+)|[^\s/@:]+:).*@", re.DOTALL | re.IGNORECASE
)

_SENSITIVE = (
    r"[\w.%-]*(?:passw|passphrase|pwd|secret|token|credential|signature|session|api[_-]?key|auth|md5|loginpas)[\w.%-]*"
    r"|pass|key|sig|pw|pin|hmac|jwt"
)
_PARAMETER = re.compile(rf"(?<![\w.%-])({_SENSITIVE})=[^\s&;#\"'<>]+", re.IGNORECASE)
_HEADER = re.compile(r"\b((?:proxy-)?authorization\s*[:=]\s*)(?:(basic|bearer|digest)\s+)?\S+", re.IGNORECASE)

# Of a query, only parameters that are known to be harmless or too short to be a secret are shown.
_PAIR = re.compile(r"[^&;?#]+")  # some cameras write a second question mark
_SENSITIVE_NAME = re.compile(_SENSITIVE, re.IGNORECASE)
_SHORT = 3
_HARMLESS = re.compile(
    r"audio|audiocodec|begin|bitrate|cam|camera|ch|chan|channel|channels|chn|client_id|codec|"
    r"compression|date|db|duration|end|endtime|fifo_size|fmt|format|fps|framerate|height|idempotent|"
    r"lang|language|latency|listen|localaddr|mode|multicast|overrun_nonfatal|page|pkt_size|profile|"
    r"proto|protocol|qos|quality|rate|rcvlatency|real_stream|res|resolution|sasl_mechanism|size|"
    r"ssl_ca_certs|ssl_cert_reqs|ssl_check_hostname|start|starttime|stream|streamtype|substream|subtype|"
    r"tcp|time|timeout|track|transport|transportmode|transtype|ttl|type|udp|unicast|video|videocodec|"
    r"width",
    re.IGNORECASE,
)
# Names of RTMP streams that are stream keys: those of known services, and those that look random.
_STREAM_KEY = re.compile(r"live_\d+_\w+|FB-[\w-]+|\w{4}(?:-\w{4}){2,}|(?=[^/]*\d)(?=[^/]*[A-Za-z])[A-Za-z0-9_-]{16,}")
_STREAM_KEY_HOST = re.compile(
    r"(?:.+\.)?(?:youtube\.com|twitch\.tv|live-video\.net|facebook\.com|restream\.io|vimeo\.com)(?::\d+)?",
    re.IGNORECASE,
)
_RTMP = ("rtmp", "rtmps")
# Pieces of a webhook's path that are the right to post there.
_PATH_KEY = re.compile(r"(?<=/)(?:(?=[^/?#]*\d)(?=[^/?#]*[A-Za-z])[\w:%.~-]{16,}|[\w:%.~-]{24,})(?=[/?#]|$)", re.ASCII)


def redact(text: str) -> str:
    """Mask user names and passwords of URLs, secret parameters and authorization headers in a text. Idempotent.

    >>> redact("cannot open rtsp://admin:pa/ss@10.0.0.7/live?token=abc&profile=1")
    'cannot open rtsp://***@10.0.0.7/live?token=***&profile=1'
    >>> redact("http://host/@name/live")
    'http://host/@name/live'
    """
    text = _LOGIN_WITH_BLANKS.sub(f"{MASK}@", text)
    text = _URL.sub(_shown_in_text, text)
    text = _LOGIN_WITH_SECRET.sub(f"{MASK}@", text)
    text = _LOGIN.sub(f"{MASK}@", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    return _PARAMETER.sub(rf"\1={MASK}", text)


def shown_address(text: str) -> str:
    """An address, or the path of a file, as shown in messages.

    >>> shown_address("rtsp://admin:1234#5 secret@10.0.0.7/live")
    'rtsp://***@10.0.0.7/live'
    >>> shown_address("rtsp:/admin:secret@10.0.0.7/live")
    '***@10.0.0.7/live'
    """
    scheme = _URL_SCHEME.match(text)
    if scheme is None:
        return _MISTYPED.sub(f"{MASK}@", text, count=1)
    shown = _shown(scheme[0], text[scheme.end() :])
    login = f"{MASK}@" if shown.startswith(f"{MASK}@") else ""
    place, _ = cut_place(shown[len(login) :])
    # Text that is not a host may be part of a login: the rest was cut at a space, or there is no `@`.
    is_host = not place or place_certainty(place) > 0
    return f"{scheme[0]}{shown}" if is_host else f"{scheme[0]}{login}{MASK}"


def shown_source(text: str) -> str:
    """As `shown_address`, for a source that was opened: without `://` it is a file path and shown unchanged."""
    return shown_address(text) if "://" in text else text


def shown_sink(url: str) -> str:
    """As `shown_address`, of a sink: secrets in the path of a webhook are masked too.

    >>> shown_sink("webhook+https://hooks.example.org/T0/a1b2c3d4e5f6a7b8c9")
    'webhook+https://hooks.example.org/T0/***'
    >>> shown_sink("kafka://user:secret@a:9092,b:9092/events")
    'kafka://***@a:9092,b:9092/events'
    """
    shown = redact(shown_address(url))
    scheme, separator, rest = shown.partition("://")
    return f"{scheme}://{_PATH_KEY.sub(MASK, rest)}" if separator and "http" in scheme else shown


def _shown_in_text(found: re.Match[str]) -> str:
    url = found[0].rstrip(_MARKS)
    scheme, _, after = url.partition("://")
    return f"{scheme}://{_shown(scheme, after)}{found[0][len(url) :]}"


def _shown(scheme: str, after: str) -> str:
    """The text after `scheme://`, masked."""
    scheme = scheme.partition(":")[0].lower()
    parts = split_address(scheme, after)
    place, rest = cut_place(after.rpartition("@")[2])
    if parts.is_ambiguous and not place_certainty(parts.place) == CERTAIN > place_certainty(place):
        # It is opened as written, but the login may end elsewhere.
        parts = AddressSplit("", place, rest)
    elif parts.is_ambiguous and parts.login is not None:
        parts = AddressSplit("", parts.place, f"/{MASK}")
    login = "" if parts.login is None else f"{MASK}@"
    path, question, query = parts.rest.partition("?")
    path, sharp, fragment = (path, "", "") if question and "#" not in path else path.partition("#")
    if sharp:  # the question mark is part of the fragment
        fragment, question, query = f"{fragment}{question}{query}", "", ""
    query, sharp_after, fragment_after = query.partition("#")
    fragment, sharp = (fragment_after, sharp_after) if sharp_after else (fragment, sharp)
    if scheme in _RTMP:
        path = _without_key(path, place=parts.place)
    path = _PARAMETER.sub(rf"\1={MASK}", path)
    return f"{login}{parts.place}{path}{question}{_without_secrets(query)}{sharp}{_without_secrets(fragment)}"


def _without_key(path: str, *, place: str) -> str:
    folder, _, name = path.rpartition("/")
    is_key = name and (_STREAM_KEY.fullmatch(name) or _STREAM_KEY_HOST.fullmatch(place))
    return f"{folder}/{MASK}" if folder and is_key else path


def _without_secrets(query: str) -> str:
    return _PAIR.sub(lambda found: _without_secret(found[0]), query)


def _without_secret(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return pair if _HARMLESS.fullmatch(pair) or len(pair) <= _SHORT or pair == MASK else MASK
    if _SENSITIVE_NAME.fullmatch(name):
        return f"{name}={MASK}"
    is_shown = _HARMLESS.fullmatch(name) or len(value) <= _SHORT
    return pair if is_shown else f"{name}={MASK}"


def printable(text: str) -> str:
    """Replace control characters and undecodable bytes, which could control a terminal.

    >>> printable("a\\x1b[2J \\udce9.png")
    'a�[2J �.png'
    """
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
