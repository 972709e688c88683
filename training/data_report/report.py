"""The page of a data report: statistics, and pictures to judge them by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from emostream.render.html import render_page
from training.config import AugmentConfig
from training.data.face_set import FaceSet
from training.data.labels import FERPLUS_COLUMNS, NO_MAJORITY, majority_labels, vote_distributions
from training.data_report import plots
from training.data_report.sheets import (
    augmentation_sheet,
    augmentation_steps,
    class_sheet,
    contact_sheet,
    mixing_sheet,
    pair_sheet,
    png_bytes,
)
from training.data_report.statistics import (
    QUANTILES,
    DataStatistics,
    Duplicates,
    LabelAgreement,
    measures,
    vote_entropy_bits,
)

_UNITS = {
    "brightness": "mean level of 255",
    "contrast": "standard deviation, levels of 255",
    "sharpness": "variance of the Laplacian",
}
_SHEET_COLUMNS = 14


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture of the page.

    Attributes:
        file: PNG.
        caption: below it.
        title: read out; empty where that is the caption.
    """

    file: bytes
    caption: str
    title: str = ""


def report_page(
    name: str,
    splits: Mapping[str, FaceSet],
    statistics: DataStatistics,
    duplicates: Duplicates,
    *,
    augment: AugmentConfig,
    seed: int = 0,
) -> str:
    """The whole page as HTML; pictures are drawn by the seed."""
    found = statistics.agreement
    return render_page(
        "training.data_report",
        "report.html",
        name=name,
        statistics=statistics,
        tiles=_tiles(statistics),
        balance=_balance(statistics),
        shared_rows=[
            [pair.of_split, pair.in_split, f"{pair.exact:,}", f"{pair.same:,}"] for pair in statistics.duplicates.shared
        ],
        pairs=list(_pair_sheets(duplicates, seed=seed)),
        agreement=None if found is None else _agreement(found, splits, duplicates.faces, seed=seed),
        levels=_levels(splits, statistics, duplicates.faces),
        classes=_classes(splits, seed=seed),
        augmentation=_augmentation(next(iter(splits.values())), augment, seed=seed),
    )


def _tiles(statistics: DataStatistics) -> list[tuple[str, str]]:
    """(value, what it is) in large type."""
    total = sum(split.num_pictures for split in statistics.splits.values())
    shares = [f"{split.num_pictures:,} {name}" for name, split in statistics.splits.items()]
    found = statistics.duplicates
    figures = [
        (f"{total:,}", "pictures: " + ", ".join(shares)),
        (f"{found.num_exact_copies:,}", "are exact duplicates of an earlier one"),
        (
            f"{found.num_grouped_pictures:,}",
            f"show one of {found.num_groups:,} photographs that are there more than once",
        ),
    ]
    if statistics.agreement is not None:
        figures.append((f"{100 * statistics.agreement.share:.1f} %", "of labels agree with the majority of the votes"))
    return figures


def _balance(statistics: DataStatistics) -> dict[str, object]:
    counts = [split.class_counts for split in statistics.splits.values()]
    total = {emotion: sum(count[emotion] for count in counts) for emotion in counts[0]}
    rarest, commonest = min(total, key=total.__getitem__), max(total, key=total.__getitem__)
    is_known = any(split.num_subjects is not None for split in statistics.splits.values())
    return {
        "commonest": commonest,
        "rarest": rarest,
        "ratio": total[commonest] / max(total[rarest], 1),
        "plot": Figure(
            plots.class_balance(statistics), caption="Share of each class in each split; numbers are pictures."
        ),
        "head": ["split", *total, "all", "blank", *(["people"] if is_known else [])],
        "rows": [
            [
                name,
                *(f"{split.class_counts[emotion]:,}" for emotion in total),
                f"{split.num_pictures:,}",
                f"{split.num_blank}",
                *(["–" if split.num_subjects is None else f"{split.num_subjects:,}"] if is_known else []),
            ]
            for name, split in statistics.splits.items()
        ],
    }


def _pair_sheets(found: Duplicates, *, seed: int) -> Iterator[Figure]:
    pairs, labels = found.near.places, found.faces.labels
    differs = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    weakest = np.argsort(found.near.similarity)[:28]
    kinds = [
        ("Pairs found, drawn at random.", pairs[~found.near.mirrored]),
        ("Mirrored pairs.", pairs[found.near.mirrored]),
        ("Pairs with different labels.", pairs[differs]),
        ("The least similar pairs that still count as duplicates; errors are most likely here.", pairs[weakest]),
    ]
    for caption, chosen in kinds:
        if len(chosen):
            yield Figure(png_bytes(pair_sheet(found.faces, chosen, num=28, columns=7, seed=seed)), caption)


