"""The figures of a model card as Markdown tables."""

from __future__ import annotations

from training.measure.calibration import Calibration
from training.measure.evaluation import Evaluation
from training.measure.metrics import HeadMetrics, Interval
from training.measure.robustness_figures import Accuracy, Robustness, head_names, mean_accuracy
from training.measure.second_panel import SecondPanel
from training.measure.vote_figures import VoteFigures, VoteStatistics


def markdown_figures(evaluation: Evaluation, robustness: Robustness | None = None) -> str:
    """Tables of the main figures with their 95 % intervals, of recalls, and of robustness where it was measured."""
    parts = [_main_figures(evaluation), _recalls(evaluation)]
    if evaluation.votes is not None:
        parts += [
            _by_winner(evaluation.votes, evaluation.second_panel),
            _agreement(evaluation.votes.statistics, evaluation.training_votes),
        ]
    if robustness is not None:
        parts.append(_robustness(robustness))
    return "\n\n".join(parts) + "\n"


def _main_figures(evaluation: Evaluation) -> str:
    heads = (evaluation.fer2013, evaluation.ferplus)
    fresh = (evaluation.fer2013_without_duplicates, evaluation.ferplus_without_duplicates)
    calibration = evaluation.calibration
    rows = [("accuracy", [_figure(head, "accuracy") for head in heads])]
    if evaluation.num_duplicates:
        name = f"without {evaluation.num_duplicates} exact copies of training pictures"
        rows.append((name, [_figure(head, "accuracy") for head in fresh]))
    if evaluation.num_known:
        name = f"without {evaluation.num_known} photographs also in training"
        unknown = (evaluation.fer2013_unknown, evaluation.ferplus_unknown)
        rows.append((name, [_figure(head, "accuracy") for head in unknown]))
    if (at_training := evaluation.accuracy_at_training_votes) is not None:
        rows.append(("reweighted to the vote counts of training", ["–", f"{100 * at_training:.1f} %"]))
    rows += [
        ("balanced accuracy", [_figure(head, "balanced_accuracy") for head in heads]),
        ("macro F1", [_figure(head, "macro_f1") for head in heads]),
        ("calibration error against the label", [_ece(calibration, name) for name in ("fer2013", "ferplus")]),
    ]
    if evaluation.majority_exponent is not None:
        name = f"calibration error, sharpened (exponent {evaluation.majority_exponent:.2f})"
        rows.append(("calibration error against the vote shares", ["–", _ece(calibration, "ferplus_vote")]))
        rows.append((name, ["–", _ece(calibration, "ferplus_majority")]))
    if evaluation.votes is not None:
        rows += _vote_rows(evaluation.votes)
    rows += _other_rows(evaluation)
    nums = (evaluation.num_pictures, evaluation.num_ferplus)
    columns = [f"{name}, {num:,} pictures" for name, num in zip(evaluation.head_names, nums, strict=False)]
    # Without votes there is one column.
    rows = [(name, cells[: len(columns)]) for name, cells in rows]
    return _table(f"| 95 % intervals in brackets | {' | '.join(columns)} |", rows)


def _other_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """Other votes, and what people reach."""
    rows: list[tuple[str, list[str]]] = []
    for name, found in evaluation.other_votes.items():
        low, high = found.interval
        title = f"{name}: area under the ROC curve, {found.num_pictures:,} pictures"
        rows.append((title, ["–", f"{found.auc:.3f} ({low:.3f} – {high:.3f})"]))
    if (panel := evaluation.second_panel) is not None:
        for name, figures in (("plurality", panel.plurality), ("majority mode", panel.majority_mode)):
            if figures is not None:
                title = f"a second panel of people, {name}, {figures.num_pictures:,} pictures of training"
                rows.append((title, ["–", _share(figures.accuracy, figures.interval)]))
    if (at_votes := evaluation.panel_at_votes) is not None:
        rows.append(
            ("the same, plurality, reweighted to the vote counts of this split", ["–", f"{100 * at_votes:.1f} %"])
        )
    return rows


def _vote_rows(votes: VoteFigures) -> list[tuple[str, list[str]]]:
    rows = []
    for classes, head in (
        ("7 classes", votes.majority_mode),
        ("8 classes", votes.majority_mode_with_contempt),
    ):
        if head is not None:
            rows.append((f"majority mode, {classes}, {head.num_pictures:,} pictures", ["–", _figure(head, "accuracy")]))
    if votes.cross_entropy is not None:
        name = f"cross entropy to the votes, nats (entropy {votes.statistics.entropy:.3f})"
        rows.append((name, ["–", f"{votes.cross_entropy:.4f}"]))
    return rows


