"""The main job from Python, as a program or a notebook does it, on real faces."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np
import pytest
from PIL import Image

import emostream
from emostream.analysis.analyzer import analyzer_for
from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.decode.picture import read_picture
from emostream.errors import ConfigError, SourceError, SourceNotHereError, SourceRejectedError
from tests.audio.speech import spoken_words
from tests.conftest import REPOSITORY
from tests.media import make_clip, make_talking_clip
from tests.vision.detect.real_model import centerface_path

pytestmark = pytest.mark.integration

NUM_FRAMES = 20
OVERLAYS = REPOSITORY / "runs" / "overlay"
"""Pictures of the last test run, for people; the folder is ignored by git."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people who glide, at 25 frames per second."""
    centerface_path()
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    make_demo_clip(path, num_frames=NUM_FRAMES)
    return path


@pytest.fixture(scope="module")
def portrait() -> Any:
    """A smiling woman, RGB; carried by scikit-image."""
    from skimage import data

    centerface_path()
    return data.astronaut()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def analyzer() -> Iterator[emostream.Analyzer]:
    with emostream.Analyzer() as analyzer:
        yield analyzer


def indexes(events: Any) -> list[int]:
    return [event.frame_index for event in events]


# --- loops ------------------------------------------------------------------------------------------------------------


def test_each_frame_is_an_event_with_its_people(analyzer: emostream.Analyzer, clip: Path) -> None:
    analysis = analyzer.analyze(clip)
    events = list(analysis)
    assert indexes(events) == list(range(NUM_FRAMES))
    last = {face.track_id: face for face in events[-1].faces}
    assert len(last) == 2
    for face in last.values():
        left, top, right, bottom = face.box_xyxy
        assert left < right and top < bottom and len(face.landmarks) == 5
        assert face.dominant == max(face.smoothed_probabilities, key=face.smoothed_probabilities.__getitem__)
        assert face.confidence == face.smoothed_probabilities[face.dominant]
        assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert analysis.stats["clip"].num_frames == NUM_FRAMES
    assert [event.faces[0].dominant for event in events] == [event.faces[0].dominant for event in analysis]


@pytest.mark.parametrize(
    ("kind", "grouped"), [("file", "files"), ("file", "never"), ("live", "files"), ("live", "always")]
)
def test_tracks_are_grouped_to_persons_where_the_settings_say_so(
    clip: Path, kind: Literal["file", "live"], grouped: str
) -> None:
    with emostream.Analyzer({"persons": {"grouped": grouped}}) as analyzer:
        last = list(analyzer.analyze(clip, kind=kind, max_frames=6))[-1]
    persons = {face.person_id for face in last.faces}
    assert persons == ({1, 2} if (kind, grouped) in {("file", "files"), ("live", "always")} else {None})
    assert all(("person_id" in face) is (persons != {None}) for face in last.to_dict()["faces"])


def test_sampling(analyzer: emostream.Analyzer, clip: Path) -> None:
    assert indexes(analyzer.analyze(clip, every=5)) == [0, 5, 10, 15]
    assert len(indexes(analyzer.analyze(clip, fps=5, max_frames=3))) == 3
    assert {event.stream_id for event in analyzer.analyze(clip, max_frames=1, stream_id="door")} == {"door"}


