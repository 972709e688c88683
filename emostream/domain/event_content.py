"""What the JSON of an event holds; names, order and digits follow from the declarations in `event.py`."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from operator import neg, sub
from typing import Any, Literal

from emostream.domain.emotion import EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
from emostream.domain.event_fields import writer_of
from emostream.domain.face import BoxXyxy, Landmarks
from emostream.domain.voice import VoiceEvent

SCHEMA_VERSION: Literal[1] = 1

_PIXEL_DIGITS = 1


def round_probabilities(probabilities: tuple[float, ...], *, digits: int = 4) -> tuple[float, ...]:
    """A distribution in some digits that still sums to 1, its order kept (largest remainder method).

    >>> round_probabilities((1 / 3, 1 / 3, 1 / 3))
    (0.3334, 0.3333, 0.3333)
    """
    num_units = 10**digits
    if min(probabilities) < 0:
        probabilities = tuple(max(value, 0.0) for value in probabilities)
    total = sum(probabilities)
    exact = [value / total * num_units for value in probabilities]
    units = [int(value + 1e-6) for value in exact]  # a value that is rounded already stays
    missing = num_units - sum(units)
    if missing > 0:
        # Among equal remainders the larger value first: its order must survive, however small the difference.
        by_remainder = sorted(zip(map(sub, units, exact), map(neg, probabilities), range(len(units)), strict=True))
        for _, _, index in by_remainder[:missing]:
            units[index] += 1
    return tuple([value / num_units for value in units])


def rounded_box(box_xyxy: BoxXyxy) -> list[float]:
    """A box in tenths of a pixel, never empty."""
    x0, y0, x1, y1 = box_xyxy
    left, top = round(x0, _PIXEL_DIGITS), round(y0, _PIXEL_DIGITS)
    right, bottom = round(x1, _PIXEL_DIGITS), round(y1, _PIXEL_DIGITS)
    # Thinner than a tenth of a pixel: it must not become empty.
    if left >= right:
        left, right = math.floor(x0 * 10) / 10, math.ceil(x1 * 10) / 10
    if top >= bottom:
        top, bottom = math.floor(y0 * 10) / 10, math.ceil(y1 * 10) / 10
    return [left, top, right, bottom]


def _landmarks(points: Landmarks) -> list[list[float]]:
    return [[round(x, _PIXEL_DIGITS), round(y, _PIXEL_DIGITS)] for x, y in points]


def _instant(at: datetime) -> str:
    in_utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return in_utc.isoformat(timespec="microseconds")[:-6] + "Z"  # in place of "+00:00"


_VERSION = {"schema_version": SCHEMA_VERSION}
content_of_status = writer_of(StatusEvent, conversions={datetime: _instant}, first=_VERSION)
content_of_summary = writer_of(SummaryEvent, conversions={datetime: _instant}, first=_VERSION)
content_of_voice = writer_of(VoiceEvent, conversions={datetime: _instant}, first=_VERSION)


@functools.cache
def event_writer(*, digits: int = 4, has_landmarks: bool = True) -> Callable[[EmotionEvent], dict[str, Any]]:
    """The way from an emotion event to what its JSON holds.

    Args:
        digits: of probabilities, after the point; distributions still sum to 1.
        has_landmarks: whether faces carry their landmarks.

    Returns:
        A function that raises `ValueError` for an integer that JSON cannot hold exactly.
    """

    def write_scores(scores: EmotionScores) -> dict[str, float]:
        return dict(zip(scores.labels, round_probabilities(scores.probabilities, digits=digits), strict=True))

    write_rest = writer_of(
        FaceEmotion,
        conversions={EmotionScores: write_scores, BoxXyxy: rounded_box, Landmarks: _landmarks},
        without=() if has_landmarks else ("landmarks",),
    )

    def write_face(face: FaceEmotion) -> dict[str, Any]:
        content = write_rest(face)
        content["confidence"] = content["smoothed_probabilities"].get(face.dominant, 0.0)  # as written there
        return content

    return writer_of(EmotionEvent, conversions={datetime: _instant, FaceEmotion: write_face}, first=_VERSION)


def compact_json(content: dict[str, Any]) -> str:
    """JSON on one line; raises `ValueError` for numbers that it cannot hold (infinite, not a number)."""
    from pydantic_core import to_json  # here, because programs that make no JSON load this module too

    text = to_json(content, inf_nan_mode="constants").decode()  # five times as fast as the standard library
    if "NaN" in text or "Infinity" in text:  # as a number, which this refuses, or in a name, which is fine
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text
