"""A model whose classes are a user's own, through the commands: every name arrives whole, and nothing fails at it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from emostream.cli.bench.demo_clip import make_demo_clip
from tests.integration.command_line import run_emostream
from tests.onnx_models import classifier_model, save_classifier
from tests.vision.detect.real_model import centerface_path

pytestmark = pytest.mark.integration

CLASSES = {
    "two": ("yes", "no"),
    "odd words": ("müde & 'tired'", "<b>calm</b>", "[bold]tense", "__proto__", "=1+1", "0", "笑顔", "rather irritated"),
    "many": tuple(f"class {number}" for number in range(40)),
}


@pytest.fixture(scope="module")
def demo_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people for a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    make_demo_clip(path, num_frames=25)
    return path


@pytest.fixture(scope="module", params=CLASSES)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, ...], Path]:
    """(labels, file) of a model that says the last of its classes of every face that is not black."""
    labels = CLASSES[request.param]
    folder = tmp_path_factory.mktemp("own")
    return labels, save_classifier(
        folder,
        model=classifier_model(labels=labels, outputs=("probabilities",)),
        labels=labels,
        outputs=("probabilities",),
        max_batch_size=64,
        licence=None,
    )


def test_pictures(own: tuple[tuple[str, ...], Path], portrait: Path, tmp_path: Path) -> None:
    labels, model = own
    centerface_path()
    environment = {"EMOSTREAM_CLASSIFY__MODEL": str(model)}
    outcome = run_emostream("classify", portrait, "--json", "--annotate", tmp_path, environment=environment)
    assert outcome.code == 0, outcome.err
    (face,) = json.loads(outcome.out)["faces"]
    assert tuple(face["probabilities"]) == labels
    assert face["dominant"] == labels[-1]
    narrow = run_emostream("classify", portrait, environment=environment | {"COLUMNS": "80"})
    assert all(word in narrow.out for word in labels[-1].split())
    assert "…" not in narrow.out
    explained = run_emostream(
        "explain", portrait, "--json", "--out", tmp_path / "explained.png", environment=environment
    )
    assert explained.code == 0, explained.err
    assert (tmp_path / "explained.png").is_file()


def test_a_video(own: tuple[tuple[str, ...], Path], demo_clip: Path, tmp_path: Path) -> None:
    labels, model = own
    centerface_path()
    outcome = run_emostream(
        "analyze",
        demo_clip,
        "--json",
        *("--annotate", tmp_path / "out.mp4", "--report", tmp_path / "out.html"),
        environment={"EMOSTREAM_CLASSIFY__MODEL": str(model)},
    )
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()]
    faces = [face for event in events for face in event["faces"]]
    assert faces
    assert {tuple(face["smoothed_probabilities"]) for face in faces} == {labels}
    assert {face["dominant"] for face in faces} <= {labels[-1], "unknown"}
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    assert [name for name in columns if name.startswith("probability_")] == [f"probability_{name}" for name in labels]
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<b>calm</b>" not in page
    assert labels[0] in page or "müde &amp;" in page
