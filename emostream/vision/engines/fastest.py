"""Measures which of several engines is the fastest on this machine, and caches the result."""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from emostream.files import write_whole

ENGINE_CHOICES_FILE = "engine-choices.json"
"""Name of the file in the model cache with the results of this machine."""

logger = logging.getLogger(__name__)

_NUM_RUNS = 5


def fastest(candidates: Mapping[str, Callable[[], Callable[[], object]]], *, key: str, cache_file: Path) -> str:
    """The name of the candidate whose call takes the shortest median time.

    Args:
        candidates: name → a function that opens the engine and returns the call to time; called only to measure. All
            calls must do the same work.
        key: what the result depends on (processor, versions, models); another key is measured again.
        cache_file: JSON with earlier results. When it cannot be read or written, the engines are measured again.
    """
    remembered = _read(cache_file).get(key, {})
    if set(remembered) != set(candidates):
        remembered = {name: median_milliseconds(make()) for name, make in candidates.items()}
        logger.info("measured milliseconds of %s: %s", key, remembered)
        _write(cache_file, _read(cache_file) | {key: remembered})
    return min(remembered, key=remembered.__getitem__)


def remember_choice(cache_file: Path, key: str, measured: Mapping[str, float]) -> None:
    """Keep a measurement: candidate → milliseconds. Failing to write it is only logged."""
    _write(cache_file, _read(cache_file) | {key: dict(measured)})


def remembered_choices(cache_file: Path) -> dict[str, dict[str, float]]:
    """All cached measurements: key → candidate → milliseconds."""
    return _read(cache_file)


def median_milliseconds(call: Callable[[], object]) -> float:
    """Median time of a call, after one that is not counted."""
    call()  # the first call allocates
    durations = []
    for _ in range(_NUM_RUNS):
        started = time.perf_counter()
        call()
        durations.append(time.perf_counter() - started)
    return round(1000 * statistics.median(durations), 3)


def _read(cache_file: Path) -> dict[str, dict[str, float]]:
    try:
        content = json.loads(cache_file.read_text(encoding="utf-8"))
        return {
            str(key): {str(name): float(value) for name, value in measured.items()} for key, measured in content.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write(cache_file: Path, choices: dict[str, dict[str, float]]) -> None:
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache_file, json.dumps(choices, indent=1).encode(), is_shared=True)
    except OSError as exc:
        logger.info("cannot write the measured engine speeds to %s: %s", cache_file, exc)
