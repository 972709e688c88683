"""The report: which sections it has, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path

from emostream.files import whole_file
from emostream.render.report.html import page, section
from emostream.vision.models.manifest import ModelManifest
from training.data.face_set import FaceSet
from training.explain.folder import NetExplanation
from training.measure.evaluation import Evaluation
from training.measure.inference import HeadOutputs
from training.measure.robustness_figures import Robustness
from training.report.errors_gallery import errors_section
from training.report.explanation import explanation_section
from training.report.figures import (
    calibration_section,
    classes_section,
    confusion_section,
    figures_section,
    votes_section,
)
from training.report.page import STYLE_FILE, table
from training.report.robustness import robustness_section


@dataclass(frozen=True, slots=True, eq=False)
class ReportContent:
    """All that a report tells.

    Attributes:
        manifest: of the model.
        data_name: which data, in words.
        faces: the pictures.
        outputs: the model's answers to them, in the order of their classes (`evaluation.asked_and_answered`).
        evaluation: of these answers.
        robustness: on spoiled pictures; None where it was not measured.
        explanation: of the trained net; None where there is none.
        made_on: date of the report.
    """

    manifest: ModelManifest
    data_name: str
    faces: FaceSet
    outputs: HeadOutputs
    evaluation: Evaluation
    robustness: Robustness | None
    explanation: NetExplanation | None
    made_on: date


def write_report(content: ReportContent, path: Path) -> None:
    """Write the page, complete or not at all.

    Raises:
        EmostreamError: the file cannot be written.
    """
    with whole_file(path) as file:
        file.write(build_report(content).encode())


def build_report(content: ReportContent) -> str:
    """The page as text."""
    evaluation = content.evaluation
    sections = [
        _header(content),
        figures_section(evaluation, content.robustness),
        classes_section(evaluation),
        confusion_section(evaluation),
        calibration_section(evaluation),
    ]
    if evaluation.votes is not None:
        sections.insert(2, votes_section(evaluation.votes, evaluation.training_votes))
    if content.robustness is not None:
        sections.append(robustness_section(content.robustness))
    sections.append(errors_section(content.faces, content.outputs))
    if content.explanation is not None:
        sections.append(explanation_section(content.explanation, checkpoint_sha256=content.manifest.checkpoint_sha256))
    sections += [_facts_section(content), _limits_section(content), _footer(content)]
    return page(
        title=f"{content.manifest.name} {content.manifest.version}",
        sections=sections,
        style=STYLE_FILE.read_text("utf-8"),
        has_styled_elements=True,
    )


def _header(content: ReportContent) -> str:
    manifest = content.manifest
    return (
        f"<header><h1>{escape(manifest.name)}</h1>"
        f"<p>version {escape(manifest.version)}, {manifest.precision}, measured on {escape(content.data_name)}: "
        f"{content.evaluation.num_pictures:,} pictures, one crop each, no test-time tricks</p></header>"
    )


def _facts_section(content: ReportContent) -> str:
    manifest, evaluation = content.manifest, content.evaluation
    left_out = ", ".join(f"{reason} {count}" for reason, count in evaluation.num_left_out.items()) or "–"
    agreement = "–" if evaluation.label_agreement is None else f"{evaluation.label_agreement:.1%}"
    copies = "not known" if evaluation.num_duplicates is None else f"{evaluation.num_duplicates:,}"
    known = "not looked for" if evaluation.num_known is None else f"{evaluation.num_known:,}"
    facts = {
        "model file": f"{manifest.file}, sha256 {manifest.sha256}",
        "architecture": manifest.architecture,
        "input": f"uint8 gray crops, {manifest.input_size_pixels}×{manifest.input_size_pixels} pixels",
        "outputs": ", ".join(manifest.outputs),
        "trained on": manifest.training_data,
        "licence of the weights": manifest.licence or "not given",
        "made with": ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items()) or "–",
        "pictures": f"{evaluation.num_pictures:,}, of them {evaluation.num_blank} blank",
        "exact copies of training pictures": copies,
        "photographs of training, exact or near": known,
    }
    if evaluation.ferplus is None:
        facts["labels asked of"] = f"{evaluation.label_output}, what events carry"
    else:
        facts["with a FER+ majority among the classes"] = f"{evaluation.num_ferplus:,}; left out: {left_out}"
        facts["FER+ majority is the challenge's label"] = agreement
    rows = [[escape(name), f"<code>{escape(value)}</code>"] for name, value in facts.items()]
    return section("Model and data", f'<div class="facts">{table(["", ""], rows)}</div>')


def _limits_section(content: ReportContent) -> str:
    agreement = content.evaluation.label_agreement
    limits = [
        "A score says how people who look at the picture would call the expression; it does not say what anyone feels.",
        "Intervals tell how much a figure would change with other pictures of the same kind, not with another kind.",
        "Nothing here measures fairness between groups of people: the data has no such labels. Assume that it differs.",
        "Spoiled pictures are made by formulas. Real cameras combine several of these faults at once.",
        "Maps show where evidence lies, not why it counts. Trust them as far as deletion and insertion beat chance.",
    ]
    if agreement is not None:
        limits.insert(
            1,
            f"The challenge's labels and the FER+ majority agree on {agreement:.0%} of the pictures, which bounds what "
            "an accuracy against the challenge's labels can mean.",
        )
    return section("Limits", "<ul>" + "".join(f"<li>{escape(limit)}</li>" for limit in limits) + "</ul>")


def _footer(content: ReportContent) -> str:
    return (
        f"<footer>Made on {content.made_on.isoformat()} by <code>python -m training.evaluate --report</code>. "
        "This page holds pictures of the data set: mind their licence before you pass it on.</footer>"
    )
