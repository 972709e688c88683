"""Classifies the faces of a single picture by the same pipeline as a stream, for the CLI and the HTTP API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from emostream.config import Settings
from emostream.decode.picture import open_picture, open_picture_content, picture_spec
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.errors import SourceRejectedError
from emostream.pipeline.build import Models, build_picture_search, build_pipeline, build_stages, new_epoch
from emostream.vision.detect.align import CROP_SIZE_PIXELS, TEMPLATE_BOX, TEMPLATE_LANDMARKS


@dataclass(frozen=True, slots=True, eq=False)
class ClassifiedPicture:
    """A picture with its faces.

    Attributes:
        frame: the picture, upright.
        event: its faces, numbered from left to right; the number is the `track_id`.
        is_first_of_many: whether the file contains more pictures (an animation, pages, a video) and this is the first.
        num_faces_left_out: faces found beyond `detect.max_faces`.
    """

    frame: Frame
    event: EmotionEvent
    is_first_of_many: bool
    num_faces_left_out: int = 0


async def classify_picture(
    url: str, *, settings: Settings, models: Models, is_whole_face: bool = False
) -> ClassifiedPicture:
    """Classify the faces of a picture file or URL: any format that FFmpeg reads, or HEIC, AVIF, TIFF.

    Args:
        url: path or URL; of a video or an animation, the first picture is used.
        settings: all settings. `track.confirm_score` is ignored, because no later frame can confirm a weak detection.
        models: shared; not closed.
        is_whole_face: treat the picture as one face, framed like the model's training pictures, without detection.

    Raises:
        SourceError: it is not a picture, is damaged, or is too large.
        ModelError: it could not be classified.
    """
    opening = open_picture(url, settings=settings.decode)
    return await classify_opened(opening, settings=settings, models=models, is_whole_face=is_whole_face)


async def classify_picture_content(content: bytes, *, settings: Settings, models: Models) -> ClassifiedPicture:
    """Classify the faces of a picture in memory; otherwise as `classify_picture`."""
    if not content:
        raise SourceRejectedError("expected a picture, got an empty request body")
    opening = open_picture_content(content, name="the picture", settings=settings.decode)
    return await classify_opened(opening, settings=settings, models=models)


async def classify_opened(
    opening: AbstractContextManager[tuple[FrameSource, bool]],
    *,
    settings: Settings,
    models: Models,
    is_whole_face: bool = False,
) -> ClassifiedPicture:
    """The faces of a picture that is opened here; otherwise as `classify_picture`."""
    confirm_score = min(settings.track.confirm_score, settings.detect.min_score)
    track = settings.track.model_copy(update={"confirm_score": confirm_score})
    search = build_picture_search(settings, detector=models.detector)
    detect: Callable[[Luma], list[Face]] = _whole_face if is_whole_face else search.detect
    kept: list[tuple[Frame, EmotionEvent]] = []
    with opening as (source, is_animated):
        pipeline = build_pipeline(
            picture_spec("picture"),
            settings=settings.model_copy(update={"track": track}),
            models=models,
            sink=_Nowhere(),
            epoch=new_epoch(),
            source=source,
            stages=build_stages(settings, detect=detect, is_picture=True),
            on_event=lambda frame, event: kept.append((frame, event)),
        )
        await pipeline.run()
        num_frames = source.info.num_frames or 1
    if not kept:
        raise SourceRejectedError("expected a picture, got data that cannot be decoded")
    frame, event = kept[-1]
    return ClassifiedPicture(frame, _numbered(event), is_animated or num_frames > 1, search.num_left_out)


def _numbered(event: EmotionEvent) -> EmotionEvent:
    in_order = sorted(event.faces, key=lambda item: item.face.box_xyxy[0])
    faces = (replace(item, face=replace(item.face, track_id=number)) for number, item in enumerate(in_order, start=1))
    return replace(event, faces=tuple(faces))


def _whole_face(luma: Luma) -> list[Face]:
    """A single face for a picture framed like the training pictures, with box and landmarks at their template."""
    height, width = luma.shape
    scale = (width / CROP_SIZE_PIXELS, height / CROP_SIZE_PIXELS)
    x0, y0, x1, y1 = (TEMPLATE_BOX.reshape(2, 2) * scale).ravel().tolist()
    landmarks = tuple((float(x), float(y)) for x, y in TEMPLATE_LANDMARKS * scale)
    return [Face((x0, y0, x1, y1), 1.0, landmarks)]


class _Nowhere:
    """A sink that discards events; the observer keeps them."""

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Do nothing."""

    async def publish_status(self, event: StatusEvent) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
