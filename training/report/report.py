"""The report of an evaluation, as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from emostream.domain.model_manifest import ModelManifest
from emostream.files import whole_file
from emostream.render.html import render_page
from training.data.face_set import FaceSet
from training.explain.folder import NetExplanation
from training.measure.evaluation import Evaluation
from training.measure.inference import HeadOutputs
from training.measure.robustness_figures import Robustness, head_names
from training.report.figures import (
    accuracy_text,
    agreement_rows,
    calibration_charts,
    heads_of,
    main_rows,
    main_tiles,
    map_charts,
    map_rows,
    randomisation_rows,
    robustness_charts,
    robustness_rows,
    winner_rows,
)
from training.report.pictures import confident_errors, map_pictures

_HEADS = {"ferplus": "FER+ head", "fer2013": "challenge head", "probabilities": "the head that events carry"}


@dataclass(frozen=True, slots=True, eq=False)
class ReportContent:
    """What a report shows.

    Attributes:
        manifest: of the model.
        data_name: which data, in words.
        faces: the pictures.
        outputs: the model's answers to them, in the order of their classes (`evaluation.asked_and_answered`).
        evaluation: of these answers.
        robustness: on corrupted pictures; None where it was not measured.
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
    truth, errors = confident_errors(content.faces, content.outputs)
    return render_page(
        "training.report",
        "report.html",
        content=content,
        manifest=content.manifest,
        evaluation=evaluation,
        heads=heads_of(evaluation),
        main_tiles=main_tiles(evaluation, content.robustness),
        main_rows=main_rows(evaluation),
        votes=_votes(evaluation),
        calibration=_calibration(evaluation),
        robustness=None if content.robustness is None else _robustness(content.robustness),
        errors={"truth": truth, "rows": errors},
        explanation=None if content.explanation is None else _explanation(content.explanation, content.manifest),
        facts=_facts(content),
        limits=_limits(evaluation),
    )


def _votes(evaluation: Evaluation) -> dict[str, object] | None:
    votes = evaluation.votes
    if votes is None:
        return None
    return {"by_winner": winner_rows(votes), "agreement": agreement_rows(votes, evaluation.training_votes)}


def _calibration(evaluation: Evaluation) -> dict[str, object]:
    has_before = any(entry.before is not None for entry in evaluation.calibration.values())
    return {
        "series": ["after temperature scaling", "before"] if has_before else ["as the model answers"],
        "charts": calibration_charts(evaluation),
    }


def _robustness(robustness: Robustness) -> dict[str, object]:
    names = " / ".join(head_names(robustness.clean.ferplus is not None))
    clean, mirrored = accuracy_text(robustness.clean), accuracy_text(robustness.mirrored)
    num_strengths = len(robustness.curves[0].accuracies)
    return {
        "lead": f"Accuracy on {robustness.num_pictures:,} pictures, in percent, under each corruption at five "
        "strengths (the first point is the unchanged picture). On average a corruption costs "
        f"{accuracy_text(robustness.mean_drop)} points ({names}); mirroring changes {clean} to {mirrored}.",
        "charts": robustness_charts(robustness),
        "head": ["%", "weak", *[""] * (num_strengths - 2), "strong", "mean loss"],
        "rows": robustness_rows(robustness),
    }


def _explanation(explanation: NetExplanation, manifest: ModelManifest) -> dict[str, object]:
    lead = (
        f"Gradient maps of the trained net ({explanation.source}; {_HEADS[explanation.head]}): where the evidence "
        "for its prediction lies, over the mean of all correctly classified faces and over the most confident ones. "
        "Grad-CAM is coarse; LayerCAM shows single edges."
    )
    if manifest.checkpoint_sha256 not in (None, explanation.checkpoint_sha256):
        lead = "These maps belong to a different net than the model of this report. " + lead
    return {
        "lead": lead,
        "maps": map_pictures(explanation),
        "num_pictures": explanation.num_pictures,
        "kinds": [entry.method for entry in explanation.quality],
        "charts": map_charts(explanation),
        "rows": map_rows(explanation),
        "methods": list(explanation.randomisation),
        "randomisation": randomisation_rows(explanation),
    }


def _facts(content: ReportContent) -> dict[str, str]:
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
        "exact duplicates of training pictures": copies,
        "exact or near duplicates of training photographs": known,
    }
    if evaluation.ferplus is None:
        facts["labels asked of"] = f"{evaluation.label_output}, what events carry"
    else:
        facts["with a FER+ majority among the classes"] = f"{evaluation.num_ferplus:,}; left out: {left_out}"
        facts["FER+ majority is the challenge's label"] = agreement
    return facts


def _limits(evaluation: Evaluation) -> list[str]:
    agreement = evaluation.label_agreement
    limits = [
        "A score estimates how people name the expression in the picture; it does not say what the person feels.",
        "Intervals cover other pictures of the same kind, not other kinds of pictures.",
        "Fairness between groups of people is not measured: the data has no such labels. Assume differences.",
        "Corruptions are synthetic. Real cameras combine several of them at once.",
        "Maps show where evidence lies, not why it counts. Rely on them only where deletion and insertion beat chance.",
    ]
    if agreement is not None:
        limits.insert(
            1,
            f"The challenge's labels and the FER+ majority agree on {agreement:.0%} of the pictures, which bounds what "
            "an accuracy against the challenge's labels can mean.",
        )
    return limits
