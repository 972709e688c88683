"""Decoded pictures → arrays: gray without a copy where the format allows it (decision D1), colour on demand.

Works on PyAV's video frames, but does not import PyAV: the types below name the few members it uses, and the caller
hands in PyAV's `VideoReformatter`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from emostream.decode.formats.cropping import NOTHING_CROPPED, Cropping
from emostream.decode.formats.exif import orientation_from_exif
from emostream.decode.formats.orientation import UPRIGHT, Orientation, orientation_from_display_matrix
from emostream.decode.tone_mapping import is_hdr, ordinary_rgb
from emostream.domain.frame import Luma, full_range_from_limited

# FFmpeg's AVColorRange, AVColorSpace and SWS_CS_*; the numbers are part of its ABI.
_LIMITED, _FULL = 1, 2
_UNSPECIFIED_COLORSPACE = 2
_BT709, _BT601 = 1, 5
_BILINEAR_ACCURATE = (
    0x2 | 0x40000
)  # SWS_BILINEAR | SWS_ACCURATE_RND: without the second, gray comes out up to 3 levels dark
_MIN_HD_LINES = 720  # from here on, players take colours of unsaid kind as BT.709


class _Component(Protocol):
    @property
    def plane(self) -> int: ...
    @property
    def bits(self) -> int: ...


class _PixelFormat(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def is_rgb(self) -> bool: ...
    @property
    def is_bayer(self) -> bool: ...
    @property
    def has_palette(self) -> bool: ...
    @property
    def is_bit_stream(self) -> bool: ...
    @property
    def components(self) -> Sequence[_Component]: ...


class Picture(Protocol):
    """What is used of `av.VideoFrame`."""

    @property
    def format(self) -> _PixelFormat: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def planes(self) -> Sequence[Any]: ...
    @property
    def color_range(self) -> int: ...
    @property
    def colorspace(self) -> int: ...
    @property
    def color_trc(self) -> int: ...
    @property
    def color_primaries(self) -> int: ...
    @property
    def rotation(self) -> int: ...
    @property
    def side_data(self) -> Any: ...


class Reformatter(Protocol):
    """What is used of `av.video.reformatter.VideoReformatter`."""

    @property
    def reformat(self) -> Callable[..., Any]: ...


class Pixels(NamedTuple):
    """What a picture shows, upright.

    Attributes:
        luma: uint8, H×W, gray, read-only; a view wherever the format allows it.
        is_full_range: whether luma uses 0–255; False means 16–235.
        load_rgb: colour on demand, uint8, H×W×3, RGB, full range.
        is_turned: whether stored rows are shown as columns.
    """

    luma: Luma
    is_full_range: bool
    load_rgb: Callable[[], npt.NDArray[np.uint8]]
    is_turned: bool = False


class PictureReader:
    """Gray pictures of one stream. Not thread-safe; the `load_rgb` it returns are.

    Args:
        make_reformatter: creates a pixel format converter. One is kept, and replaced when size or format change.
        reads_side_data: whether pictures tell their orientation in side data; otherwise EXIF is asked.
        cropping: borders that are not shown.
    """

    def __init__(
        self,
        make_reformatter: Callable[[], Reformatter],
        *,
        reads_side_data: bool = True,
        cropping: Cropping = NOTHING_CROPPED,
    ) -> None:
        self._make_reformatter = make_reformatter
        self._cropping = cropping
        self._reads_side_data = reads_side_data
        self._reformatter: Reformatter | None = None
        self._reformatter_fits: tuple[str, int, int] | None = None
        self._looks: tuple[str, int] | None = None  # what the next two follow from
        self._has_luma_plane = False
        self._deep_scale: float | None = None
        self._is_full_range = True
        self._rotation: int | None = None
        self._orientation = UPRIGHT

    def read(self, picture: Picture, *, load_packet: Callable[[], bytes] | None = None) -> Pixels:
        """The arrays of a picture; they keep its buffer alive.

        `load_packet` gives the coded picture; it is asked only for photos that carry EXIF.

        Formats with a plane of 8-bit luma give a view. A plane of deeper luma (HDR) is rounded to 8 bits in its range.
        All others (RGB, palettes, packed YUV, deep gray) are converted once, to full range (except gray of more than 8
        bits, whose range the converter leaves as it is).
        """
        orientation = self.orientation_of(picture, load_packet=load_packet)
        looks = (picture.format.name, picture.color_range)
        if looks != self._looks:
            self._looks = looks
            self._has_luma_plane = has_luma_plane(picture.format)
            self._deep_scale = None if self._has_luma_plane else deep_luma_scale(picture.format)
            keeps_range = self._has_luma_plane or self._deep_scale is not None or _is_gray(picture)
            self._is_full_range = is_full_range(picture) or not keeps_range
        if self._has_luma_plane:
            luma = plane_view(picture)
        elif self._deep_scale is not None:
            luma = _rounded_plane(picture, scale=self._deep_scale)
        else:
            luma = self._converted(picture)
        load_rgb = functools.partial(
            rgb_from_picture, picture, orientation, self._make_reformatter, cropping=self._cropping
        )
        return Pixels(
            orientation.apply(self._cropping.apply(luma)), self._is_full_range, load_rgb, orientation.is_transposed
        )

    def orientation_of(self, picture: Picture, *, load_packet: Callable[[], bytes] | None = None) -> Orientation:
        """How the picture lies. Its matrix is read again when its angle (cheap to ask for) changes."""
        rotation = picture.rotation
        if rotation != self._rotation:
            self._rotation = rotation
            self._orientation = self._read_orientation(picture, load_packet=load_packet)
        return self._orientation

    def _read_orientation(self, picture: Picture, *, load_packet: Callable[[], bytes] | None) -> Orientation:
        if self._reads_side_data:
            try:
                matrix = picture.side_data.get("DISPLAYMATRIX")
                return UPRIGHT if matrix is None else orientation_from_display_matrix(bytes(matrix))
            except ValueError:
                # PyAV 18 refuses all side data when one kind has no name in it, as EXIF has none
                # (github.com/PyAV-Org/PyAV/pull/2392). The matrix would come from there, so that is read instead.
                pass
        return UPRIGHT if load_packet is None else orientation_from_exif(load_packet())

    def _converted(self, picture: Picture) -> Luma:
        fits = (picture.format.name, picture.width, picture.height)
        if self._reformatter is None or self._reformatter_fits != fits:
            self._reformatter, self._reformatter_fits = self._make_reformatter(), fits
        gray = self._reformatter.reformat(
            picture,
            format="gray",
            src_color_range=_FULL if is_full_range(picture) else _LIMITED,
            dst_color_range=_FULL,
            interpolation=_BILINEAR_ACCURATE,
            threads=1,
        )
        return plane_view(gray)


def has_luma_plane(pixel_format: _PixelFormat) -> bool:
    """Whether the first plane holds 8-bit luma and nothing else."""
    is_coded = pixel_format.is_rgb or pixel_format.is_bayer or pixel_format.has_palette or pixel_format.is_bit_stream
    luma, *others = pixel_format.components
    return not is_coded and luma.plane == 0 and luma.bits == 8 and all(other.plane != 0 for other in others)


def deep_luma_scale(pixel_format: _PixelFormat) -> float | None:
    """What samples are multiplied with for 8 bits, where the first plane holds luma of 9 to 16 bits and nothing else.

    None for other formats. The formats named P010 and the like hold their bits at the upper end of 16.
    """
    name = pixel_format.name
    luma, *others = pixel_format.components
    is_upper = name[:2] in ("p0", "p2", "p4")
    is_planar_yuv = name.startswith("yuv") and "p" in name
    if not name.endswith("le") or not (is_upper or is_planar_yuv) or not 8 < luma.bits <= 16:
        return None
    if luma.plane != 0 or any(other.plane == 0 for other in others):
        return None
    return 1 / 256 if is_upper else 1 / (1 << luma.bits - 8)


def _rounded_plane(picture: Picture, *, scale: float) -> Luma:
    """The first plane of 16-bit samples as 8-bit luma: a new array, read-only; five times as fast as the converter."""
    plane = picture.planes[0]
    stride = int(plane.line_size)
    height, width = picture.height, picture.width
    offset = (1 - height) * stride if stride < 0 else 0
    deep = np.ndarray((height, width), np.dtype("<u2"), plane, offset=offset, strides=(stride, 2))
    luma = np.asarray(cv2.convertScaleAbs(deep, alpha=scale), dtype=np.uint8)
    luma.flags.writeable = False
    return luma


def is_full_range(picture: Picture) -> bool:
    """Whether samples use 0–255. What does not say so is limited if it is YUV (the standards' default), else full."""
    if picture.color_range in (_LIMITED, _FULL):
        return picture.color_range == _FULL
    name = picture.format.name
    return name.startswith(("yuvj", "mono")) or picture.format.is_rgb or _is_gray(picture)


def _is_gray(picture: Picture) -> bool:
    return picture.format.name.startswith(("gray", "ya8", "ya16"))


def plane_view(picture: Picture) -> Luma:
    """The first plane as H×W view without its padding: read-only, and it keeps the picture's buffer alive."""
    plane = picture.planes[0]
    stride = int(plane.line_size)
    height, width = picture.height, picture.width
    if stride >= 0:
        view: Luma = np.ndarray((height, width), np.uint8, plane, strides=(stride, 1))
    else:  # stored bottom row first
        view = np.ndarray((height, width), np.uint8, plane, offset=(1 - height) * stride, strides=(stride, 1))
    view.flags.writeable = False
    return view


def rgb_from_picture(
    picture: Picture,
    orientation: Orientation,
    make_reformatter: Callable[[], Reformatter],
    *,
    cropping: Cropping = NOTHING_CROPPED,
) -> npt.NDArray[np.uint8]:
    """The picture in colour, upright: uint8, H×W×3, RGB, full range, a new contiguous array. From any thread.

    HDR is converted for ordinary screens.
    """
    has_hdr = is_hdr(picture.color_trc)
    is_unsaid = picture.colorspace == _UNSPECIFIED_COLORSPACE and not picture.format.is_rgb
    rgb = make_reformatter().reformat(
        picture,
        format="rgb48le" if has_hdr else "rgb24",
        src_colorspace=(_BT709 if picture.height >= _MIN_HD_LINES else _BT601) if is_unsaid else None,
        src_color_range=_FULL if is_full_range(picture) else _LIMITED,
        dst_color_range=_FULL,
        interpolation=_BILINEAR_ACCURATE,
        threads=1,
    )
    plane = rgb.planes[0]
    if has_hdr:
        codes = np.ndarray((rgb.height, rgb.width, 3), np.dtype("<u2"), plane, strides=(plane.line_size, 6, 2))
        light = ordinary_rgb(codes, transfer=picture.color_trc, primaries=picture.color_primaries)
        return orientation.apply(cropping.apply(light)).copy(order="C")
    stored: Luma = np.ndarray((rgb.height, rgb.width, 3), np.uint8, plane, strides=(plane.line_size, 3, 1))
    if _is_gray(picture) and not is_full_range(picture):
        stored = full_range_from_limited(stored)  # the converter takes all gray as full range
    return orientation.apply(cropping.apply(stored)).copy(order="C")
