"""`emostream bench compare`: the working tree and a commit, in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

import emostream
from emostream.cli.bench.compare import compare_with
from emostream.cli.bench.tables import compare_table
from emostream.errors import ConfigError
from tests import media
from tests.vision.detect.real_model import centerface_path

_REPOSITORY = Path(emostream.__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not (_REPOSITORY / ".git").exists(), reason="needs the Git repository")


@pytest.mark.integration
def test_a_commit_that_is_not_there_is_refused(tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "clip.mp4")
    for ref in ("no-such-commit", "--output=x"):
        with pytest.raises(ConfigError):
            compare_with(ref, [clip], config=None, num_rounds=1)


@pytest.mark.integration
@pytest.mark.slow  # two processes that load the models, 10 s
def test_both_commits_are_measured(tmp_path: Path) -> None:
    centerface_path()  # skips where the detector is missing
    clip = media.make_clip(tmp_path / "clip.mp4", num_frames=10)
    (result,) = compare_with("HEAD", [clip], config=None, num_rounds=1)
    stages = {"decode", "detect", "follow", "crop", "classify", "event", "encode"}
    assert set(result.figures) >= {"cpu_ms_per_frame", "frames_per_second"} | {f"stage.{name}" for name in stages}
    of_all = result.figures["cpu_ms_per_frame"]
    assert of_all.change == pytest.approx(of_all.after / of_all.before, rel=0.01)
    assert compare_table(result).row_count == len(result.figures)
