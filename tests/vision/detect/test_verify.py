"""The INT8 detector finds what the exact one finds; a variant that does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from emostream.config import ModelSettings
from emostream.errors import ManifestError
from emostream.vision.detect.verify import check_detector_variants
from emostream.vision.models.store import ModelStore
from tests.vision.detect.real_model import centerface_path
from tests.vision.detect.tiny_models import tiny_centerface

pytestmark = pytest.mark.heavy


def test_the_real_variants_match() -> None:
    paths = {"fp32": centerface_path(), "int8": ModelStore(ModelSettings(offline=True)).path_of("centerface-int8")}
    for check in check_detector_variants(paths):
        assert (check.problem, check.agreement) == ("", 1)


def test_another_network_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_centerface())
    check = check_detector_variants({"fp32": centerface_path(), "int8": other})[1]
    assert "the int8 variant does not match its reference" in check.problem
    assert check.agreement == 0


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"not a model")
    assert r"damaged.onnx" in check_detector_variants({"fp32": centerface_path(), "int8": path})[1].problem
    with pytest.raises(ManifestError, match=r"damaged\.onnx"):
        check_detector_variants({"fp32": path})
