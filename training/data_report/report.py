"""The page of a data report: what the numbers say, with pictures to judge them by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

import numpy as np

from emostream.render.report.html import page, section, table
from training.config import AugmentConfig
from training.data.face_set import FaceSet
from training.data.labels import FERPLUS_COLUMNS, NO_MAJORITY, majority_labels, vote_distributions
from training.data_report import plots
from training.data_report.page import STYLE_FILE, paragraph, picture, row, subheading, tiles
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
    DuplicateStatistics,
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
    parts = [
        _summary(statistics),
        _balance(statistics),
        _duplicates(statistics.duplicates, duplicates, seed=seed),
    ]
    if statistics.agreement is not None:
        parts.append(_agreement(statistics.agreement, splits, duplicates.faces, seed=seed))
    parts += [_levels(splits, statistics, duplicates.faces), _classes(splits, seed=seed)]
    parts.append(_augmentation(next(iter(splits.values())), augment, seed=seed))
    title = f"Data report: {name}"
    style = STYLE_FILE.read_text(encoding="utf-8")
    return page(title=title, sections=[f"<h1>{escape(title)}</h1>", *parts], style=style)


def _summary(statistics: DataStatistics) -> str:
    total = sum(split.num_pictures for split in statistics.splits.values())
    shares = [f"{split.num_pictures:,} {name}" for name, split in statistics.splits.items()]
    found = statistics.duplicates
    figures = [
        (f"{total:,}", "pictures: " + ", ".join(shares)),
        (f"{found.num_exact_copies:,}", "are equal to an earlier one"),
        (
            f"{found.num_grouped_pictures:,}",
            f"show one of {found.num_groups:,} photographs that are there more than once",
        ),
    ]
    if statistics.agreement is not None:
        figures.append((f"{100 * statistics.agreement.share:.1f} %", "of labels agree with the majority of the votes"))
    return tiles(figures)


def _balance(statistics: DataStatistics) -> str:
    counts = [split.class_counts for split in statistics.splits.values()]
    total = {emotion: sum(count[emotion] for count in counts) for emotion in counts[0]}
    rarest, commonest = min(total, key=total.__getitem__), max(total, key=total.__getitem__)
    ratio = total[commonest] / max(total[rarest], 1)
    is_known = any(split.num_subjects is not None for split in statistics.splits.values())
    return section(
        "Class balance",
        paragraph(f"{commonest} is {ratio:.1f} times as frequent as {rarest}."),
        picture(plots.class_balance(statistics), caption="Share of each class in each split; numbers are pictures."),
        table(
            ["split", *total, "all", "of one level", *(["people"] if is_known else [])],
            [
                [
                    name,
                    *(f"{split.class_counts[emotion]:,}" for emotion in total),
                    f"{split.num_pictures:,}",
                    f"{split.num_blank}",
                    *(["–" if split.num_subjects is None else f"{split.num_subjects:,}"] if is_known else []),
                ]
                for name, split in statistics.splits.items()
            ],
        ),
    )


def _duplicates(numbers: DuplicateStatistics, found: Duplicates, *, seed: int) -> str:
    parts = [
        paragraph(
            f"{numbers.num_exact_copies:,} pictures have the same bytes as an earlier one. {numbers.num_near_pairs:,} "
            "further pairs are the same photograph, cut, lit or marked differently "
            f"({numbers.num_mirrored_pairs:,} of them mirrored). Together they make {numbers.num_groups:,} groups with "
            f"{numbers.num_grouped_pictures:,} pictures; the largest has {numbers.largest_group}."
        ),
        paragraph(
            f"{numbers.num_mixed_groups:,} groups with {numbers.num_mixed_pictures:,} pictures have different labels "
            "for the same photograph."
        ),
    ]
    if numbers.num_shared_subjects is not None:
        parts.append(paragraph(f"{numbers.num_shared_subjects:,} people are in more than one split."))
    if numbers.shared:
        parts += [
            subheading("Across splits"),
            table(
                ["pictures of", "that are in", "equal", "the same photograph"],
                [[pair.of_split, pair.in_split, f"{pair.exact:,}", f"{pair.same:,}"] for pair in numbers.shared],
            ),
        ]
    parts += list(_pair_sheets(found, seed=seed))
    return section("Duplicates", *parts)


def _pair_sheets(found: Duplicates, *, seed: int) -> Iterator[str]:
    pairs, labels = found.near.places, found.faces.labels
    differs = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    weakest = np.argsort(found.near.similarity)[:28]
    kinds = [
        ("Pairs found, drawn at random.", pairs[~found.near.mirrored]),
        ("Mirrored pairs.", pairs[found.near.mirrored]),
        ("Pairs with different labels.", pairs[differs]),
        ("The least similar pairs that still count: here errors would be.", pairs[weakest]),
    ]
    for caption, chosen in kinds:
        if len(chosen):
            yield picture(png_bytes(pair_sheet(found.faces, chosen, num=28, columns=7, seed=seed)), caption=caption)


def _agreement(found: LabelAgreement, splits: Mapping[str, FaceSet], faces: FaceSet, *, seed: int) -> str:
    entropy = {name: vote_entropy_bits(faces) for name, faces in splits.items() if faces.votes is not None}
    nobody = sum(row[-1] for row in found.matrix)
    return section(
        "Agreement of labels and votes",
        paragraph(
            f"On {100 * found.share:.1f} % of the pictures on which most people see one of the classes, that is the "
            f"label. On {nobody:,} further ones most people see contempt, something unknown or no face."
        ),
        picture(
            plots.agreement(found), caption="Each row is one label: which emotion most people see in its pictures."
        ),
        row(
            picture(
                plots.histograms(
                    "How much people disagree", entropy, unit="entropy of the votes for the classes, bits"
                ),
                caption="0 where all agree, 1 where two emotions share the votes; "
                f"{found.mean_entropy_bits:.2f} on average.",
            )
        ),
        *_doubtful(faces, seed=seed),
    )


def _doubtful(faces: FaceSet, *, seed: int) -> Iterator[str]:
    if faces.votes is None:
        return
    majority = faces.votes.argmax(axis=1)
    voted = majority_labels(faces.votes)
    for_label = vote_distributions(faces.votes)[np.arange(len(faces)), faces.labels]
    clear = faces.votes.max(axis=1) >= 0.8 * faces.votes.sum(axis=1)
    kinds = [
        ("Most people say: not a face", majority == FERPLUS_COLUMNS.index("NF")),
        (
            "Eight of ten people agree, and nobody sees what the label says",
            (voted != NO_MAJORITY) & clear & (for_label == 0),
        ),
    ]
    for caption, chosen in kinds:
        places = np.flatnonzero(chosen & ~faces.blank)
        if len(places):
            shown = np.sort(np.random.default_rng(seed).permutation(places)[: 2 * _SHEET_COLUMNS])
            sheet = contact_sheet(faces.pictures[shown], columns=_SHEET_COLUMNS)
            yield picture(png_bytes(sheet), caption=f"{caption}: {len(places):,} pictures.")


def _levels(splits: Mapping[str, FaceSet], statistics: DataStatistics, faces: FaceSet) -> str:
    values = {name: measures(part) for name, part in splits.items()}
    figures = [
        picture(
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
            alternative=f"histogram of {name}",
        )
        for name, unit in _UNITS.items()
    ]
    parts = [row(*figures)]
    if faces.blank.any():
        parts.append(paragraph(f"{int(faces.blank.sum())} pictures have one single level; training leaves them out."))
    measured = measures(faces)
    kept = np.flatnonzero(~faces.blank)
    for name, low, high in (("brightness", "darkest", "brightest"), ("sharpness", "least sharp", "sharpest")):
        order = kept[np.argsort(measured[name][kept], kind="stable")]
        for what, places in ((low, order[:_SHEET_COLUMNS]), (high, order[::-1][:_SHEET_COLUMNS])):
            sheet = contact_sheet(faces.pictures[places], columns=_SHEET_COLUMNS)
            parts.append(picture(png_bytes(sheet), caption=f"The {what}."))
    return section("Brightness, contrast and sharpness", *parts)


def _classes(splits: Mapping[str, FaceSet], *, seed: int) -> str:
    name, faces = max(splits.items(), key=lambda item: len(item[1]))
    sheets = [
        picture(
            png_bytes(class_sheet(faces, emotion, num=3 * _SHEET_COLUMNS, columns=_SHEET_COLUMNS, seed=seed)),
            caption=f"{label}: {int((faces.labels == emotion).sum()):,} pictures",
        )
        for emotion, label in enumerate(faces.class_names)
        if (faces.labels == emotion).any()
    ]
    return section("Classes", paragraph(f"Drawn at random from {name}, with the labels of the data set."), *sheets)


def _augmentation(faces: FaceSet, config: AugmentConfig, *, seed: int) -> str:
    places = np.flatnonzero(~faces.blank)
    chosen = faces.pictures[np.sort(np.random.default_rng(seed).permutation(places)[:_SHEET_COLUMNS])]
    if not len(chosen):
        return section("Augmentation", paragraph("No picture to show it on."))
    parts = [
        paragraph("What training sees of a picture; the first of each row is the picture itself."),
        picture(
            png_bytes(augmentation_sheet(chosen[:6], config, columns=_SHEET_COLUMNS, seed=seed)),
            caption="Everything together.",
        ),
        subheading("Each kind alone, always applied"),
    ]
    means = chosen.reshape(len(chosen), -1).mean(axis=1)
    typical = chosen[np.abs(means - np.median(means)).argmin()]
    steps = augmentation_steps(typical, config, columns=_SHEET_COLUMNS, seed=seed)
    mixed = mixing_sheet(chosen, config, seed=seed)
    parts += [picture(png_bytes(sheet), caption=name) for name, sheet in {**steps, **mixed}.items()]
    return section("Augmentation", *parts)
