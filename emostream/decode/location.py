"""Where a source is: which addresses are accepted, and FFmpeg's options to reach them (decisions D6, D10)."""

from __future__ import annotations

import os
import ssl
import stat
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from emostream.config import DecodeSettings
from emostream.decode.formats.file_structure import FileStructure, read_file_structure
from emostream.decode.remote_file import is_remote
from emostream.domain.address import SCHEME, Address, AddressError, file_path, parse_address
from emostream.domain.redact import shown_address
from emostream.domain.stream import STANDARD_INPUT
from emostream.errors import ConfigError, SourceNotHereError, SourceRejectedError

_SOCKET_GRACE_SECONDS = 2.0
_UDP_BUFFER_BYTES = str(1 << 21)  # what the system keeps for us; key frames arrive in a burst

# A playlist or a description of one source must not lead FFmpeg elsewhere: from the network to local files, or from a
# local file to the network. So each kind of source may use its own protocols only.
_HTTP = "http,https,httpproxy,tcp,tls,crypto"
_RTSP = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https"
_PROTOCOLS_BY_SCHEME = {
    "file": "file,crypto",
    "http": _HTTP,
    "https": _HTTP,
    "rtsp": _RTSP,
    "rtsps": _RTSP,
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "srt": "srt,udp",
    "udp": "udp",
    "rtp": "rtp,udp",
    "tcp": "tcp",
}

# FFmpeg's readers of videos and pictures that hold their content themselves. Playlists and descriptions (hls, concat,
# sdp, imf, …) name other places, and so do formats in several files (mlv, vobsub); others turn any text into a picture.
_PLAIN_FORMATS = ",".join(
    (
        # files of programs, cameras, recorders and broadcasters
        "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,kux,mpegts,mpeg,ogg,asf,asf_o,rm,ivr,nut,nsv,swf,wtv,ty",
        "pva,pmp,nuv,dhav,ifv,iv8,lmlm4,mxf,gxf,lxf,mxg,dv,r3d,cine,ser,sdr2,lvf,simbiosis_imx,smjpeg,frm,xmv,mtv,moflex",
        # codecs without a container
        "h261,h263,h264,hevc,vvc,evc,m4v,mpegvideo,vc1,vc1test,av1,obu,ivf,ipu,dirac,dnxhd,cavsvideo,avs2,avs3,apv",
        "mjpeg,mjpeg_2000,mpjpeg,ingenient,msnwctcp,yuv4mpegpipe,rtsp",
        # of games and old programs
        "3dostr,4xm,anm,avs,bethsoftvid,bfi,bink,bmv,c93,cdxl,dsicin,dxa,ea,ea_cdata,film_cpk,filmstrip,flic,gdv,hnm",
        "idcin,iff,ipmovie,jv,mgsts,mm,mods,mv,mvi,nc,paf,pdv,psxstr,rl2,roq,rpl,sga,siff,smk,smush,thp,tiertexseq,tmv",
        "txd,usm,vividas,vivo,vmd,wc3movie,wsvqa,yop",
        # pictures and animations
        "gif,apng,webp,jpegxl_anim,image2,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe,gif_pipe,ppm_pipe,pgm_pipe",
        "pbm_pipe,pam_pipe,pgmyuv_pipe,pfm_pipe,phm_pipe,qoi_pipe,j2k_pipe,jpegls_pipe,jpegxl_pipe,jpegxs_pipe,dpx_pipe",
        "exr_pipe,hdr_pipe,sgi_pipe,sunrast_pipe,pcx_pipe,psd_pipe,dds_pipe,xbm_pipe,xpm_pipe,xwd_pipe,ico,fits",
    )
)
_FORMATS_BY_REFERENCES = {"hls": f"{_PLAIN_FORMATS},hls", "none": _PLAIN_FORMATS}


# Segments of playlists may be called anything: which protocols and formats they may have is decided above.
_ANY_NAME = {"extension_picky": "0", "allowed_extensions": "ALL", "allowed_segment_extensions": "ALL"}


