"""The section of errors: for each class the wrong answers that the model was surest of."""

from __future__ import annotations

from html import escape

import numpy as np

from emostream.domain.emotion import EMOTIONS
from emostream.render.report.html import figure, section
from training.data.face_set import FaceSet
from training.data.labels import EMOTION_OF_NAME, FERPLUS_COLUMNS
from training.measure.evaluation import votes_and_majority
from training.measure.inference import HeadOutputs
from training.report.page import picture

_NUM_SHOWN = 8


def errors_section(faces: FaceSet, outputs: HeadOutputs) -> str:
    """Against the FER+ majority where the data has votes, else against the labels.

    Args:
        faces: the pictures.
        outputs: the model's answers to them, in the order of their classes.
    """
    votes, majority = votes_and_majority(faces)
    has_votes = bool((majority >= 0).any())
    truth = majority if has_votes else faces.labels
    probabilities = outputs.ferplus if has_votes else outputs.fer2013
    answers = probabilities.argmax(axis=1)
    sureness = probabilities.max(axis=1)
    rows = []
    for column, emotion in enumerate(faces.class_names):
        labelled = int((truth == column).sum())
        wrong = np.flatnonzero((truth == column) & (answers != column))
        surest = wrong[np.argsort(-sureness[wrong], kind="stable")][:_NUM_SHOWN]
        if not labelled:
            continue
        tiles = [
            figure(
                picture(faces.pictures[k], title=f"picture {k}"),
                f"{faces.class_names[answers[k]]} {sureness[k]:.0%}",
                note=_votes_in_words(votes[k]) if has_votes else "",
            )
            for k in surest
        ]
        heading = f"<h3>{escape(emotion)}<small>{len(wrong):,} of {labelled:,} wrong</small></h3>"
        rows.append(f'<div class="faces">{heading}{"".join(tiles)}</div>')
    what = "the majority of ten people" if has_votes else "the label"
    lead = f"For each class, by {what}, the wrong answers with the highest confidence; below each what the model said."
    return section("Surest errors", *rows, lead=lead)


def _votes_in_words(votes: np.ndarray) -> str:
    """The three names with most votes, in the model's words where it has one.

    >>> _votes_in_words(np.array([1, 0, 0, 6, 3, 0, 0, 0, 0, 0]))
    'people: 6 sad, 3 angry, 1 neutral'
    """
    order = [int(column) for column in np.argsort(-votes, kind="stable") if votes[column] > 0][:3]
    return "people: " + ", ".join(f"{votes[column]:.0f} {_word_of(FERPLUS_COLUMNS[column])}" for column in order)


def _word_of(column: str) -> str:
    emotion = EMOTION_OF_NAME.get(column)
    return {"NF": "no face"}.get(column, column) if emotion is None else EMOTIONS[emotion]
