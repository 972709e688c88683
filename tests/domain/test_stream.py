"""What to watch, and the legal steps of a stream's life."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.stream import (
    TRANSITIONS,
    StreamKind,
    StreamSpec,
    StreamState,
    stream_id_from_url,
    stream_kind_of,
)
from emostream.errors import ConfigError
from tests.strategies import stream_ids

FINAL = {StreamState.ENDED, StreamState.FAILED}


def test_every_state_has_its_steps() -> None:
    assert set(TRANSITIONS) == set(StreamState)
    assert {state for state in StreamState if state.is_final} == FINAL


@pytest.mark.parametrize(("state", "other"), list(itertools.product(StreamState, StreamState)))
def test_steps_are_legal_or_not(state: StreamState, other: StreamState) -> None:
    legal = state.can_become(other)
    assert legal == (other in TRANSITIONS[state])
    if state is other or state in FINAL:
        assert not legal
    elif other in FINAL:
        assert legal, "every stream can end or fail at any time"


def test_every_state_can_be_reached_from_pending() -> None:
    reached = {StreamState.PENDING}
    while more := {other for state in reached for other in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(StreamState)


@given(stream_ids)
def test_usable_ids_are_accepted(stream_id: str) -> None:
    assert StreamSpec(stream_id, "clip.mp4", StreamKind.FILE).stream_id == stream_id


@pytest.mark.parametrize("stream_id", ["", "-a", ".a", "a b", "a:b", "a/b", "a*", "é", "a" * 65, "a\n", "{a}"])
def test_ids_that_would_break_a_key_are_refused(stream_id: str) -> None:
    with pytest.raises(ConfigError):
        StreamSpec(stream_id, "clip.mp4", StreamKind.FILE)


@pytest.mark.parametrize(
    "changes",
    [
        {"url": ""},
        {"every": 0},
        {"every": 1.5},
        {"every": "2"},
        {"every": True},
        {"keyframes": 1},
        {"keyframes": True, "every": 2},
        {"keyframes": True, "kind": StreamKind.LIVE},
        {"target_fps": "5"},
        {"max_frames": 2.5},
        {"track": "0"},
        {"target_fps": 0.0},
        {"target_fps": 1001.0},
        {"target_fps": float("nan")},
        {"pixel_aspect": 0.0},
        {"pixel_aspect": float("nan")},
        {"pixel_aspect": "6"},
        {"pixel_aspect": "1:2:3"},
        {"max_frames": 0},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        StreamSpec(**{"stream_id": "door", "url": "clip.mp4", "kind": StreamKind.FILE, **changes})


def test_a_printed_spec_hides_its_url() -> None:
    assert "secret" not in repr(StreamSpec("door", "rtsp://u:secret@host", StreamKind.LIVE))


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("rtsp://host/1", StreamKind.LIVE),
        ("RTSPS://host/1", StreamKind.LIVE),
        ("srt://host:9", StreamKind.LIVE),
        ("udp://239.0.0.1:5", StreamKind.LIVE),
        ("https://host/clip.mp4", StreamKind.FILE),
        ("file:///clip.mp4", StreamKind.FILE),
        ("clip.mp4", StreamKind.FILE),
        ("rtsp", StreamKind.FILE),
    ],
)
def test_the_kind_follows_from_the_scheme(url: str, kind: StreamKind) -> None:
    assert stream_kind_of(url) is kind


@given(st.text(max_size=80))
def test_any_url_gives_a_usable_id(url: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", stream_id_from_url(url))


@given(st.text(alphabet="QXZ123", min_size=4, max_size=10))
def test_credentials_never_enter_an_id(secret: str) -> None:
    url = f"rtsp://admin:{secret}@host/live?token={secret}#{secret}"
    assert secret not in stream_id_from_url(url)


def test_ids_of_files_and_of_standard_input() -> None:
    assert stream_id_from_url("file:///srv/front%20door.mp4") == "front-door"
    assert stream_id_from_url("file://localhost/srv/take#2.mp4") == "take-2"
    assert stream_id_from_url("-") == "stdin"
