"""What the sections about numbers show: main figures, votes, calibration, corruptions, checks of the maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from training.explain.folder import NetExplanation
from training.explain.map_quality import CHANCE
from training.measure.evaluation import Evaluation
from training.measure.metrics import HeadMetrics, Interval
from training.measure.robustness_figures import Accuracy, Robustness, RobustnessCurve, head_names, mean_accuracy
from training.measure.vote_figures import VoteFigures, VoteStatistics
from training.report.charts import Series, line_chart, reliability_diagram

Cell = str | tuple[str, str]
"""A cell of a table: text, or text with a smaller note."""

Rows = list[list[Cell]]

CaptionedChart = tuple[Markup, str, str]
"""A chart, its caption, and a smaller note below it."""

_QUESTIONS = {
    "label": ("Is it the label?", "the output that events carry"),
    "fer2013": ("Challenge head: is it the challenge's label?", "the second output"),
    "ferplus_vote": ("FER+ head: which share of people says so?", "what a head fitted to votes predicts"),
    "ferplus": ("FER+ head: does the majority say so?", "one fitted to votes is too modest here"),
    "ferplus_majority": ("FER+ head, refitted: does the majority say so?", "fitted on one half, shown on the other"),
}
_SHORT_QUESTIONS = {
    "label": "labels",
    "fer2013": "challenge labels",
    "ferplus_vote": "share of votes",
    "ferplus": "FER+ majority",
}


def heads_of(evaluation: Evaluation) -> dict[str, HeadMetrics]:
    """The heads that were measured, by their names."""
    heads = zip(evaluation.head_names, (evaluation.fer2013, evaluation.ferplus), strict=False)
    return {name: head for name, head in heads if head is not None}


def _key(question: str, evaluation: Evaluation) -> str:
    """Without votes the question about labels is asked of the head that events carry."""
    return "label" if evaluation.ferplus is None else question


def main_tiles(evaluation: Evaluation, robustness: Robustness | None) -> list[tuple[str, str, str]]:
    """(value, what it is, its interval or nothing) of the main figures."""
    tiles = [
        (f"{100 * head.accuracy:.1f} %", f"accuracy, {name}", _range(head.accuracy_interval))
        for name, head in heads_of(evaluation).items()
    ]
    for question in ("fer2013", evaluation.ferplus_question):
        entry = evaluation.calibration.get(question)
        if entry is not None:
            name = f"calibration error, {_SHORT_QUESTIONS[_key(question, evaluation)]}"
            tiles.append((f"{entry.after.ece:.3f}", name, ""))
    if robustness is not None:
        drop = robustness.mean_drop
        loss = drop.fer2013 if drop.ferplus is None else drop.ferplus
        name = f"points lost to a corruption on average, {evaluation.head_names[-1]}"
        tiles.append((f"{100 * loss:.1f}", name, ""))
    return tiles


def _range(interval: Interval) -> str:
    return f"({100 * interval[0]:.1f} – {100 * interval[1]:.1f} %)"


def main_rows(evaluation: Evaluation) -> Rows:
    """All figures, a column for each head."""
    heads = list(heads_of(evaluation).values())

    def row(name: str, heads: Sequence[HeadMetrics | None], figure: str = "accuracy") -> list[Cell]:
        return [name, *(_figure(head, figure) for head in heads)]

    fresh = (evaluation.fer2013_without_duplicates, evaluation.ferplus_without_duplicates)[: len(heads)]
    unknown = (evaluation.fer2013_unknown, evaluation.ferplus_unknown)[: len(heads)]
    rows = [row("accuracy", heads)]
    if evaluation.num_duplicates:
        rows.append(row(f"without {evaluation.num_duplicates} copies of training pictures", fresh))
    if evaluation.num_known:
        name = f"without {evaluation.num_known} whose photograph is in training, exactly or nearly"
        rows.append(row(name, unknown))
    if (at_training := evaluation.accuracy_at_training_votes) is not None:
        rows.append(["at the annotator agreement of the training data", "–", f"{100 * at_training:.1f} %"])
    rows += [
        row("balanced accuracy", heads, "balanced_accuracy"),
        row("macro F1", heads, "macro_f1"),
        ["log loss, nats", *(f"{head.log_loss:.3f}" for head in heads)],
    ]
    if evaluation.votes is not None and evaluation.ferplus is not None:
        rows += _vote_rows(evaluation.votes)
    return rows


def _figure(head: HeadMetrics | None, name: str) -> Cell:
    if head is None:
        return "–"
    return f"{100 * getattr(head, name):.1f} %", _range(getattr(head, f"{name}_interval"))


def _vote_rows(votes: VoteFigures) -> Rows:
    modes = {
        "majority mode, 7 classes": votes.majority_mode,
        "majority mode, 8 classes, contempt never predicted": votes.majority_mode_with_contempt,
    }
    rows: Rows = [
        [f"{name}, {head.num_pictures:,} pictures", "–", _figure(head, "accuracy")]
        for name, head in modes.items()
        if head is not None
    ]
    if votes.cross_entropy is not None:
        least = f"(their own entropy: {votes.statistics.entropy:.3f})"
        rows.append(["cross entropy to the votes, nats", "–", (f"{votes.cross_entropy:.4f}", least)])
    return rows


def winner_rows(votes: VoteFigures) -> Rows:
    """Accuracy by how many people voted for the winner."""
    return [
        [str(row.votes), f"{row.num_pictures:,}", (f"{100 * row.accuracy:.1f} %", _range(row.interval))]
        for row in votes.by_winner
    ]


def agreement_rows(votes: VoteFigures, training: VoteStatistics | None) -> Rows:
    """How far people agree, here and on what was learned from."""
    return [
        [
            name,
            f"{of_set.num_pictures:,}",
            f"{of_set.all_agree:.1%}",
            "–" if of_set.entropy is None else f"{of_set.entropy:.3f}",
        ]
        for name, of_set in {"measured here": votes.statistics, "training": training}.items()
        if of_set is not None
    ]


def calibration_charts(evaluation: Evaluation) -> list[CaptionedChart]:
    """A reliability diagram for each question, and what its error was before and after the temperature."""
    charts = []
    for question, entry in evaluation.calibration.items():
        title, note = _QUESTIONS[_key(question, evaluation)]
        before = entry.before
        earlier = "" if before is None else f" (before {before.ece:.3f}, temperature {entry.temperature:.2f})"
        diagram = reliability_diagram(entry.after, before, title=title)
        charts.append((diagram, title, f"error {entry.after.ece:.3f}{earlier}; {note}"))
    return charts


def robustness_charts(robustness: Robustness) -> list[CaptionedChart]:
    """A chart for each corruption, and one for face sizes."""
    heads = dict(zip(("fer2013", "ferplus"), head_names(robustness.clean.ferplus is not None), strict=False))
    curves = (*robustness.curves, robustness.face_sizes)
    lowest = min(getattr(accuracy, head) for curve in curves for accuracy in curve.accuracies for head in heads)
    # The same for all charts, so that they can be compared: the next lower fifth.
    low = float(min(math.floor(5 * lowest) / 5, 0.8))
    charts = [
        (
            _robustness_chart(curve, heads, clean=robustness.clean, low=low),
            curve.name,
            f"loses {accuracy_text(_mean_loss(curve, robustness))} points on average",
        )
        for curve in robustness.curves
    ]
    sizes = _robustness_chart(robustness.face_sizes, heads, clean=None, low=low)
    return [*charts, (sizes, "size of the face", "downscaled, as faces farther away")]


def _robustness_chart(curve: RobustnessCurve, heads: dict[str, str], *, clean: Accuracy | None, low: float) -> Markup:
    accuracies = [*([] if clean is None else [clean]), *curve.accuracies]
    places = [*([] if clean is None else ["–"]), *(f"{strength:g}" for strength in curve.strengths)]
    series = [Series(name, [getattr(accuracy, head) for accuracy in accuracies]) for head, name in heads.items()]
    return line_chart(series, places=places, x_label=curve.unit, low=low, high=1.0, title=curve.name)


def _mean_loss(curve: RobustnessCurve, robustness: Robustness) -> Accuracy:
    return robustness.clean.minus(mean_accuracy(list(curve.accuracies)))


def robustness_rows(robustness: Robustness) -> Rows:
    """Accuracy under each corruption at each strength, and what it costs on average."""
    rows: Rows = [
        [
            curve.name,
            *(accuracy_text(accuracy) for accuracy in curve.accuracies),
            accuracy_text(_mean_loss(curve, robustness)),
        ]
        for curve in robustness.curves
    ]
    by_strength = zip(*(curve.accuracies for curve in robustness.curves), strict=True)
    means = [accuracy_text(mean_accuracy(list(accuracies))) for accuracies in by_strength]
    return [*rows, ["mean", *means, accuracy_text(robustness.mean_drop)]]


def accuracy_text(accuracy: Accuracy) -> str:
    """Percent, of each head that was measured."""
    shares = [share for share in (accuracy.fer2013, accuracy.ferplus) if share is not None]
    return " / ".join(f"{100 * share:.1f}" for share in shares)


def map_charts(explanation: NetExplanation) -> list[CaptionedChart]:
    """How the probability of the answer falls and rises with the pixels that the maps name."""
    num_steps = len(explanation.quality[0].deletion_curve)
    places = ["0 %", *[""] * (num_steps - 2), "100 %"]
    kinds = {
        "deletion": ("pixels deleted", "Deletion: the sooner it falls, the better the map"),
        "insertion": ("pixels inserted", "Insertion: the sooner it rises, the better"),
    }
    charts = []
    for kind, (what, caption) in kinds.items():
        series = [Series(entry.method, getattr(entry, f"{kind}_curve")) for entry in explanation.quality]
        svg = line_chart(series, places=places, x_label=f"{what}, the strongest of the map first", title=kind)
        charts.append((svg, caption, ""))
    return charts


def map_rows(explanation: NetExplanation) -> Rows:
    """The checks of each kind of map in numbers."""
    return [
        [
            entry.method,
            f"{entry.deletion:.3f}",
            f"{entry.insertion:.3f}",
            "–" if entry.method == CHANCE else f"{entry.better_than_chance:.0%}",
        ]
        for entry in explanation.quality
    ]


def randomisation_rows(explanation: NetExplanation) -> Rows:
    """How alike the maps stay when the net is made random part by part."""
    by_part = zip(*explanation.randomisation.values(), strict=True)
    return [[of_part[0].part, *(f"{entry.rank_correlation:.2f}" for entry in of_part)] for of_part in by_part]
