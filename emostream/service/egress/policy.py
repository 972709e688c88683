"""Which addresses may be watched: submitted URLs are untrusted (decision D10)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from emostream.config import ServiceSettings
from emostream.decode.location import is_gone
from emostream.decode.remote_file import is_remote
from emostream.domain.address import Address, AddressError, file_path, file_url, parse_address
from emostream.domain.redact import shown_address
from emostream.errors import ConfigError, SourceNotHereError, SourceRejectedError, SourceUnavailableError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str], Sequence[str]]
"""Host name → its addresses; raises `OSError` when there are none."""

_PINNED_SCHEMES = ("rtsp", "rtmp", "srt")
# An IPv4 address in the last 32 bits leads to that one: translation (RFC 6052) and the old forms of RFC 4291.
_EMBEDDING_NETWORKS = tuple(ipaddress.IPv6Network(network) for network in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96"))
# Never public, whatever the standard library says: translation inside a network (RFC 8215), and site-local.
_INNER_NETWORKS = tuple(ipaddress.IPv6Network(network) for network in ("64:ff9b:1::/48", "fec0::/10"))
_ISATAP = (0x00005EFE, 0x02005EFE)  # in front of the IPv4 address of a tunnel (RFC 5214)
_NETWORK_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "http", "https")


def resolve(host: str) -> list[str]:
    """The addresses of a host; blocks for the length of a name look-up."""
    return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


class SourcePolicy:
    """Decides about URLs; asked when a stream is submitted and again at each opening.

    Network sources must be at public addresses, or in a network the operator allows. *All* addresses of a name must be
    allowed: a name with one good and one bad address is refused. An IPv6 address that leads to one of IPv4 (mapped,
    translated, a tunnel) is judged by that one as well. Files must lie under the media root after symbolic
    links were followed.

    Args:
        settings: networks and media root.
        resolver: replaces the look-up of names.

    Raises:
        ConfigError: a network in the settings is none.
    """

    def __init__(self, settings: ServiceSettings, *, resolver: Resolver = resolve) -> None:
        try:
            self._networks = [ipaddress.ip_network(network) for network in settings.allowed_networks]
        except ValueError as exc:
            raise ConfigError(f"service.allowed_networks: {exc}; give networks like 192.168.0.0/16") from exc
        self._object_stores = [_as_opened(prefix) for prefix in settings.object_stores]
        self._udp_ports = frozenset(settings.udp_ports)
        self._devices = frozenset(settings.devices)
        self._media_root = settings.media_root.resolve() if settings.media_root is not None else None
        self._resolver = resolver

    def check(self, url: str) -> str:
        """The URL to open, if it may be opened now; blocks for a name look-up.

        For rtsp, rtmp and srt it holds the address that was checked in place of the name, so a name server cannot give
        another answer afterwards. HTTP and TLS need the name; `Egress` asks again when they connect.

        Raises:
            SourceRejectedError: it may not; the message names no more of the inside than the URL itself.
        """
        return self.checked(url).url

    def checked(self, url: str) -> Address:
        """As `check`, in its parts."""
        name = shown_address(url)
        if (path := file_path(url)) is not None:
            self._check_file(Path(path), name=name)
            return Address("file", None, "", None, file_url(path).removeprefix("file://"))
        try:
            address = parse_address(url)
        except AddressError as exc:
            if "://" not in url:
                raise SourceRejectedError(
                    f"{name} is not a URL: give for example rtsp://camera/stream1, or file:///folder/video.mp4 for a "
                    "file that the service may read (service.media_root)"
                ) from exc
            raise SourceRejectedError(f"{name}: {exc}") from exc
        if is_remote(url):
            self._check_object(address.url, name=name)
            return address
        if address.scheme == "udp":
            return self._checked_udp(address, name=name)
        if address.scheme == "v4l2":
            if Path(address.path) not in self._devices or address.place or address.login is not None:
                raise _forbidden(f"{name}: not one of the devices that the operator allows (service.devices)")
            return address
        _check_host(address, name=name)
        checked = self.address_of(address.host, name=name, hint=address.hint)
        return address.at(checked, address.port) if address.scheme in _PINNED_SCHEMES else address

    def check_folder(self, url: str) -> None:
        """Whether the files under a folder (`file:///…`) or a prefix of an object store may be opened.

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
            raise SourceRejectedError(f"{name}: give a folder (file:///…) or a prefix of an object store (s3://…)")

    def _check_object(self, url: str, *, name: str) -> None:
        # A prefix ends at a slash: `s3://media` lets nobody into `s3://media-of-others`.
        is_allowed = any(f"{url}/".startswith(f"{prefix.rstrip('/')}/") for prefix in self._object_stores)
        if not is_allowed or ".." in url.split("/"):
            raise _forbidden(f"{name}: not under a prefix that the operator allows (service.object_stores)")

    def _checked_udp(self, parts: Address, *, name: str) -> Address:
        """Receives on a port; the host says on which address or for which group. Options of FFmpeg are not taken."""
        if parts.port not in self._udp_ports:
            raise _forbidden(f"{name}: not one of the ports that the operator allows (service.udp_ports)")
        try:
            address = ipaddress.ip_address(parts.host or "0.0.0.0")  # noqa: S104  # the operator allowed it
        except ValueError:
            address = None
        if address is None or not (address.is_multicast or address.is_unspecified):
            raise SourceRejectedError(f"{name}: give udp://:PORT, or a multicast address")
        return Address("udp", None, str(address), parts.port, "")

    def _check_file(self, path: Path, *, name: str) -> None:
        if self._media_root is None:
            raise _forbidden(f"{name}: files are not accepted here; the operator can set service.media_root")
        try:
            is_inside = path.is_absolute() and path.resolve(strict=True).is_relative_to(self._media_root)
            is_missing = False
        except (OSError, ValueError, RuntimeError):  # missing, a NUL in it, a loop of links
            is_inside, is_missing = False, self._misses(path)
        if not is_inside:
            # Elsewhere it may be there: a mount may be missing here, or lead to another place.
            raise SourceNotHereError(f"{name}: there is no such file under the media root", is_gone=is_missing)

    def _misses(self, path: Path) -> bool:
        """Whether the folder of a file is under the media root, with others in it, and the file is not there."""
        try:
            folder = path.parent.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return False
        return self._media_root is not None and folder.is_relative_to(self._media_root) and is_gone(path)

    def address_of(self, host: str, *, name: str, hint: str = "") -> str:
        """The address to connect to, if one may connect to this host now; blocks for a name look-up.

        Args:
            host: name or address.
            name: of the source, for messages.
            hint: what to add where nobody knows the host.

        Raises:
            SourceRejectedError: one may not, or nobody knows the host.
            SourceUnavailableError: nobody can say now who it is.
        """
        try:
            addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in self._resolver(host)]
        except (OSError, ValueError) as exc:
            if _is_passing(exc):
                raise SourceUnavailableError(
                    f"{name}: its host cannot be looked up now; is a name server away? Try again later"
                ) from exc
            raise SourceNotHereError(f"{name}: the host is not known; check its name{hint}") from exc
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise _forbidden(
                f"{name}: the host is not at a public address; the operator can allow its network with "
                "service.allowed_networks"
            )
        return str(addresses[0])

    def is_inside(self, url: str) -> bool:
        """Whether a URL names an address, not a name, of a network that the operator allows."""
        try:
            return self._is_operators(ipaddress.ip_address(parse_address(url).host))
        except ValueError:  # includes that it is no address
            return False

    def _is_allowed(self, address: IpAddress) -> bool:
        return self._is_operators(address) or all(_is_public(each) for each in (address, *_embedded_in(address)))

    def _is_operators(self, address: IpAddress) -> bool:
        """Whether it is in a network that the operator named, or leads into such only."""
        embedded = _embedded_in(address)
        return self._is_named(address) or (bool(embedded) and all(map(self._is_named, embedded)))

    def _is_named(self, address: IpAddress) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def _is_public(address: IpAddress) -> bool:
    if address.is_multicast or any(address in network for network in _INNER_NETWORKS):
        return False
    # Mapped addresses are judged by what they embed alone; none of them is global itself.
    return address.is_global or getattr(address, "ipv4_mapped", None) is not None


