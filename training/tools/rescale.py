"""Recalibrate the FER+ head of finished model files, without the trained net:

`python -m training.tools.rescale --models emostream/models --data ../shared/data/fer2013 --split publictest`

The temperature and the shifts of the head are fitted to the votes of the tenth of the split `training` that runs keep
apart by default, so that the split that is measured has no part in them. All variants in the folder get the same
scaling; their weights and the challenge head stay as they are. Before any file is written, each variant has proved that
it answers what it answered before, scaled so. What stands in the manifests is measured again.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import ModelManifest, manifest_path_for, save_manifest, sha256_of
from emostream.errors import ConfigError, EmostreamError, ManifestError
from emostream.vision.classify.packaged_models import PACKAGED_VARIANTS
from training.convert.onnx_graph import set_metadata
from training.convert.parity import accuracy_drop, compare_heads, require_same_model
from training.convert.scaled_graph import with_scalings
from training.convert.trained_model import scalings_digest
from training.data.face_set import FaceSet
from training.data.labels import majority_labels, vote_distributions
from training.data.load import HELD_OUT, TRAINING_SPLIT, load_faces
from training.data.overlap import TrainingOverlap, load_with_overlap
from training.evaluate import add_near_duplicates
from training.export import evaluation_figures
from training.measure.evaluation import Evaluation, asked_and_answered, evaluate
from training.measure.inference import SHIPPED_MODEL, HeadOutputs, OnnxModel
from training.measure.scalings import HeadScalings, probabilities_at, scaling_of
from training.measure.temperature import Fit, fit_distribution, fit_temperature, logits_from_probabilities
from training.tools.model_card import manifests_in

_MAX_DIFFERENCE = 1e-4
"""Of a probability, from the old answer with the new scaling: float32 through a softmax and back."""
_KEPT_METRICS = ("temperature_fer2013", "cross_fitted_ece", "largest_half_value", "milliseconds_per_crop_batch8")
"""Of the manifest as it was: what another scaling of the FER+ head does not change."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What is fitted to, and what every variant is measured on.

    Attributes:
        fitted: with votes.
        measured: the split that the figures are of.
        split: its name, for the manifest.
        overlap: what it shares with the split `training`, where that was looked for.
    """

    fitted: FaceSet
    measured: FaceSet
    split: str
    overlap: TrainingOverlap | None


@dataclass(frozen=True, slots=True, eq=False)
class RescaledVariant:
    """One variant with its new scaling.

    Attributes:
        path: of the ONNX file; its manifest lies beside it.
        manifest: what stands there.
        evaluation: on the measured pictures.
        answers: to them.
    """

    path: Path
    manifest: ModelManifest
    evaluation: Evaluation
    answers: HeadOutputs


def rescale(
    models: Path, out: Path, pictures: Pictures, *, has_shifts: bool = True, note: str = ""
) -> list[RescaledVariant]:
    """Write all variants of a folder with a new scaling of the FER+ head: all, or none when one fails its proof.

    Args:
        models: folder with the FP32 variant, on which the scaling is fitted, and any others.
        out: folder to write; may be the same.
        pictures: to fit to and to measure on.
        has_shifts: fit a shift for each class beside the temperature.
        note: note on how the model was chosen, added to the manifests.

    Raises:
        ModelUnavailableError: the folder has no model.
        ManifestError: a variant is damaged, does not tell its scaling, or would answer something else.
        ConfigError: there is no FP32 variant, or there are no votes to fit to.
    """
    variants = manifests_in(models)
    reference = next((variant for variant in variants if variant[0].name == PACKAGED_VARIANTS["fp32"]), None)
    if reference is None:
        raise ConfigError(f"{models} has no {PACKAGED_VARIANTS['fp32']}, the variant that a scaling is fitted on")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rescale-", dir=out) as name:
        folder = Path(name)
        fit = fit_distribution if has_shifts else fit_temperature
        scalings = _fit(*reference, pictures.fitted, folder, fit=fit)
        exact = _rescaled(*reference, scalings, pictures, folder, note=note)
        others = [variant for variant in variants if variant is not reference]
        rescaled = [
            exact,
            *(_compared(_rescaled(*variant, scalings, pictures, folder, note=note), exact) for variant in others),
        ]
        return [_moved(variant, out) for variant in rescaled]


def _fit(path: Path, manifest: ModelManifest, faces: FaceSet, folder: Path, *, fit: Fit) -> HeadScalings:
    if len(manifest.outputs) != 2 or set(manifest.labels) != set(EMOTIONS):
        raise ManifestError(
            f"{path} has no FER+ head to scale: expected two outputs over {', '.join(EMOTIONS)}, got "
            f"{', '.join(manifest.outputs)} over {', '.join(manifest.labels)}"
        )
    fer2013 = scaling_of(manifest.metrics, "fer2013")
    if fer2013 is None:
        raise ManifestError(f"the manifest of {path} does not tell the temperature of its challenge head")
    if faces.votes is None or not (known := majority_labels(faces.votes) >= 0).any():
        raise ConfigError("the pictures to fit to have no FER+ votes")
    logits = _logits(path, manifest, faces, folder).ferplus[known]
    return HeadScalings(ferplus=fit(logits, vote_distributions(faces.votes)[known]), fer2013=fer2013)


def _rescaled(
    path: Path, manifest: ModelManifest, scalings: HeadScalings, pictures: Pictures, folder: Path, *, note: str
) -> RescaledVariant:
    """One variant, saved in the folder and proved."""
    version = f"{manifest.version.rsplit('-', 1)[0]}-{scalings_digest(manifest.checkpoint_sha256 or '', scalings)}"
    graph = with_scalings(onnx.load(path), scalings)
    set_metadata(graph, {"version": version})
    changed = {"version": version, "training_data": _told(manifest.training_data, note=note)}
    written = _save(graph, manifest.model_copy(update=changed), folder / path.name)
    answers = _answers(folder / path.name, pictures.measured)
    expected = probabilities_at(_logits(path, manifest, pictures.measured, folder), scalings)
    difference = compare_heads(expected, _in_order(manifest, pictures.measured, answers)).max_difference
    if not difference <= _MAX_DIFFERENCE:
        raise ManifestError(
            f"{path} with another scaling: expected its answers, scaled so, got probabilities that differ by up to "
            f"{difference:.2g}"
        )
    evaluation = evaluate(pictures.measured, written, answers, overlap=pictures.overlap)
    metrics = {
        **evaluation_figures(pictures.split, evaluation),
        **{name: manifest.metrics[name] for name in _KEPT_METRICS if name in manifest.metrics},
        "temperature_ferplus": scalings.ferplus.temperature,
        **{
            f"shift_ferplus_{emotion}": shift for emotion, shift in zip(EMOTIONS, scalings.ferplus.shifts, strict=False)
        },
    }
    return _with_metrics(RescaledVariant(folder / path.name, written, evaluation, answers), metrics)


def _compared(variant: RescaledVariant, exact: RescaledVariant) -> RescaledVariant:
    """The variant with its distance from FP32 in its manifest, as an export has that from the trained net."""
    parity, drop = compare_heads(exact.answers, variant.answers), accuracy_drop(exact.evaluation, variant.evaluation)
    require_same_model(
        parity,
        drop,
        precision=variant.manifest.precision,
        what=f"the variant {variant.path.name}",
        num_ferplus=variant.evaluation.num_ferplus,
    )
    figures = {f"parity_{name}": float(value) for name, value in dataclasses.asdict(parity).items()}
    figures |= {f"accuracy_drop_{name}": float(value) for name, value in dataclasses.asdict(drop).items()}
    return _with_metrics(variant, variant.manifest.metrics | figures)


def _with_metrics(variant: RescaledVariant, metrics: dict[str, float]) -> RescaledVariant:
    manifest = variant.manifest.model_copy(update={"metrics": metrics})
    save_manifest(manifest, model_path=variant.path)
    return dataclasses.replace(variant, manifest=manifest)


def _logits(path: Path, manifest: ModelManifest, faces: FaceSet, folder: Path) -> HeadOutputs:
    """Of both heads, in the order of `EMOTIONS`, each row up to a number added to all of it."""
    plain = folder / "plain" / path.name
    plain.parent.mkdir(exist_ok=True)
    _save(with_scalings(onnx.load(path), HeadScalings()), manifest, plain)
    outputs = _in_order(manifest, faces, _answers(plain, faces))
    heads = (logits_from_probabilities(head) for head in (outputs.ferplus, outputs.fer2013))
    return HeadOutputs(*(np.asarray(head, dtype=np.float32) for head in heads))


def _in_order(manifest: ModelManifest, faces: FaceSet, outputs: HeadOutputs) -> HeadOutputs:
    return asked_and_answered(manifest, faces, outputs)[1]


def _answers(path: Path, faces: FaceSet) -> HeadOutputs:
    # One thread: the order of additions, and so the last digit, is the same on every machine of this kind.
    return OnnxModel(path, num_threads=1).classify(faces.pictures)


def _save(graph: onnx.ModelProto, manifest: ModelManifest, path: Path) -> ModelManifest:
    onnx.save(graph, path)
    written = manifest.model_copy(update={"sha256": sha256_of(path)})
    save_manifest(written, model_path=path)
    return written


def _moved(variant: RescaledVariant, out: Path) -> RescaledVariant:
    target = out / variant.path.name
    variant.path.replace(target)
    manifest_path_for(variant.path).replace(manifest_path_for(target))
    return dataclasses.replace(variant, path=target)


def _told(training_data: str, *, note: str) -> str:
    """What an export said of the training, with another ending about the scaling."""
    begun, _, scaled = training_data.partition("; logits")
    found = re.search(r"fitted on ([^,;]+)", scaled)
    return (
        f"{begun}; logits of the FER+ head scaled to the votes of a tenth of {TRAINING_SPLIT}, those of the challenge "
        f"head by what was fitted on {found[1] if found else 'the validation data'}{f'; {note}' if note else ''}"
    )


def load_pictures(data: Path, *, split: str, look: bool | None = None, show_progress: bool = False) -> Pictures:
    """The tenth of the split `training` that runs keep apart by default, and the split to measure on.

    Raises:
        SourceRejectedError: the data cannot be used.
        ConfigError: it has not these splits.
    """
    if split in (TRAINING_SPLIT, HELD_OUT):
        raise ConfigError(f"--split {split} holds the pictures that are fitted to: measure on another one")
    tenth = load_faces(data, split=HELD_OUT)
    measured, overlap = load_with_overlap(data, split=split, look=look, show_progress=show_progress)
    return Pictures(tenth, measured, split, overlap)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        pictures = load_pictures(
            options.data, split=options.split, look=options.near_duplicates, show_progress=sys.stderr.isatty()
        )
        variants = rescale(
            options.models, options.out or options.models, pictures, has_shifts=options.shifts, note=options.note
        )
    except EmostreamError as exc:
        print(f"error: {exc}; nothing was written", file=sys.stderr)
        return exc.exit_code
    for variant in variants:
        print(f"{variant.path}: {variant.manifest.precision}, {variant.manifest.name} {variant.manifest.version}")
        for name, value in variant.manifest.metrics.items():
            print(f"  {name:45} {value:.4f}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.tools.rescale", description="Recalibrate the FER+ head.")
    parser.add_argument("--models", type=Path, default=SHIPPED_MODEL.parent, help="folder of the model's variants")
    parser.add_argument("--out", type=Path, help="folder to write; default: the same")
    parser.add_argument("--data", type=Path, required=True, help="as for training.evaluate, with a split training")
    parser.add_argument("--split", default="publictest", help="split to measure on; default: publictest")
    parser.add_argument(
        "--shifts",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fit a shift for each class beside the temperature (default), or the temperature alone",
    )
    parser.add_argument("--note", default="", help="note on how the model was chosen, added to the manifests")
    add_near_duplicates(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
