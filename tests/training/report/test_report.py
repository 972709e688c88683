"""The report: well-formed, whole without any host, with every section for which there is something to tell."""

from __future__ import annotations

import dataclasses
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest

from emostream.domain.emotion import EMOTIONS
from emostream.errors import EmostreamError
from tests.browser import assert_readable
from tests.training.made import made_faces, save_npz
from tests.training.test_evaluate import save_brightness_model
from tests.training.trained_nets import save_tiny_run
from training.evaluate import main
from training.explain.folder import load_explanation
from training.explain.run import main as explain
from training.measure.corruptions import CORRUPTIONS
from training.measure.evaluation import evaluate
from training.measure.inference import OnnxModel
from training.measure.robustness import measure_robustness
from training.report import ReportContent, write_report
from training.report.report import build_report

pytestmark = pytest.mark.heavy

_VOID = {"meta", "img", "link", "br", "rect", "line", "polyline", "circle"}


class Structure(HTMLParser):
    """Checks that tags are nested rightly, and keeps names of sections, addresses and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.sections += [value or "" for name, value in attrs if (tag, name) == ("section", "id")]
        assert tag not in ("script", "link", "iframe"), tag
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> ReportContent:
    folder = tmp_path_factory.mktemp("report")
    faces = made_faces(70)
    assert faces.duplicate_of_training is not None
    faces.duplicate_of_training[:5] = True
    run = save_tiny_run(folder / "run", validation=save_npz(faces, folder / "set.npz"))
    assert explain(["--run", str(run), "--pictures", "14"]) == 0
    model = OnnxModel(save_brightness_model(folder / "model.onnx"))
    temperatures = {"temperature_fer2013": 1.5, "temperature_ferplus": 0.8}
    manifest = model.manifest.model_copy(update={"name": "<b>a & b</b>", "metrics": temperatures})
    outputs = model.classify(faces.pictures)
    return ReportContent(
        manifest=manifest,
        data_name="made <faces>",
        faces=faces,
        outputs=outputs,
        evaluation=evaluate(faces, manifest, outputs),
        robustness=measure_robustness(model, faces.take(faces.labels < 3), corruptions=CORRUPTIONS[:2]),
        explanation=load_explanation(run / "explanation"),
        made_on=date(2026, 11, 25),
    )


def test_the_page_holds_every_figure_and_fetches_nothing(content: ReportContent) -> None:
    text = build_report(content)
    structure = Structure(text)
    assert structure.sections == [
        "summary",
        "votes",
        "classes",
        "confusion",
        "calibration",
        "robustness",
        "errors",
        "saliency",
        "facts",
        "limitations",
    ]
    assert structure.addresses
    assert all(address.startswith("data:image/") for address in structure.addresses)
    assert not re.search(r"https?://|@import|url\(", text)
    assert "&lt;b&gt;a &amp; b&lt;/b&gt;" in text
    assert "<b>a & b" not in text
    assert "before" in text
    assert "without 5 copies of training pictures" in text
    assert "people: 9 angry, 1 unknown" in text
    assert "2026-11-25" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


HOSTILE = "<img src=x onerror=y>'\"</td>{{ 1 }}&amp;"


def test_any_text_from_outside_is_text(content: ReportContent) -> None:
    """Names of the model, its classes, its data and its tools."""
    faces = dataclasses.replace(
        content.faces, votes=None, duplicate_of_training=None, class_names=(HOSTILE, *EMOTIONS[1:])
    )
    outside = {
        "labels": faces.class_names,
        "name": HOSTILE,
        "version": HOSTILE,
        "architecture": HOSTILE,
        "training_data": HOSTILE,
    }
    manifest = content.manifest.model_copy(update={**outside, "licence": HOSTILE, "tools": {HOSTILE: HOSTILE}})
    page = build_report(
        dataclasses.replace(
            content,
            data_name=HOSTILE,
            faces=faces,
            manifest=manifest,
            evaluation=evaluate(faces, manifest, content.outputs),
        )
    )
    texts = Structure(page).texts
    assert ("title", f"{HOSTILE} {HOSTILE}") in texts
    assert ("h1", HOSTILE) in texts
    assert texts.count(("th", HOSTILE)) == 3, "a row of classes, a row and a column of confusions"
    assert texts.count(("code", HOSTILE)) == 3
    assert ("h3", HOSTILE) in texts, "of the errors of a class"
    assert "<img src=x" not in page


@pytest.mark.integration
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_browser_shows_it_accessibly(
    content: ReportContent, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    write_report(content, tmp_path / "report.html")
    assert_readable(tmp_path / "report.html", scheme=scheme, width=width)


def test_maps_of_another_net_are_called_so(content: ReportContent) -> None:
    assert content.explanation is not None
    warning = "different net"
    for sha256, is_warned in (("0" * 64, True), (content.explanation.checkpoint_sha256, False), (None, False)):
        manifest = content.manifest.model_copy(update={"checkpoint_sha256": sha256})
        assert (warning in build_report(dataclasses.replace(content, manifest=manifest))) == is_warned


def test_what_was_not_measured_is_left_out(content: ReportContent) -> None:
    faces = dataclasses.replace(content.faces, votes=None, duplicate_of_training=None)
    evaluation = evaluate(faces, content.manifest, content.outputs)
    text = build_report(
        dataclasses.replace(content, faces=faces, evaluation=evaluation, robustness=None, explanation=None)
    )
    sections = Structure(text).sections
    assert "robustness" not in sections
    assert "saliency" not in sections
    assert "votes" not in sections
    assert "FER+ majority" not in text.partition('<section id="facts">')[0]
    assert "copies of training pictures</th>" not in text.partition('<section id="facts">')[0]


def test_a_report_is_complete_or_not_there(content: ReportContent, tmp_path: Path) -> None:
    write_report(content, tmp_path / "folder" / "report.html")
    assert (tmp_path / "folder" / "report.html").read_text(encoding="utf-8").endswith("</html>\n")
    (tmp_path / "file").touch()
    with pytest.raises(EmostreamError, match=r"report\.html"):
        write_report(content, tmp_path / "file" / "report.html")


def test_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = save_npz(made_faces(14), tmp_path / "set.npz")
    model = save_brightness_model(tmp_path / "model.onnx")
    report = tmp_path / "report.html"
    arguments = ["--data", str(data), "--model", str(model), "--report", str(report)]
    assert main([*arguments, "--robustness-pictures", "3"]) == 0
    assert "robustness" in Structure(report.read_text(encoding="utf-8")).sections
    assert f"report: {report}" in capsys.readouterr().err
    assert main([*arguments, "--no-robustness"]) == 0
    assert "robustness" not in Structure(report.read_text(encoding="utf-8")).sections
    capsys.readouterr()
    assert main([*arguments, "--explanation", str(tmp_path)]) == 5
    assert "training.explain" in capsys.readouterr().err
