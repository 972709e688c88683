"""An evaluation as tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.measure.evaluation import Evaluation
from training.measure.metrics import HeadMetrics, Interval
from training.measure.robustness_figures import Accuracy, Robustness, head_names, mean_accuracy
from training.measure.second_panel import SecondPanel
from training.measure.vote_figures import VoteFigures, VoteStatistics

QUESTIONS = {
    "label": "the head that events carry: the label",
    "fer2013": "challenge head: the challenge's label",
    "ferplus_vote": "FER+ head: share of people who say so",
    "ferplus": "FER+ head: the majority says so",
    "ferplus_majority": "FER+ head, refitted: the majority says so",
}
"""What each entry of `Evaluation.calibration` is about, in words; `label` is `fer2013` without votes."""


def print_evaluation(evaluation: Evaluation) -> None:
    """The main figures, calibration, then each head's classes and confusions."""
    console = Console(highlight=False)
    left_out = sum(evaluation.num_left_out.values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in evaluation.num_left_out.items()) or "no votes"
    copies = "unknown" if evaluation.num_duplicates is None else str(evaluation.num_duplicates)
    known = "" if evaluation.num_known is None else f" ({evaluation.num_known} exact or near)"
    console.print(
        f"{evaluation.num_pictures} pictures, {evaluation.num_blank} blank, {copies} copies of training pictures{known}"
        f"; {evaluation.num_ferplus} with a FER+ majority, {left_out} left out ({reasons})"
    )
    console.print(_summary_table(evaluation))
    if evaluation.votes is not None:
        console.print(_winner_table(evaluation.votes, evaluation.second_panel))
        console.print(_votes_table(evaluation.votes.statistics, evaluation.training_votes))
    console.print(_calibration_table(evaluation))
    for name, head in zip(evaluation.head_names, (evaluation.fer2013, evaluation.ferplus), strict=False):
        if head is not None:
            console.print(_class_table(head, title=name))
            console.print(_confusion_table(head, title=name))


def _summary_table(evaluation: Evaluation) -> Table:
    heads = [head for head in (evaluation.fer2013, evaluation.ferplus) if head is not None]
    fresh = (evaluation.fer2013_without_duplicates, evaluation.ferplus_without_duplicates)[: len(heads)]
    table = Table("figure (95 % interval)", *evaluation.head_names)
    table.add_row("accuracy", *(_figure(head.accuracy, head.accuracy_interval) for head in heads))
    table.add_row("without exact duplicates", *(_accuracy(head, otherwise="not known") for head in fresh))
    if evaluation.num_known is not None:
        unknown = (evaluation.fer2013_unknown, evaluation.ferplus_unknown)[: len(heads)]
        table.add_row("without exact and near duplicates", *(_accuracy(head, otherwise="–") for head in unknown))
    if (at_training := evaluation.accuracy_at_training_votes) is not None:
        table.add_row("if people agreed as on training", "–", f"{100 * at_training:.2f} %")
    table.add_row(
        "balanced accuracy", *(_figure(head.balanced_accuracy, head.balanced_accuracy_interval) for head in heads)
    )
    table.add_row("macro F1", *(_figure(head.macro_f1, head.macro_f1_interval) for head in heads))
    table.add_row("log loss, nats", *(f"{head.log_loss:.3f}" for head in heads))
    if evaluation.votes is not None and evaluation.ferplus is not None:
        _add_vote_rows(table, evaluation.votes)
    for name, found in evaluation.other_votes.items():
        low, high = found.interval
        title = f"{name}: area under the ROC curve, {found.num_pictures} pictures"
        table.add_row(title, "–", f"{found.auc:.3f} ({low:.3f} – {high:.3f})")
    if (panel := evaluation.second_panel) is not None:
        for name, figures in (("plurality", panel.plurality), ("majority mode", panel.majority_mode)):
            if figures is not None:
                told = _figure(figures.accuracy, figures.interval)
                table.add_row(f"a second panel, {name}, {figures.num_pictures} of training", "–", told)
    if (at_votes := evaluation.panel_at_votes) is not None:
        table.add_row("a second panel, plurality, at the votes of these", "–", f"{100 * at_votes:.2f} %")
    return table


