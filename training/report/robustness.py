"""The section about spoiled pictures."""

from __future__ import annotations

import math
from html import escape

from emostream.render.report.html import figure, section
from training.measure.robustness_figures import Accuracy, Robustness, RobustnessCurve, head_names, mean_accuracy
from training.report.charts import Series, line_chart
from training.report.page import grid, legend, table


def robustness_section(robustness: Robustness) -> str:
    """A chart for each corruption, one for face sizes, and a table of losses."""
    heads = dict(zip(("fer2013", "ferplus"), head_names(robustness.clean.ferplus is not None), strict=False))
    low = _low_end(robustness, list(heads))
    charts = [
        figure(
            _chart(curve, heads, clean=robustness.clean, low=low),
            curve.name,
            note=f"loses {_pair(robustness.clean.minus(mean_accuracy(list(curve.accuracies))))} points on average",
        )
        for curve in robustness.curves
    ]
    sizes = robustness.face_sizes
    charts.append(
        figure(
            _chart(sizes, heads, clean=None, low=low),
            "size of the face",
            note="shrunk as those of people farther away",
        )
    )
    lead = (
        f"Accuracy on {robustness.num_pictures:,} pictures, in percent, under each corruption at five strengths (the "
        f"first place is the picture as it is). On average a corruption costs {_pair(robustness.mean_drop)} points "
        f"({' / '.join(heads.values())}); mirroring changes {_pair(robustness.clean)} to {_pair(robustness.mirrored)}."
    )
    return section("Spoiled pictures", legend(list(heads.values())), grid(charts), _table(robustness), lead=lead)


def _chart(curve: RobustnessCurve, heads: dict[str, str], *, clean: Accuracy | None, low: float) -> str:
    accuracies = [*([] if clean is None else [clean]), *curve.accuracies]
    places = [*([] if clean is None else ["–"]), *(f"{strength:g}" for strength in curve.strengths)]
    series = [Series(name, [getattr(accuracy, head) for accuracy in accuracies]) for head, name in heads.items()]
    return line_chart(series, places=places, x_label=curve.unit, low=low, high=1.0, title=curve.name)


def _low_end(robustness: Robustness, heads: list[str]) -> float:
    """The same for all charts, so that they can be compared: the next lower fifth."""
    accuracies = [accuracy for curve in (*robustness.curves, robustness.face_sizes) for accuracy in curve.accuracies]
    lowest = min(getattr(accuracy, head) for accuracy in accuracies for head in heads)
    return float(min(math.floor(5 * lowest) / 5, 0.8))


def _table(robustness: Robustness) -> str:
    rows = [
        [
            escape(curve.name),
            *(_pair(accuracy) for accuracy in curve.accuracies),
            _pair(robustness.clean.minus(mean_accuracy(list(curve.accuracies)))),
        ]
        for curve in robustness.curves
    ]
    means = [
        mean_accuracy([curve.accuracies[k] for curve in robustness.curves])
        for k in range(len(robustness.curves[0].accuracies))
    ]
    rows.append(["mean", *(_pair(mean) for mean in means), _pair(robustness.mean_drop)])
    head = ["%", "weak", *("" for _ in means[2:]), "strong", "mean loss"]
    return f'<div class="wide">{table(head, rows)}</div>'


def _pair(accuracy: Accuracy) -> str:
    shares = [share for share in (accuracy.fer2013, accuracy.ferplus) if share is not None]
    return " / ".join(f"{100 * share:.1f}" for share in shares)
