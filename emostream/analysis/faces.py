"""The faces of one picture, for Python programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast, overload

import numpy as np
import numpy.typing as npt

from emostream.config import DecodeSettings, Settings
from emostream.decode.array_source import ArraySource, ColourOrder, rgb_from_array
from emostream.decode.picture import PICTURE_ID, open_picture, open_picture_content
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.errors import ConfigError, SourceRejectedError
from emostream.pipeline.build import Models, load_keen_picture_search
from emostream.pipeline.pictures import ClassifiedPicture, classify_opened
from emostream.render.overlay import draw_event
from emostream.render.overlay_style import OverlayName, OverlayStyle
from emostream.render.png import write_png
from emostream.render.preview import blur_boxes
from emostream.vision.detect.picture_search import PictureSearch

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | npt.NDArray[Any] | Image"
"""A path, a URL, the content of a file, a file open for reading, a NumPy array, or a Pillow image."""


class PictureFaces(Sequence[FaceEmotion]):
    """The faces of a picture, from left to right; `track_id` is the number of a face, from 1.

    Attributes:
        event: the same as an event of one frame: its size, the model, the faces.
        is_first_of_many: whether the file holds more pictures (an animation, pages, a video), of which this is the
            first.
        num_left_out: how many more faces were found than `detect.max_faces` allows.
    """

    def __init__(self, found: ClassifiedPicture, *, settings: Settings) -> None:
        self._found = found
        self._settings = settings

    @property
    def event(self) -> EmotionEvent:
        """The faces as an event."""
        return self._found.event

    @property
    def is_first_of_many(self) -> bool:
        """Whether more pictures follow in the file."""
        return self._found.is_first_of_many

    @property
    def num_left_out(self) -> int:
        """Faces found beyond `detect.max_faces`."""
        return self._found.num_faces_left_out

    @overload
    def __getitem__(self, index: int) -> FaceEmotion: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[FaceEmotion]: ...

    def __getitem__(self, index: int | slice) -> FaceEmotion | Sequence[FaceEmotion]:
        """A face, or several."""
        return self.event.faces[index]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.event.faces)

    def annotate(self, path: str | Path, *, blur: bool = False, overlay: OverlayName = "bars") -> Path:
        """Write the picture (PNG) with boxes and emotions drawn on it; gives the path.

        Args:
            path: its name ends with .png.
            blur: make faces unrecognisable, by a detector that finds more than the faces here.
            overlay: "box" draws boxes, "label" numbers and emotions as well, "bars" also probabilities of the
                largest faces.

        Raises:
            ConfigError: the file cannot be written, or there is no such overlay.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ConfigError(f"cannot write {path}: expected a name ending in .png")
        style = OverlayStyle.of(overlay)
        hidden_by = load_keen_picture_search(self._settings) if blur else None
        write_png(drawn_picture(self._found, style=style, hidden_by=hidden_by), path)
        return path

    def __repr__(self) -> str:
        faces = ", ".join(f"{item.dominant} {item.confidence:.2f}" for item in self)
        size = f"{self.event.frame_width}×{self.event.frame_height}"
        return f"PictureFaces({len(self)} in {size}{': ' if faces else ''}{faces})"


def drawn_picture(
    found: ClassifiedPicture, *, style: OverlayStyle, hidden_by: Callable[[], PictureSearch] | None = None
) -> npt.NDArray[np.uint8]:
    """The picture with its event drawn on it (uint8, H×W×3, RGB).

    Args:
        found: the picture and its event.
        style: what is drawn.
        hidden_by: makes a search for the faces to make unrecognisable; None leaves them as they are.
    """
    picture = found.frame.rgb()
    event = found.event.scaled_to(width=found.frame.width, height=found.frame.height)
    if hidden_by is not None:
        hidden = hidden_by().detect(found.frame.luma)
        picture = blur_boxes(picture, [face.box_xyxy for face in (*hidden, *(item.face for item in event.faces))])
    return draw_event(picture, event, has_time=False, style=style)


def opened_picture(
    picture: Picture, *, settings: DecodeSettings, order: ColourOrder
) -> AbstractContextManager[tuple[FrameSource, bool]]:
    """A source of the one frame of a picture, and whether more follow.

    Raises:
        ConfigError: it is nothing that holds a picture.
        SourceRejectedError: an array of another shape or dtype, or nothing in it.
    """
    if isinstance(picture, str | os.PathLike):
        name = os.fspath(picture)
        if os.path.isdir(name):  # noqa: PTH112  # a URL is no Path
            raise ConfigError(f"{name} is a folder: give its pictures, for example list(Path(folder).glob('*.jpg'))")
        return open_picture(name, settings=settings)
    read = getattr(picture, "read", None)
    if callable(read):
        picture = _content(read)
    if isinstance(picture, bytes | bytearray | memoryview):
        if not len(picture):
            raise SourceRejectedError("expected a picture, got no bytes at all")
        return open_picture_content(bytes(picture), name="the picture", settings=settings)
    array = array_of(picture, expected="path, URL, bytes, open binary file, NumPy array or Pillow image")
    return _array(rgb_from_array(array, order="rgb" if array is not picture else order))


def array_of(picture: object, *, expected: str = "NumPy array or Pillow image") -> npt.NDArray[Any]:
    """An array as it is, or a Pillow image upright in red, green, blue.

    Raises:
        ConfigError: it is neither.
        SourceRejectedError: the image cannot be read.
    """
    if isinstance(picture, np.ndarray):
        return picture
    if hasattr(picture, "getexif") and hasattr(picture, "convert"):
        return _rgb_of_pillow(cast("Image", picture))
    raise ConfigError(f"expected a picture as {expected}, got {type(picture).__name__}")


def _content(read: Callable[[], Any]) -> bytes:
    try:
        content = read()
    except (OSError, ValueError) as exc:  # closed, a text file of other bytes, or open for writing only
        raise SourceRejectedError(f"cannot read a picture from the file: {exc}; open it with mode 'rb'") from exc
    if not isinstance(content, bytes):
        raise SourceRejectedError(
            f"expected a picture as bytes, got {type(content).__name__} from the file; open it with mode 'rb'"
        )
    return content


def _rgb_of_pillow(image: Image) -> npt.NDArray[np.uint8]:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I", "F")):
            raise SourceRejectedError(
                f"expected an image of 8 bits a sample, got mode {upright.mode}, which does not say what is white; "
                "convert it with .convert('L') once it is scaled to 0 to 255"
            )
        return rgb_from_array(np.asarray(upright.convert("RGB")))
    except (OSError, ValueError) as exc:
        if isinstance(exc, SourceRejectedError):
            raise
        raise SourceRejectedError(f"the Pillow image cannot be read: {exc}") from exc


@contextlib.contextmanager
def _array(rgb: npt.NDArray[np.uint8]) -> Iterator[tuple[FrameSource, bool]]:
    yield ArraySource(rgb, stream_id=PICTURE_ID), False


async def faces_of(
    opening: AbstractContextManager[tuple[FrameSource, bool]],
    *,
    settings: Settings,
    models: Models,
    is_whole_face: bool,
) -> PictureFaces:
    """The faces of an opened picture; errors as for `classify_picture`."""
    found = await classify_opened(opening, settings=settings, models=models, is_whole_face=is_whole_face)
    return PictureFaces(found, settings=settings)
