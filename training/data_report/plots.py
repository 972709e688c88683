"""Plots of a data report, as PNG files in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emostream.domain.emotion import EMOTIONS
from training.data_report.statistics import DataStatistics, LabelAgreement, Values

# Colours that differ in print and for colour-blind readers (Okabe and Ito).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_DOTS_PER_INCH = 144


def class_balance(statistics: DataStatistics) -> bytes:
    """Bars: the share of each class in each split, with counts."""
    class_names = next(tuple(split.class_counts) for split in statistics.splits.values())
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(statistics.splits)
    for k, (name, split) in enumerate(statistics.splits.items()):
        counts = np.array([split.class_counts[emotion] for emotion in class_names])
        places = np.arange(len(class_names)) + (k - (len(statistics.splits) - 1) / 2) * width
        shares = 100 * counts / max(counts.sum(), 1)
        bars = axes.bar(places, shares, width * 0.92, label=name, color=_COLOURS[k % len(_COLOURS)])
        axes.bar_label(
            bars, [f"{count:,}" for count in counts], fontsize=7, padding=1, rotation=90 if width < 0.25 else 0
        )
    # A dollar sign would begin a formula.
    axes.set_xticks(range(len(class_names)), [name.replace("$", r"\$") for name in class_names])
    axes.set_ylabel("% of the split")
    axes.margins(y=0.12)
    axes.legend(frameon=False)
    _plain(axes)
    return _png(figure)


def agreement(found: LabelAgreement) -> bytes:
    """Heat map: of each label, where the majority of the votes went."""
    matrix = np.array(found.matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7.4, 4.9), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(matrix.shape):
        colour = "white" if shares[row, column] > 0.55 else "black"
        text = f"{100 * shares[row, column]:.0f} %\n{matrix[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_xticks(range(len(EMOTIONS) + 1), (*EMOTIONS, "none of\nthese"))
    axes.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    axes.set_xlabel("majority of the FER+ votes")
    axes.set_ylabel("label of the data set")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return _png(figure)


def histograms(title: str, values: Mapping[str, Values], *, unit: str, is_logarithmic: bool = False) -> bytes:
    """One outline for each split: how many of 100 pictures have which value."""
    figure = Figure(figsize=(4.2, 2.7), layout="constrained")
    axes = figure.subplots()
    edges = _edges(np.concatenate(list(values.values())), is_logarithmic=is_logarithmic)
    for k, (name, split) in enumerate(values.items()):
        weights = np.full(len(split), 100 / max(len(split), 1))
        shown = np.clip(split, edges[0], edges[-1])
        axes.hist(
            shown,
            edges.tolist(),
            weights=weights,
            histtype="step",
            lw=1.6,
            label=name,
            color=_COLOURS[k % len(_COLOURS)],
        )
    if is_logarithmic:
        axes.set_xscale("log")
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(unit)
    axes.set_ylabel("% of the split")
    if len(values) > 1:
        axes.legend(frameon=False, fontsize=8)
    _plain(axes)
    return _png(figure)


def _edges(values: Values, *, is_logarithmic: bool) -> npt.NDArray[np.float64]:
    if not len(values):
        return np.linspace(0.0, 1.0, 41)
    if is_logarithmic:
        low, high = np.quantile(np.maximum(values, 1.0), [0.001, 1.0])
        return np.geomspace(low, max(high, low * 2), 41)
    return np.linspace(0.0, max(float(values.max()), 1e-3), 41)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
    return content.getvalue()
