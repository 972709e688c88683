"""Frames that a program has, one by one: the events of a stream, and one clear answer to all that is no frame."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

import emostream
from emostream.analysis.analyzer import analyzer_for
from emostream.errors import ConfigError, EmostreamError, ModelError, PublishError, SourceRejectedError
from tests.conftest import REPOSITORY
from tests.vision.detect.real_model import centerface_path

pytestmark = pytest.mark.integration

EMPTY = np.zeros((90, 160), np.uint8)


@pytest.fixture(scope="module")
def analyzer() -> Iterator[emostream.Analyzer]:
    centerface_path()
    with emostream.Analyzer() as analyzer:
        yield analyzer


@pytest.fixture
def session(analyzer: emostream.Analyzer) -> Iterator[emostream.Session]:
    with emostream.Session(analyzer) as session:
        yield session


@pytest.fixture(scope="module")
def portrait() -> Any:
    """A smiling woman, 512×512, RGB; carried by scikit-image."""
    from skimage import data

    return data.astronaut()  # type: ignore[no-untyped-call]


def shifted(portrait: Any, pixels: int) -> Any:
    return np.ascontiguousarray(portrait[:, pixels : pixels + 480])


# --- frames -----------------------------------------------------------------------------------------------------------


def test_each_frame_gives_its_event(session: emostream.Session, portrait: Any) -> None:
    events = [session.push(shifted(portrait, 2 * index), at=index / 25) for index in range(12)]
    assert [event.frame_index for event in events] == list(range(12))
    assert [event.pts_seconds for event in events] == [index / 25 for index in range(12)]
    assert {(event.stream_id, event.frame_width, event.frame_height) for event in events} == {("session", 480, 512)}
    assert {event.epoch for event in events} == {events[0].epoch} and not any(event.num_dropped for event in events)
    assert {face.track_id for event in events for face in event.faces} == {0}
    assert all(len(event.faces) == 1 and event.is_classified for event in events)
    assert events[-1].faces[0].dominant == "happy"
    assert {face.found_by for event in events for face in event.faces} == {"detector", "flow"}  # tracked, not searched
    lefts = [event.faces[0].box_xyxy[0] for event in events]
    assert lefts == sorted(lefts, reverse=True)


def test_the_events_are_those_of_any_other_session(analyzer: emostream.Analyzer, portrait: Any) -> None:
    def faces() -> list[Any]:
        with emostream.Session(analyzer) as session:
            return [session.push(shifted(portrait, index), at=index / 25).to_dict()["faces"] for index in range(8)]

    assert faces() == faces()


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda rgb: rgb, id="rgb"),
        pytest.param(lambda rgb: np.dstack([rgb, np.zeros(rgb.shape[:2], np.uint8)]), id="with-opacity"),
        pytest.param(lambda rgb: np.asarray(Image.fromarray(rgb).convert("L")), id="gray"),
        pytest.param(lambda rgb: np.asarray(Image.fromarray(rgb).convert("L"))[:, :, None], id="gray-with-a-channel"),
        pytest.param(lambda rgb: np.repeat(rgb, 2, axis=1)[:, ::2], id="strided"),
        pytest.param(np.asfortranarray, id="columns-first-in-memory"),
        pytest.param(Image.fromarray, id="pillow"),
        pytest.param(lambda rgb: Image.fromarray(rgb).convert("L"), id="pillow-gray"),
    ],
)
def test_kinds_of_pictures(session: emostream.Session, portrait: Any, made: Callable[[Any], Any]) -> None:
    (face,) = session.push(made(portrait), at=0).faces
    assert face.dominant == "happy"


def test_order_of_colours(analyzer: emostream.Analyzer, portrait: Any) -> None:
    with emostream.Session(analyzer, order="bgr", stream_id="robot") as session:
        event = session.push(np.ascontiguousarray(portrait[:, :, ::-1]))
        assert event.stream_id == "robot" and [face.dominant for face in event.faces] == ["happy"]
    with pytest.raises(SourceRejectedError):
        emostream.Session(analyzer, order=cast("Any", "gbr"))


def test_the_array_can_be_used_again(session: emostream.Session, portrait: Any) -> None:
    buffer = np.asarray(Image.fromarray(portrait).convert("L")).copy()
    first = session.push(buffer, at=0)
    kept = buffer.copy()
    buffer[:] = 0
    buffer[:] = kept
    second = session.push(buffer, at=0.04)
    buffer[:] = 0
    assert [face.track_id for face in first.faces] == [face.track_id for face in second.faces] == [0]
    assert session.push(kept, at=0.08).faces[0].box_xyxy == pytest.approx(second.faces[0].box_xyxy, abs=1)


def test_frames_of_another_size_end_the_tracks(session: emostream.Session, portrait: Any) -> None:
    ids = []
    for index, picture in enumerate([portrait, portrait[::2, ::2], portrait]):
        event = session.push(picture, at=index / 25)
        assert (event.frame_width, event.frame_height) == (picture.shape[1], picture.shape[0])
        ids += [face.track_id for face in event.faces]
    assert ids == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (17, 33, 3), (4320, 7680)])
def test_sizes(session: emostream.Session, shape: tuple[int, ...]) -> None:
    for index in range(2):
        event = session.push(np.full(shape, 90, np.uint8), at=index)
        assert (event.frame_height, event.frame_width) == shape[:2] and event.faces == ()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((90, 160), np.float32),
        np.zeros((90, 160), np.uint16),
        np.zeros((90, 160), bool),
        np.zeros((90, 160), object),
        np.zeros((3, 90, 160), np.uint8),
        np.zeros((90, 160, 2), np.uint8),
        np.zeros((1, 90, 160, 3), np.uint8),
        np.zeros(90, np.uint8),
        np.zeros((), np.uint8),
        np.zeros((0, 160), np.uint8),
        np.zeros((90, 0, 3), np.uint8),
        np.broadcast_to(np.uint8(0), (9000, 9000)),
        None,
        "photo.jpg",
        b"\xff\xd8",
        [[0, 0], [0, 0]],
        Image.new("F", (8, 8)),
    ],
)
def test_what_is_no_frame_is_refused_and_changes_nothing(session: emostream.Session, picture: Any) -> None:
    session.push(EMPTY, at=1)
    with pytest.raises((SourceRejectedError, ConfigError)):
        session.push(picture, at=2)
    event = session.push(EMPTY, at=1.5)
    assert (event.frame_index, event.pts_seconds, event.num_dropped) == (1, 1.5, 0)


@pytest.mark.parametrize(
    "at", [1, 0.5, 0, -1, -0.001, float("nan"), float("inf"), 1e11, True, "2", 1j, Decimal(2), [2], np.bool_(True)]
)
def test_times_that_are_none_or_go_back(session: emostream.Session, at: Any) -> None:
    session.push(EMPTY, at=1)
    with pytest.raises(ConfigError):
        session.push(EMPTY, at=at)
    assert session.push(EMPTY, at=1.04).frame_index == 1


@pytest.mark.parametrize("at", [2, 2.5, np.float32(2.5), np.int64(2), Fraction(5, 2), 1.8e9])
def test_times(session: emostream.Session, at: Any) -> None:
    assert session.push(EMPTY, at=1).pts_seconds == 1
    assert session.push(EMPTY, at=at).pts_seconds == float(at)


def test_times_by_the_clock(session: emostream.Session) -> None:
    times = [session.push(EMPTY).pts_seconds for _ in range(5)]
    assert times[0] == 0 and times == sorted(set(times))
    assert session.push(EMPTY, at=times[-1] + 100).pts_seconds == times[-1] + 100
    assert session.push(EMPTY).pts_seconds > times[-1] + 100


@pytest.mark.parametrize("stream_id", ["", "a b", "x" * 65, "-", cast("Any", None), cast("Any", 5)])
def test_stream_ids(analyzer: emostream.Analyzer, stream_id: str) -> None:
    with pytest.raises(ConfigError):
        emostream.Session(analyzer, stream_id=stream_id)


@pytest.mark.parametrize("config", [{"detect": {"min_face_pixels": -1}}, {"no": 1}, 5])
def test_settings(config: Any) -> None:
    with pytest.raises(ConfigError):
        emostream.Session(config)


# --- ends -------------------------------------------------------------------------------------------------------------


def test_closed_sessions(analyzer: emostream.Analyzer) -> None:
    unused = emostream.Session(analyzer)
    assert "no frame yet" in repr(unused)
    used = emostream.Session(analyzer)
    used.push(EMPTY)
    for session in (unused, used):
        session.close()
        session.close()
        assert "closed" in repr(session)
        with pytest.raises(ConfigError):
            session.push(EMPTY)


def test_a_session_ends_with_its_analyzer() -> None:
    with emostream.Analyzer() as analyzer:
        session = emostream.Session(analyzer)
        session.push(EMPTY)
    for _ in range(2):
        with pytest.raises(EmostreamError):
            session.push(EMPTY)
    session.close()


def test_a_missing_model_is_an_error_each_time(tmp_path: Path) -> None:
    with emostream.Analyzer({"classify": {"model": str(tmp_path / "no.onnx")}}) as analyzer:
        session = emostream.Session(analyzer)
        for _ in range(2):
            with pytest.raises((ModelError, ConfigError)):
                session.push(EMPTY)
        session.close()


def test_sessions_leave_no_threads(analyzer: emostream.Analyzer) -> None:
    emostream.Session(analyzer).push(EMPTY)  # warm
    for _ in range(3):
        with emostream.Session(analyzer, stream_id="closed") as session:
            session.push(EMPTY)
        emostream.Session(analyzer, stream_id="forgotten").push(EMPTY)
    del session
    gc.collect()
    for _ in range(500):
        names = [thread.name for thread in threading.enumerate()]
        if not any(name.startswith(("emostream-closed", "emostream-forgotten")) for name in names):
            break
        threading.Event().wait(0.02)
    else:
        pytest.fail(f"threads are left: {names}")


def test_a_program_that_does_not_close_its_session_ends() -> None:
    code = (
        "import emostream, numpy as np; s = emostream.Session(); print(s.push(np.zeros((9, 9), 'uint8')).frame_index)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


# --- threads and event loops ------------------------------------------------------------------------------------------


def test_many_threads_push_to_one_session(session: emostream.Session) -> None:
    with ThreadPoolExecutor(8) as pool:
        events = list(pool.map(lambda _: session.push(EMPTY), range(40)))
    events.sort(key=lambda event: event.frame_index)
    assert [event.frame_index for event in events] == list(range(40))
    times = [event.pts_seconds for event in events]
    assert times == sorted(set(times)) and not any(event.num_dropped for event in events)


def test_sessions_are_apart(analyzer: emostream.Analyzer, portrait: Any) -> None:
    with emostream.Session(analyzer, stream_id="a") as one, emostream.Session(analyzer, stream_id="b") as other:
        for index in range(3):
            assert len(one.push(portrait, at=index).faces) == 1
            assert other.push(EMPTY, at=index).faces == ()


async def test_in_a_running_event_loop(analyzer: emostream.Analyzer, portrait: Any) -> None:
    with emostream.Session(analyzer) as session:
        assert len(session.push(portrait, at=0).faces) == 1
        assert len((await session.push_async(portrait, at=1)).faces) == 1
        events = await asyncio.gather(*(session.push_async(EMPTY, at=2 + index) for index in range(20)))
        assert [(event.frame_index, event.pts_seconds) for event in events] == [(2 + n, 2.0 + n) for n in range(20)]
        assert not any(event.num_dropped for event in events)
        with pytest.raises(ConfigError):
            await session.push_async(EMPTY, at=2)


async def test_a_push_that_is_cancelled_harms_no_other(analyzer: emostream.Analyzer, portrait: Any) -> None:
    with emostream.Session(analyzer) as session:
        pushes = [asyncio.create_task(session.push_async(portrait, at=index)) for index in range(12)]
        await asyncio.sleep(0)
        for cancelled in pushes[::2]:
            cancelled.cancel()
        answers = await asyncio.gather(*pushes, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
        assert [cast("Any", answer).frame_index for answer in answers[1::2]] == list(range(1, 12, 2))
        assert session.push(portrait, at=100).frame_index == 12


# --- where events go --------------------------------------------------------------------------------------------------


def test_sinks_of_the_settings_get_the_events_before_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with emostream.Analyzer({"publish": {"sinks": [f"jsonl:{path}"]}}) as analyzer:
        with emostream.Session(analyzer, stream_id="door") as session:
            event = session.push(EMPTY, at=0.5)
        written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert event.to_dict() in written


def test_an_unavailable_sink_is_reported() -> None:
    with emostream.Analyzer({"publish": {"redis_url": "redis://127.0.0.1:9", "spool_dir": None}}) as analyzer:
        session = emostream.Session(analyzer)
        for _ in range(2):
            with pytest.raises(PublishError):
                session.push(EMPTY)
        session.close()


def test_models_are_shared() -> None:
    with emostream.Session() as one, emostream.Session() as other:
        one.push(EMPTY)
        other.push(EMPTY)
        assert one._analyzer is other._analyzer is analyzer_for(None)  # loaded once
