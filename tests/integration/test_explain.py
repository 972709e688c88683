"""`emostream explain` as a child process: real faces, turned and odd pictures, every kind of wrong argument."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.decode.formats.test_exif import png_with_exif
from tests.integration.command_line import run_emostream
from tests.vision.detect.real_model import centerface_path

pytestmark = pytest.mark.integration


def test_a_face_is_explained_in_words_and_as_a_picture(portrait: Path, tmp_path: Path) -> None:
    outcome = run_emostream("explain", portrait, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert "1 happy" in outcome.out
    assert "mouth" in outcome.out
    assert "it shows what the model uses" in outcome.out
    assert "overlay: portrait-explained.png" in outcome.err
    sheet = cv2.imread(str(tmp_path / "portrait-explained.png"))
    assert sheet is not None
    assert sheet.shape[1] == 1040


def test_json_is_the_same_each_time(portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "overlay.png"
    texts = [run_emostream("explain", portrait, "--json", "--out", out).out for _ in range(2)]
    assert texts[0] == texts[1]
    content = json.loads(texts[0])
    (face,) = content["faces"]
    assert (content["num_faces"], content["width"], face["number"]) == (1, 512, 1)
    assert face["dominant"] == face["explained"] == "happy"
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=2e-3)
    assert face["check"]["passed"]
    assert face["regions"][0]["name"] in {"mouth", "cheeks", "chin"}
    assert content["overlay"] == str(out) and content["is_first_of_many"] is False
    assert out.is_file()


def test_several_faces_are_numbered_from_left_to_right(shared_data: Path, tmp_path: Path) -> None:
    centerface_path()
    picture = shared_data / "faces" / "2008_002470.jpg"
    everybody = json.loads(run_emostream("explain", picture, "--json", cwd=tmp_path).out)
    assert everybody["num_faces"] == len(everybody["faces"]) >= 5
    lefts = [face["box_xyxy"][0] for face in everybody["faces"]]
    assert lefts == sorted(lefts)
    second = json.loads(run_emostream("explain", picture, "--json", "--face", "2", cwd=tmp_path).out)
    assert second["faces"] == [everybody["faces"][1]]
    assert second["num_faces"] == everybody["num_faces"]


@pytest.mark.parametrize("turn", [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180], ids=["right", "upside down"])
def test_a_turned_face_is_set_upright(portrait: Path, tmp_path: Path, turn: int) -> None:
    path = tmp_path / "turned.png"
    cv2.imwrite(str(path), cv2.rotate(np.asarray(cv2.imread(str(portrait))), turn))
    outcome = run_emostream("explain", path, "--json", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["faces"][0]["dominant"] == "happy"


def test_a_cut_out_face_needs_no_detector(portrait: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    cv2.imwrite(str(path), np.asarray(cv2.imread(str(portrait), cv2.IMREAD_GRAYSCALE))[60:180, 165:285])
    environment = {"EMOSTREAM_MODELS__CACHE_DIR": str(tmp_path / "empty"), "EMOSTREAM_MODELS__OFFLINE": "true"}
    outcome = run_emostream("explain", path, "--whole", "--json", cwd=tmp_path, environment=environment)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["faces"][0]["dominant"] == "happy"


def test_another_emotion(portrait: Path, tmp_path: Path) -> None:
    outcome = run_emostream("explain", portrait, "--emotion", "surprise", "--json", cwd=tmp_path)
    face = json.loads(outcome.out)["faces"][0]
    assert (face["dominant"], face["explained"]) == ("happy", "surprise")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--face", "2"], 2, "face 2"),
        (["--face", "0"], 2, "face 0"),
        (["--emotion", "bored"], 2, "angry, disgust, fear"),
        (["--out", "missing/a.png"], 2, "cannot write picture missing/a.png"),
    ],
)
def test_wrong_arguments(portrait: Path, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    outcome = run_emostream("explain", portrait, *arguments, cwd=tmp_path)
    assert (outcome.code, len(outcome.err.splitlines())) == (code, 1), outcome.err
    assert message in outcome.err
    assert not list(tmp_path.iterdir())


def write_text(path: Path) -> None:
    path.write_text("no picture " * 100, encoding="utf-8")


def write_slope(path: Path) -> None:
    cv2.imwrite(str(path), np.tile(np.arange(320, dtype=np.uint8) // 8, (240, 1)))


def write_two_pixels(path: Path) -> None:
    cv2.imwrite(str(path), np.array([[0, 9]], np.uint8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.touch(), "0 bytes"),
        (lambda path: path.mkdir(), "folder"),
        (write_text, "expected a video or picture"),
        (write_slope, "no face found in 320×240 pixels"),
        (write_two_pixels, "--whole"),
        (lambda path: png_with_exif(path, 6), "no face found in 16×32 pixels"),
    ],
    ids=["missing", "empty", "folder", "text", "no face", "two pixels", "turned by EXIF"],
)
def test_pictures_that_cannot_be_explained(tmp_path: Path, make: object, message: str) -> None:
    centerface_path()
    make(tmp_path / "a.png")  # type: ignore[operator]
    outcome = run_emostream("explain", tmp_path / "a.png", cwd=tmp_path)
    assert (outcome.code, len(outcome.err.splitlines())) == (3, 1), outcome.err
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert outcome.out == ""


def test_a_huge_picture_is_refused_with_the_setting_that_allows_it(portrait: Path, tmp_path: Path) -> None:
    environment = {"EMOSTREAM_DECODE__MAX_FRAME_PIXELS": "100000"}
    outcome = run_emostream("explain", portrait, cwd=tmp_path, environment=environment)
    assert outcome.code == 3
    assert "512×512 pixels, at most 100000 are accepted" in outcome.err
    assert "decode.max_frame_pixels" in outcome.err