def _agreement(found: LabelAgreement, splits: Mapping[str, FaceSet], faces: FaceSet, *, seed: int) -> dict[str, object]:
    entropy = {name: vote_entropy_bits(faces) for name, faces in splits.items() if faces.votes is not None}
    return {
        "num_others": sum(row[-1] for row in found.matrix),
        "matrix": Figure(
            plots.agreement(found), caption="Each row is one label: which emotion most people see in its pictures."
        ),
        "entropy": Figure(
            plots.histograms("How much people disagree", entropy, unit="entropy of the votes for the classes, bits"),
            caption="0 where all agree, 1 where two emotions share the votes; "
            f"{found.mean_entropy_bits:.2f} on average.",
        ),
        "doubtful": list(_doubtful(faces, seed=seed)),
    }


def _doubtful(faces: FaceSet, *, seed: int) -> Iterator[Figure]:
    if faces.votes is None:
        return
    majority = faces.votes.argmax(axis=1)
    voted = majority_labels(faces.votes)
    for_label = vote_distributions(faces.votes)[np.arange(len(faces)), faces.labels]
    clear = faces.votes.max(axis=1) >= 0.8 * faces.votes.sum(axis=1)
    kinds = [
        ("Most people say: not a face", majority == FERPLUS_COLUMNS.index("NF")),
        (
            "Eight of ten people agree, and no one voted for the label",
            (voted != NO_MAJORITY) & clear & (for_label == 0),
        ),
    ]
    for caption, chosen in kinds:
        places = np.flatnonzero(chosen & ~faces.blank)
        if len(places):
            shown = np.sort(np.random.default_rng(seed).permutation(places)[: 2 * _SHEET_COLUMNS])
            sheet = contact_sheet(faces.pictures[shown], columns=_SHEET_COLUMNS)
            yield Figure(png_bytes(sheet), f"{caption}: {len(places):,} pictures.")


def _levels(splits: Mapping[str, FaceSet], statistics: DataStatistics, faces: FaceSet) -> dict[str, object]:
    values = {name: measures(part) for name, part in splits.items()}
    histograms = [
        Figure(
            plots.histograms(
                name,
                {split: measured[name] for split, measured in values.items()},
                unit=unit,
                is_logarithmic=name == "sharpness",
            ),
            caption=", ".join(
                f"{split}: median {numbers.quantiles[name][QUANTILES.index(0.5)]:.0f}"
                for split, numbers in statistics.splits.items()
            ),
            title=f"histogram of {name}",
        )
        for name, unit in _UNITS.items()
    ]
    extremes = []
    measured = measures(faces)
    kept = np.flatnonzero(~faces.blank)
    for name, low, high in (("brightness", "darkest", "brightest"), ("sharpness", "least sharp", "sharpest")):
        order = kept[np.argsort(measured[name][kept], kind="stable")]
        for what, places in ((low, order[:_SHEET_COLUMNS]), (high, order[::-1][:_SHEET_COLUMNS])):
            sheet = contact_sheet(faces.pictures[places], columns=_SHEET_COLUMNS)
            extremes.append(Figure(png_bytes(sheet), f"The {what}."))
    return {"histograms": histograms, "num_blank": int(faces.blank.sum()), "extremes": extremes}


def _classes(splits: Mapping[str, FaceSet], *, seed: int) -> dict[str, object]:
    name, faces = max(splits.items(), key=lambda item: len(item[1]))
    sheets = [
        Figure(
            png_bytes(class_sheet(faces, emotion, num=3 * _SHEET_COLUMNS, columns=_SHEET_COLUMNS, seed=seed)),
            caption=f"{label}: {int((faces.labels == emotion).sum()):,} pictures",
        )
        for emotion, label in enumerate(faces.class_names)
        if (faces.labels == emotion).any()
    ]
    return {"split": name, "sheets": sheets}


def _augmentation(faces: FaceSet, config: AugmentConfig, *, seed: int) -> dict[str, object] | None:
    """None where there is no picture to show it on."""
    places = np.flatnonzero(~faces.blank)
    chosen = faces.pictures[np.sort(np.random.default_rng(seed).permutation(places)[:_SHEET_COLUMNS])]
    if not len(chosen):
        return None
    everything = augmentation_sheet(chosen[:6], config, columns=_SHEET_COLUMNS, seed=seed)
    means = chosen.reshape(len(chosen), -1).mean(axis=1)
    typical = chosen[np.abs(means - np.median(means)).argmin()]
    alone = augmentation_steps(typical, config, columns=_SHEET_COLUMNS, seed=seed) | mixing_sheet(
        chosen, config, seed=seed
    )
    return {
        "everything": Figure(png_bytes(everything), "All kinds together."),
        "kinds": [Figure(png_bytes(sheet), name) for name, sheet in alone.items()],
    }
