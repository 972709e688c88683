"""Explanations in words: what stands out, what the answer hangs on, whether the map can be believed."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from emostream.cli.explanation_text import probabilities_table, words_of_explanation
from emostream.vision.explain.explanation import MapCheck, RegionEffect
from tests.vision.explain.test_explainer import explain


def test_words() -> None:
    explanation = replace(
        explain(),
        regions=(
            RegionEffect("mouth", 0.1, 0.6, 0.2, "dark"),
            RegionEffect("eyes", 0.1, 0.15, 0.8, "bright"),
            RegionEffect("surroundings", 0.8, 0.25, 0.7, "bright"),
        ),
        check=MapCheck(0.2, 0.8, 0.5, 0.6),
    )
    text = "\n".join(words_of_explanation(explanation))
    assert "mouth (60% of it on 10% of the crop), eyes (15% of it on 10% of the crop)" in text
    assert "surroundings" not in text
    assert "with the mouth hidden: bright 20%, and the answer would be " in text
    assert "deletion 0.20 (random 0.50), insertion 0.80 (random 0.60): it shows what the model uses" in text


def test_words_where_there_is_nothing_to_tell() -> None:
    explanation = replace(
        explain(), regions=(RegionEffect("cheeks", 1.0, 1.0, 0.99, "bright"),), check=MapCheck(0.6, 0.8, 0.5, 0.6)
    )
    text = "\n".join(words_of_explanation(explanation))
    assert "no part of the face stands out" in text
    assert "hidden, bright is at least as probable" in text
    assert "do not rely on it" in text


def test_table_has_a_column_for_each_label_of_the_model() -> None:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(probabilities_table([explain()]))
    text = console.export_text()
    assert "bright" in text
    assert "90%" in text
