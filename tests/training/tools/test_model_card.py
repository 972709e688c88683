"""The card's blocks are rewritten, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.errors import ConfigError
from tests.onnx_models import save_classifier
from tests.training.made import made_faces, save_npz
from training.tools.model_card import CARD, card_with, main, manifests_in

pytestmark = pytest.mark.heavy

TEXT = """# Card
prose
<!-- facts begins -->
old
<!-- facts ends -->
more <prose>
<!-- figures begins -->
<!-- figures ends -->
"""


def test_blocks_change_and_prose_stays() -> None:
    card = card_with(TEXT, {"facts": "| new |", "figures": "1\n2"})
    assert card.startswith("# Card\nprose\n<!-- facts begins, made by python -m training.model_card -->\n| new |\n")
    assert "more <prose>" in card
    assert "old" not in card


@given(st.text(alphabet="ab |\\\n<g>0", max_size=20))
def test_writing_twice_gives_the_same_card(content: str) -> None:
    once = card_with(TEXT, {"facts": content})
    assert card_with(once, {"facts": content}) == once
    assert content.strip() in once


def test_a_card_without_the_block_is_refused() -> None:
    with pytest.raises(ConfigError, match="<!-- facts begins -->"):
        card_with("# Card", {"facts": "x"})


def save_variants(folder: Path) -> Path:
    folder.mkdir()
    for name, precision in (("emotions", "int8"), ("emotions-fp32", "fp32")):
        path = save_classifier(folder, metrics={"parity_argmax_agreement": 0.99}, precision=precision)
        for part in (path, path.with_suffix(".json")):
            part.rename(folder / f"{name}{part.suffix}")
    return folder


def test_a_card_lists_every_variant_and_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models, card = save_variants(tmp_path / "models"), tmp_path / "card.md"
    card.write_text(TEXT, encoding="utf-8")
    data = save_npz(made_faces(70), tmp_path / "data.npz")
    arguments = ["--data", str(data), "--models", str(models), "--card", str(card)]
    assert main(arguments) == 0
    text = card.read_text(encoding="utf-8")
    assert "| `emotions.onnx` | INT8 | 0.0 MB | 99.0 % | –, – | – |" in text
    assert "| `emotions-fp32.onnx` | FP32 |" in text
    assert "FER+ majority, 70 pictures" in text
    assert main([*arguments[:-1], str(tmp_path / "gone.md")]) == 2
    assert "gone.md does not exist" in capsys.readouterr().err
    assert main([*arguments[:3], str(tmp_path)]) == 5


def test_the_card_of_the_package_speaks_of_its_files() -> None:
    text = CARD.read_text(encoding="utf-8")
    for path, manifest in manifests_in(CARD.parent.parent / "emostream" / "models"):
        assert f"`{path.name}`" in text
        assert manifest.version in text, "write it again with python -m training.model_card"