@dataclass(frozen=True, slots=True)
class Location:
    """An accepted address.

    Attributes:
        address: what FFmpeg opens; may hold credentials.
        name: the same for messages, with credentials masked.
        is_network: whether time-outs apply.
        options: FFmpeg's options for opening it.
        format: FFmpeg's name of the format, where the address does not say it; None lets FFmpeg look.
        structure: what a local file's boxes say; empty otherwise.
        is_pipe: whether it can be read only once, from its beginning.
        is_standard_input: whether it is what is piped into this process; a second opening gives no more of it.
        hint: for errors, how the address was read where that may surprise; empty otherwise.
    """

    address: str = field(repr=False)
    name: str
    is_network: bool
    options: dict[str, str]
    format: str | None = None
    structure: FileStructure = field(default_factory=FileStructure)
    hint: str = ""
    is_pipe: bool = False
    is_standard_input: bool = False

    @property
    def is_http(self) -> bool:
        """Whether it comes as bodies of HTTP answers."""
        return self.address.partition("://")[0].lower() in ("http", "https")

    @property
    def is_flv(self) -> bool:
        """Whether it is FLV, as far as its address tells."""
        scheme, _, rest = self.address.partition("://")
        return scheme.lower() in ("rtmp", "rtmps") or rest.partition("?")[0].lower().endswith(".flv")


def source_address(url: str) -> Address:
    """The parts of the URL of a source.

    Raises:
        SourceRejectedError: it is no address that may be opened.
    """
    try:
        return parse_address(url)
    except AddressError as exc:
        raise SourceRejectedError(f"cannot open {shown_address(url)}: {exc}") from exc


def parse_location(url: str, *, settings: DecodeSettings) -> Location:
    """Check a path or URL before FFmpeg sees it.

    Raises:
        SourceRejectedError: unsupported scheme, or a path that is not a readable file with content.
    """
    if url == STANDARD_INPUT:
        return _standard_input(settings)
    name = shown_address(url)
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    path = file_path(url)
    if not separator or path is not None:
        return _local_file(url if path is None else path, name=name, settings=settings)
    if scheme == "v4l2":
        return _device(Path(rest), name=name)
    if SCHEME.fullmatch(scheme) and scheme not in _PROTOCOLS_BY_SCHEME and not is_remote(url):
        raise SourceRejectedError(
            f"cannot open {name}: unsupported scheme {scheme!r}; "
            f"give a file or one of {', '.join(_PROTOCOLS_BY_SCHEME)}, v4l2, s3, gs, …"
        )
    address = source_address(url)
    if is_remote(url):
        # Its content leads FFmpeg nowhere, whatever the settings say: there is no address to start from.
        options = {"format_whitelist": _PLAIN_FORMATS, "protocol_whitelist": "none"}
        return Location(address.url, name, False, options, hint=address.hint)
    options = {"protocol_whitelist": _PROTOCOLS_BY_SCHEME[scheme]}
    if settings.references != "all":
        options["format_whitelist"] = _FORMATS_BY_REFERENCES[settings.references]
    if scheme in ("http", "https"):
        options |= _http_options(settings)
    # Second in line after PyAV's own time-outs, because FFmpeg does not always say that it was a time-out.
    seconds = max(settings.open_timeout_seconds, settings.read_timeout_seconds) + _SOCKET_GRACE_SECONDS
    timeout_microseconds = str(round(seconds * 1e6))
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": settings.rtsp_transport, "timeout": timeout_microseconds}
    else:  # the generic option: `timeout` means something else for rtmp (wait for a publisher)
        options["rw_timeout"] = timeout_microseconds
    if scheme == "udp":
        options |= {"overrun_nonfatal": "1", "buffer_size": _UDP_BUFFER_BYTES}
    return Location(address.url, name, True, options, hint=address.hint)


def is_gone(path: Path) -> bool:
    """Whether the folder of a file is there with others in it, and the file is not: no mount is missing then."""
    try:
        with os.scandir(path.parent) as entries:
            return not path.exists() and next(entries, None) is not None
    except (OSError, ValueError):
        return False


def _device(path: Path, *, name: str) -> Location:
    if sys.platform != "linux":
        raise SourceRejectedError(
            f"cannot open {name}: cameras of this machine are read on Linux only; give the URL of a camera or a file"
        )
    try:
        is_device = stat.S_ISCHR(path.stat().st_mode)
    except (OSError, ValueError):
        is_device = False
    if not is_device:
        raise SourceNotHereError(f"cannot open {name}: there is no such device; give one like v4l2:///dev/video0")
    return Location(str(path), name, False, {}, format="video4linux2")


