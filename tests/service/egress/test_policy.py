"""Untrusted addresses: what leads inside is refused, however it is written."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from emostream.config import ServiceSettings
from emostream.errors import Cause, ConfigError, SourceNotHereError, SourceRejectedError, SourceUnavailableError
from emostream.service.egress.policy import SourcePolicy

ADDRESSES = {
    "public.example": ["93.184.216.34"],
    "inside.example": ["10.1.2.3"],
    "both.example": ["93.184.216.34", "127.0.0.1"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "six.example": ["2606:2800:220:1::1"],
    "zone.example": ["fe80::1%eth0"],
}


def resolver(host: str) -> list[str]:
    """Names above, and addresses written as such."""
    if host in ADDRESSES:
        return ADDRESSES[host]
    if host[0].isdigit() or ":" in host:
        return [host]
    raise OSError("unknown host")


def policy_of(**settings: object) -> SourcePolicy:
    return SourcePolicy(ServiceSettings.model_validate(settings), resolver=resolver)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://public.example/1",
        "rtsp://user:pw@93.184.216.34:554/1",
        "https://six.example/x.mp4",
        "srt://[2606:2800::1]:9",
    ],
)
def test_public_addresses_are_accepted(url: str) -> None:
    policy_of().check(url)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://inside.example/1",
        "rtsp://both.example/1",
        "http://mapped.example/latest/meta-data",
        "http://zone.example/",
        "http://127.0.0.1:6379/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://100.64.0.1/",
        "http://nobody.example/",
        "http://public.example\\@127.0.0.1/",
        "http:///nohost",
        "http://[bad/",
        "rtsp:/one-slash",
        "concat:/etc/passwd|/etc/hosts",
        "subfile:,start,0,end,9,,:/etc/passwd",
        "data:video/mp4;base64,AAAA",
        "pipe:0",
        "file:///etc/passwd",
        "/etc/passwd",
        "udp://239.0.0.1:1234",
        "crypto:file:///etc/passwd",
        "srt://8.8.8.8:5000?mode=listener",
        "srt://8.8.8.8:5000?latency=20&mode=rendezvous",
        "srt://8.8.8.8:5000?mode=callers",
        "",
    ],
)
def test_what_leads_inside_is_refused(url: str) -> None:
    with pytest.raises(SourceRejectedError):
        policy_of().check(url)


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("udp://:5000", "udp://0.0.0.0:5000"),
        ("udp://0.0.0.0:5000?fifo_size=999999999", "udp://0.0.0.0:5000"),
        ("udp://239.1.2.3:5001", "udp://239.1.2.3:5001"),
        ("udp://[ff02::1]:5001", "udp://[ff02::1]:5001"),
        ("v4l2:///dev/video0", "v4l2:///dev/video0"),
    ],
)
def test_what_the_operator_lets_come_in(url: str, opened: str) -> None:
    assert policy_of(udp_ports=(5000, 5001), devices=("/dev/video0",)).check(url) == opened


@pytest.mark.parametrize(
    "url",
    [
        "udp://:5002",
        "udp://:80",
        "udp://",
        "udp://10.0.0.1:5000",
        "udp://inside.example:5000",
        "v4l2:///dev/video1",
        "v4l2:///dev/../dev/video0",
        "v4l2://host/dev/video0",
        "v4l2:///dev/mem",
    ],
)
def test_nothing_else_comes_in(url: str) -> None:
    with pytest.raises(SourceRejectedError):
        policy_of(udp_ports=(5000, 5001), devices=("/dev/video0",)).check(url)


def test_the_message_masks_credentials() -> None:
    with pytest.raises(SourceRejectedError) as caught:
        policy_of().check("rtsp://user:secret@inside.example/1")
    assert "secret" not in str(caught.value)


def test_networks_the_operator_allows() -> None:
    policy = policy_of(allowed_networks=("10.0.0.0/8",))
    policy.check("rtsp://inside.example/1")
    with pytest.raises(SourceRejectedError):
        policy.check("rtsp://both.example/1")
    with pytest.raises(ConfigError, match="allowed_networks"):
        policy_of(allowed_networks=("inside",))


def test_files_stay_under_the_media_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "media", tmp_path / "secret.mp4"
    root.mkdir()
    outside.write_bytes(b"x")
    (root / "clip.mp4").write_bytes(b"x")
    (root / "link.mp4").symlink_to(outside)
    policy = policy_of(media_root=root)
    (root / "50%2e.mp4").write_bytes(b"x")
    for url in (f"file://{root}/clip.mp4", f"file://localhost{root}/clip%2Emp4", f"file:{root}/clip.mp4"):
        assert policy.check(url) == f"file://{root}/clip.mp4"
    assert policy.check(f"file://{root}/50%252e.mp4") == f"file://{root}/50%252e.mp4", "read as the same file again"
    with pytest.raises(SourceRejectedError):
        policy.check(f"file://{root}/%2e%2e/secret.mp4")
    for path in (outside, root / "link.mp4", root / ".." / "secret.mp4", root / "absent.mp4", "relative.mp4", "\0"):
        with pytest.raises(SourceRejectedError):
            policy.check(f"file://{path}")


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("rtsp://u:p%40@public.example:8554/a?b=1", "rtsp://u:p%40@93.184.216.34:8554/a?b=1"),
        ("rtmp://public.example/app", "rtmp://93.184.216.34/app"),
        ("srt://six.example:9000", "srt://[2606:2800:220:1::1]:9000"),
        ("rtsp://[2606:2800::1]/a", "rtsp://[2606:2800::1]/a"),
        ("rtsp://[2606:2800::1]:554/a", "rtsp://[2606:2800::1]:554/a"),
        ("https://public.example/x.mp4", "https://public.example/x.mp4"),
    ],
)
def test_what_was_checked_is_what_is_opened(url: str, opened: str) -> None:
    assert policy_of().check(url) == opened


def test_the_error_about_a_file_name_shows_its_url() -> None:
    with pytest.raises(SourceRejectedError, match=r"my\.mp4.*file:///folder/video\.mp4.*service\.media_root"):
        policy_of().check("my.mp4")


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:10.0.0.1",
        "::ffff:0:10.0.0.1",  # translated (RFC 2765)
        "64:ff9b::10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::5db8:d822",  # for translation within a network, whatever it holds
        "2002:a00:1::",
        "2002:7f00:1::1",
        "2001:0:a00:1::",  # Teredo: its server
        "2001:0:5db8:d822::f5ff:fffe",  # Teredo: its client, every bit turned
        "::10.0.0.1",
        "::127.0.0.1",
        "::",
        "::1",
        "2606:2800::5efe:10.0.0.1",  # ISATAP
        "2606:2800::200:5efe:10.0.0.1",
        "fec0::1",
        "feff::1",
        "fd00::1",
        "fe80::1",
        "ff0e::1",
        "100::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "::ffff:168.63.129.16",
        "64:ff9b::192.0.0.192",
    ],
)
def test_addresses_that_lead_inside_are_refused(address: str) -> None:
    with pytest.raises(SourceRejectedError):
        policy_of().check(f"http://[{address}]/x")


@pytest.mark.parametrize(
    "address",
    ["::ffff:93.184.216.34", "64:ff9b::93.184.216.34", "2002:5db8:d822::1", "2606:2800:220:1::1", "2606:2800::a00:1"],
)
def test_addresses_that_lead_outside_are_taken(address: str) -> None:
    policy_of().check(f"http://[{address}]/x")


@pytest.mark.parametrize("address", ["64:ff9b::10.1.2.3", "::ffff:10.1.2.3", "2002:a01:203::", "::10.1.2.3"])
def test_what_leads_into_an_allowed_network_is_allowed(address: str) -> None:
    policy = policy_of(allowed_networks=("10.0.0.0/8",))
    policy.check(f"http://[{address}]/x")
    assert policy.is_inside(f"rtsp://[{address}]/x")
    with pytest.raises(SourceRejectedError):
        policy_of(allowed_networks=("10.2.0.0/16",)).check(f"http://[{address}]/x")


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("rtsp://admin:1234#5secret@public.example/x", "rtsp://admin:1234%235secret@93.184.216.34/x"),
        ("rtsp://admin:pa/ss@public.example:554/a b", "rtsp://admin:pa%2Fss@93.184.216.34:554/a%20b"),
        ("srt://u:p@ss:w@six.example:9", "srt://u:p%40ss%3Aw@[2606:2800:220:1::1]:9"),
        ("http://admin:ze bra@public.example/x", "http://admin:ze%20bra@public.example/x"),
    ],
)
def test_what_is_opened_holds_the_password_encoded(url: str, opened: str) -> None:
    assert policy_of().check(url) == opened


def test_a_prefix_of_an_object_store_is_compared_with_what_is_opened() -> None:
    policy = policy_of(object_stores=("s3://media", "sftp://u:p/w@nas.example/in/"))
    policy.check("s3://media/clip@2x.mp4")
    policy.check("sftp://u:p%2Fw@nas.example/in/clip.mp4")
    for url in ("s3://media:x/@other/clip.mp4", "sftp://u:p/w@nas.example/out/clip.mp4"):
        with pytest.raises(SourceRejectedError):
            policy.check(url)


@pytest.mark.parametrize("name", ["EAI_AGAIN", "EAI_FAIL", "EAI_SYSTEM", "EAI_MEMORY"])
def test_a_name_server_that_is_away_says_nothing_of_the_source(name: str) -> None:
    def away(host: str) -> list[str]:
        raise socket.gaierror(getattr(socket, name), "Temporary failure in name resolution")

    with pytest.raises(SourceUnavailableError) as caught:
        SourcePolicy(ServiceSettings(), resolver=away).check("rtsp://user:secret@camera.example/1")
    assert caught.value.cause is Cause.PASSING
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "unknown"), OSError("no such host")])
def test_a_name_that_one_process_does_not_know_may_be_known_to_others(error: OSError) -> None:
    def unknown(host: str) -> list[str]:
        raise error

    with pytest.raises(SourceNotHereError):
        SourcePolicy(ServiceSettings(), resolver=unknown).check("rtsp://camera.example/1")


def test_files_that_are_gone_and_mounts_that_are_missing(tmp_path: Path) -> None:
    root = tmp_path / "media"
    for folder in ("full", "empty"):
        (root / folder).mkdir(parents=True)
    (root / "full" / "other.mp4").write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "other.mp4").write_bytes(b"x")
    (root / "link").symlink_to(tmp_path / "outside")

    def is_gone(path: Path, *, media_root: Path | None = root) -> bool:
        with pytest.raises(SourceNotHereError) as caught:
            SourcePolicy(ServiceSettings(media_root=media_root)).check(f"file://{path}")
        return caught.value.is_gone

    assert is_gone(root / "full" / "clip.mp4")
    assert not is_gone(root / "empty" / "clip.mp4"), "nothing is mounted there"
    assert not is_gone(root / "none" / "clip.mp4")
    assert not is_gone(root / "link" / "clip.mp4"), "what lies outside is not told"
    assert not is_gone(tmp_path / "outside" / "other.mp4")
    assert not is_gone(root / "full" / "clip.mp4", media_root=None)
    assert not is_gone(root / "full" / "clip.mp4", media_root=tmp_path / "not mounted")


@pytest.mark.parametrize(
    "address", ["168.63.129.16", "192.0.0.192", "192.88.99.1", "169.254.169.254", "100.100.100.200"]
)
def test_addresses_of_the_clouds_own_services_are_refused(address: str) -> None:
    with pytest.raises(SourceRejectedError):
        policy_of().check(f"http://{address}/latest/meta-data")


@pytest.mark.parametrize(
    "rest",
    [
        "/../other/a.mp4", "/x/../../a.mp4", "/%2e%2e/a.mp4", "/x/.%2E/a.mp4", "/x%2f..%2fa.mp4", "/..\\a.mp4",
        "/a.mp4::http://169.254.169.254/", "/a::memory://b", "-of-others/a.mp4",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_a_prefix_of_an_object_store(rest: str) -> None:
    policy = policy_of(object_stores=("s3://media/cam",))
    assert policy.check("s3://media/cam/a.mp4") == "s3://media/cam/a.mp4"
    for check in (policy.check, policy.check_folder):
        with pytest.raises(SourceRejectedError):
            check(f"s3://media/cam{rest}")
