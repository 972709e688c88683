"""Keys and stream ids name each other."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given

from emostream.wire.keys import EVENTS_PATTERN, STATUS_KEY, events_key, stream_id_from_key
from tests.strategies import stream_ids


@given(stream_ids)
def test_a_key_names_its_stream(stream_id: str) -> None:
    key = events_key(stream_id)
    assert stream_id_from_key(key) == stream_id
    assert fnmatchcase(key, EVENTS_PATTERN)
    assert key != STATUS_KEY


@pytest.mark.parametrize("key", ["", "emostream:events:", "emostream:status", "other:events:door"])
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError):
        stream_id_from_key(key)
