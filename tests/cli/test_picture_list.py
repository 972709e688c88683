"""Files, folders, patterns and URLs become a list of pictures; what is none of them is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from emostream.cli.picture_list import list_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", "inside/c.webp", "[1].png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "photos" / "empty").mkdir()
    return tmp_path / "photos"


def test_a_folder_gives_all_pictures_below_it_in_order(folder: Path) -> None:
    listed = list_pictures([str(folder)])
    assert [Path(name).name for name in listed.names] == ["[1].png", "a.PNG", "b.jpg", "c.webp"]
    assert (listed.errors, listed.num_others) == ((), 1)


def test_each_picture_once_and_what_is_named_comes_in_that_order(folder: Path) -> None:
    url = "http://user:secret@host/a.png?size=[1]*"
    listed = list_pictures([str(folder / "b.jpg"), url, str(folder), str(folder / "*.jpg")])
    assert listed.names[:2] == (str(folder / "b.jpg"), url)
    assert len(listed.names) == 5


def test_patterns_that_the_shell_left_alone(folder: Path) -> None:
    assert [Path(name).name for name in list_pictures([f"{folder}/**/*.webp"]).names] == ["c.webp"]
    assert list_pictures([str(folder / "[1].png")]).names == (str(folder / "[1].png"),), "a file of that very name"


@pytest.mark.parametrize(
    ("name", "message"),
    [("empty", "empty: "), ("*.gif", r"\*\.gif: ")],
)
def test_nothing_found_is_an_error_and_the_others_go_on(folder: Path, name: str, message: str) -> None:
    listed = list_pictures([str(folder / name), str(folder / "b.jpg")])
    assert listed.names == (str(folder / "b.jpg"),)
    (error,) = listed.errors
    with pytest.raises(type(error), match=message):
        raise error


def test_a_folder_of_other_files_says_how_many(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (error,) = list_pictures([str(tmp_path)]).errors
    assert "only 1 other files" in str(error)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5000, "no-such-file.png"])
def test_strange_names_are_passed_on(name: str) -> None:
    assert list_pictures([name]).names == (name,)