@pytest.mark.parametrize("options", [{"every": 0}, {"fps": 0}, {"max_frames": -1}, {"stream_id": "a b"}])
def test_numbers_out_of_range_are_refused_at_once(
    analyzer: emostream.Analyzer, clip: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        analyzer.analyze(clip, **options)


async def test_in_a_running_event_loop_with_and_without_await(clip: Path) -> None:
    assert indexes(emostream.analyze(clip, max_frames=4)) == [0, 1, 2, 3]
    found = [event.frame_index async for event in emostream.analyze_async(clip, max_frames=4)]
    assert found == [0, 1, 2, 3]
    both = await asyncio.gather(*(_collected(emostream.analyze_async(clip, max_frames=n)) for n in (2, 3)))
    assert both == [[0, 1], [0, 1, 2]]


async def _collected(events: Any) -> list[int]:
    return [event.frame_index async for event in events]


def test_from_several_threads_at_once(analyzer: emostream.Analyzer, clip: Path) -> None:
    found: dict[int, list[int]] = {}

    def read(number: int) -> None:
        found[number] = indexes(analyzer.analyze(clip, every=number))

    threads = [threading.Thread(target=read, args=(number,)) for number in (1, 2, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: list(range(0, NUM_FRAMES, number)) for number in (1, 2, 5)}


def test_a_loop_that_is_left_ends_the_reading(analyzer: emostream.Analyzer, clip: Path) -> None:
    def streams() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("emostream-left")]

    for event in analyzer.analyze(clip, stream_id="left"):
        assert event.frame_index == 0
        assert streams()
        break
    assert not streams()


async def test_an_async_loop_that_is_closed_ends_the_reading(clip: Path) -> None:
    events = emostream.analyze_async(clip, stream_id="closed")
    assert (await anext(events)).frame_index == 0
    await events.aclose()  # type: ignore[attr-defined]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("emostream-closed")]


def test_a_program_that_stops_in_the_middle_ends(clip: Path) -> None:
    code = f"import emostream; events = iter(emostream.analyze({str(clip)!r})); print(next(events).frame_index)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_several_files_one_after_another(analyzer: emostream.Analyzer, clip: Path, tmp_path: Path) -> None:
    make_clip(tmp_path / "empty.mp4", num_frames=3)
    analysis = analyzer.analyze([clip, tmp_path])
    assert [event.stream_id for event in analysis] == ["clip"] * NUM_FRAMES + ["empty"] * 3
    assert {name: stats.num_frames for name, stats in analysis.stats.items()} == {"clip": NUM_FRAMES, "empty": 3}


def test_one_bad_source_does_not_stop_the_others(analyzer: emostream.Analyzer, clip: Path) -> None:
    seen = []
    with pytest.raises(SourceNotHereError) as failed:
        for event in analyzer.analyze(["absent.mp4", clip, "gone.mp4"], max_frames=2):
            seen.append((event.stream_id, event.frame_index))
    assert seen == [("clip", 0), ("clip", 1)]
    assert "absent.mp4" in str(failed.value) and "gone.mp4" in failed.value.__notes__[0]


def test_a_closed_analyzer_says_so(clip: Path) -> None:
    analyzer = emostream.Analyzer()
    analyzer.close()
    analyzer.close()
    with pytest.raises(ConfigError):
        list(analyzer.analyze(clip))


def test_closing_ends_a_loop_with_an_error_of_ours(clip: Path) -> None:
    analyzer = emostream.Analyzer()
    events = iter(analyzer.analyze(clip))
    next(events)
    analyzer.close()
    with pytest.raises(emostream.EmostreamError):
        list(events)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_models_are_kept_per_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("detect: {min_face_pixels: 40}\n")
    plain, by_file = analyzer_for(None), analyzer_for(file)
    assert analyzer_for({}) is plain and plain is not by_file
    assert analyzer_for({"detect": {"min_face_pixels": 40}}) is by_file
    assert by_file.settings.detect.min_face_pixels == 40


@pytest.mark.parametrize("config", [{"detect": {"no_such": 1}}, {"detect": {"min_score": 7}}, "absent.yaml", 5])
def test_settings_that_do_not_fit_are_refused(config: Any) -> None:
    with pytest.raises(ConfigError):
        emostream.Analyzer(config)


# --- files ------------------------------------------------------------------------------------------------------------


def test_several_files_in_one_reading(analyzer: emostream.Analyzer, clip: Path, tmp_path: Path) -> None:
    summaries = analyzer.analyze(clip).save(
        csv=tmp_path / "report.csv",  # which the report brings as well
        jsonl=tmp_path / "events.jsonl",
        report=tmp_path / "report.html",
        annotate=tmp_path / "annotated.mp4",
    )
    assert summaries["clip"].num_events == NUM_FRAMES and len(summaries["clip"].tracks) == 2
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert {row["frame_index"] for row in rows} == {str(index) for index in range(NUM_FRAMES)}
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame_index"] for line in lines] == list(range(NUM_FRAMES))
    assert "<html" in (tmp_path / "report.html").read_text()
    assert read_picture(str(tmp_path / "annotated.mp4"), settings=analyzer.settings.decode).width == 640


@pytest.mark.skipif(find_spec("pandas") is None, reason="needs pandas")
def test_with_voice_the_files_have_its_events_beside_them(tmp_path: Path) -> None:
    path = make_talking_clip(tmp_path / "talk.mp4", spoken_words(seconds=2), seconds=2)
    with emostream.Analyzer({"voice": True}) as hearing:
        hearing.analyze(path).save(csv=tmp_path / "a.csv", jsonl=tmp_path / "b.jsonl", report=tmp_path / "c.html")
    assert len((tmp_path / "b-voice.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    for name in ("a-voice.csv", "c-voice.csv"):
        assert len((tmp_path / name).read_text(encoding="utf-8").splitlines()) == 4
    assert "Speech over time" in (tmp_path / "c.html").read_text(encoding="utf-8")


def test_a_table_for_pandas(analyzer: emostream.Analyzer, clip: Path) -> None:
    table = analyzer.analyze(clip).to_pandas()
    assert set(table["frame_index"]) == set(range(NUM_FRAMES)) and table["track_id"].nunique() == 2
    assert table["probability_happy"].between(0, 1).all()


def test_wrong_names_of_files_are_refused_before_anything_is_read(
    analyzer: emostream.Analyzer, clip: Path, tmp_path: Path
) -> None:
    before = clip.read_bytes()
    analysis = analyzer.analyze(clip)
    attempts: list[Callable[[], Any]] = [
        lambda: analysis.to_csv(tmp_path / "events.txt"),
        lambda: analysis.report(tmp_path / "report.pdf"),
        lambda: analysis.annotate(clip),
        lambda: analysis.annotate(tmp_path / "out.mp4", overlay=cast(Any, "everything")),
        lambda: analyzer.analyze([clip, clip.parent / "other.mp4"]).report(tmp_path / "report.html"),
        lambda: analysis.to_csv(tmp_path / "absent" / "events.csv"),
    ]
    for refused in attempts:
        with pytest.raises(ConfigError):
            refused()
    assert not list(tmp_path.iterdir()) and clip.read_bytes() == before


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_picture_in_every_form(analyzer: emostream.Analyzer, portrait: Any, tmp_path: Path) -> None:
    path = tmp_path / "portrait.png"
    Image.fromarray(portrait).save(path)
    turned = Image.fromarray(np.rot90(portrait))
    turned.getexif()[0x0112] = 6
    for picture, order in (
        (path, "rgb"),
        (str(path), "rgb"),
        (path.as_uri(), "rgb"),
        (path.read_bytes(), "rgb"),
        (io.BytesIO(path.read_bytes()), "rgb"),
        (portrait, "rgb"),
        (portrait[:, :, ::-1], "bgr"),
        (cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), "rgb"),
        (Image.fromarray(portrait), "rgb"),
        (Image.fromarray(portrait).convert("CMYK"), "rgb"),
        (turned, "rgb"),
    ):
        (face,) = analyzer.classify(picture, order=order)  # type: ignore[call-overload]
        assert (face.dominant, face.track_id) == ("happy", 1)
        assert face.probabilities["happy"] > 0.9


def test_faces_from_left_to_right(analyzer: emostream.Analyzer, portrait: Any, tmp_path: Path) -> None:
    faces = analyzer.classify(np.hstack([portrait, portrait[:, ::-1]]))
    assert [face.track_id for face in faces] == [1, 2] and len(faces) == 2
    assert faces[0].box_xyxy[2] <= faces[1].box_xyxy[0]
    assert (faces.event.frame_width, faces.event.frame_height) == (1024, 512)
    drawn = read_picture(str(faces.annotate(tmp_path / "drawn.png")), settings=analyzer.settings.decode)
    assert drawn.width == 1024 and not np.array_equal(drawn.rgb()[:, :512], portrait)


def test_small_faces_of_a_large_picture(analyzer: emostream.Analyzer, portrait: Any) -> None:
    small = cv2.resize(portrait, (160, 160), interpolation=cv2.INTER_AREA)  # a face of 35 pixels
    large = cv2.resize(np.indices((12, 16)).sum(axis=0).astype(np.uint8) * 8, (1800, 1350))[..., None].repeat(3, axis=2)
    places = [(100, 80), (900, 600), (1600, 1150)]
    for x, y in places:
        large[y : y + 160, x : x + 160] = small
    faces = analyzer.classify(large)
    assert [face.box_xyxy[0] // 1 - x > 0 for face, (x, _) in zip(faces, places, strict=True)] == [True] * 3
    assert all(30 <= face.face.height <= 45 for face in faces)
    assert faces.num_left_out == 0


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_heads(analyzer: emostream.Analyzer, portrait: Any, quarters: int) -> None:
    (upright,) = analyzer.classify(portrait)
    (face,) = analyzer.classify(np.rot90(portrait, quarters))
    assert face.dominant == "happy" and face.probabilities["happy"] > 0.9
    turned_box = np.rot90(box_mask(upright.box_xyxy, 512), quarters)
    assert (turned_box & box_mask(face.box_xyxy, 512)).sum() > 0.8 * turned_box.sum()


def box_mask(box: tuple[float, float, float, float], side: int) -> Any:
    x0, y0, x1, y1 = map(round, box)
    mask = np.zeros((side, side), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_faces_beyond_the_limit_are_reported(portrait: Any) -> None:
    with emostream.Analyzer({"detect": {"max_faces": 1}}) as analyzer:
        faces = analyzer.classify(np.hstack([portrait, portrait]))
    assert (len(faces), faces.num_left_out) == (1, 1)


def test_labels_of_a_crowd_hide_no_face(analyzer: emostream.Analyzer, shared_data: Path) -> None:
    """Photographs of people side by side; the pictures are kept in `runs/overlay` for people to look at."""
    photographs = [cv2.imread(str(path)) for path in sorted((shared_data / "faces").glob("*.jpg"))]
    tiles = [cv2.resize(np.asarray(photographs[at % len(photographs)]), (480, 360)) for at in range(12)]
    crowd = np.vstack([np.hstack(tiles[at : at + 4]) for at in (0, 4, 8)])
    faces = analyzer.classify(crowd, order="bgr")
    assert len(faces) > 40
    drawn = {}
    for style in ("box", "label", "bars"):
        OVERLAYS.mkdir(parents=True, exist_ok=True)
        path = faces.annotate(OVERLAYS / f"crowd-{style}.png", overlay=style)
        drawn[style] = np.asarray(cv2.imread(str(path)))
    inside = np.zeros(crowd.shape[:2], bool)
    for face in faces:
        left, top, right, bottom = (round(value) for value in face.box_xyxy)
        inside[max(top + 6, 0) : bottom - 6, max(left + 6, 0) : right - 6] = True
    for style in ("label", "bars"):
        changed = (drawn[style] != drawn["box"]).any(axis=2)
        assert changed.mean() > 0.02
        assert changed[inside].mean() < 0.02, "lines to labels, at most"


def test_several_pictures_and_none(analyzer: emostream.Analyzer, portrait: Any) -> None:
    gray = np.full((200, 200), 128, np.uint8)
    assert [len(faces) for faces in analyzer.classify([portrait, gray])] == [1, 0]
    with pytest.raises(ConfigError):
        analyzer.classify([])


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        (b"", SourceRejectedError),
        (b"no picture", SourceError),
        (np.zeros((4, 4), np.float32), SourceRejectedError),
        (Image.new("F", (8, 8)), SourceRejectedError),
        ("absent.png", SourceNotHereError),
        (".", ConfigError),
        (3, ConfigError),
        (None, ConfigError),
    ],
    ids=["empty", "rubbish", "float", "float-image", "absent", "folder", "number", "none"],
)
def test_what_is_no_picture_is_refused(analyzer: emostream.Analyzer, picture: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        analyzer.classify(picture)


def test_files_that_give_no_bytes_are_refused(analyzer: emostream.Analyzer, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new("L", (32, 32)).save(path)
    with path.open("rb") as closed, path.open("ab") as unreadable, path.open(encoding="latin-1") as text:
        closed.close()
        for file in (closed, unreadable, text, io.BytesIO()):
            with pytest.raises(SourceRejectedError):
                analyzer.classify(file)  # type: ignore[arg-type]


def test_refused_tables_leave_nothing_and_are_named(clip: Path, tmp_path: Path) -> None:
    # The first file could be written, the second could not.
    for bad in ("absent/table.parquet", "table.txt"):
        with pytest.raises(ConfigError) as refused:
            emostream.analyze(clip, max_frames=2).save(csv=tmp_path / "table.csv", parquet=tmp_path / bad)
        assert str(tmp_path / bad) in str(refused.value)
    assert not list(tmp_path.iterdir())