def _by_winner(votes: VoteFigures, panel: SecondPanel | None) -> str:
    title = "| votes for the most frequent class | " + " | ".join(str(row.votes) for row in votes.by_winner) + " |"
    accuracies = [f"{100 * row.accuracy:.0f} %" for row in votes.by_winner]
    rows = [("FER+ majority", accuracies), ("pictures", [f"{row.num_pictures:,}" for row in votes.by_winner])]
    if panel is not None:
        theirs = [panel.by_winner.get(row.votes) for row in votes.by_winner]
        rows.insert(1, ("a second panel", ["–" if one is None else f"{100 * one.accuracy:.0f} %" for one in theirs]))
    return _table(title, rows)


def _agreement(measured: VoteStatistics, training: VoteStatistics | None) -> str:
    rows = []
    for name, statistics in (("this split", measured), ("training", training)):
        if statistics is not None:
            entropy = "–" if statistics.entropy is None else f"{statistics.entropy:.3f}"
            rows.append((name, [f"{statistics.num_pictures:,}", f"{100 * statistics.all_agree:.1f} %", entropy]))
    return _table("| votes | pictures | unanimous | entropy, nats |", rows)


def _recalls(evaluation: Evaluation) -> str:
    rows = []
    for emotion, figures in evaluation.fer2013.per_class.items():
        cells = [figures] if evaluation.ferplus is None else [figures, evaluation.ferplus.per_class[emotion]]
        rows.append((_cell(emotion), [f"{100 * cell.recall:.0f} % ({cell.support:,})" for cell in cells]))
    return _table(f"| recall (pictures) | {' | '.join(evaluation.head_names)} |", rows)


def _cell(text: str) -> str:
    """A class name in a table."""
    return text.replace("|", "\\|")


def _robustness(robustness: Robustness) -> str:
    weak, middle, strong = 0, 2, 4
    rows = [("unchanged", [_pair(robustness.clean), "", ""]), ("mirrored", [_pair(robustness.mirrored), "", ""])]
    for curve in robustness.curves:
        cells = [f"{_pair(curve.accuracies[k])} ({curve.strengths[k]:g})" for k in (weak, middle, strong)]
        rows.append((f"{curve.name} ({curve.unit})", cells))
    mean = [mean_accuracy([curve.accuracies[k] for curve in robustness.curves]) for k in (weak, middle, strong)]
    rows.append(("mean of these", [_pair(accuracy) for accuracy in mean]))
    names = " / ".join(head_names(robustness.clean.ferplus is not None))
    corrupted = _table(f"| {names}, % (strength) | weak | middle | strong |", rows)
    sizes = robustness.face_sizes
    title = "| face size, pixels | " + " | ".join(f"{size:g}" for size in sizes.strengths) + " |"
    drop = robustness.mean_drop
    return (
        f"{corrupted}\n\n{_table(title, [('', [_pair(accuracy) for accuracy in sizes.accuracies])])}\n\n"
        f"Mean loss over all corruptions and strengths: {_pair(drop)} points "
        f"({robustness.num_pictures:,} pictures)."
    )


def _table(title: str, rows: list[tuple[str, list[str]]]) -> str:
    rule = "|---" * (title.count("|") - 1) + "|"
    return "\n".join([title, rule, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)])


def _figure(head: HeadMetrics | None, name: str) -> str:
    if head is None:
        return "–"
    value, (low, high) = getattr(head, name), getattr(head, f"{name}_interval")
    if name == "macro_f1":
        return f"{value:.3f} ({low:.3f} – {high:.3f})"
    return _share(value, (low, high))


def _share(value: float, interval: Interval) -> str:
    return f"{100 * value:.1f} % ({100 * interval[0]:.1f} – {100 * interval[1]:.1f})"


def _ece(calibration: dict[str, Calibration], question: str) -> str:
    entry = calibration.get(question)
    return "–" if entry is None else f"{entry.after.ece:.3f}"


def _pair(accuracy: Accuracy) -> str:
    shares = (accuracy.fer2013, accuracy.ferplus)
    return " / ".join(f"{100 * share:.1f}" for share in shares if share is not None)
