"""What another version wrote beside the fields that this one knows is kept, at every depth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.stream import StreamKind, StreamSpec
from emostream.domain.tuning import Tuning
from emostream.domain.zones import Zone
from emostream.service.registry.records import StreamRecord, json_from_record, read_report, record_from_json
from emostream.service.registry.unknown_fields import unknown_in, with_unknown

# With names that ours do not have, so that it is unknown wherever it stands.
unknown = st.dictionaries(
    st.from_regex(r"x_[a-z]{1,4}", fullmatch=True),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=2,
)


def content(**levels: dict[str, Any]) -> dict[str, Any]:
    """A record as JSON, with more in each of its levels."""
    zones = tuple(Zone(name, ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0))) for name in ("left", "right"))
    spec = StreamSpec("door", "rtsp://user:secret@camera/1", StreamKind.LIVE, zones=zones)
    found: dict[str, Any] = json.loads(
        json_from_record(StreamRecord(spec, tuning=Tuning(min_score=0.5), created_epoch=7))
    )
    for zone in found["spec"]["zones"]:
        zone.update(levels.get(zone["name"], {}))
    for name in ("spec", "tuning"):
        found[name].update(levels.get(name, {}))
    return found | levels.get("top", {})


@given(unknown, unknown, unknown, unknown, unknown)
def test_a_record_is_written_as_it_was_read(
    top: dict[str, Any], spec: dict[str, Any], tuning: dict[str, Any], left: dict[str, Any], right: dict[str, Any]
) -> None:
    found = content(top=top, spec=spec, tuning=tuning, left=left, right=right)
    assert json.loads(json_from_record(record_from_json(json.dumps(found)))) == found


@given(unknown, unknown)
def test_a_change_keeps_the_rest(top: dict[str, Any], left: dict[str, Any]) -> None:
    record = record_from_json(json.dumps(content(top=top, left=left)))
    (zone, _) = record.spec.zones
    changed = record.changed(is_paused=True, tuning={"min_score": 0.9}, every=3, zones=(zone,))
    expected = content(top=top, left=left)
    expected["spec"]["zones"].pop()
    expected["spec"]["every"], expected["is_paused"], expected["tuning"]["min_score"] = 3, True, 0.9
    assert json.loads(json_from_record(changed)) == expected


def test_what_is_unknown_makes_no_other_wish() -> None:
    assert record_from_json(json.dumps(content(top={"x": 1}))) == record_from_json(json.dumps(content()))


@given(st.dictionaries(st.text(max_size=2), st.integers() | st.dictionaries(st.text(max_size=2), st.integers())))
def test_nothing_is_unknown_in_what_is_known(found: dict[str, Any]) -> None:
    assert unknown_in(found, found) == {}
    assert with_unknown({}, unknown_in(found, {})) == found


@pytest.mark.parametrize("text", ['{"state": "dreaming"}', '{"state": "running", "num_frames": "3"}', "[]", "\x00"])
def test_a_report_that_cannot_be_read_is_none(text: str) -> None:
    assert read_report(text) is None
    assert read_report(None) is None
