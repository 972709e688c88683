"""Sources of the service: made of what was checked, and led nowhere else by what they open."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.server
import itertools
import queue
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from emostream.config import ServiceSettings, Settings, load_settings
from emostream.decode.live_source import StateObserver
from emostream.decode.source import FrameSource
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import SourceError, SourceRejectedError
from emostream.service.egress.policy import IpAddress, Resolver, SourcePolicy
from emostream.service.egress.proxy import Egress
from emostream.service.worker.stream_factory import WorkerStreamFactory
from tests.media import corner_picture, http_server, make_clip, rtsp_responder
from tests.publish.redis.test_servers import make_certificate

LOOPBACK = ("127.0.0.0/8",)
NAMES = {"camera.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"]}


def resolver(host: str) -> Sequence[str]:
    """Names that no name server knows: what reaches them was looked up here."""
    return NAMES.get(host, [host])


def settings_of(*, media_root: Path | None = None, networks: tuple[str, ...] = LOOPBACK, **decode: object) -> Settings:
    return load_settings(
        service={"media_root": media_root, "allowed_networks": networks},
        decode={"open_timeout_seconds": 2.0, "read_timeout_seconds": 2.0, **decode},
    )


class Sources:
    """Opens sources as a worker does."""

    def __init__(self, settings: Settings, *, resolve: Resolver = resolver, policy: SourcePolicy | None = None) -> None:
        policy = policy or SourcePolicy(settings.service, resolver=resolve)
        self.egress = Egress(policy, verify_tls=settings.decode.verify_tls)
        self._parts = WorkerStreamFactory(settings, models=None, policy=policy, egress=self.egress)  # type: ignore[arg-type]

    def __enter__(self) -> Sources:
        self.egress.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.egress.__exit__(None, None, None)

    def source(self, url: str) -> FrameSource:
        spec = StreamSpec("x", url, StreamKind.FILE)
        return self._parts.source(spec, on_state=lambda state, detail: None, has_worked=False)

    def live(self, spec: StreamSpec, *, on_state: StateObserver, has_worked: bool) -> FrameSource:
        return self._parts.source(spec, on_state=on_state, has_worked=has_worked)

    def num_frames(self, url: str) -> int:
        with self.source(url) as source:
            return len(list(source))


@pytest.fixture
def sources() -> Iterator[Sources]:
    with Sources(settings_of()) as sources:
        yield sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_clip(tmp_path / "clip.mp4", num_frames=5)
    make_clip(tmp_path / "clip.ts", num_frames=5)
    return tmp_path


@pytest.fixture
def base(folder: Path) -> Iterator[str]:
    with http_server(folder) as base:
        yield base


def write_playlist(folder: Path, *uris: str) -> None:
    parts = "".join(f"#EXTINF:0.2,\n{uri}\n" for uri in uris)  # five frames at 25 per second
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{parts}#EXT-X-ENDLIST\n")


def test_a_file_under_the_media_root_is_read(folder: Path) -> None:
    with Sources(settings_of(media_root=folder)) as sources:
        assert sources.num_frames(f"file://{folder}/clip.mp4") == 5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile clip.mp4\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
    ],
)
def test_files_that_name_others_are_not_followed(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with Sources(settings_of(media_root=folder)) as sources, pytest.raises(SourceRejectedError):
        sources.num_frames(f"file://{folder}/{name}")


def test_the_policy_is_checked_at_each_opening(base: str) -> None:
    with Sources(settings_of(networks=())) as sources, pytest.raises(SourceRejectedError, match="allowed_networks"):
        sources.num_frames(f"{base}/clip.mp4")


def test_ffmpeg_looks_no_name_up(base: str, sources: Sources) -> None:
    assert sources.num_frames(base.replace("127.0.0.1", "camera.example") + "/clip.mp4") == 5


def test_a_name_that_changes_its_address_between_check_and_connection(base: str) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    with Sources(settings_of(), resolve=lambda host: next(answers)) as sources, pytest.raises(SourceError):
        sources.num_frames(base.replace("127.0.0.1", "camera.example") + "/clip.mp4")


def test_a_playlist_and_its_parts(base: str, folder: Path, sources: Sources) -> None:
    other = base.replace("127.0.0.1", "camera.example")
    write_playlist(folder, "clip.ts", f"{other}/clip.ts")
    assert sources.num_frames(f"{base}/list.m3u8") == 10


def test_playlists_can_be_switched_off(base: str, folder: Path) -> None:
    write_playlist(folder, "clip.ts")
    settings = settings_of()
    service = settings.service.model_copy(update={"allow_playlists": False})
    with Sources(settings.model_copy(update={"service": service})) as sources, pytest.raises(SourceError):
        sources.num_frames(f"{base}/list.m3u8")


@pytest.mark.parametrize(
    "uri",
    [
        "http://inside.example/clip.ts",
        "file://{folder}/clip.ts",
        "{folder}/clip.ts",
        "concat:{folder}/clip.ts",
        "subfile:,,start,0,end,0,,:{folder}/clip.ts",
        "crypto:file://{folder}/clip.ts",
        "crypto+file://{folder}/clip.ts",
        "cache:{base}/clip.ts",
        "async:{base}/clip.ts",
        "data:video/mp2t;base64,AAAA",
        "tcp://127.0.0.1:{port}",
        "tls://127.0.0.1:{port}",
        "udp://127.0.0.1:{port}",
        "rtmp://127.0.0.1:{port}/a/b",
        "gopher://127.0.0.1:{port}/x",
        "unix:/tmp/socket",
        "fd:0",
        "pipe:0",
    ],
)
def test_what_a_playlist_must_not_lead_to(base: str, folder: Path, sources: Sources, uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.1)
        uri = uri.format(folder=folder, base=base, port=trap.getsockname()[1])
        write_playlist(folder, uri)
        with pytest.raises(SourceError):
            sources.num_frames(f"{base}/list.m3u8")
        with pytest.raises(TimeoutError):
            trap.accept()


def redirect_to(target: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Redirect


@pytest.mark.parametrize(
    ("target", "is_followed"),
    [
        ("{base}/clip.mp4", True),
        ("http://inside.example/clip.mp4", False),
        ("file://{folder}/clip.mp4", False),
        ("rtsp://127.0.0.1:{port}/x", False),
        ("tcp://127.0.0.1:{port}", False),
    ],
)
def test_redirects(base: str, folder: Path, sources: Sources, target: str, is_followed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.1)
        handler = redirect_to(target.format(base=base, folder=folder, port=trap.getsockname()[1]))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/clip.mp4"
            if is_followed:
                assert sources.num_frames(url) == 5
            else:
                with pytest.raises(SourceError):
                    sources.num_frames(url)
            server.shutdown()
        with pytest.raises(TimeoutError):
            trap.accept()


class AnywherePolicy(SourcePolicy):
    """Takes every address, loopback as well, for a public one."""

    def _is_allowed(self, address: IpAddress) -> bool:
        return True


def test_an_rtsp_server_that_redirects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.1)
        inside = f"302 Moved\r\nLocation: rtsp://127.0.0.1:{trap.getsockname()[1]}/x"
        policy = AnywherePolicy(ServiceSettings())
        with (
            rtsp_responder(inside) as place,
            Sources(settings_of(networks=()), policy=policy) as sources,
            pytest.raises(SourceError) as caught,
        ):
            sources.num_frames(f"rtsp://user:secret@{place}/live")
        assert str(caught.value).startswith(f"rtsp://***@{place}/live: ")
        with pytest.raises(TimeoutError):
            trap.accept()


@pytest.mark.parametrize("has_worked", [False, True])
def test_a_camera_that_has_worked_is_tried_again_whatever_it_says(has_worked: bool) -> None:
    """After a hand-over it may not yet have noticed that its viewer is gone, and allow no second one."""
    told: queue.Queue[tuple[StreamState, str]] = queue.Queue()
    with rtsp_responder("403 Forbidden") as place, Sources(settings_of()) as sources:
        spec = StreamSpec("x", f"rtsp://{place}/live", StreamKind.LIVE)
        source = sources.live(spec, on_state=lambda state, detail: told.put((state, detail)), has_worked=has_worked)
        with concurrent.futures.ThreadPoolExecutor(1) as opening:
            opened = opening.submit(source.__enter__)
            if has_worked:
                states = [told.get(timeout=60)[0] for _ in range(2)]
                assert states == 2 * [StreamState.RECONNECTING]
                source.close()
            with pytest.raises(SourceError if has_worked else SourceRejectedError):
                opened.result(60)


def test_a_snapshot_is_polled_at_the_rate_of_the_stream(base: str, folder: Path, sources: Sources) -> None:
    Image.fromarray(corner_picture(64, 48)).save(folder / "snap.jpg")
    url = base.replace("127.0.0.1", "camera.example") + "/snap.jpg"
    spec = StreamSpec("x", url, StreamKind.LIVE, target_fps=20)
    with sources.live(spec, on_state=lambda state, detail: None, has_worked=False) as source:
        (folder / "snap.jpg").touch()
        first, second = itertools.islice(source, 2)
    assert (first.frame_index, second.frame_index) == (0, 1)


@pytest.mark.integration
@pytest.mark.parametrize("is_verified", [False, True])
def test_https_stays_between_ffmpeg_and_the_server(folder: Path, tmp_path: Path, is_verified: bool) -> None:
    make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, _: names.append(name)
    handler = lambda *args: http.server.SimpleHTTPRequestHandler(*args, directory=str(folder))  # noqa: E731
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        Sources(settings_of(verify_tls=is_verified)) as sources,
    ):
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://camera.example:{server.server_port}/clip.mp4"
        if is_verified:
            with pytest.raises(SourceError):
                sources.num_frames(url)
        else:
            assert sources.num_frames(url) == 5
        server.shutdown()
    assert set(names) == {"camera.example"}


def test_the_proxy_is_for_this_process_only(base: str, sources: Sources) -> None:
    with socket.create_connection(("127.0.0.1", sources.egress.proxy().port), timeout=2) as connection:
        connection.sendall(f"GET {base}/clip.mp4 HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 407 ")


def test_the_egress_ends_with_its_connections() -> None:
    before = threading.active_count()
    with Sources(settings_of()) as sources:
        way = sources.egress.relay("127.0.0.1", 9, is_tls=False, is_rtsp=True)
        held = socket.create_connection(("127.0.0.1", way.port), timeout=2)
    with held, contextlib.suppress(ConnectionResetError):  # which of them depends on how far it got
        assert held.recv(10) == b""
    assert threading.active_count() <= before + 1  # the thread that looks names up may be idle still
