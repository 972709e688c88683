"""Parses addresses of sources and sinks. All input goes through `parse_address` first.

Display, source policy and opening all use the parts found here, so that they cannot disagree about where a password
ends and a host begins.

End of user and password
    They extend to the last `@`, so a password may contain `/ ? # @ % :` and spaces unencoded. An `@` in a path or query
    does not count where the text before the first `/ ? #` can only be a host: it contains neither `:` nor `@`
    (`http://host/@name`), or its host is an IP address or `localhost`, or it has a dot and the text after the last `@`
    is not an IP address (`http://cdn.example:8080/?mail=a@b.c`), or it is followed by an HTTP path that starts with `@`
    (`http://host:80/@name`). Otherwise such an `@` must be written `%40`.

`%XX` in user and password is decoded; any other `%` stands for itself. The opened URL contains them encoded, except
letters, digits and `- . _ ~`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, unquote_to_bytes

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_PLACE = re.compile(r"(?P<host>\[[^\]/?#@]*\]|[\w.-]*)(?::(?P<port>[0-9]{0,5}))?")
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")
_DELIMITERS = re.compile(r"[/?#]")
_MAX_PORT = 65535
# FFmpeg copies the path of these into a request unencoded.
_REQUEST_SCHEMES = frozenset({"rtsp", "rtsps", "http", "https"})
_FILE_URL = re.compile(r"file:(?://(?:localhost(?=/)|127\.0\.0\.1(?=/))?|(?=/))(?P<path>.*)", re.IGNORECASE | re.DOTALL)
# What would be read as another path than it is, or is no text.
_NOT_IN_FILE_URL = re.compile(r"%(?=[0-9A-Fa-f]{2})|[\x00-\x1f\x7f\ud800-\udfff]")
_IN_LOGIN = "/ # ? @ % are written %2F %23 %3F %40 %25"


class AddressError(ValueError):
    """A text is not a usable address. The message contains no part of the text."""


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of `scheme://user:password@host:port/path?query#fragment`.

    Attributes:
        scheme: in lower case.
        login: `user:password` or `user`, percent-encoded; None without one.
        host: without brackets; may be empty.
        port: None when not given.
        rest: everything after host and port.
        is_rewritten: whether the login was not written as RFC 3986 requires.
    """

    scheme: str
    login: str | None = field(repr=False)
    host: str
    port: int | None
    rest: str = field(repr=False)
    is_rewritten: bool = False

    @property
    def url(self) -> str:
        """The URL to open, which all programs parse alike."""
        login = "" if self.login is None else f"{self.login}@"
        rest = self.rest.replace(" ", "%20") if self.scheme in _REQUEST_SCHEMES else self.rest
        return f"{self.scheme}://{login}{self.place}{rest}"

    @property
    def place(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def path(self) -> str:
        """The path, without query and fragment."""
        return re.split(r"[?#]", self.rest, maxsplit=1)[0]

    @property
    def user(self) -> str | None:
        """The decoded user name; None without a login."""
        return None if self.login is None else unquote(self.login.partition(":")[0])

    @property
    def password(self) -> str | None:
        """The decoded password; None without one."""
        _, colon, password = (self.login or "").partition(":")
        return unquote(password) if colon else None

    @property
    def login_bytes(self) -> bytes:
        """Decoded `user:password`, as needed for basic authentication."""
        user, _, password = (self.login or "").partition(":")
        return unquote_to_bytes(user) + b":" + unquote_to_bytes(password)

    @property
    def hint(self) -> str:
        """How the login was parsed, where that may be unexpected; otherwise empty."""
        return f" (user and password were read up to the last @; in them {_IN_LOGIN})" if self.is_rewritten else ""

    def at(self, host: str, port: int | None) -> Address:
        """The same address at another host and port."""
        return replace(self, host=host, port=port)

    def without_login(self) -> Address:
        """The same address without user and password."""
        return replace(self, login=None, is_rewritten=False)


@dataclass(frozen=True, slots=True)
class AddressSplit:
    """The parts of an address, unchecked.

    Attributes:
        login: as written; None without one.
        place: host and port, as written.
        rest: the text after them.
        is_ambiguous: `rest` contains an `@`, which may be the end of a login.
    """

    login: str | None
    place: str
    rest: str
    is_ambiguous: bool = False


def split_address(scheme: str, after: str) -> AddressSplit:
    """Split the text `after` that follows `scheme://` into parts.

    >>> split_address("rtsp", "admin:1234#5secret@camera/x").place
    'camera'
    >>> split_address("http", "10.0.0.7:8080/x?mail=a@b.c").place
    '10.0.0.7:8080'
    """
    authority, rest = cut_place(after)
    login, at, place = authority.rpartition("@")
    strict = AddressSplit(login if at else None, place, rest)
    if "@" not in rest or not (at or ":" in authority):
        return strict
    wide_login, _, tail = after.rpartition("@")
    wide = AddressSplit(wide_login, *cut_place(tail))
    certainty, of_wide = place_certainty(place), place_certainty(wide.place)
    is_handle = scheme.lower() in ("http", "https") and not at and rest.startswith("/@") and rest.count("@") == 1
    if certainty >= max(_DOTTED, of_wide) or (certainty and (not of_wide or (is_handle and of_wide < _DOTTED))):
        return replace(strict, is_ambiguous=not is_handle)
    return wide


_DOTTED = 2
CERTAIN = 3


def place_certainty(place: str) -> int:
    """How certain a text is a host with optional port, or several separated by commas: 3 an IP address, 2 a name with a
    dot, 1 a name, 0 none of these."""
    return min(_certainty_of_one(one) for one in place.split(","))


def _certainty_of_one(place: str) -> int:
    match = _PLACE.fullmatch(place)
    if match is None or match["port"] == "" or int(match["port"] or 1) > _MAX_PORT:
        return 0
    host = match["host"]
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    else:
        return CERTAIN
    if host.lower() == "localhost":
        return CERTAIN
    if not _NAME.fullmatch(host):
        return 0
    return _DOTTED if "." in host.strip(".") else 1


def parse_address(text: str) -> Address:
    """Parse an address.

    >>> address = parse_address("rtsp://admin:pa/ss word@camera:554/front door?x=1")
    >>> address.url, address.password
    ('rtsp://admin:pa%2Fss%20word@camera:554/front%20door?x=1', 'pa/ss word')
    >>> parse_address("rtsp://a%0d%0aSET:b@camera/")
    Traceback (most recent call last):
    emostream.domain.address.AddressError: there are control characters in its user or password

    Raises:
        AddressError: it has no scheme, an invalid host or port, or contains control characters (in user and password
            also after repeated decoding), which could end a line of a request.
    """
    scheme, separator, after = text.partition("://")
    if not separator or not SCHEME.fullmatch(scheme):
        raise AddressError("it is not a URL")
    scheme = scheme.lower()
    parts = split_address(scheme, after)
    if parts.login is not None and holds_control_characters(parts.login):
        raise AddressError("there are control characters in its user or password")
    if _has_controls(parts.place) or _has_controls(parts.rest):
        raise AddressError("there are control characters in it")
    match = _PLACE.fullmatch(parts.place)
    if match is None:
        raise AddressError(f"its host or port cannot be one; in user and password {_IN_LOGIN}")
    port = int(match["port"]) if match["port"] else None
    if port is not None and port > _MAX_PORT:
        raise AddressError("its port is not a number up to 65535")
    host = match["host"]
    if host.startswith("["):
        host = _address_in(host)
    login = None if parts.login is None else encoded_login(parts.login)
    return Address(scheme, login, host, port, parts.rest, is_rewritten=_is_unusual(parts.login))


def file_path(url: str) -> str | None:
    """The path that a `file:` URL names (RFC 8089), with `%XX` decoded; None for everything else.

    A `%` that begins no `%XX` stands for itself, and so do `?` and `#`.

    >>> file_path("file:///srv/front%20door.mp4"), file_path("file://localhost/srv/100%.mp4"), file_path("file:/a.mp4")
    ('/srv/front door.mp4', '/srv/100%.mp4', '/a.mp4')
    >>> file_path("/srv/50%20off.mp4")
    """
    found = _FILE_URL.fullmatch(url)
    return None if found is None else os.fsdecode(unquote_to_bytes(_bytes(found["path"])))


def file_url(path: str) -> str:
    """The URL of which `file_path` is this path.

    >>> file_url("/srv/50%20off.mp4"), file_url("/srv/für dich.mp4")
    ('file:///srv/50%2520off.mp4', 'file:///srv/für dich.mp4')
    """
    return f"file://{_NOT_IN_FILE_URL.sub(lambda found: quote(os.fsencode(found[0])), path)}"


def encoded_login(login: str) -> str:
    """Percent-encode `user:password` for use in a URL."""
    user, colon, password = login.partition(":")
    return f"{_encoded(user)}{colon}{_encoded(password)}"


def holds_control_characters(text: str) -> bool:
    """Whether a text contains control characters, also after decoding `%XX` any number of times."""
    while True:
        if _has_controls(text):
            return True
        decoded = _decoded(text)
        if decoded == text:
            return False
        text = decoded


def cut_place(text: str) -> tuple[str, str]:
    """Split a text before the first `/ ? #`."""
    found = _DELIMITERS.search(text)
    return (text, "") if found is None else (text[: found.start()], text[found.start() :])


def _address_in(host: str) -> str:
    inside = host[1:-1]
    try:
        ipaddress.IPv6Address(inside.replace("%25", "%"))
    except ValueError as exc:
        raise AddressError("the host in brackets is not an IPv6 address") from exc
    return inside


def _is_unusual(login: str | None) -> bool:
    return login is not None and re.search(r"[/?#@\s]|%(?![0-9A-Fa-f]{2})", login) is not None


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(_bytes(text)), safe="")


def _decoded(text: str) -> str:
    content = unquote_to_bytes(_bytes(text))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape" if _is_escaped(text) else "surrogatepass")


def _is_escaped(text: str) -> bool:
    """Whether the text contains undecodable bytes, as Python represents them in command line arguments."""
    return any("\udc80" <= character <= "\udcff" for character in text)


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text)
