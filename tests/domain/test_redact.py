"""Credentials never survive redaction, and nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emostream.domain.redact import MASK, redact

# Letters no other part of the URLs below uses, so that a leak is visible as a substring; and what breaks URL parsers.
SECRETS = st.text(alphabet="QXZ@/?#:&=;'\"!%~é", min_size=3, max_size=20).filter(lambda text: text.strip("@/?#:&=;"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://admin:secret@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:pa/ss@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:p@ss@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:1234@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("redis://:secret@localhost:6379/0", "redis://***@localhost:6379/0"),
        ("unix://user:secret@/run/redis.sock?db=1", "unix://***@/run/redis.sock?db=1"),
        ("redis://localhost?password=secret&db=1", "redis://localhost?password=***&db=1"),
        ("http://host/a.m3u8?Access_Token=abc;x=1", "http://host/a.m3u8?Access_Token=***;x=1"),
        ("http://host/a#auth=abc", "http://host/a#auth=***"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: ***"),
        ("failed: 'rtsp://u:p@h/x' and rtsp://u2:p2@h2/y.", "failed: 'rtsp://***@h/x' and rtsp://***@h2/y."),
    ],
)
def test_masks_credentials(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/data/clip.mp4",
        "rtsp://10.0.0.7:554/live?profile=1",
        "http://host:8080/@name/live",
        "http://host/path/a@b",
        "write to me@example.org",
        "monkey=1",
    ],
)
def test_leaves_text_without_credentials_alone(text: str) -> None:
    assert redact(text) == text


@given(secret=SECRETS, user=st.sampled_from(["", "admin", "a.b"]), scheme=st.sampled_from(["rtsp", "redis", "http"]))
@example(secret="QX/12@Z", user="admin", scheme="rtsp")
def test_no_part_of_a_password_survives(secret: str, user: str, scheme: str) -> None:
    masked = redact(f"cannot open {scheme}://{user}:{secret}@host.example:554/live: refused")
    assert not set("QXZ") & set(masked)
    assert masked == f"cannot open {scheme}://{MASK}@host.example:554/live: refused"


@given(st.text(alphabet="ab:/@?#&=;. '*key-token0", max_size=60))
def test_twice_is_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)