def _http_options(settings: DecodeSettings) -> dict[str, str]:
    # Servers that close a connection which FFmpeg would use again (for an index at the end) are asked once more.
    options = {"reconnect_on_network_error": "1", "reconnect_max_retries": "1"}
    options |= _ANY_NAME
    if settings.references == "none":
        options["max_redirects"] = "0"
    if settings.http_proxy is not None:
        options["http_proxy"] = _proxy_url(settings.http_proxy.get_secret_value())
    if settings.verify_tls:
        options |= {"tls_verify": "1", "ca_file": ssl.get_default_verify_paths().cafile or ""}
    return options


def _proxy_url(text: str) -> str:
    try:
        return parse_address(text).url
    except AddressError as exc:
        raise ConfigError(f"decode.http_proxy {shown_address(text)}: {exc}; give one like http://proxy:3128") from exc


def _standard_input(settings: DecodeSettings) -> Location:
    name = "standard input"
    try:
        status = os.fstat(sys.stdin.fileno())
    except (OSError, ValueError, AttributeError) as exc:  # closed, or replaced by what is no file
        raise SourceNotHereError(f"cannot open {name}: it is closed; pipe a video into it") from exc
    if stat.S_ISREG(status.st_mode):  # `< FILE`: it can be read from any position
        return replace(_local_file("/dev/stdin", name=name, settings=settings), is_standard_input=True)
    if sys.stdin.isatty():
        raise SourceRejectedError(f"cannot open {name}: it is a terminal; pipe a video into it")
    options = {"protocol_whitelist": "pipe"}
    return Location("pipe:0", name, False, options, is_pipe=True, is_standard_input=True)


def _local_file(text: str, *, name: str, settings: DecodeSettings) -> Location:
    path = Path(text)
    try:
        status = path.stat()
        structure = _structure_of(path) if stat.S_ISREG(status.st_mode) else FileStructure()
    except FileNotFoundError as exc:
        raise SourceNotHereError(
            f"cannot open {name}: there is no such file; check the path", is_gone=is_gone(path)
        ) from exc
    except PermissionError as exc:
        raise SourceNotHereError(f"cannot open {name}: permission denied; make it readable for this user") from exc
    except OSError as exc:  # a file server that is away, too many open files, …
        raise SourceNotHereError(f"cannot open {name}: {exc.strerror or exc}; check the path") from exc
    except ValueError as exc:
        reason = "embedded null byte" if "\0" in text else exc  # Python words it differently in each version
        raise SourceRejectedError(f"cannot open {name}: {reason}; check the path") from exc
    if stat.S_ISDIR(status.st_mode):
        raise SourceRejectedError(f"cannot open {name}: it is a folder; give a file in it")
    is_pipe = stat.S_ISFIFO(status.st_mode) and settings.references == "all"
    if not (stat.S_ISREG(status.st_mode) or is_pipe):
        raise SourceRejectedError(
            f"cannot open {name}: expected a regular file, got a device, socket or pipe; a camera is given as "
            "v4l2:///dev/video0"
        )
    if not (status.st_size or is_pipe):
        raise SourceRejectedError(f"cannot open {name}: the file is empty (0 bytes); give a complete file")
    if structure.is_index_missing:
        raise SourceRejectedError(
            f"cannot open {name}: its index (moov) is missing, so the recording was cut or never finished; "
            "give a complete file, or repair it with a tool for damaged mp4 files"
        )
    # `file:` keeps FFmpeg from reading a protocol into names such as `concat:a.mp4`.
    options = {"protocol_whitelist": _PROTOCOLS_BY_SCHEME["file"]} | _ANY_NAME
    if settings.references != "all":
        options["format_whitelist"] = _PLAIN_FORMATS
    return Location(f"file:{path}", name, False, options, structure=structure, is_pipe=is_pipe)


def _structure_of(path: Path) -> FileStructure:
    with path.open("rb") as file:
        return read_file_structure(file)
