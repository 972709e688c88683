"""Which pictures of a set are the same photograph: equal bytes, or cut, lit, marked or mirrored a little differently.

Pictures collected from the web repeat, and a net that has learned a photograph knows its other cuttings too. Two steps
find them. A perceptual hash of 64 bits (signs of the low frequencies about their median; Zauner, Implementation and
benchmarking of perceptual image hash functions, 2010) names candidates: all pairs whose hashes differ in few bits.
Faces that are cut alike also hash alike, so each candidate is looked at: both pictures are band-passed, which leaves
the lines of a face and takes light away, and laid over each other with every small shift; the best correlation
decides.

The two limits were set on FER2013 (Training and PublicTest, 32,298 pictures), by eye on contact sheets of pairs:
training/README.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm  # type: ignore[import-untyped]

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
_HASH_ROWS, _PAIR_ROWS = 64, 2048

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
    show_progress: bool = False,
) -> DuplicatePairs:
    """Pairs of the same photograph among pictures n×s×s that are not equal, mirrored ones included.

    Takes 10 kB for each picture and time that grows with the square of their number (README). Pictures of one level
    are like no other.
    """
    places = np.unique(exact_groups(pictures))
    kept = pictures[places]
    hashes, mirrored_hashes = perceptual_hashes(kept)
    spectra = _detail_spectra(kept)
    found = []
    for others, is_mirrored in ((hashes, False), (mirrored_hashes, True)):
        starts = tqdm(
            range(0, len(hashes), _HASH_ROWS),
            desc="mirrored duplicates" if is_mirrored else "duplicates",
            disable=not show_progress,
        )
        for pairs in _candidates(hashes, others, starts, max_distance=max_distance):
            similarity = _similarities(spectra, pairs, mirrored=is_mirrored)
            same = similarity >= min_similarity
            found.append((places[pairs[same]], similarity[same], np.full(int(same.sum()), is_mirrored)))
    if not found:
        return DuplicatePairs(np.empty((0, 2), np.int64), np.empty(0, np.float32), np.empty(0, np.bool_))
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


def _candidates(
    hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64], starts: Iterable[int], *, max_distance: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Pairs m×2 of which the second stands later and differs in few bits; `starts` are the rows each block begins at.

    All pairs are compared, which takes 1 s of one core for 32,000 pictures: no index is needed.
    """
    pending, count = [], 0
    for start in starts:
        block = hashes[start : start + _HASH_ROWS, None]
        rows, columns = np.nonzero(np.bitwise_count(block ^ others[None, start:]) <= max_distance)
        later = columns > rows
        pending.append(np.stack([rows[later], columns[later]], axis=1) + start)
        count += len(pending[-1])
        if count >= _PAIR_ROWS:
            yield np.concatenate(pending)
            pending, count = [], 0
    if count:
        yield np.concatenate(pending)


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
