"""Update the model card: `python -m training.model_card --data ../shared/data/fer2013 --split publictest`.

The text between the markers of a block is replaced: facts come from the manifests of the model's variants, figures from
measuring the default variant on the data. All other text stays.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from emostream.domain.model_manifest import ModelManifest, load_manifest
from emostream.errors import ConfigError, EmostreamError, ModelUnavailableError
from emostream.vision.classify.packaged_models import PACKAGED_VARIANTS
from training.data.overlap import load_with_overlap
from training.evaluate import add_near_duplicates, evaluate
from training.measure.inference import SHIPPED_MODEL, OnnxModel
from training.measure.robustness import measure_robustness, spread_subset
from training.report.card import markdown_figures

CARD = Path(__file__).parents[2] / "docs" / "model-card.md"
_MADE_BY = "made by python -m training.model_card"


def card_with(text: str, blocks: Mapping[str, str]) -> str:
    """A card with new contents between `<!-- NAME begins … -->` and `<!-- NAME ends -->`; all else stays.

    Raises:
        ConfigError: the card has no such block.
    """
    for name, content in blocks.items():
        found = re.search(rf"<!-- {name} begins.*?-->\n(.*?)<!-- {name} ends -->", text, flags=re.DOTALL)
        if found is None:
            raise ConfigError(
                f"the card has no block {name}: put <!-- {name} begins --> and <!-- {name} ends --> there"
            )
        block = f"<!-- {name} begins, {_MADE_BY} -->\n{content.strip()}\n<!-- {name} ends -->"
        text = text[: found.start()] + block + text[found.end() :]
    return text


def facts(manifests: Sequence[tuple[Path, ModelManifest]]) -> str:
    """What the manifests say: a table of the model, its training data, a table of its variants."""
    manifest = manifests[0][1]
    rows = [
        ("version", manifest.version),
        ("net", manifest.architecture),
        ("crop", f"{manifest.input_size_pixels}×{manifest.input_size_pixels}, gray, uint8"),
        ("licence of the weights", manifest.licence or "not given"),
    ]
    variants = [_variant_row(path, of_variant) for path, of_variant in manifests]
    heads = ": challenge, FER+" if len(manifest.outputs) > 1 else ""
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            "",
            textwrap.fill(f"Training data: {manifest.training_data}.", 100, break_on_hyphens=False),
            "",
            f"| file | arithmetic | size | same answers as FP32 | accuracy loss{heads} | ms per crop |",
            "|---|---|---|---|---|---|",
            *variants,
        ]
    )


def _variant_row(path: Path, manifest: ModelManifest) -> str:
    metrics = manifest.metrics
    arithmetic = manifest.precision.upper() + (" for TensorRT" if manifest.layout == "tensorrt" else "")
    agreement = metrics.get("parity_argmax_agreement")
    names = ("fer2013", "ferplus") if len(manifest.outputs) > 1 else ("",)
    lost = [metrics.get("_".join(filter(None, ("accuracy_drop", name)))) for name in names]
    milliseconds = metrics.get("milliseconds_per_crop_batch8")
    cells = [
        f"`{path.name}`",
        arithmetic,
        f"{path.stat().st_size / 1e6:.1f} MB",
        "–" if agreement is None else f"{100 * agreement:.1f} %",
        ", ".join("–" if value is None else f"{100 * value:.2f} points" for value in lost),
        "–" if milliseconds is None else f"{milliseconds:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def manifests_in(folder: Path) -> list[tuple[Path, ModelManifest]]:
    """The variants in a folder, the default one first.

    Raises:
        ModelUnavailableError: there is none.
        ManifestError: one is damaged.
    """
    paths = [folder / name for name in PACKAGED_VARIANTS.values()]
    found = [(path, load_manifest(path)) for path in paths if path.is_file()]
    if not found:
        raise ModelUnavailableError(f"{folder} holds none of {', '.join(PACKAGED_VARIANTS.values())}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    card: Path = options.card
    try:
        manifests = manifests_in(options.models)
        faces, overlap = load_with_overlap(
            options.data,
            split=options.split,
            class_names=manifests[0][1].labels,
            look=options.near_duplicates,
            show_progress=sys.stderr.isatty(),
        )
        model = OnnxModel(manifests[0][0])
        evaluation = evaluate(faces, model.manifest, model.classify(faces.pictures), overlap=overlap)
        robustness = None
        if options.robustness:
            subset = spread_subset(faces, options.robustness_pictures)
            robustness = measure_robustness(model, subset, show_progress=sys.stderr.isatty())
        blocks = {"facts": facts(manifests), "figures": markdown_figures(evaluation, robustness)}
        if not card.is_file():
            raise ConfigError(f"card {card} does not exist; start from a copy of {CARD.name}")
        card.write_text(card_with(card.read_text(encoding="utf-8"), blocks), encoding="utf-8")
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    print(f"{card}: facts of {len(manifests)} variants, figures of {manifests[0][0].name} on {len(faces)} pictures")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.model_card", description="Update the model card.")
    parser.add_argument("--data", type=Path, required=True, help="as for training.evaluate")
    parser.add_argument("--split", help="as for training.evaluate")
    parser.add_argument("--models", type=Path, default=SHIPPED_MODEL.parent, help="folder of the model's variants")
    parser.add_argument("--card", type=Path, default=CARD, help="Markdown file with the blocks facts and figures")
    add_near_duplicates(parser)
    parser.add_argument("--robustness", action="store_true", help="also measure on corrupted pictures (minutes)")
    parser.add_argument("--robustness-pictures", type=int, metavar="N", help="pictures to measure, spread over the set")
    return parser


if __name__ == "__main__":
    sys.exit(main())
