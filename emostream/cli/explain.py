"""`emostream explain`: shows which parts of each face the model's answer depends on."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from emostream.cli.explanation_text import probabilities_table, words_of_explanation
from emostream.cli.options import (
    ConfigOption,
    JsonOption,
    OldOutOption,
    check_is_path,
    notes,
    screen,
    settings_for_command,
)
from emostream.config import Settings
from emostream.decode.picture import read_first_picture
from emostream.domain.address import file_path
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.redact import shown_source
from emostream.domain.stream import stream_id_from_url
from emostream.errors import ConfigError, SourceRejectedError
from emostream.files import check_is_not_source
from emostream.pipeline.build import build_picture_search, load_chosen_detector
from emostream.render.explanation import draw_explanations
from emostream.render.png import write_png
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.classify.load import load_classifier
from emostream.vision.classify.preprocess import crop_from_picture
from emostream.vision.classify.quality import quality_by_itself
from emostream.vision.detect.align import CROP_SIZE_PIXELS, TEMPLATE_LANDMARKS, crop_face, crop_similarities
from emostream.vision.explain.explainer import explain_face
from emostream.vision.explain.explanation import Explanation
from emostream.vision.explain.rise import random_masks
from emostream.vision.geometry.similarity import transform_points

_MAX_FACES = 8  # about a second each


def explain(
    picture: Annotated[
        str, typer.Argument(help="Picture file or URL; of a video, its first frame.", metavar="PICTURE")
    ],
    *,
    face: Annotated[
        int | None, typer.Option(help="Explain only this face; faces are numbered from left to right.", metavar="N")
    ] = None,
    emotion: Annotated[
        str | None, typer.Option(help="Emotion to explain; by default the most probable one.", metavar="EMOTION")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Picture to write (.png); by default PICTURE-explained.png.", metavar="FILE"),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Treat the picture as one cropped face; skip face detection.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    out: OldOutOption = None,
) -> None:
    """Show which parts of each face in a picture the model's answer comes from."""
    settings = settings_for_command(config)
    check_is_path(output or out, option="--output")
    path = output or out or Path(f"{stream_id_from_url(picture)}-explained.png")
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--output {path}: the picture is written as PNG; give a name that ends with .png")
    check_is_not_source(path, file_path(picture) or picture, what="the overlay")
    frame, is_first_of_many = read_first_picture(picture, settings=settings.decode)
    if is_first_of_many:
        notes.print("first of several pictures")
    luma = np.ascontiguousarray(frame.full_luma(frame.luma))
    faces = [_whole_face(luma)] if whole else _find_faces(luma, settings=settings, name=shown_source(picture))
    chosen = _choose(faces, number=face)
    classifier = load_classifier(settings.classify)
    try:
        explanations = [
            _with_quality(each, luma, min_confidence=settings.classify.min_confidence)
            for each in _explain(classifier, luma, chosen, emotion=emotion, is_whole=whole)
        ]
        model = f"{classifier.manifest.name} {classifier.manifest.version}"
    finally:
        classifier.close()
    write_png(draw_explanations(frame.rgb(), explanations, faces=faces, model=model), path)
    if json:
        typer.echo(
            json_format.dumps(
                {
                    "picture": shown_source(picture),
                    "width": frame.width,
                    "height": frame.height,
                    "model": model,
                    "num_faces": len(faces),
                    "faces": [{"number": item.face.track_id, **item.as_dict()} for item in explanations],
                    "is_first_of_many": is_first_of_many,
                    "overlay": str(path),
                },
                indent=2,
            )
        )
    else:
        _print(explanations, num_faces=len(faces), path=path)


def _find_faces(luma: Luma, *, settings: Settings, name: str) -> list[Face]:
    """All faces, numbered from left to right; the number is the track id."""
    search = build_picture_search(settings, detector=load_chosen_detector(settings))
    found = sorted(search.detect(luma), key=lambda face: face.box_xyxy[0])
    if search.num_left_out:
        notes.print(f"{search.num_left_out} more faces left out (detect.max_faces)")
    if not found:
        raise SourceRejectedError(
            f"{name}: no face found in {luma.shape[1]}×{luma.shape[0]} pixels. Faces below "
            f"{settings.detect.min_face_pixels} pixels are not looked for: lower detect.min_face_pixels to find them. "
            "If the picture is a single cropped face, use --whole"
        )
    return [replace(face, track_id=number) for number, face in enumerate(found, start=1)]


def _whole_face(luma: Luma) -> Face:
    """The whole picture as a face, with landmarks at the positions of an aligned crop."""
    height, width = luma.shape
    landmarks = TEMPLATE_LANDMARKS / CROP_SIZE_PIXELS * (width, height)
    return Face((0.0, 0.0, width, height), 1.0, tuple((float(x), float(y)) for x, y in landmarks), track_id=1)


def _choose(faces: Sequence[Face], *, number: int | None) -> list[Face]:
    """The requested face, or the largest ones, in order of their numbers."""
    if number is None:
        largest = sorted(faces, key=lambda face: -face.width * face.height)[:_MAX_FACES]
        return [face for face in faces if face in largest]
    if not 1 <= number <= len(faces):
        raise ConfigError(f"no face {number}: the faces found are numbered from 1 to {len(faces)}, from left to right")
    return [faces[number - 1]]


def _explain(
    classifier: EmotionClassifier, luma: Luma, faces: Sequence[Face], *, emotion: str | None, is_whole: bool
) -> list[Explanation]:
    """Explain each face, with a progress bar on standard error where that is a terminal."""
    size = classifier.manifest.input_size_pixels
    masks = random_masks(size)
    explanations = []
    for face in track(faces, description="explain", console=notes, disable=not notes.is_terminal, transient=True):
        if is_whole:
            crop, landmarks = crop_from_picture(luma, size=size), TEMPLATE_LANDMARKS * size / CROP_SIZE_PIXELS
        else:
            crop = crop_face(luma, face, size=size)
            landmarks = transform_points(crop_similarities([face], size=size)[0], face.landmarks)
        explanations.append(
            explain_face(
                classifier.classify,
                labels=classifier.manifest.labels,
                face=face,
                crop=crop,
                landmarks_in_crop=landmarks,
                masks=masks,
                emotion=emotion,
            )
        )
    return explanations


def _with_quality(explanation: Explanation, luma: Luma, *, min_confidence: float) -> Explanation:
    height, width = luma.shape
    quality = quality_by_itself(explanation.face, explanation.crop, frame_width=width, frame_height=height)
    is_named = quality.is_readable and explanation.scores.confidence >= min_confidence
    return replace(explanation, quality=quality.flags, is_named=is_named)


def _print(explanations: Sequence[Explanation], *, num_faces: int, path: Path) -> None:
    screen.print(probabilities_table(explanations))
    for explanation in explanations:
        screen.print()
        for line in words_of_explanation(explanation):
            screen.print(line)
    if len(explanations) < num_faces:
        which = "the largest" if len(explanations) > 1 else "one"
        notes.print(f"{num_faces} faces found, {which} explained; select another one with --face N")
    notes.print(f"overlay: {path}", markup=False, soft_wrap=True)
