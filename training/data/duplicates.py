"""Which pictures of a set are the same photograph: equal bytes, or cut, lit, marked or mirrored a little differently.

Pictures collected from the web repeat, and a net that has learned a photograph knows its other cuttings too. A pair is
a duplicate when two tests agree. The perceptual hashes of 64 bits (signs of the low frequencies about their median;
Zauner, Implementation and benchmarking of perceptual image hash functions, 2010) differ in few bits. And when both
pictures are band-passed, which leaves the lines of a face and takes light away, and laid over each other with every
small shift, the best correlation is high.

The number of pairs grows with the square of the pictures, so pairs are left out before they are tested. The magnitudes
of a spectrum do not change with a shift, and no correlation is higher than the product of the magnitudes: this leaves
out most pairs of equal hashes, and never a duplicate. In large sets only pictures whose magnitudes are alike are paired
at all: each picture belongs to the cells of its nearest pivots, which are pictures drawn from the set (an inverted file
with several probes; Jégou et al., Product quantization for nearest neighbor search, 2011).

The two limits were set on FER2013 (Training and PublicTest, 32,298 pictures), by eye on contact sheets of pairs:
training/README.md has the figures.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import platformdirs
import scipy.fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.files import replacing
from emostream.vision.classify.preprocess import crop_from_picture

MAX_HASH_DISTANCE = 14
"""Differing bits of a candidate. Two more would find another 4 % of true pairs among four times as many candidates."""
MIN_SIMILARITY = 0.88
"""Correlation of a duplicate. One of 64 pairs looked at between 0.88 and 0.89 was of two faces, none of 64 between 0.89
and 0.91; between 0.76 and 0.84 it was every second."""

_HASH_SIDE, _NUM_FREQUENCIES = 32, 8
_DETAIL_SIDE = 48
# Standard deviations in pixels of 48: finer is noise and marks of compression, coarser is light.
_FINE_PIXELS, _COARSE_PIXELS = 0.8, 3.0
_MAX_SHIFT_PIXELS = 5
# Rows compared at a time: small enough for the processor's cache.
_HASH_ROWS, _PAIR_ROWS, _PIVOT_ROWS = 64, 2048, 1024
_LOW = 10
"""Frequencies below this, up and down and across, hold 93 % of the energy of band-passed faces."""

EXACT_UP_TO = 50_000
"""All pairs of a set up to this size are compared, which takes 14 seconds of one core."""
_NUM_CELLS_EACH, _PICTURES_A_PIVOT = 16, 64
"""Nearest pivots of a picture, and pictures for each pivot. With cells as for 400,000 pictures, all 3,055 duplicates of
FER2013's Training share one; with 8 nearest pivots in place of 16, about 10 do not."""

KEEP_FROM = 10_000
"""Searches of smaller sets take less than a second and are not kept."""
_ROUNDING = 1e-3
"""More than the rounding of a product of magnitudes."""
_METHOD = "1"
"""Part of the name of a kept search: change it with the method."""

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class DuplicatePairs:
    """Pairs of pictures that show the same photograph but are not equal.

    Attributes:
        places: int64 m×2, where both stand in the set, the lower first. Of several equal pictures only the first is
            named.
        similarity: float32 m, MIN_SIMILARITY…1.
        mirrored: bool m, whether one is the other's mirror image.
    """

    places: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float32]
    mirrored: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.places)


def exact_groups(pictures: Pictures) -> npt.NDArray[np.int64]:
    """Pictures n×s×s → int64 n, for each the place of the first picture with the same bytes."""
    rows = np.ascontiguousarray(pictures.reshape(len(pictures), -1))
    keys = rows.view(np.dtype((np.void, rows.shape[1])))[:, 0]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


def duplicate_groups(pictures: Pictures, *, near: DuplicatePairs | None = None) -> npt.NDArray[np.int64]:
    """Pictures n×s×s → int64 n: equal numbers for the same photograph, counted from 0.

    A chain of duplicates is one group, even where its ends are not alike. `near` saves the search where it was done.
    """
    exact = exact_groups(pictures)
    near = near_duplicates(pictures) if near is None else near
    links = np.concatenate([np.stack([np.arange(len(exact)), exact], axis=1), near.places])
    return joined_groups(len(pictures), links)


