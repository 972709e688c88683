"""The source policy: decides which submitted URLs, which are untrusted, may be opened (docs/decisions/0008)."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote

from emostream.config import ServiceSettings
from emostream.decode.location import is_gone
from emostream.decode.remote_file import is_remote
from emostream.domain.address import Address, AddressError, file_path, file_url, parse_address
from emostream.domain.redact import shown_address
from emostream.errors import ConfigError, SourceNotHereError, SourceRejectedError, SourceUnavailableError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str], Sequence[str]]
"""Host name → its addresses; raises `OSError` when it has none."""

_PINNED_SCHEMES = ("rtsp", "rtmp", "srt")
# The last 32 bits of these contain the IPv4 address that they lead to: NAT64 (RFC 6052) and old forms of RFC 4291.
_EMBEDDING_NETWORKS = tuple(ipaddress.IPv6Network(network) for network in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96"))
# Never public, although the standard library says so.
_INNER_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b:1::/48",  # NAT64 inside a network (RFC 8215)
        "fec0::/10",  # site-local addresses
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segments of SRv6 (RFC 9602)
        "192.0.0.0/24",  # protocols (RFC 6890); the metadata service of Oracle's cloud is in it
        "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
        "168.63.129.16/32",  # the host agent of Azure's virtual machines
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # followed by the IPv4 address of a tunnel (RFC 5214)
_RECEIVES = re.compile(r"[?&]mode=(?!caller(&|#|$))", re.IGNORECASE)  # with SRT the URL decides who calls
_NETWORK_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "http", "https")


def resolve(host: str) -> list[str]:
    """The addresses of a host, the preferred ones of this system first; blocks for a DNS lookup."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class SourcePolicy:
    """Decides about URLs when a stream is submitted and again at each opening.

    Network sources must have public addresses, or be in a network that the operator allows. All addresses of a name
    must
    be allowed: a name with one allowed and one forbidden address is rejected. An IPv6 address that leads to an IPv4
    address (mapped, translated, tunnelled) is judged by that one as well. Files must be inside the media root, after
    symbolic links are resolved.

    Args:
        settings: allowed networks, media root and so on.
        resolver: replaces DNS lookups.

    Raises:
        ConfigError: a network in the settings is invalid.
    """

    def __init__(self, settings: ServiceSettings, *, resolver: Resolver = resolve) -> None:
        try:
            self._networks = [ipaddress.ip_network(network) for network in settings.allowed_networks]
        except ValueError as exc:
            raise ConfigError(f"service.allowed_networks: {exc}; use CIDR notation such as 192.168.0.0/16") from exc
        self._object_stores = [_as_opened(prefix) for prefix in settings.object_stores]
        self._udp_ports = frozenset(settings.udp_ports)
        self._devices = frozenset(settings.devices)
        self._media_root = settings.media_root.resolve() if settings.media_root is not None else None
        self._resolver = resolver

    def check(self, url: str, *, attempt: int = 0) -> str:
        """Return the URL to open, if it is allowed now; blocks for a DNS lookup.

        For rtsp, rtmp and srt it contains a checked address instead of the name, so that DNS cannot change the answer
        afterwards. HTTP and TLS need the name; `Egress` checks again when it connects.

        Args:
            url: as submitted.
            attempt: of the addresses of a name, which one is taken in turn.

        Raises:
            SourceRejectedError: it is not allowed. The message reveals no more about internal networks than the URL.
        """
        return self.checked(url, attempt=attempt).url

    def checked(self, url: str, *, attempt: int = 0) -> Address:
        """As `check`, but returns the parsed address."""
        name = shown_address(url)
        if (path := file_path(url)) is not None:
            self._check_file(Path(path), name=name)
            return Address("file", None, "", None, file_url(path).removeprefix("file://"))
        try:
            address = parse_address(url)
        except AddressError as exc:
            if "://" not in url:
                raise SourceRejectedError(
                    f"{name} is not a URL: use for example rtsp://camera/stream1, or file:///folder/video.mp4 for a "
                    "file that the service may read (service.media_root)"
                ) from exc
            raise SourceRejectedError(f"{name}: {exc}") from exc
        if is_remote(url):
            self._check_object(address, name=name)
            return address
        if address.scheme == "udp":
            return self._checked_udp(address, name=name)
        if address.scheme == "v4l2":
            if Path(address.path) not in self._devices or address.place or address.login is not None:
                raise _forbidden(f"{name}: the device is not allowed; the operator can add it to service.devices")
            return address
        _check_host(address, name=name)
        if address.scheme == "srt" and _RECEIVES.search(address.rest):
            raise SourceRejectedError(f"{name}: only mode=caller is supported; others would listen on a port here")
        addresses = self.addresses_of(address.host, name=name, hint=address.hint)
        if address.scheme not in _PINNED_SCHEMES:
            return address
        return address.at(addresses[attempt % len(addresses)], address.port)

    def check_folder(self, url: str) -> None:
        """Check that the files in a folder (`file:///…`) or under an object store prefix may be opened.

        Raises:
            SourceRejectedError: they may not, or there is no such folder.
        """
        name = shown_address(url)
        if is_remote(url):
            self.checked(url)
        elif (path := file_path(url)) is not None:
            self._check_file(Path(path), name=name)
            if not Path(path).is_dir():
                raise SourceRejectedError(f"{name}: expected a folder; submit a single file as a stream")
        else:
            raise SourceRejectedError(f"{name}: use a folder (file:///…) or an object store prefix (s3://…)")

    def _check_object(self, address: Address, *, name: str) -> None:
        # A prefix ends at a slash: `s3://media` does not allow `s3://media-of-others`.
        is_allowed = any(f"{address.url}/".startswith(f"{prefix.rstrip('/')}/") for prefix in self._object_stores)
        # fsspec reads a chain of file systems into `::`.
        leads_elsewhere = ".." in re.split(r"[/\\]", unquote(address.rest)) or "::" in address.rest
        if not is_allowed or leads_elsewhere:
            raise _forbidden(f"{name}: the prefix is not allowed; the operator can add it to service.object_stores")

    def _checked_udp(self, parts: Address, *, name: str) -> Address:
        """Check a port to receive on; the host is a local address or a multicast group. Options are dropped."""
        if parts.port not in self._udp_ports:
            raise _forbidden(f"{name}: the port is not allowed; the operator can add it to service.udp_ports")
        try:
            address = ipaddress.ip_address(parts.host or "0.0.0.0")  # noqa: S104  # the operator allowed it
        except ValueError:
            address = None
        if address is None or not (address.is_multicast or address.is_unspecified):
            raise SourceRejectedError(f"{name}: use udp://:PORT, or a multicast address")
        return Address("udp", None, str(address), parts.port, "")

    def _check_file(self, path: Path, *, name: str) -> None:
        if self._media_root is None:
            raise _forbidden(f"{name}: files are not accepted; the operator can set service.media_root")
        try:
            is_inside = path.is_absolute() and path.resolve(strict=True).is_relative_to(self._media_root)
            is_missing = False
        except (OSError, ValueError, RuntimeError):  # a missing file, a NUL in the name, a loop of links
            is_inside, is_missing = False, self._misses(path)
        if not is_inside:
            # It may exist on another worker: a mount may be missing here, or differ.
            raise SourceNotHereError(f"{name}: there is no such file under the media root", is_gone=is_missing)

    def _misses(self, path: Path) -> bool:
        """Whether a file's folder is inside the media root and not empty, and the file does not exist."""
        try:
            folder = path.parent.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return False
        return self._media_root is not None and folder.is_relative_to(self._media_root) and is_gone(path)

    def addresses_of(self, host: str, *, name: str, hint: str = "") -> list[str]:
        """The addresses to connect to, if connections to this host are allowed now; blocks for a DNS lookup.

        Args:
            host: name or address.
            name: of the source, for messages.
            hint: added to the message when the host is unknown.

        Raises:
            SourceRejectedError: it is not allowed, or the host is unknown.
            SourceUnavailableError: the name cannot be resolved now.
        """
        try:
            addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in self._resolver(host)]
        except (OSError, ValueError) as exc:
            if _is_passing(exc):
                raise SourceUnavailableError(
                    f"{name}: the host name cannot be resolved now (is DNS available?); try again later"
                ) from exc
            raise SourceNotHereError(f"{name}: unknown host; check its name{hint}") from exc
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise _forbidden(
                f"{name}: the host has no public address; the operator can allow its network with "
                "service.allowed_networks"
            )
        return [str(address) for address in addresses]

    def is_inside(self, url: str) -> bool:
        """Whether a URL contains an address (not a name) in a network that the operator allows."""
        try:
            return self._is_operators(ipaddress.ip_address(parse_address(url).host))
        except ValueError:  # including host names
            return False

    def _is_allowed(self, address: IpAddress) -> bool:
        return self._is_operators(address) or all(_is_public(each) for each in (address, *_embedded_in(address)))

    def _is_operators(self, address: IpAddress) -> bool:
        """Whether it is in a network of the operator, or leads to such addresses only."""
        embedded = _embedded_in(address)
        return self._is_named(address) or (bool(embedded) and all(map(self._is_named, embedded)))

    def _is_named(self, address: IpAddress) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def _is_public(address: IpAddress) -> bool:
    if address.is_multicast or any(address in network for network in _INNER_NETWORKS):
        return False
    # Mapped and 6to4 addresses (which Python counts as global until 3.12) are judged by the embedded one alone.
    return address.is_global or any(getattr(address, kind, None) for kind in ("ipv4_mapped", "sixtofour"))


