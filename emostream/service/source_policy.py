"""Which addresses may be watched: submitted URLs are untrusted (decision D10)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from emostream.config import ServiceSettings
from emostream.decode.remote_file import is_remote
from emostream.errors import ConfigError, SourceRejectedError
from emostream.redact import redact

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str], Sequence[str]]
"""Host name → its addresses; raises `OSError` when there are none."""

_PINNED_SCHEMES = ("rtsp", "rtmp", "srt")
_NETWORK_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "http", "https")


def resolve(host: str) -> list[str]:
    """The addresses of a host; blocks for the length of a name look-up."""
    return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


class SourcePolicy:
    """Decides about URLs; asked when a stream is submitted and again at each opening.

    Network sources must be at public addresses, or in a network the operator allows. *All* addresses of a name must be
    allowed: a name with one good and one bad address is refused. Files must lie under the media root after symbolic
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
        self._object_stores = settings.object_stores
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
        name = redact(url)
        try:
            parts = urlsplit(url)
            _ = parts.hostname, parts.port  # both are parsed only now
        except ValueError as exc:
            raise SourceRejectedError(f"{name} is not a URL: {exc}") from exc
        if parts.scheme == "file":
            self._check_file(url, name=name)
            return url
        if is_remote(url):
            self._check_object(url, name=name)
            return url
        if parts.scheme == "udp":
            return self._checked_udp(parts, name=name)
        if parts.scheme == "v4l2":
            if Path(parts.path) not in self._devices or parts.netloc:
                raise SourceRejectedError(f"{name}: not one of the devices that the operator allows (service.devices)")
            return url
        host = _host_of(parts, name=name)
        address = self.address_of(host, name=name)
        return _with_address(parts, address) if parts.scheme in _PINNED_SCHEMES else url

    def check_folder(self, url: str) -> None:
        """Whether the files under a folder (`file:///…`) or a prefix of an object store may be opened.

        Raises:
            SourceRejectedError: they may not, or there is no such folder.
        """
        name = redact(url)
        if is_remote(url):
            self._check_object(url, name=name)
        elif url.startswith("file://"):
            self._check_file(url, name=name)
            if not Path(url.removeprefix("file://")).is_dir():
                raise SourceRejectedError(f"{name}: expected a folder; submit a single file as a stream")
        else:
            raise SourceRejectedError(f"{name}: give a folder (file:///…) or a prefix of an object store (s3://…)")

    def _check_object(self, url: str, *, name: str) -> None:
        is_allowed = any(url.startswith(prefix) for prefix in self._object_stores)
        if not is_allowed or ".." in url.split("/"):
            raise SourceRejectedError(f"{name}: not under a prefix that the operator allows (service.object_stores)")

    def _checked_udp(self, parts: SplitResult, *, name: str) -> str:
        """Receives on a port; the host says on which address or for which group. Options of FFmpeg are not taken."""
        if parts.port not in self._udp_ports:
            raise SourceRejectedError(f"{name}: not one of the ports that the operator allows (service.udp_ports)")
        try:
            address = ipaddress.ip_address(parts.hostname or "0.0.0.0")  # noqa: S104  # the operator allowed it
        except ValueError:
            address = None
        if address is None or not (address.is_multicast or address.is_unspecified):
            raise SourceRejectedError(f"{name}: give udp://:PORT, or a multicast address")
        return f"udp://{f'[{address}]' if address.version == 6 else address}:{parts.port}"

    def _check_file(self, url: str, *, name: str) -> None:
        if self._media_root is None:
            raise SourceRejectedError(f"{name}: files are not accepted here; the operator can set service.media_root")
        path = Path(url.removeprefix("file://"))
        try:
            is_inside = path.is_absolute() and path.resolve(strict=True).is_relative_to(self._media_root)
        except (OSError, ValueError, RuntimeError):  # missing, a NUL in it, a loop of links
            is_inside = False
        if not is_inside:
            raise SourceRejectedError(f"{name}: there is no such file under the media root")

    def address_of(self, host: str, *, name: str) -> str:
        """The address to connect to, if one may connect to this host now; blocks for a name look-up.

        Args:
            host: name or address.
            name: of the source, for messages.

        Raises:
            SourceRejectedError: one may not, or nobody knows the host.
        """
        try:
            addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in self._resolver(host)]
        except (OSError, ValueError) as exc:
            raise SourceRejectedError(f"{name}: the host is not known; check its name") from exc
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise SourceRejectedError(
                f"{name}: the host is not at a public address; the operator can allow its network with "
                "service.allowed_networks"
            )
        return str(addresses[0])

    def is_inside(self, url: str) -> bool:
        """Whether a URL names an address, not a name, of a network that the operator allows."""
        try:
            return self._is_operators(_unmapped(ipaddress.ip_address(urlsplit(url).hostname or "")))
        except ValueError:
            return False

    def _is_allowed(self, address: Address) -> bool:
        address = _unmapped(address)
        return self._is_operators(address) or (address.is_global and not address.is_multicast)

    def _is_operators(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def _unmapped(address: Address) -> Address:
    """An IPv4 address that is written as one of IPv6, as such."""
    mapped: ipaddress.IPv4Address | None = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _host_of(parts: SplitResult, *, name: str) -> str:
    """The host of a source in a network, where there is exactly one."""
    if not parts.scheme:
        raise SourceRejectedError(
            f"{name} is not a URL: give for example rtsp://camera/stream1, or file:///folder/video.mp4 for a file "
            "that the service may read (service.media_root)"
        )
    if parts.scheme not in _NETWORK_SCHEMES:
        known = ", ".join((*_NETWORK_SCHEMES, "udp", "v4l2", "file"))
        raise SourceRejectedError(f"{name}: scheme {parts.scheme!r} is not accepted; give one of {known}")
    if not parts.hostname:
        raise SourceRejectedError(f"{name}: there is no host in it")
    if any(character in parts.netloc for character in "\\ \t\r\n"):
        # Programs disagree about where the host ends in these; what is checked must be what is opened.
        raise SourceRejectedError(f"{name}: the host is ambiguous")
    return parts.hostname


def _with_address(parts: SplitResult, address: str) -> str:
    """The URL with an address in place of its host; login and port stay."""
    login, at, host_and_port = parts.netloc.rpartition("@")
    port = host_and_port[len(host_and_port.rstrip("0123456789")) :] if ":" in host_and_port.rpartition("]")[2] else ""
    host = f"[{address}]" if ":" in address else address
    return parts._replace(netloc=f"{login}{at}{host}{':' + port if port else ''}").geturl()
