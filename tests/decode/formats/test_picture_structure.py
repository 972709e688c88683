"""Size, movement and completeness of pictures, from their headers, held against what Pillow writes."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pillow_heif import register_heif_opener

from emostream.decode.formats.picture_structure import (
    SIGNATURE_BYTES,
    PictureStructure,
    first_of_animation,
    is_heif,
    is_known_picture,
    is_tiff,
    read_picture_structure,
)
from tests.media import mp4_box

register_heif_opener()


def coded(kind: str, *, num_pictures: int = 1, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    """Pictures of noise, each of its own level, in one file."""
    noise = np.random.default_rng(1)
    pictures = [
        Image.fromarray(noise.integers(60 * number, 60 * number + 60, (size[1], size[0], 3), dtype=np.uint8))
        for number in range(num_pictures)
    ]
    if num_pictures > 1:
        options |= {"save_all": True, "append_images": pictures[1:], "duration": 50}
    file = io.BytesIO()
    pictures[0].save(file, kind, **options)
    return file.getvalue()


WITH_THUMBNAIL = Image.Exif()
WITH_THUMBNAIL[0x010E] = "a picture inside: \xff\xd8 \xff\xd9"
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"exif": WITH_THUMBNAIL.tobytes() + b"\xff\xd9"}),
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"lossless": False}),
    ("WEBP", {"exif": WITH_THUMBNAIL.tobytes()}),
    ("GIF", {}),
    ("GIF", {"interlace": 1, "comment": b"0" * 600}),
    ("QOI", {}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_whole_and_cut(kind: str, options: dict[str, Any]) -> None:
    content = coded(kind, **options)
    assert is_known_picture(content[:SIGNATURE_BYTES])
    structure = read_picture_structure(content)
    assert structure.size == (None if kind in ("GIF", "QOI") else (40, 30))
    assert not structure.is_cut
    assert not structure.is_animated
    assert not read_picture_structure(content + b"what cameras append").is_cut
    for length in (60, len(content) // 2, len(content) - 3):
        assert read_picture_structure(content[:length]).is_cut


@pytest.mark.parametrize(("kind", "size"), [("PNG", (40, 30)), ("WEBP", (40, 30)), ("GIF", None)])
def test_animations(kind: str, size: tuple[int, int] | None) -> None:
    assert read_picture_structure(coded(kind, num_pictures=3)) == PictureStructure(size, is_animated=True)


@pytest.mark.parametrize("is_lossless", [True, False])
def test_the_first_picture_of_an_animated_webp_is_a_picture(is_lossless: bool) -> None:
    still = first_of_animation(coded("WEBP", num_pictures=3, lossless=is_lossless))
    assert not read_picture_structure(still).is_animated
    with Image.open(io.BytesIO(still)) as picture:
        assert getattr(picture, "n_frames", 1) == 1
        assert np.asarray(picture.convert("RGB")).mean() == pytest.approx(29.5, abs=4)


def test_others_stay_as_they_are() -> None:
    for content in (coded("PNG"), coded("WEBP"), coded("GIF", num_pictures=2), b"", b"RIFF\0\0\0\0WEBP"):
        assert first_of_animation(content) == content


@given(st.sampled_from([coded(kind, num_pictures=2) for kind in ("PNG", "WEBP", "GIF")] + [coded("JPEG")]), st.data())
def test_damage_never_raises(content: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(0, len(content)))
    damaged = bytearray(content[:length])
    damaged[position : position + 4] = data.draw(st.binary(min_size=4, max_size=4))
    read_picture_structure(bytes(damaged))
    first_of_animation(bytes(damaged))


def test_an_animation_whose_first_picture_is_whole_can_be_read() -> None:
    whole, one = coded("GIF", num_pictures=3), coded("GIF")
    assert not read_picture_structure(whole[:-100]).is_cut
    assert read_picture_structure(whole[: len(one) // 2]).is_cut


def test_a_sun_raster_says_how_long_it_is() -> None:
    encoded, content = cv2.imencode(".ras", np.full((30, 40, 3), 77, np.uint8))
    assert encoded and is_known_picture(content.tobytes()[:SIGNATURE_BYTES])
    assert not read_picture_structure(content.tobytes()).is_cut
    assert read_picture_structure(content.tobytes()[:-1]).is_cut
    assert read_picture_structure(content.tobytes()[:20]).is_cut


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "TIFF"])
def test_what_pillow_reads_is_known(kind: str) -> None:
    content = coded(kind)
    assert is_known_picture(content[:SIGNATURE_BYTES])
    assert not read_picture_structure(content).is_cut
    assert is_heif(content) == (kind != "TIFF")
    assert is_tiff(content) == (kind == "TIFF")


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("keep_ratio", [0.5, 0.9, 0.99])
def test_of_a_cut_heif_the_end_is_missing(kind: str, keep_ratio: float) -> None:
    content = coded(kind)
    assert read_picture_structure(content[: int(len(content) * keep_ratio)]).is_cut


def test_a_brand_counts_wherever_it_stands_in_the_list() -> None:
    assert is_heif(mp4_box(b"ftyp", b"abcd\0\0\0\0efghmif1"))
    assert not is_heif(mp4_box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41"))
    assert not is_heif(mp4_box(b"ftyp", b"isommif1isomiso2avc1mp41"))  # a version number
