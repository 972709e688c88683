"""Files that are complete or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from emostream.errors import EmostreamError
from emostream.files import replacing, whole_file, write_whole


def test_takes_the_place_only_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with whole_file(path) as file:
        file.write(b"first")
        assert not path.exists()
    assert path.read_bytes() == b"first"
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"second")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"first"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "make room and start again"), (errno.EACCES, "choose another folder")]
)
def test_the_error_of_the_system_is_in_the_message(tmp_path: Path, number: int, advice: str) -> None:
    path = tmp_path / "file"
    with pytest.raises(EmostreamError) as caught, whole_file(path, kept="the old one is kept"):
        # torch's writer puts an error of its own before the system's.
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            raise RuntimeError("unexpected pos 832") from None
    assert f"{path} cannot be written: {os.strerror(number)}; the old one is kept: {advice}" in str(caught.value)


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="mistake"), whole_file(tmp_path / "file"):
        raise RuntimeError("mistake")


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, is_shared: bool) -> None:
    path = tmp_path / "file"
    write_whole(path, b"first", is_shared=is_shared)
    with pytest.raises(OSError, match="No space"), replacing(path, is_shared=is_shared) as file:
        file.write(b"second")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_a_shared_file_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path, is_shared=True) as one, replacing(path, is_shared=True) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "file", b"")
    assert not list(tmp_path.iterdir())
