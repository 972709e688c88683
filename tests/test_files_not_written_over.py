"""Nothing is written over what is about to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from emostream.errors import ConfigError
from emostream.files import check_is_not_source


def test_the_source_itself_under_any_name(tmp_path: Path) -> None:
    source, link = tmp_path / "a.mp4", tmp_path / "b.mp4"
    source.touch()
    link.symlink_to(source)
    for path in (source, link):
        with pytest.raises(ConfigError, match=r"a\.mp4|b\.mp4"):
            check_is_not_source(path, str(source), what="the video")


@pytest.mark.parametrize("url", ["rtsp://camera/1", "absent.mp4", "a\0b"])
def test_others_pass(tmp_path: Path, url: str) -> None:
    check_is_not_source(tmp_path / "out.mp4", url, what="the video")
    (tmp_path / "out.mp4").touch()
    check_is_not_source(tmp_path / "out.mp4", url, what="the video")
