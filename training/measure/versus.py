"""Two model files on the same pictures: `python -m training.versus runs/rep/emotions.onnx --data … --split held-out`.

Every figure of both, its difference with a 95 % interval over pictures (of paired answers, so it is narrower than the
intervals of the two), and whether the new model may take the other's place: nothing that matters may be worse by more
than `LIMITS` says. Time is that of both in turn in one process, since milliseconds of two runs do not compare.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emostream.domain.model_manifest import ModelManifest
from emostream.errors import EmostreamError
from training.data.face_set import FaceSet
from training.data.labels import CONTEMPT, NO_MAJORITY, majority_mode_labels, vote_distributions
from training.data.load import load_faces
from training.measure.evaluation import asked_and_answered, votes_and_majority
from training.measure.inference import SHIPPED_MODEL, HeadOutputs, OnnxModel, open_session
from training.measure.metrics import Interval, expected_calibration_error

LIMITS = {
    "accuracy": 0.0,
    "recall": -0.02,
    "cross entropy": 0.0,
    "calibration error": 0.005,
    "steadiness": -0.005,
    "time": 0.0,
    "INT8 agreement": 0.985,
}
"""Kind of figure → least or largest difference that is allowed; of agreement the least value."""

_BATCH_SIZE, _NUM_ROUNDS = 8, 40
_SHIFT_PIXELS = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both models.

    Attributes:
        kind: key of `LIMITS`; `votes` for figures that decide nothing.
        name: what was measured.
        reference, new: of each model.
        interval: of the difference, 95 %; None where there is none.
        count: pictures.
        is_share: shown in percent.
        holds: whether the limit is kept; None where there is none.
    """

    kind: str
    name: str
    reference: float
    new: float
    interval: Interval | None = None
    count: int = 0
    is_share: bool = True
    holds: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one model says of the pictures, plain, mirrored, and shifted by a pixel to each side."""

    model: OnnxModel
    plain: HeadOutputs
    varied: tuple[HeadOutputs, ...]


def answers_of(path: Path, faces: FaceSet) -> tuple[FaceSet, Answers]:
    """Run a model; pictures and answers come back in the order of its classes.

    Raises:
        ModelError: the model cannot be used.
    """
    model = OnnxModel(path, num_threads=1)
    variants = (faces.pictures, *varied(faces.pictures))
    asked, plain = asked_and_answered(model.manifest, faces, model.classify(variants[0]))
    others = tuple(asked_and_answered(model.manifest, faces, model.classify(each))[1] for each in variants[1:])
    return asked, Answers(model, plain, others)


def varied(pictures: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """Pictures that should be answered alike: the mirror image, and shifts by one pixel with the edge repeated."""
    yield np.ascontiguousarray(pictures[:, :, ::-1])
    padded = np.pad(pictures, ((0, 0), (_SHIFT_PIXELS,) * 2, (_SHIFT_PIXELS,) * 2), mode="edge")
    height, width = pictures.shape[1:]
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        yield np.ascontiguousarray(padded[:, down : down + height, right : right + width])


def compare(reference: Answers, new: Answers, faces: FaceSet) -> list[Row]:
    """All figures that follow from the answers; `faces` as `answers_of` gives them."""
    votes, majority = votes_and_majority(faces)
    mode = majority_mode_labels(votes)
    readings = [("labels", faces.labels, np.ones(len(faces), np.bool_), "fer2013")]
    if faces.has_votes:
        readings.append(("FER+ plurality", majority, majority != NO_MAJORITY, "ferplus"))
        readings.append(("FER+ majority mode", mode, (mode != NO_MAJORITY) & (mode != CONTEMPT), "ferplus"))
    rows = []
    for name, labels, chosen, head in readings:
        right = [getattr(each.plain, head)[chosen].argmax(axis=1) == labels[chosen] for each in (reference, new)]
        rows.append(_row("accuracy", name, *right))
        if name != "FER+ majority mode":
            for place, word in enumerate(faces.class_names):
                if (of_class := labels[chosen] == place).any():
                    rows.append(_row("recall", f"{name}: {word}", *(each[of_class] for each in right)))
    if faces.has_votes:
        rows += _vote_rows(reference, new, votes, majority)
    for head, question in (("fer2013", "label"), ("ferplus", "vote shares")):
        if head == "ferplus" and not faces.has_votes:
            continue
        errors = [_calibration_error(each, faces, votes, majority, head) for each in (reference, new)]
        rows.append(_plain("calibration error", question, *errors, count=len(faces)))
    for name, those in (("mirrored", slice(0, 1)), ("shifted by a pixel", slice(1, None))):
        same = [_same_answer(each, those) for each in (reference, new)]
        rows.append(_row("steadiness", f"same answer, {name}", *same))
    return rows


def _vote_rows(
    reference: Answers, new: Answers, votes: npt.NDArray[np.float32], majority: npt.NDArray[np.int64]
) -> list[Row]:
    known = majority != NO_MAJORITY
    shares = vote_distributions(votes[known])
    losses = [
        -(shares * np.log(np.clip(each.plain.ferplus[known].astype(np.float64), 1e-12, 1))).sum(axis=1)
        for each in (reference, new)
    ]
    rows = [_row("cross entropy", "to the votes, nats", *losses, is_share=False)]
    winner = np.rint(votes[known].max(axis=1)).astype(np.int64)
    right = [each.plain.ferplus[known].argmax(axis=1) == majority[known] for each in (reference, new)]
    rows += [
        _row("votes", f"FER+ plurality, {count} votes", *(each[winner == count] for each in right))
        for count in np.unique(winner)
    ]
    return rows


def _same_answer(answers: Answers, those: slice) -> npt.NDArray[np.float64]:
    plain = answers.plain.ferplus.argmax(axis=1)
    same = [each.ferplus.argmax(axis=1) == plain for each in answers.varied[those]]
    return np.asarray(np.mean(same, axis=0), dtype=np.float64)


def _calibration_error(
    answers: Answers,
    faces: FaceSet,
    votes: npt.NDArray[np.float32],
    majority: npt.NDArray[np.int64],
    head: str,
) -> float:
    known = majority != NO_MAJORITY if head == "ferplus" else np.ones(len(faces), np.bool_)
    probabilities = getattr(answers.plain, head)[known]
    truth = vote_distributions(votes[known]) if head == "ferplus" else np.eye(len(faces.class_names))[faces.labels]
    told = truth[np.arange(len(truth)), probabilities.argmax(axis=1)]
    return expected_calibration_error(probabilities, told.astype(np.float64))


def _row(
    kind: str,
    name: str,
    reference: npt.NDArray[np.bool_] | npt.NDArray[np.float64],
    new: npt.NDArray[np.bool_] | npt.NDArray[np.float64],
    *,
    is_share: bool = True,
) -> Row:
    """Of one value for each picture and model."""
    differences = new.astype(np.float64) - reference.astype(np.float64)
    mean = float(differences.mean())
    half = 1.96 * float(differences.std(ddof=1)) / np.sqrt(len(differences)) if len(differences) > 1 else 1.0
    row = _plain(kind, name, float(reference.mean()), float(new.mean()), count=len(differences), is_share=is_share)
    return Row(**asdict(row) | {"interval": (mean - half, mean + half)})


def _plain(kind: str, name: str, reference: float, new: float, *, count: int = 0, is_share: bool = False) -> Row:
    return Row(kind, name, reference, new, None, count, is_share, _holds(kind, reference, new))


def _holds(kind: str, reference: float, new: float) -> bool | None:
    limit = LIMITS.get(kind)
    if limit is None:
        return None
    if kind == "INT8 agreement":
        return new >= limit
    if kind in ("cross entropy", "calibration error", "time"):
        return new - reference <= limit + 1e-9
    return new - reference >= limit - 1e-9


def milliseconds_per_crop(paths: Sequence[Path], manifests: Sequence[ModelManifest]) -> list[float]:
    """Processor time of a crop on one thread, in batches of 8, of models that take turns."""
    sessions = [open_session(path, num_threads=1) for path in paths]
    random = np.random.default_rng(0)
    sides = [manifest.input_size_pixels for manifest in manifests]
    crops = [random.integers(0, 256, size=(_BATCH_SIZE, side, side), dtype=np.uint8) for side in sides]
    spent: list[list[float]] = [[] for _ in paths]
    for _ in range(_NUM_ROUNDS):
        for place, session in enumerate(sessions):
            started = time.process_time()
            session.run(None, {manifests[place].input_name: crops[place]})
            spent[place].append(time.process_time() - started)
    return [1000 * float(np.median(each)) / _BATCH_SIZE for each in spent]


def measure(new: Path, reference: Path, faces: FaceSet) -> list[Row]:
    """Every figure of both model files on these pictures.

    Raises:
        ModelError: a model cannot be used.
    """
    asked, theirs = answers_of(reference, faces)
    _, ours = answers_of(new, faces)
    manifests = [theirs.model.manifest, ours.model.manifest]
    rows = compare(theirs, ours, asked)
    rows.append(_plain("time", "ms per crop", *milliseconds_per_crop((reference, new), manifests)))
    rows.append(_plain("size", "MB", reference.stat().st_size / 1e6, new.stat().st_size / 1e6))
    agreements = [manifest.metrics.get("parity_argmax_agreement") for manifest in manifests]
    if agreements[1] is not None:
        before = float("nan") if agreements[0] is None else agreements[0]
        rows.append(_plain("INT8 agreement", "same answers as FP32", before, agreements[1], is_share=True))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code is 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(prog="python -m training.versus", description="Compare two model files.")
    parser.add_argument("new", type=Path, help="ONNX file with its manifest beside it")
    parser.add_argument("--reference", type=Path, default=SHIPPED_MODEL, help="another one; default: the shipped one")
    parser.add_argument("--data", type=Path, required=True, help="as for training.evaluate")
    parser.add_argument("--split", help="as for training.evaluate")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    try:
        faces = load_faces(options.data, split=options.split)
        rows = measure(options.new, options.reference, faces)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    missed = [f"{row.kind}, {row.name}" for row in rows if row.holds is False]
    if options.json:
        content: dict[str, Any] = {"rows": [asdict(row) for row in rows], "missed": missed}
        print(json.dumps(content, indent=2))
    else:
        _print(rows, missed)
    return int(bool(missed))


def _print(rows: Sequence[Row], missed: Sequence[str]) -> None:
    console = Console(highlight=False)
    table = Table("", "pictures", "reference", "new", "difference (95 % interval)", "limit", box=box.SIMPLE)
    for row in rows:
        table.add_row(
            escape(f"{row.kind}, {row.name}"),
            str(row.count) if row.count else "",
            _told(row.reference, row),
            _told(row.new, row),
            _difference(row),
            {True: "kept", False: "MISSED", None: ""}[row.holds],
        )
    console.print(table)
    console.print("every limit is kept" if not missed else f"not kept: {escape('; '.join(missed))}")


def _told(value: float, row: Row) -> str:
    return f"{100 * value:.2f} %" if row.is_share else f"{value:.4f}"


def _difference(row: Row) -> str:
    factor, digits = (100, 2) if row.is_share else (1, 4)
    if row.kind in ("time", "size"):
        return f"× {row.new / row.reference:.2f}"
    told = f"{factor * (row.new - row.reference):+.{digits}f}"
    if row.interval is None:
        return told
    return f"{told} ({factor * row.interval[0]:+.{digits}f} … {factor * row.interval[1]:+.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
