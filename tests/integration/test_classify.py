"""`emostream classify` as a child process: every kind of picture, many at once, and what is no picture among them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.integration.command_line import run_emostream
from tests.media import cut_file
from tests.vision.detect.real_model import centerface_path

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def kinds(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait in every way that a picture can be stored."""
    folder = tmp_path_factory.mktemp("kinds")
    picture = Image.open(portrait).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.rotate(90, expand=True).save(folder / "exif.jpg", exif=turned)
    picture.convert("RGBA").save(folder / "alpha.png")
    picture.convert("L").save(folder / "gray.png")
    picture.quantize(64).save(folder / "palette.png")
    deep = np.asarray(picture).astype(np.uint16) * 257
    cv2.imwrite(str(folder / "deep.png"), deep[:, :, ::-1])
    frames = [picture.rotate(angle) for angle in (120, 240)]
    for name in ("moving.gif", "moving.png", "moving.webp"):
        picture.save(folder / name, save_all=True, append_images=frames, duration=100)
    return folder


def test_every_kind_of_picture(kinds: Path) -> None:
    outcome = run_emostream("classify", kinds, "--json")
    assert outcome.code == 0, outcome.err
    found = {Path(line["picture"]).name: line for line in map(json.loads, outcome.out.splitlines())}
    assert set(found) == {path.name for path in kinds.iterdir()}
    for name, line in found.items():
        assert [face["dominant"] for face in line["faces"]] == ["happy"], name
        assert sum(line["faces"][0]["probabilities"].values()) == pytest.approx(1, abs=2e-3)
        assert line["is_first_of_many"] is name.startswith("moving"), name


def test_heads_upside_down_and_faces_beyond_the_limit(portrait: Path, tmp_path: Path) -> None:
    upright = np.asarray(cv2.imread(str(portrait)))
    cv2.imwrite(str(tmp_path / "both.png"), np.hstack([upright, upright[::-1, ::-1]]))
    (tmp_path / "one.yaml").write_text("detect: {max_faces: 1}")
    outcome = run_emostream("classify", tmp_path / "both.png", "--json")
    line = json.loads(outcome.out)
    assert [face["dominant"] for face in line["faces"]] == ["happy", "happy"]
    assert line["num_faces_left_out"] == 0
    eyes_and_mouth = [[y for _, y in face["landmarks"]] for face in line["faces"]]
    assert eyes_and_mouth[0][0] < eyes_and_mouth[0][4] and eyes_and_mouth[1][0] > eyes_and_mouth[1][4]
    cut = json.loads(run_emostream("classify", tmp_path / "both.png", "--json", "--config", tmp_path / "one.yaml").out)
    assert (len(cut["faces"]), cut["num_faces_left_out"]) == (1, 1)


def test_people_get_a_table_and_annotated_pictures(portrait: Path, kinds: Path, tmp_path: Path) -> None:
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), np.tile(np.arange(320, dtype=np.uint8) // 8, (240, 1)))
    outcome = run_emostream("classify", portrait, kinds / "moving.gif", dark, portrait, "--annotate", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "happy 99%" in outcome.out
    assert "first of several pictures" in outcome.out
    assert "no face found" in outcome.out
    assert "annotated pictures: 3 in" in outcome.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "portrait-annotated.png",
        "moving-annotated.png",
        "dark-annotated.png",
    }
    drawn = np.asarray(cv2.imread(str(tmp_path / "out" / "portrait-annotated.png"))).astype(int)
    plain = np.asarray(cv2.imread(str(portrait))).astype(int)
    assert drawn.shape == plain.shape
    changed = (np.abs(drawn - plain).max(axis=2) > 40).mean()
    assert 0.005 < changed < 0.2, "a box, a name, bars, and nothing else"


def test_faces_in_annotated_pictures_can_be_blurred(portrait: Path, tmp_path: Path) -> None:
    outcome = run_emostream("classify", portrait, "--annotate", tmp_path, "--blur", "--json")
    assert outcome.code == 0, outcome.err
    line = json.loads(outcome.out)
    (face,) = line["faces"]
    gray = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (portrait, Path(line["annotated"]))]
    x0, y0, x1, y1 = (round(value) for value in face["box_xyxy"])
    inner = (slice(y0 + 5, y1 - 5), slice(x0 + 5, x1 - 5))
    clear, hidden = (float(np.abs(np.diff(np.asarray(each)[inner].astype(int), axis=1)).mean()) for each in gray)
    assert hidden < clear / 3
    assert run_emostream("classify", portrait, "--blur").code == 2