def joined_groups(count: int, links: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Links m×2 between `count` things → int64, equal numbers for what is linked directly or through others."""
    graph = coo_array((np.ones(len(links), dtype=np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def near_duplicates(
    pictures: Pictures,
    *,
    max_distance: int = MAX_HASH_DISTANCE,
    min_similarity: float = MIN_SIMILARITY,
    exact_up_to: int = EXACT_UP_TO,
    keep_from: int = KEEP_FROM,
    show_progress: bool = False,
) -> DuplicatePairs:
    """Pairs of the same photograph among pictures that are not equal, mirrored ones included.

    Takes 12 kB for each picture. The result for a large set is kept in the user's cache folder, by the content of the
    pictures, so that a run that is started again does not search again. Pictures of one level are like no other.

    Args:
        pictures: uint8 n×s×s.
        max_distance: differing bits of two hashes of one photograph.
        min_similarity: correlation of two pictures of one photograph.
        exact_up_to: pictures of which all pairs are compared. In a larger set only pairs that share a cell are: the
            time grows little faster than the number of pictures, and a pair near the limits may be missed.
        keep_from: pictures of the smallest set whose result is kept on disk.
        show_progress: show bars.

    Returns:
        The pairs in the order of their places, upright ones first.
    """
    if len(pictures) < keep_from:
        return _search(pictures, max_distance, min_similarity, exact_up_to, show_progress=show_progress)
    digest = hashlib.sha256(f"{_METHOD} {pictures.shape} {max_distance} {min_similarity} {exact_up_to}".encode())
    digest.update(np.ascontiguousarray(pictures).data)
    path = platformdirs.user_cache_path("emostream") / "duplicates" / f"{digest.hexdigest()}.npz"
    # A file that is not there, or damaged, is a search that has to be made.
    with (
        contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile),
        path.open("rb") as file,
        np.load(file) as kept,
    ):
        return DuplicatePairs(kept["places"], kept["similarity"], kept["mirrored"])
    found = _search(pictures, max_distance, min_similarity, exact_up_to, show_progress=show_progress)
    # Without a place for it the search is only made again.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, is_shared=True) as target:
            np.savez(target, places=found.places, similarity=found.similarity, mirrored=found.mirrored)
    return found


def _search(
    pictures: Pictures, max_distance: int, min_similarity: float, exact_up_to: int, *, show_progress: bool
) -> DuplicatePairs:
    places = np.unique(exact_groups(pictures))
    kept = pictures[places]
    hashes, mirrored_hashes = perceptual_hashes(kept)
    spectra = _detail_spectra(kept)
    magnitudes = _low_magnitudes(spectra)
    cells = [np.arange(len(kept))] if len(kept) <= exact_up_to else _cells(magnitudes)
    others = ((hashes, magnitudes, False), (mirrored_hashes, _mirrored_magnitudes(magnitudes), True))
    pairs: tuple[list[npt.NDArray[np.int64]], ...] = ([], [])
    bar = tqdm(total=2 * sum(map(len, cells)), desc="duplicates", unit="pictures", disable=not show_progress)
    with bar:
        for cell in cells:
            for other_hashes, other_magnitudes, is_mirrored in others:
                for near in _near_hashes(hashes[cell], other_hashes[cell], max_distance=max_distance):
                    first, second = cell[near].T
                    bound = np.einsum("ijk,ijk->i", magnitudes[first], other_magnitudes[second])
                    pairs[is_mirrored].append(cell[near[bound >= min_similarity - _ROUNDING]])
                bar.update(len(cell))
    found = []
    for chosen, is_mirrored in zip(pairs, (False, True), strict=True):
        unique = np.unique(np.concatenate([np.empty((0, 2), np.int64), *chosen]), axis=0)
        similarity = _similarities(spectra, unique, mirrored=is_mirrored)
        same = similarity >= min_similarity
        found.append((places[unique[same]], similarity[same], np.full(int(same.sum()), is_mirrored)))
    return DuplicatePairs(*(np.concatenate(part) for part in zip(*found, strict=True)))


def perceptual_hashes(pictures: Pictures) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Pictures n×s×s → uint64 n, the hash of each and that of its mirror image."""
    small = np.stack([crop_from_picture(picture, size=_HASH_SIDE) for picture in pictures]).astype(np.float32)
    frequency, place = np.arange(_NUM_FREQUENCIES)[:, None], np.arange(_HASH_SIDE)[None, :]
    # The discrete cosine transform (type II, unscaled), of which only the lowest frequencies are wanted.
    basis = np.cos(np.pi / _HASH_SIDE * (place + 0.5) * frequency).astype(np.float32)
    low = basis @ small @ basis.T
    # Mirroring turns the sign of the waves that are odd along x.
    return _bits(low), _bits(low * np.where(np.arange(_NUM_FREQUENCIES) % 2, -1, 1).astype(np.float32))


def _bits(low: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    flat = low.reshape(len(low), -1)
    return np.packbits(flat > np.median(flat, axis=1, keepdims=True), axis=1).view(np.uint64)[:, 0]


def _near_hashes(
    hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64], *, max_distance: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Pairs m×2 of which the second stands later and differs in few bits."""
    pending, count = [], 0
    for start in range(0, len(hashes), _HASH_ROWS):
        block = hashes[start : start + _HASH_ROWS, None]
        near = np.bitwise_count(block ^ others[None, start:]) <= max_distance
        rows, columns = np.divmod(np.flatnonzero(near), near.shape[1])
        later = columns > rows
        pending.append(np.stack([rows[later], columns[later]], axis=1) + start)
        count += len(pending[-1])
        if count >= _PAIR_ROWS:
            yield np.concatenate(pending)
            pending, count = [], 0
    if count:
        yield np.concatenate(pending)


def _low_magnitudes(spectra: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
    """Spectra n×48×25 → n×20×10, of length 1 each: magnitudes that are alike wherever the picture was cut.

    Rows 0 to 18 are the low frequencies (0…9, then −9…−1 down; 0…9 across), each with the weight that it has in a
    correlation; the row after them holds the length of all others. By Cauchy and Schwarz the product of two is at least
    the best correlation of their pictures over all shifts.
    """
    low = np.abs(spectra[:, np.r_[:_LOW, 1 - _LOW : 0], :_LOW]) / _DETAIL_SIDE
    # The spectrum of a real picture holds the frequencies across that are above 0 once instead of twice.
    low[:, :, 1:] *= np.float32(np.sqrt(2))
    magnitudes = np.zeros((len(low), 2 * _LOW, _LOW), dtype=np.float32)
    magnitudes[:, :-1] = low
    magnitudes[:, -1, 0] = np.sqrt(np.maximum(1 - np.einsum("ijk,ijk->i", low, low), 0))
    return magnitudes


def _mirrored_magnitudes(magnitudes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Those of the mirror images: the frequencies down change their sign."""
    rows = np.r_[0, 2 * _LOW - 2 : 0 : -1, 2 * _LOW - 1]
    return magnitudes[:, rows]


def _cells(magnitudes: npt.NDArray[np.float32]) -> list[npt.NDArray[np.int64]]:
    """Places of pictures that may be duplicates, rising: each picture is in several cells.

    A picture and its mirror image are in the same ones.
    """
    count = len(magnitudes)
    looks = (magnitudes + _mirrored_magnitudes(magnitudes))[:, :_LOW].reshape(count, -1)
    looks -= looks.mean(axis=0)
    # Half way to equal weights of all frequencies: the lowest would decide alone.
    looks /= np.sqrt(looks.std(axis=0) + 1e-6)
    looks /= np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-6)
    pivots = looks[np.random.default_rng(0).choice(count, -(-count // _PICTURES_A_PIVOT), replace=False)]
    each = min(_NUM_CELLS_EACH, len(pivots))
    nearest = np.concatenate(
        [
            np.argpartition(-(looks[start : start + _PIVOT_ROWS] @ pivots.T), each - 1, axis=1)[:, :each]
            for start in range(0, count, _PIVOT_ROWS)
        ]
    ).ravel()
    ends = np.cumsum(np.bincount(nearest, minlength=len(pivots)))
    return np.split(np.argsort(nearest, kind="stable") // each, ends[:-1])


def _detail_spectra(pictures: Pictures) -> npt.NDArray[np.complex64]:
    """Band-passed, windowed and of length 1 each; as a spectrum, since a correlation is a product there."""
    window = cv2.createHanningWindow((_DETAIL_SIDE + 2, _DETAIL_SIDE + 2), cv2.CV_32F)[1:-1, 1:-1] ** 2
    details = np.empty((len(pictures), _DETAIL_SIDE, _DETAIL_SIDE), dtype=np.float32)
    for place, picture in enumerate(pictures):
        levels = crop_from_picture(picture, size=_DETAIL_SIDE).astype(np.float32)
        fine = cv2.GaussianBlur(levels, (0, 0), _FINE_PIXELS, borderType=cv2.BORDER_REFLECT)
        coarse = cv2.GaussianBlur(levels, (0, 0), _COARSE_PIXELS, borderType=cv2.BORDER_REFLECT)
        details[place] = (fine - coarse) * window
    lengths = np.linalg.norm(details.reshape(len(details), -1), axis=1)
    # A picture of one level has no details: it stays 0 and so is like nothing.
    details /= np.maximum(lengths, 1e-3)[:, None, None]
    return np.asarray(scipy.fft.rfft2(details), dtype=np.complex64)


def _similarities(
    spectra: npt.NDArray[np.complex64], pairs: npt.NDArray[np.int64], *, mirrored: bool
) -> npt.NDArray[np.float32]:
    """The best correlation over small shifts of each pair m×2: float32 m, at most 1."""
    near = np.r_[-_MAX_SHIFT_PIXELS : _MAX_SHIFT_PIXELS + 1]
    best = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _PAIR_ROWS):
        chosen = pairs[start : start + _PAIR_ROWS]
        other = spectra[chosen[:, 1]]
        if mirrored:
            other = _mirrored(other)
        shifted = scipy.fft.irfft2(spectra[chosen[:, 0]] * other.conj(), s=(_DETAIL_SIDE, _DETAIL_SIDE))
        best[start : start + _PAIR_ROWS] = shifted[:, near[:, None], near].max(axis=(1, 2))
    return best


def _mirrored(spectra: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    """Spectra of the mirror images: of a real picture, x → −x turns the vertical frequencies and conjugates."""
    turned = spectra[:, -np.arange(_DETAIL_SIDE) % _DETAIL_SIDE].conj()
    # −x on a circle of pixels puts the first column last but one: one pixel more.
    phase = np.exp(2j * np.pi * np.arange(spectra.shape[2]) / _DETAIL_SIDE)
    return np.asarray(turned * phase, dtype=np.complex64)