# Errors of lookups that mean that the name does not exist; all others may be temporary.
_UNKNOWN_NAME = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
}


def _is_passing(exc: OSError | ValueError) -> bool:
    if isinstance(exc, socket.gaierror):
        return exc.errno not in _UNKNOWN_NAME
    return isinstance(exc, TimeoutError)


def _forbidden(message: str) -> SourceNotHereError:
    """The rejection by this process's settings; other processes may have others."""
    return SourceNotHereError(message, is_forbidden=True)


def _embedded_in(address: IpAddress) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses to which an IPv6 address leads."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    number = int(address)
    last = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _EMBEDDING_NETWORKS) or number >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(last)
    return [each for each in found if each is not None]


def _as_opened(prefix: str) -> str:
    """An object store prefix, normalised like the addresses that are compared with it."""
    try:
        return parse_address(prefix).url
    except AddressError:
        return prefix


def _check_host(address: Address, *, name: str) -> None:
    """Check that it is a network source with a host."""
    if address.scheme not in _NETWORK_SCHEMES:
        known = ", ".join((*_NETWORK_SCHEMES, "udp", "v4l2", "file"))
        raise SourceRejectedError(f"{name}: scheme {address.scheme!r} is not supported; use one of {known}")
    if not address.host:
        raise SourceRejectedError(f"{name}: it contains no host")
