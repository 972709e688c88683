"""Still pictures that FFmpeg reads wrongly without a word, through Pillow: the only file that imports it.

Of HEIC and AVIF in tiles FFmpeg gives one tile, of TIFF with JPEG compression black, without an error.
"""

from __future__ import annotations

import functools
import io
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from emostream.config import DecodeSettings
from emostream.decode.formats.picture_structure import is_heif, is_tiff
from emostream.decode.source import DecodeStats, SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind
from emostream.errors import DecodeError, SourceRejectedError

Pixels = npt.NDArray[np.uint8]

_FORMATS = ("TIFF", "HEIF", "AVIF")
# Baseline TIFF tags.
_SUBFILE_TYPE, _BITS_PER_SAMPLE, _PHOTOMETRIC = 254, 258, 262
_IS_REDUCED = 1  # of the subfile type: a small copy of another page
_WHITE_IS_ZERO = 0
_MAX_PAGES_LOOKED_AT = 64
# Boxes by which a HEIC says how it is turned. Phones write EXIF as well; it counts only where there are none.
_HEIF_TURNS = (b"\0\0\0\x09irot", b"\0\0\0\x09imir")
_GRAY_16_BITS = "I;16"  # and, by the byte order, I;16B, I;16L, I;16N
_UNKNOWN_RANGE = frozenset({"I", "F"})

# What is damaged in the tags of a TIFF is an error by what follows from it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def is_read_by_pillow(content: bytes) -> bool:
    """Whether a file that starts so is a HEIC, AVIF or TIFF."""
    return is_heif(content) or is_tiff(content)


class StillPictureSource:
    """A `FrameSource` of the one frame of a HEIC, AVIF or TIFF; of several pictures the first.

    Args:
        content: of the file.
        stream_id: of the frame.
        name: what messages call it.
        settings: limits.
    """

    def __init__(self, content: bytes, *, stream_id: str, name: str, settings: DecodeSettings) -> None:
        self._content = content
        self._stream_id = stream_id
        self._name = name
        self._settings = settings
        self._stats = DecodeStats()
        self._info: SourceInfo | None = None
        self._rgb: Callable[[], Pixels] | None = None
        self._luma: Pixels | None = None

    @property
    def kind(self) -> StreamKind:
        """A file."""
        return StreamKind.FILE

    @property
    def info(self) -> SourceInfo:
        """Available once opened."""
        if self._info is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        return self._info

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        return self._stats

    def __enter__(self) -> Self:
        """Decode it.

        Raises:
            SourceRejectedError: it is none of these, too large, or of a kind that is not read.
            DecodeError: it is damaged.
        """
        started = time.perf_counter()
        image, num_frames = self._opened()
        size = image.size
        try:
            upright = ImageOps.exif_transpose(_with_eight_bits(image, name=self._name))
            self._luma = np.asarray(upright.convert("L"))
            self._rgb = functools.partial(_rgb_of, upright)
        except (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError) as exc:
            if isinstance(exc, SourceRejectedError):
                raise
            raise DecodeError(
                f"{self._name}: the picture cannot be decoded ({exc}): it is damaged, or of a kind that is not read; "
                "give an undamaged file, or convert it to JPEG or PNG"
            ) from exc
        finally:
            image.close()
        if sorted(upright.size) != sorted(size):
            raise DecodeError(f"{self._name}: expected a picture of {size} pixels, got {upright.size}")
        self._stats.num_packets += 1
        self._stats.decode_seconds = time.perf_counter() - started
        kind = (image.format or "").lower()
        self._info = SourceInfo(*upright.size, codec=kind, decoder=kind, num_frames=num_frames)
        return self

    def __iter__(self) -> Iterator[Frame]:
        """The frame."""
        luma, self._luma = self._luma, None
        if luma is None:
            return
        self._stats.num_decoded += 1
        yield Frame(
            stream_id=self._stream_id,
            frame_index=0,
            pts_seconds=0.0,
            captured_at=datetime.now(UTC),
            luma=luma,
            decode_seconds=self._stats.decode_seconds,
            load_rgb=self._rgb,
        )

    def close(self) -> None:
        """Nothing stays open."""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing stays open."""

    def _opened(self) -> tuple[Image.Image, int]:
        """The picture, not decoded yet, and how many the file holds; small copies do not count."""
        max_pixels = self._settings.max_frame_pixels
        try:
            image = Image.open(io.BytesIO(self._content), formats=_FORMATS)
        except UnidentifiedImageError as exc:
            raise SourceRejectedError(
                f"{self._name}: expected a HEIC, AVIF or TIFF picture of a usual kind, got one that cannot be read: "
                "damaged, or of another kind; convert it to JPEG or PNG"
            ) from exc
        except Image.DecompressionBombError as exc:
            raise self._too_large("more") from exc
        except (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError) as exc:
            raise DecodeError(f"{self._name}: the picture is damaged ({exc}); give an undamaged file") from exc
        num_frames = getattr(image, "n_frames", 1)
        if image.format == "TIFF":
            num_frames = _go_to_full_picture(image, name=self._name)
        orientation = image.info.get("original_orientation")
        if orientation and not any(turn in self._content for turn in _HEIF_TURNS):
            image.getexif()[ExifTags.Base.Orientation] = orientation
        if image.width * image.height > max_pixels:
            raise self._too_large(f"{image.width}×{image.height}")
        return image, num_frames

    def _too_large(self, has: str) -> SourceRejectedError:
        return SourceRejectedError(
            f"{self._name}: the picture has {has} pixels, at most {self._settings.max_frame_pixels} are accepted; "
            "make it smaller or raise decode.max_frame_pixels"
        )


def _go_to_full_picture(image: Image.Image, *, name: str) -> int:
    """Go to the first page that is not a small copy of another, and count such pages; raw files of cameras begin with
    a copy."""
    tags: Any = image
    num_pages = getattr(image, "n_frames", 1)
    full = []
    for page in range(min(num_pages, _MAX_PAGES_LOOKED_AT)):
        image.seek(page)
        if not tags.tag_v2.get(_SUBFILE_TYPE, 0) & _IS_REDUCED:
            full.append(page)
    if not full:
        raise SourceRejectedError(
            f"{name}: there are only small copies of a picture in a form that is read (a raw file of a camera?); "
            "convert it to JPEG or PNG"
        )
    image.seek(full[0])
    return len(full) + max(num_pages - _MAX_PAGES_LOOKED_AT, 0)


def _with_eight_bits(image: Image.Image, *, name: str) -> Image.Image:
    """Pillow itself cuts samples of 16 bits off at 255."""
    image.load()
    if image.mode in _UNKNOWN_RANGE:
        raise SourceRejectedError(
            f"{name}: the picture has samples of 32 bits, which do not say what is white; convert it to JPEG or PNG"
        )
    if not image.mode.startswith(_GRAY_16_BITS):
        return image
    tags: Any = getattr(image, "tag_v2", {})
    num_bits = int(tags.get(_BITS_PER_SAMPLE, (16,))[0])
    levels = np.right_shift(np.asarray(image), num_bits - 8).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = 255 - levels
    eight_bits = Image.fromarray(levels)
    eight_bits.info["exif"] = image.getexif().tobytes()
    return eight_bits


def _rgb_of(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))
