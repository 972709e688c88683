"""Colours of HDR video for people who look at them on an ordinary screen.

PQ and HLG code values shown as they are look gray and flat. They are decoded to light (ITU-R BT.2100), converted to the
primaries of ordinary video (BT.2087), compressed to the range of an ordinary screen by the roll-off of ITU-R BT.2390
(5.4.1, on the largest of the three components, which keeps hues), and encoded for it (BT.1886). FFmpeg's filters for
this need libzimg, which PyAV's wheels do not have.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

PQ, HLG = 16, 18
"""FFmpeg's AVColorTransferCharacteristic: SMPTE ST 2084 and ARIB STD-B67."""

_UNSAID_PRIMARIES, _BT2020_PRIMARIES = 2, 9  # FFmpeg's AVColorPrimaries
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # BT.2087
_LUMINANCE_OF_BT2020 = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
_WHITE_NITS = 203.0  # of paper and faces in bright light in HDR (BT.2408): white on an ordinary screen
_PEAK_NITS = 1000.0  # what most HDR video is mastered for, and the nominal display of HLG
_PQ_NITS = 10_000.0
_LEVELS = 4096

Floats = npt.NDArray[np.float32]


def is_hdr(transfer: int) -> bool:
    """Whether colours of this transfer characteristic need `ordinary_rgb`."""
    return transfer in (PQ, HLG)


def ordinary_rgb(codes: npt.NDArray[np.uint16], *, transfer: int, primaries: int) -> npt.NDArray[np.uint8]:
    """Convert code values of HDR to 8-bit colours for an ordinary screen.

    Args:
        codes: uint16, H×W×3, RGB, full range.
        transfer: `PQ` or `HLG`.
        primaries: FFmpeg's number of the primaries; those of BT.2020, and unsaid ones, are converted.

    Returns:
        uint8, H×W×3, RGB of BT.709, full range.
    """
    light: Floats = _light_of(transfer)[codes >> 4]
    if transfer == HLG:
        luminance = np.maximum(cv2.transform(light, _LUMINANCE_OF_BT2020), np.float32(1e-6))
        light *= _PEAK_NITS * cv2.pow(luminance, 0.2).reshape(*light.shape[:2], 1)
    if primaries in (_BT2020_PRIMARIES, _UNSAID_PRIMARIES):
        light = np.asarray(cv2.transform(light, _TO_BT709), dtype=np.float32)
    # By planes, because the largest of three neighbours in memory takes a tenth of a second.
    planes = [np.asarray(plane, dtype=np.float32) for plane in cv2.split(np.clip(light, 0, _PQ_NITS))]
    brightest = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    # The fourth root spaces the levels of light about as the eye does.
    level = np.sqrt(np.sqrt(brightest / np.float32(_PQ_NITS))) * np.float32(_LEVELS - 1)
    gain = _gains()[level.astype(np.uint16)] * np.float32(65535)
    shown = [_encoded()[np.minimum(plane * gain, 65535).astype(np.uint16)] for plane in planes]
    return np.asarray(cv2.merge(shown), dtype=np.uint8)


@functools.cache
def _light_of(transfer: int) -> Floats:
    """Light of each code value: nits of PQ, scene light 0…1 of HLG."""
    signal = np.linspace(0, 1, _LEVELS)
    if transfer == PQ:
        return _nits_from_pq(signal).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)


@functools.cache
def _gains() -> Floats:
    """What light of each level is multiplied by, to be 0…1 on an ordinary screen."""
    nits = np.maximum((np.arange(_LEVELS) / (_LEVELS - 1)) ** 4 * _PQ_NITS, 1e-4)
    peak = float(_pq_from_nits(np.array(_PEAK_NITS)))
    brightest = float(_pq_from_nits(np.array(_WHITE_NITS))) / peak
    knee = 1.5 * brightest - 0.5
    given = np.minimum(_pq_from_nits(nits) / peak, 1.0)
    t = np.maximum(given - knee, 0) / (1 - knee)
    rolled = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * brightest
    shown = _nits_from_pq(np.where(given < knee, given, rolled) * peak)
    return np.asarray(shown / _WHITE_NITS / nits, dtype=np.float32)


@functools.cache
def _encoded() -> npt.NDArray[np.uint8]:
    """The code value of light 0…1 in 65536 steps: the inverse of BT.1886 with a black of 0."""
    return np.rint(255 * np.linspace(0, 1, 65536) ** (1 / 2.4)).astype(np.uint8)


_M1, _M2 = 1305 / 8192, 2523 / 32
_C1, _C2, _C3 = 107 / 128, 2413 / 128, 2392 / 128


def _nits_from_pq(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    root = signal ** (1 / _M2)
    return np.asarray(_PQ_NITS * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def _pq_from_nits(nits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    power = (nits / _PQ_NITS) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)
