"""What the sections with pictures show: the most confident errors, and saliency maps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.emotion import EMOTIONS
from emostream.render.heat_map import draw_heat_map
from training.data.face_set import FaceSet
from training.data.labels import EMOTION_OF_NAME, FERPLUS_COLUMNS
from training.explain.folder import ClassExamples, NetExplanation
from training.measure.evaluation import votes_and_majority
from training.measure.inference import HeadOutputs

_NUM_SHOWN = 8
_JPEG_QUALITY = 88
_MAP_PIXELS = 144


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture.

    Attributes:
        file: PNG or JPEG.
        title: read out.
        caption, note: below it, the note smaller.
    """

    file: bytes
    title: str
    caption: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class TileRow:
    """Pictures beside each other under the name of their class and a smaller note."""

    emotion: str
    note: str
    tiles: list[Tile]


def confident_errors(faces: FaceSet, outputs: HeadOutputs) -> tuple[str, list[TileRow]]:
    """For each class the most confident wrong predictions; and what the truth is, in words.

    The truth is the FER+ majority where the data has votes, else the label.

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
        if not labelled:
            continue
        wrong = np.flatnonzero((truth == column) & (answers != column))
        surest = wrong[np.argsort(-sureness[wrong], kind="stable")][:_NUM_SHOWN]
        tiles = [
            Tile(
                picture_file(faces.pictures[k]),
                title=f"picture {k}",
                caption=f"{faces.class_names[answers[k]]} {sureness[k]:.0%}",
                note=_votes_in_words(votes[k]) if has_votes else "",
            )
            for k in surest
        ]
        rows.append(TileRow(emotion, f"{len(wrong):,} of {labelled:,} wrong", tiles))
    return "the majority of ten people" if has_votes else "the label", rows


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


def map_pictures(explanation: NetExplanation) -> list[TileRow]:
    """For each class and kind of map: the map over the mean of all faces that the net was right about, and examples."""
    return [
        TileRow(examples.emotion, f"{method}, {examples.num_right:,} right", _map_tiles(examples, method=method))
        for examples in explanation.classes
        for method in explanation.randomisation
    ]


def _map_tiles(examples: ClassExamples, *, method: str) -> list[Tile]:
    mean = draw_heat_map(examples.mean_crop, examples.mean_maps[method], size=_MAP_PIXELS)
    tiles = [Tile(picture_file(mean), title=f"mean of {examples.num_right} faces", caption="mean face")]
    for crop, saliency, probability in zip(examples.crops, examples.maps[method], examples.probabilities, strict=True):
        drawn = picture_file(draw_heat_map(crop, saliency, size=_MAP_PIXELS))
        tiles.append(Tile(drawn, title=f"{examples.emotion} {probability:.0%}", caption=f"{probability:.0%}"))
    return tiles


def picture_file(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A picture, uint8, H×W gray or H×W×3 RGB, as a file: gray ones as PNG, exactly, colour ones as JPEG."""
    if pixels.ndim == 2:
        return cv2.imencode(".png", pixels)[1].tobytes()
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes()
