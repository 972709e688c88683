"""Every variant that ships answers as its reference does; one that does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from emostream.errors import ModelUnavailableError
from emostream.vision.classify.verify import check_variants, packaged_variants
from tests.onnx_models import classifier_model, save_classifier


def folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


@pytest.mark.slow
def test_variants_of_the_package_match() -> None:
    checks = check_variants(packaged_variants())
    assert [check.variant for check in checks][:2] == ["fp32", "int8"]
    for check in checks:
        assert check.problem == ""
        assert check.agreement is not None
        assert check.agreement > 0.985
        assert check.milliseconds is not None
        assert check.milliseconds > 0
    assert checks[0].max_difference == 0


def test_a_variant_that_answers_differently_is_named(tmp_path: Path) -> None:
    reference = save_classifier(folder(tmp_path, "fp32"))
    other = save_classifier(folder(tmp_path, "int8"), model=classifier_model(scale=-1 / 255), precision="int8")
    right, wrong = check_variants([reference, other])
    assert right.problem == ""
    assert "the int8 variant does not match its reference" in wrong.problem
    assert wrong.agreement is not None
    assert wrong.agreement < 0.5


def test_a_variant_of_another_version_is_named(tmp_path: Path) -> None:
    reference = save_classifier(folder(tmp_path, "fp32"))
    other = save_classifier(folder(tmp_path, "older"), version="0")
    problem = check_variants([reference, other])[1].problem
    assert "version 0" in problem
    assert problem.endswith("1")


def test_a_damaged_variant_is_named_and_the_others_are_measured(tmp_path: Path) -> None:
    reference = save_classifier(folder(tmp_path, "fp32"))
    damaged = save_classifier(folder(tmp_path, "int8"), precision="int8")
    damaged.write_bytes(damaged.read_bytes()[:-10])
    right, wrong = check_variants([reference, damaged])
    assert right.agreement == 1
    assert (wrong.agreement, "sha256" in wrong.problem) == (None, True)


def test_without_a_reference_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"gone\.onnx"):
        check_variants([tmp_path / "gone.onnx", save_classifier(tmp_path)])
