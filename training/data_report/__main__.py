"""Command line of the data report.

    python -m training.data_report --data ../shared/data/fer2013 --out runs/data-report

writes `index.html`, one page with its pictures inside, and `statistics.json`; `--json` prints the numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from emostream.errors import ConfigError, EmostreamError
from training.config import load_config
from training.data.face_set import FaceSet, common_classes
from training.data.load import ALL, open_data_set
from training.data_report.report import report_page
from training.data_report.statistics import data_statistics, find_duplicates

PAGE_NAME = "index.html"
NUMBERS_NAME = "statistics.json"


def load_all_splits(path: Path, *, show_progress: bool) -> dict[str, FaceSet]:
    """Split → its pictures, all with the same classes; a set that comes whole is one split called `all`.

    Raises:
        SourceRejectedError: the data cannot be used.
    """
    data_set = open_data_set(path, show_progress=show_progress)
    splits = {name: data_set.load(name) for name in data_set.splits or (ALL,)}
    class_names = common_classes(list(splits.values()))
    return {name: faces.with_classes(class_names) for name, faces in splits.items()}


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.data_report", description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="labelled pictures in any form `training.data.load` reads"
    )
    parser.add_argument("--out", type=Path, help=f"folder for {PAGE_NAME} and {NUMBERS_NAME}")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--config", type=Path, help="settings whose augmentation is shown; default: those of config.py")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random choice of pictures")
    options = parser.parse_args(arguments)
    try:
        if options.out is None and not options.json:
            raise ConfigError("nothing to do: give --out FOLDER for a page, --json for the numbers, or both")
        _report(options)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def _report(options: argparse.Namespace) -> None:
    augment = load_config(options.config).augment
    if options.out is not None:
        _make_folder(options.out)  # before the work, not after it
    is_watched = sys.stderr.isatty()
    splits = load_all_splits(options.data, show_progress=is_watched)
    duplicates = find_duplicates(splits, show_progress=is_watched)
    statistics = data_statistics(splits, duplicates)
    numbers = json.dumps(dataclasses.asdict(statistics), indent=2)
    if options.json:
        print(numbers)
    if options.out is None:
        return
    page = report_page(options.data.resolve().name, splits, statistics, duplicates, augment=augment, seed=options.seed)
    _write(options.out / NUMBERS_NAME, numbers + "\n")
    _write(options.out / PAGE_NAME, page)
    if not options.json:
        print(options.out / PAGE_NAME)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"folder {folder} for the report cannot be made: {exc.strerror}") from exc


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"report {path} cannot be written: {exc.strerror}") from exc


if __name__ == "__main__":
    sys.exit(main())
