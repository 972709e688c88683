"""Formats explanations as text and as a table (Rich markup)."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from emostream.cli.tables import as_markup, coloured, new_table
from emostream.vision.explain.explanation import Explanation

_NUM_REGIONS_TOLD = 3


def probabilities_table(explanations: Sequence[Explanation]) -> Table:
    """One row per face; at least one explanation is needed."""
    table = new_table()
    table.add_column("face", justify="right", no_wrap=True)
    table.add_column("answer", overflow="fold")
    for label in explanations[0].scores.labels:
        table.add_column(as_markup(label), justify="right", overflow="fold")
    for explanation in explanations:
        scores = explanation.scores
        cells = [f"{value:.0%}" for value in scores.probabilities]
        table.add_row(str(explanation.face.track_id), coloured(scores.dominant), *cells)
    return table


def words_of_explanation(explanation: Explanation) -> list[str]:
    """The evidence, the part that the answer depends on, and the reliability of the map: one line each."""
    emotion, probability = explanation.emotion, explanation.probability
    told = [region for region in explanation.regions if region.evidence > region.area][:_NUM_REGIONS_TOLD]
    places = ", ".join(
        f"{region.name} ({region.evidence:.0%} of it on {region.area:.0%} of the crop)" for region in told
    )
    lines = [
        f"[bold]{explanation.face.track_id}[/] {coloured(emotion)} {probability:.0%}",
        *_reliability(explanation),
        f"  evidence: {places or 'spread over the crop; no part of the face stands out'}",
        f"  {_dependence(explanation)}",
    ]
    check = explanation.check
    verdict = (
        "it shows what the model uses" if check.is_passed else "[yellow]no better than random: do not rely on it[/]"
    )
    lines.append(
        f"  map: deletion {check.deletion:.2f} (random {check.random_deletion:.2f}), insertion {check.insertion:.2f} "
        f"(random {check.random_insertion:.2f}): {verdict}"
    )
    return lines


def _reliability(explanation: Explanation) -> list[str]:
    """What is wrong with the picture of the face, and whether an emotion is named all the same; or nothing."""
    flags = ", ".join(explanation.quality)
    if not explanation.is_named:
        return [f"  [yellow]no emotion is named (unknown): {flags or 'none is probable enough'}[/]"]
    return [f"  quality: {flags}"] if flags else []


def _dependence(explanation: Explanation) -> str:
    """The part of the face that lowers the emotion's probability most when it is hidden."""
    emotion = explanation.emotion
    weakest = min(explanation.regions, key=lambda region: region.probability_hidden)
    if weakest.probability_hidden >= explanation.probability:
        return f"no single part is needed: with any one of them hidden, {emotion} is at least as probable"
    change = f"with the {weakest.name} hidden: {emotion} {weakest.probability_hidden:.0%}"
    if weakest.answer_hidden != explanation.scores.dominant:
        change += f", and the answer would be {coloured(weakest.answer_hidden)}"
    return change
