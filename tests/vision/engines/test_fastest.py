"""The faster engine is chosen, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emostream.vision.engines.fastest import fastest, remembered_choices


class Counting:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.num_calls = 0

    def __call__(self) -> None:
        self.num_calls += 1
        time.sleep(self.seconds)


def test_the_fastest_is_measured_once_and_remembered(tmp_path: Path) -> None:
    slow, fast = Counting(0.02), Counting(0.001)
    cache_file = tmp_path / "deep" / "choices.json"
    candidates: dict[str, Callable[[], Callable[[], object]]] = {"slow": lambda: slow, "fast": lambda: fast}
    assert fastest(candidates, key="cpu", cache_file=cache_file) == "fast"
    num_calls = slow.num_calls
    assert fastest(candidates, key="cpu", cache_file=cache_file) == "fast"
    assert slow.num_calls == num_calls
    assert set(remembered_choices(cache_file)) == {"cpu"}

    fastest(candidates, key="another cpu", cache_file=cache_file)
    assert slow.num_calls > num_calls
    assert set(remembered_choices(cache_file)) == {"cpu", "another cpu"}


def test_other_candidates_are_measured_anew(tmp_path: Path) -> None:
    cache_file = tmp_path / "choices.json"
    assert fastest({"a": lambda: Counting(0)}, key="cpu", cache_file=cache_file) == "a"
    assert fastest({"b": lambda: Counting(0)}, key="cpu", cache_file=cache_file) == "b"


@pytest.mark.parametrize("content", ["", "no json", "[1]", '{"cpu": 3}', '{"cpu": {"a": "x"}}'])
def test_a_damaged_cache_costs_a_measurement_only(content: str, tmp_path: Path) -> None:
    cache_file = tmp_path / "choices.json"
    cache_file.write_text(content)
    assert fastest({"a": lambda: Counting(0)}, key="cpu", cache_file=cache_file) == "a"
    assert "a" in remembered_choices(cache_file)["cpu"]


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert fastest({"a": lambda: Counting(0)}, key="cpu", cache_file=tmp_path / "file" / "choices.json") == "a"
