"""Sections about both heads: main figures, classes, confusions, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from emostream.render.report.html import figure, section
from training.measure.calibration import Calibration
from training.measure.evaluation import Evaluation
from training.measure.metrics import HeadMetrics, Interval
from training.measure.robustness_figures import Robustness
from training.report.charts import reliability_diagram
from training.report.page import grid, legend, table
from training.vote_figures import VoteFigures, VoteStatistics

_QUESTIONS = {
    "label": ("Is it the label?", "the output that events carry"),
    "fer2013": ("Challenge head: is it the challenge's label?", "the second output"),
    "ferplus_vote": ("FER+ head: which share of people says so?", "what a head fitted to votes tells"),
    "ferplus": ("FER+ head: does the majority say so?", "one fitted to votes is too modest here"),
    "ferplus_majority": ("FER+ head, refitted: does the majority say so?", "fitted on one half, shown on the other"),
}
_SHORT_QUESTIONS = {
    "label": "labels",
    "fer2013": "challenge labels",
    "ferplus_vote": "share of votes",
    "ferplus": "FER+ majority",
}


def heads_of(evaluation: Evaluation) -> list[tuple[str, HeadMetrics]]:
    """The heads that were measured, with their names."""
    heads = zip(evaluation.head_names, (evaluation.fer2013, evaluation.ferplus), strict=False)
    return [(name, head) for name, head in heads if head is not None]


def _key(question: str, evaluation: Evaluation) -> str:
    """Without votes the question about labels is asked of the head that events carry."""
    return "label" if evaluation.ferplus is None else question


def figures_section(evaluation: Evaluation, robustness: Robustness | None) -> str:
    """The main figures, large, then all of them with their intervals."""
    tiles = [
        _tile(f"{100 * head.accuracy:.1f} %", f"accuracy, {name}", head.accuracy_interval)
        for name, head in heads_of(evaluation)
    ]
    for question in ("fer2013", evaluation.ferplus_question):
        entry = evaluation.calibration.get(question)
        if entry is not None:
            tiles.append(
                _tile(f"{entry.after.ece:.3f}", f"calibration error, {_SHORT_QUESTIONS[_key(question, evaluation)]}")
            )
    if robustness is not None:
        drop = robustness.mean_drop
        loss = drop.fer2013 if drop.ferplus is None else drop.ferplus
        which = evaluation.head_names[-1]
        tiles.append(_tile(f"{100 * loss:.1f}", f"points lost to a corruption on average, {which}"))
    return section(
        "Main figures",
        grid(tiles, css="tiles"),
        _figures_table(evaluation),
        lead="In brackets: 95 % bootstrap intervals over pictures.",
    )


def _tile(value: str, name: str, interval: Interval | None = None) -> str:
    low_high = "" if interval is None else f"<span>{_range(interval)}</span>"
    return f'<div class="tile"><b>{value}</b><span>{escape(name)}</span>{low_high}</div>'


def _range(interval: Interval) -> str:
    return f"({100 * interval[0]:.1f} – {100 * interval[1]:.1f} %)"


def _figures_table(evaluation: Evaluation) -> str:
    heads = heads_of(evaluation)
    fresh = (evaluation.fer2013_without_duplicates, evaluation.ferplus_without_duplicates)[: len(heads)]
    rows = [["accuracy", *(_figure(head, "accuracy") for _, head in heads)]]
    if evaluation.num_duplicates:
        rows.append(
            [
                f"without {evaluation.num_duplicates} copies of training pictures",
                *(_figure(head, "accuracy") for head in fresh),
            ]
        )
    if evaluation.num_known:
        unknown = (evaluation.fer2013_unknown, evaluation.ferplus_unknown)[: len(heads)]
        rows.append(
            [
                f"without {evaluation.num_known} whose photograph is in training, exactly or nearly",
                *(_figure(head, "accuracy") for head in unknown),
            ]
        )
    if (at_training := evaluation.accuracy_at_training_votes) is not None:
        rows.append(["if people agreed as they do on training", "–", f"{100 * at_training:.1f} %"])
    rows += [
        ["balanced accuracy", *(_figure(head, "balanced_accuracy") for _, head in heads)],
        ["macro F1", *(_figure(head, "macro_f1") for _, head in heads)],
        ["log loss, nats", *(f"{head.log_loss:.3f}" for _, head in heads)],
    ]
    if evaluation.votes is not None and evaluation.ferplus is not None:
        rows += _vote_rows(evaluation.votes)
    return table(["", *(name for name, _ in heads)], rows)


def _vote_rows(votes: VoteFigures) -> list[list[str]]:
    modes = {
        "majority mode, 7 classes": votes.majority_mode,
        "majority mode, 8 classes, contempt never answered": votes.majority_mode_with_contempt,
    }
    rows = [
        [f"{name}, {head.num_pictures:,} pictures", "–", _figure(head, "accuracy")]
        for name, head in modes.items()
        if head is not None
    ]
    if votes.cross_entropy is not None:
        least = f"<small>(their own entropy: {votes.statistics.entropy:.3f})</small>"
        rows.append(["cross entropy to the votes, nats", "–", f"{votes.cross_entropy:.4f} {least}"])
    return rows


def votes_section(votes: VoteFigures, training: VoteStatistics | None) -> str:
    """How far people agree, here and on what was learned from, and accuracy by how far they do."""
    by_winner = [
        [str(row.votes), f"{row.num_pictures:,}", f"{100 * row.accuracy:.1f} % <small>{_range(row.interval)}</small>"]
        for row in votes.by_winner
    ]
    sets = {"measured here": votes.statistics, "training": training}
    statistics = [
        [
            name,
            f"{of_set.num_pictures:,}",
            f"{of_set.all_agree:.1%}",
            "–" if of_set.entropy is None else f"{of_set.entropy:.3f}",
        ]
        for name, of_set in sets.items()
        if of_set is not None
    ]
    tables = [
        table(["votes of the winner", "pictures", "accuracy"], by_winner, caption="FER+ majority"),
        table(["votes", "pictures", "all agree", "entropy, nats"], statistics, caption="How far people agree"),
    ]
    lead = "How right a head can be depends on how far people agree: figures of two sets compare only beside this."
    return section("Votes", grid([f"<div>{part}</div>" for part in tables], css="pair"), lead=lead)


def _figure(head: HeadMetrics | None, name: str) -> str:
    if head is None:
        return "–"
    return f"{100 * getattr(head, name):.1f} % <small>{_range(getattr(head, f'{name}_interval'))}</small>"


def classes_section(evaluation: Evaluation) -> str:
    """Precision, recall and F1 of each class, for each head."""
    tables = []
    for number, (name, head) in enumerate(heads_of(evaluation)):
        rows = [
            [
                escape(emotion),
                f"{figures.precision:.2f}",
                _with_meter(figures.recall, number),
                f"{figures.f1:.2f}",
                f"{figures.support:,}",
            ]
            for emotion, figures in head.per_class.items()
        ]
        means = [f"{head.macro_precision:.2f}", _with_meter(head.macro_recall, number), f"{head.macro_f1:.2f}", ""]
        rows.append(["mean", *means])
        tables.append(f"<div>{table(['', 'precision', 'recall', 'F1', 'pictures'], rows, caption=name)}</div>")
    return section("Classes", grid(tables, css="pair"))


def _with_meter(share: float, number: int) -> str:
    """A share as a number and as a bar in the colour of the head."""
    return f'{share:.2f}<span class="meter head-{number}"><i style="--share:{share:.3f}"></i></span>'


def confusion_section(evaluation: Evaluation) -> str:
    """How often each label got each answer."""
    tables = [
        f'<div class="confusion">{_confusion_table(head, caption=name)}</div>' for name, head in heads_of(evaluation)
    ]
    lead = "Rows are labels, columns answers: percent of the row, and the number of pictures when pointed at."
    return section("Confusions", grid(tables, css="pair"), lead=lead)


def _confusion_table(head: HeadMetrics, *, caption: str) -> str:
    rows = []
    for label, counts in zip(head.per_class, head.confusion_matrix, strict=True):
        total = sum(counts) or 1
        rows.append([escape(label), *(_confusion_cell(count, count / total) for count in counts)])
    return table(["label", *head.per_class], rows, caption=caption)


def _confusion_cell(count: int, share: float) -> str:
    css = "strong" if share > 0.45 else ""
    text = f"{100 * share:.0f}" if count else "·"
    return f'<span class="{css}" style="--share:{share:.3f}" title="{count} pictures">{text}</span>'


def calibration_section(evaluation: Evaluation) -> str:
    """A reliability diagram for each question, and what its error was before and after the temperature."""
    charts = []
    for question, entry in evaluation.calibration.items():
        title, note = _QUESTIONS[_key(question, evaluation)]
        charts.append(
            figure(reliability_diagram(entry.after, entry.before, title=title), title, note=_errors(entry, note))
        )
    names: Sequence[str] = ["as the model answers"]
    if any(entry.before is not None for entry in evaluation.calibration.values()):
        names = ["after temperature scaling", "before"]
    lead = (
        "Of the answers with a confidence of 70 %, about 70 % should be true; bars count the pictures. What is true "
        "depends on the question, so each question has its own diagram."
    )
    return section("Calibration", legend(names), grid(charts, css="charts"), lead=lead)


def _errors(entry: Calibration, note: str) -> str:
    before = "" if entry.before is None else f" (before {entry.before.ece:.3f}, temperature {entry.temperature:.2f})"
    return f"error {entry.after.ece:.3f}{before}; {note}"
