"""Measure a model: `python -m training.evaluate --data ../shared/data/fer2013 --split publictest [--report out.html]`.

What is measured is described in `training.measure.evaluation`, `training.measure.vote_figures`,
`training.measure.calibration` and `training.measure.robustness`. Where the data has a split `training` and another one
is measured, the photographs that both have are found and a row of figures does without them. A report is one HTML file
that asks no host for anything; it holds pictures of the data set, so mind their licence.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from emostream.errors import EmostreamError
from training.data.face_set import FaceSet
from training.data.overlap import load_with_overlap
from training.explain.folder import load_explanation
from training.measure.evaluation import Evaluation, asked_and_answered, evaluate
from training.measure.inference import SHIPPED_MODEL, OnnxModel
from training.measure.robustness import measure_robustness, spread_subset
from training.measure.robustness_figures import Robustness
from training.measure.tables import print_evaluation, print_robustness
from training.report import ReportContent, write_report
from training.report.card import markdown_figures

__all__ = ["SHIPPED_MODEL", "Evaluation", "evaluate", "evaluate_model", "main"]


def evaluate_model(model_path: Path, faces: FaceSet, *, show_progress: bool = False) -> Evaluation:
    """Run a model over a set and measure it.

    Raises:
        ModelError: the model cannot be used.
    """
    model = OnnxModel(model_path)
    return evaluate(faces, model.manifest, model.classify(faces.pictures, show_progress=show_progress))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description="Measure a model on a data set.")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of contact sheets, fer2013.csv, folder of class folders, or .npz (images, label[, votes])",
    )
    parser.add_argument(
        "--split",
        help="training, publictest, …, held-out (the tenth of training that runs keep apart by default) or all; needed "
        "where the data has several splits",
    )
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="ONNX file with its manifest beside it")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    form.add_argument("--markdown", action="store_true", help="print the figures of a model card instead of tables")
    parser.add_argument("--report", type=Path, metavar="HTML", help="also write an HTML report")
    add_near_duplicates(parser)
    parser.add_argument(
        "--robustness",
        action=argparse.BooleanOptionalAction,
        help="also measure on corrupted pictures (minutes); default: only for a report",
    )
    parser.add_argument("--robustness-pictures", type=int, metavar="N", help="pictures to measure, spread over the set")
    parser.add_argument(
        "--explanation", type=Path, metavar="FOLDER", help="folder that `training.explain` wrote, shown in the report"
    )
    return parser


def add_near_duplicates(parser: argparse.ArgumentParser) -> None:
    """The option of `load_with_overlap`."""
    parser.add_argument(
        "--near-duplicates",
        action=argparse.BooleanOptionalAction,
        help="figures without pictures whose photograph is in the split training, exactly or nearly (5 seconds on "
        "FER2013); by default where the data has that split beside the measured one, up to 100,000 pictures",
    )


def _run(options: argparse.Namespace) -> None:
    is_watched = sys.stderr.isatty()
    explanation = None if options.explanation is None else load_explanation(options.explanation)
    model = OnnxModel(options.model)
    faces, overlap = load_with_overlap(
        options.data,
        split=options.split,
        class_names=model.manifest.labels,
        look=options.near_duplicates,
        show_progress=is_watched,
    )
    outputs = model.classify(faces.pictures, show_progress=is_watched)
    evaluation = evaluate(faces, model.manifest, outputs, overlap=overlap)
    wants_robustness = options.report is not None if options.robustness is None else options.robustness
    robustness = None
    if wants_robustness:
        subset = spread_subset(faces, options.robustness_pictures)
        robustness = measure_robustness(model, subset, show_progress=is_watched)
    if options.report is not None:
        asked, answered = asked_and_answered(model.manifest, faces, outputs)
        content = ReportContent(
            manifest=model.manifest,
            data_name=" ".join(filter(None, [options.data.name, options.split])),
            faces=asked,
            outputs=answered,
            evaluation=evaluation,
            robustness=robustness,
            explanation=explanation,
            made_on=datetime.now(UTC).date(),
        )
        write_report(content, options.report)
        print(f"report: {options.report}", file=sys.stderr)
    _print(evaluation, robustness, options)


def _print(evaluation: Evaluation, robustness: Robustness | None, options: argparse.Namespace) -> None:
    if options.json:
        content = evaluation.as_dict()
        if robustness is not None:
            content["robustness"] = robustness.as_dict()
        print(json.dumps(content, indent=2))
    elif options.markdown:
        print(markdown_figures(evaluation, robustness), end="")
    else:
        print_evaluation(evaluation)
        if robustness is not None:
            print_robustness(robustness)


if __name__ == "__main__":
    sys.exit(main())