def test_what_is_drawn_can_be_chosen(portrait: Path, tmp_path: Path) -> None:
    plain = np.asarray(cv2.imread(str(portrait))).astype(int)
    changed = []
    for style in ("box", "label", "bars"):
        outcome = run_emostream("classify", portrait, "--annotate", tmp_path / style, "--overlay", style)
        assert outcome.code == 0, outcome.err
        drawn = np.asarray(cv2.imread(str(tmp_path / style / "portrait-annotated.png"))).astype(int)
        changed.append((np.abs(drawn - plain).max(axis=2) > 40).sum())
    assert changed == sorted(set(changed))
    for command in ("classify", "analyze"):
        assert run_emostream(command, portrait, "--overlay", "box").code == 2


def test_what_is_no_picture_is_said_and_the_others_go_on(portrait: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture " * 100, encoding="utf-8")
    huge = Image.new("L", (10_000, 10_000))
    huge.save(tmp_path / "huge.jpg")
    whole = tmp_path / "whole.jpg"
    Image.open(portrait).convert("RGB").save(whole)
    cut = cut_file(whole, tmp_path / "cut.jpg")
    strange = tmp_path / "strange \x1b[31m<b>[red].png"
    shutil.copy(portrait, strange)
    outcome = run_emostream(
        "classify", tmp_path / "text.png", tmp_path / "huge.jpg", cut, tmp_path / "empty", "absent.png", strange
    )
    assert outcome.code == 3, outcome.err
    assert "happy" in outcome.out
    assert "<b>[red].png" in outcome.out
    assert "\x1b" not in outcome.out
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 5, outcome.err
    for message in (
        "empty: ",
        "text.png: expected a video",
        "10000×10000 pixels, at most 35389440 are accepted",
        "cut.jpg: the picture is damaged: its end is missing",
        "absent.png: there is no such file",
    ):
        assert sum(message in line for line in errors) == 1, outcome.err
    assert "5 of 6 could not be classified" in outcome.err


def test_json_says_what_could_not_be_read(portrait: Path, tmp_path: Path) -> None:
    outcome = run_emostream("classify", "absent.png", portrait, "--json", cwd=tmp_path)
    assert outcome.code == 3
    first, second = map(json.loads, outcome.out.splitlines())
    assert first == {"picture": "absent.png", "error": first["error"]}
    assert "no such file" in first["error"]
    assert second["faces"][0]["number"] == 1


def test_a_face_that_is_cut_out_already(portrait: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    cv2.imwrite(str(path), np.asarray(cv2.imread(str(portrait), cv2.IMREAD_GRAYSCALE))[60:180, 165:285])
    # The searching detector's model is not needed, but the pipeline brings it; what is searched is nothing.
    outcome = run_emostream("classify", path, "--whole", "--json")
    assert outcome.code == 0, outcome.err
    (face,) = json.loads(outcome.out)["faces"]
    explained = json.loads(run_emostream("explain", path, "--whole", "--json", cwd=tmp_path).out)["faces"][0]
    assert face["dominant"] == explained["dominant"] == "happy"
    assert face["probabilities"] == pytest.approx(explained["probabilities"], abs=0.05)


@pytest.mark.parametrize("side", [2, 3, 48])
def test_whole_pictures_of_any_size(tmp_path: Path, side: int) -> None:
    centerface_path()
    path = tmp_path / "tiny.png"
    cv2.imwrite(str(path), np.arange(side * side, dtype=np.uint8).reshape(side, side))
    outcome = run_emostream("classify", path, "--whole", "--json")
    assert outcome.code == 0, outcome.err
    assert len(json.loads(outcome.out)["faces"]) == 1


def test_a_folder_for_annotated_pictures_that_cannot_be_made(portrait: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = run_emostream("classify", portrait, "--annotate", tmp_path / "file" / "out")
    assert (outcome.code, str(tmp_path / "file") in outcome.err) == (2, True), outcome.err


def test_numbers_are_those_of_explain(shared_data: Path, tmp_path: Path) -> None:
    centerface_path()
    picture = shared_data / "faces" / "2008_002470.jpg"
    classified = json.loads(run_emostream("classify", picture, "--json").out)["faces"]
    explained = json.loads(run_emostream("explain", picture, "--json", cwd=tmp_path).out)["faces"]
    assert [face["box_xyxy"] for face in classified] == [face["box_xyxy"] for face in explained]