def _add_vote_rows(table: Table, votes: VoteFigures) -> None:
    for name, head in (
        ("majority mode, 7 classes", votes.majority_mode),
        ("majority mode, 8 with contempt", votes.majority_mode_with_contempt),
    ):
        if head is not None:
            table.add_row(f"{name}, {head.num_pictures} pictures", "–", _accuracy(head, otherwise="–"))
    if votes.cross_entropy is not None:
        least = f" (least {votes.statistics.entropy:.3f})"
        table.add_row("vote cross entropy, nats", "–", f"{votes.cross_entropy:.4f}{least}")


def _accuracy(head: HeadMetrics | None, *, otherwise: str) -> str:
    return otherwise if head is None else _figure(head.accuracy, head.accuracy_interval)


def _winner_table(votes: VoteFigures, panel: SecondPanel | None) -> Table:
    table = Table("votes of the winner", "pictures", "FER+ accuracy (95 % interval)", "a second panel (training)")
    people = {} if panel is None else panel.by_winner
    for row in votes.by_winner:
        theirs = people.get(row.votes)
        told = "–" if theirs is None else _figure(theirs.accuracy, theirs.interval)
        table.add_row(str(row.votes), str(row.num_pictures), _figure(row.accuracy, row.interval), told)
    return table


def _votes_table(measured: VoteStatistics, training: VoteStatistics | None) -> Table:
    table = Table("votes", "pictures", "all agree", "entropy, nats")
    for name, statistics in (("measured", measured), ("training", training)):
        if statistics is not None:
            entropy = "–" if statistics.entropy is None else f"{statistics.entropy:.3f}"
            table.add_row(name, str(statistics.num_pictures), f"{100 * statistics.all_agree:.1f} %", entropy)
    return table


def _figure(share: float, interval: Interval) -> str:
    return f"{100 * share:.2f} % ({100 * interval[0]:.1f} – {100 * interval[1]:.1f})"


def _calibration_table(evaluation: Evaluation) -> Table:
    table = Table("calibration error (ECE)", "temperature", "before", "after")
    for question, entry in evaluation.calibration.items():
        table.add_row(
            QUESTIONS["label" if evaluation.ferplus is None else question],
            "–" if entry.temperature is None else f"{entry.temperature:.3f}",
            "–" if entry.before is None else f"{entry.before.ece:.3f}",
            f"{entry.after.ece:.3f}",
        )
    return table


def _class_table(head: HeadMetrics, *, title: str) -> Table:
    table = Table("", title=title)
    for name in ("precision", "recall", "F1", "pictures"):
        table.add_column(name, justify="right")
    for emotion, figures in head.per_class.items():
        shares = (figures.precision, figures.recall, figures.f1)
        table.add_row(escape(emotion), *(f"{share:.3f}" for share in shares), str(figures.support))
    return table


def _confusion_table(head: HeadMetrics, *, title: str) -> Table:
    table = Table("label ↓", title=f"{title}: answers →")
    for emotion in head.per_class:
        table.add_column(escape(emotion), justify="right")
    for label, row in zip(head.per_class, head.confusion_matrix, strict=True):
        table.add_row(escape(label), *map(str, row))
    return table


def print_robustness(robustness: Robustness) -> None:
    """Accuracy of each head at each strength, in percent."""
    console = Console(highlight=False)
    for name, title in zip(("fer2013", "ferplus"), head_names(robustness.clean.ferplus is not None), strict=False):
        if getattr(robustness.clean, name) is not None:
            console.print(_robustness_table(robustness, head=name, title=title))
            sizes = Table(f"{title}, face size", *(f"{size:g}" for size in robustness.face_sizes.strengths))
            sizes.add_row(
                "accuracy, %", *(_percent_of(accuracy, name) for accuracy in robustness.face_sizes.accuracies)
            )
            console.print(sizes)


def _robustness_table(robustness: Robustness, *, head: str, title: str) -> Table:
    table = Table(
        f"{title}, %",
        title=f"{robustness.num_pictures} pictures: clean {_percent_of(robustness.clean, head)}, "
        f"mirrored {_percent_of(robustness.mirrored, head)}, corrupted {_percent_of(robustness.mean_corrupted, head)}",
    )
    for heading in ("weak", "2", "3", "4", "strong", "mean loss"):
        table.add_column(heading, justify="right")
    for curve in robustness.curves:
        loss = robustness.clean.minus(mean_accuracy(list(curve.accuracies)))
        table.add_row(curve.name, *(_percent_of(accuracy, head) for accuracy in (*curve.accuracies, loss)))
    return table


def _percent_of(accuracy: Accuracy, head: str) -> str:
    return f"{100 * getattr(accuracy, head):.1f}"
