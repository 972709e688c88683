"""The whole suite in several runs: one closing line that is true for all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.stages import closing_line, counts_of, main, status_of

TESTS = """
import pytest

def test_passes(): pass

def test_passes_too(): pass

@pytest.fixture
def broken():
    yield
    assert False

def test_passes_and_errs(broken): pass

@pytest.mark.integration
def test_fails_in_another_layer(): assert False

@pytest.mark.integration
def test_skipped(): pytest.skip("here")

@pytest.mark.slow
@pytest.mark.xfail
def test_expected(): assert False
"""
SETTINGS = "[pytest]\nmarkers =\n  integration: x\n  slow: x\n"


@pytest.mark.integration
def test_both_run_and_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_made.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["--workers", "1", "-q", "-p", "no:cacheprovider", str(tmp_path)]) == 1
    last = capfd.readouterr().out.splitlines()[-1]
    expected = "1 failed, 2 passed, 1 skipped, 1 xfailed, 1 error"
    assert re.fullmatch(rf"=+ {expected} in [\d.]+s \(0:0\d:\d\d\) =+", last), last


@pytest.mark.parametrize(
    ("codes", "status"), [([0, 0], 0), ([1, 0], 1), ([0, 1], 1), ([2, 1], 2), ([5, 0], 0), ([0, 5], 0), ([5, 5], 5)]
)
def test_one_exit_status_for_both(codes: list[int], status: int) -> None:
    assert status_of(codes) == status


def test_a_report_may_be_empty() -> None:
    assert closing_line(counts_of("<testsuites><testsuite/></testsuites>"), 3661.5).strip("=") == (
        " no tests ran in 3661.50s (1:01:01) "
    )
