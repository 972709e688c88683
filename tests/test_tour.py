"""docs/tour.md from its first command to its last, in order, as a reader would run it."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path

import cv2
import pytest

from emostream.client import ServiceClient
from emostream.domain.emotion import EMOTIONS
from tests.conftest import REPOSITORY
from tests.deployments.service_process import running_service
from tests.service.rtsp import need_gstreamer, rtsp_server
from tests.tour import PICTURES, Block, run_block, sections_of_tour
from tests.vision.detect.real_model import centerface_path

pytestmark = pytest.mark.integration

TOUR = sections_of_tour()


def run_section(heading: str, folder: Path, **instead: str) -> list[str]:
    """What each block of a section prints."""
    return [run_block(block, folder=folder, instead=instead) for block in TOUR[heading]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tour takes place, after its first clip."""
    centerface_path()
    folder = tmp_path_factory.mktemp("tour")
    (told,) = run_section("A first clip", folder)
    assert "read back from Redis: 200 events of clip" in told
    assert (folder / "demo" / "clip-annotated.mp4").stat().st_size > 50_000
    return folder


def test_every_section_is_run_here() -> None:
    assert list(TOUR) == ["Install", "A first clip", "Pictures", "A video", "A live camera", "A model of your own"]
    kinds = {block.kind for blocks in TOUR.values() for block in blocks}
    assert kinds == {"sh install", "sh", "python", "yaml"}


def test_what_is_installed_exists() -> None:
    (block,) = TOUR["Install"]
    (extras,) = re.findall(r"'\.\[(.+)\]'", block.text)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    (constraints,) = re.findall(r"--constraint (\S+)", block.text)
    assert (REPOSITORY / constraints).is_file()


def test_its_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 1_500_000


def test_pictures(folder: Path) -> None:
    (told,) = run_section("Pictures", folder)
    assert "happy" in told
    assert "first of several pictures" in told
    assert (folder / "marked" / "clip-annotated.png").is_file()
    assert (folder / "explained.png").is_file()


def test_a_video(folder: Path) -> None:
    run_section("A video", folder)
    assert len((folder / "events.jsonl").read_text(encoding="utf-8").splitlines()) == 200
    for name in ("hidden.mp4", "report.html", "report.csv", "report.parquet"):
        assert (folder / name).stat().st_size > 1000, name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_live_camera(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    need_gstreamer()
    centerface_path()
    serve, add, read, remove = TOUR["A live camera"]
    words = serve.text.split()
    assert words[:2] == ["emostream", "serve"]
    options = ["127.0.0.0/8" if _is_network(word) else word for word in words[2:]]
    (url,) = re.findall(r"rtsp://\S+", add.text)
    with (
        rtsp_server() as camera,
        running_service(*_in_folder(options, tmp_path), log=tmp_path / "serve.log") as service,
    ):
        to_service = f"export EMOSTREAM_SERVICE_URL={service.url}\n"
        told = run_block(Block("sh", to_service + add.text), folder=tmp_path, instead={url: camera})
        assert "door" in told
        printed = run_block(read, folder=tmp_path, instead={"http://127.0.0.1:8000": service.url})
        assert len(printed.splitlines()) == 50
        assert (tmp_path / "door.jpg").read_bytes().startswith(b"\xff\xd8")
        run_block(Block("sh", to_service + remove.text), folder=tmp_path)
        assert [stream for stream in ServiceClient(service.url).streams() if not stream.state.is_final] == []


def _is_network(word: str) -> bool:
    try:
        ipaddress.ip_network(word)
    except ValueError:
        return False
    return "/" in word


def _in_folder(options: list[str], folder: Path) -> list[str]:
    """The page's current folder is that of the tour."""
    return [str(folder) if option == "." else option for option in options]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_of_your_own(folder: Path) -> None:
    from tests.training.made import made_faces  # needs the extra `train`

    faces = made_faces(140)
    for number, (picture, label) in enumerate(zip(faces.pictures, faces.labels, strict=True)):
        path = folder / "my-faces" / EMOTIONS[int(label)] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    instead = {"epochs: 40": "epochs: 2", "widths: [16, 32, 64], depths: [1, 1, 1]": "widths: [8, 16], depths: [1, 1]"}
    settings, commands = TOUR["A model of your own"]
    assert all(old in settings.text for old in instead)
    run_block(settings, folder=folder, instead=instead)
    told = run_block(commands, folder=folder)
    assert (folder / "my-model" / "emotions.json").is_file()
    assert (folder / "my-model.html").stat().st_size > 10_000
    assert "demo/clip.mp4" in told