# What a look-up says of a name that does not exist; anything else it says may be otherwise in a moment.
_UNKNOWN_NAME = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
}


def _is_passing(exc: OSError | ValueError) -> bool:
    if isinstance(exc, socket.gaierror):
        return exc.errno not in _UNKNOWN_NAME
    return isinstance(exc, TimeoutError)


def _forbidden(message: str) -> SourceNotHereError:
    """By the settings of this process; others may have others."""
    return SourceNotHereError(message, is_forbidden=True)


def _embedded_in(address: IpAddress) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that one of IPv6 leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    number = int(address)
    last = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _EMBEDDING_NETWORKS) or number >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(last)
    return [each for each in found if each is not None]


def _as_opened(prefix: str) -> str:
    """A prefix of object stores in the form of the addresses that are compared with it."""
    try:
        return parse_address(prefix).url
    except AddressError:
        return prefix


def _check_host(address: Address, *, name: str) -> None:
    """That it is a source in a network, with a host."""
    if address.scheme not in _NETWORK_SCHEMES:
        known = ", ".join((*_NETWORK_SCHEMES, "udp", "v4l2", "file"))
        raise SourceRejectedError(f"{name}: scheme {address.scheme!r} is not accepted; give one of {known}")
    if not address.host:
        raise SourceRejectedError(f"{name}: there is no host in it")
