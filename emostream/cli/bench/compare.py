"""Compares the working tree with another commit: both measure the same clips in turn, each in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emostream.cli.bench.machine import describe_machine
from emostream.errors import ConfigError

_FIGURES = ("cpu_ms_per_frame", "frames_per_second", "ratio")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a clip in both commits.

    Attributes:
        before, after: medians over the rounds.
        change: median of the rounds' ratios after / before; each round measures both, so that a change of the
            machine's speed affects both.
    """

    before: float
    after: float
    change: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The working tree against another commit, on one clip.

    Attributes:
        video: the clip.
        ref: the other commit.
        num_rounds: rounds of both, in turn.
        figures: `cpu_ms_per_frame` and `frames_per_second` of the whole pipeline, `ratio` to decoding alone, and
            `stage.NAME`, CPU milliseconds per frame of each stage.
        faces_per_frame: of the working tree.
        machine: where it was measured.
    """

    video: str
    ref: str
    num_rounds: int
    figures: dict[str, Figure]
    faces_per_frame: float
    machine: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-compatible values."""
        return asdict(self)


def compare_with(ref: str, videos: Sequence[Path], *, config: Path | None, num_rounds: int) -> list[Comparison]:
    """Measure each clip with `emostream bench pipeline` in both commits, in turn.

    Args:
        ref: a commit of the Git repository that this package runs from, as Git names it.
        videos: clips that are long enough; neither commit repeats them.
        config: configuration file for both.
        num_rounds: rounds of both; the order alternates too.

    Raises:
        ConfigError: this is no Git repository, it has no such commit, or a commit cannot measure the clip.
    """
    here = Path(__file__).resolve().parents[3]
    results = []
    with _checked_out(ref, repository=here) as there:
        for video in videos:
            rounds = []
            for number in range(num_rounds):
                trees = (there, here) if number % 2 == 0 else (here, there)
                measured = {tree: _measured(tree, video, config=config) for tree in trees}
                rounds.append((measured[there], measured[here]))
            results.append(
                Comparison(
                    video=video.name,
                    ref=ref,
                    num_rounds=num_rounds,
                    figures=_figures(rounds),
                    faces_per_frame=rounds[-1][1]["faces_per_frame"],
                    machine=describe_machine(),
                )
            )
    return results


@contextlib.contextmanager
def _checked_out(ref: str, *, repository: Path) -> Iterator[Path]:
    """The files of a commit in a temporary folder."""
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", folder=repository)
    with tempfile.TemporaryDirectory(prefix="emostream-compare-") as name:
        folder, archive = Path(name) / "tree", Path(name) / "tree.tar"
        _git("archive", "--output", str(archive), commit, "emostream", folder=repository)
        shutil.unpack_archive(archive, folder, filter="data")
        yield folder


def _git(*arguments: str, folder: Path) -> str:
    program = shutil.which("git")
    if program is None:
        raise ConfigError("`bench compare` needs Git, which is not installed")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode != 0:
        reason = done.stderr.strip() or "no such commit"
        raise ConfigError(f"`bench compare` needs a commit of the Git repository {folder}: {reason}")
    return done.stdout.strip()


def _measured(tree: Path, video: Path, *, config: Path | None) -> dict[str, Any]:
    """The result of `bench pipeline` with the code of a tree."""
    command = [sys.executable, "-m", "emostream", "bench", "pipeline", str(video.resolve()), "--runs", "1", "--json"]
    if config is not None:
        command += ["--config", str(config.resolve())]
    done = subprocess.run(  # noqa: S603 - no shell
        command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ConfigError(f"`bench pipeline` of {tree} failed: {done.stderr.strip()[-1000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _figures(rounds: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Figure]:
    flat = [(_flat(before), _flat(after)) for before, after in rounds]
    names = [name for name in flat[0][1] if all(name in before for before, _ in flat)]
    return {name: _figure([(before[name], after[name]) for before, after in flat]) for name in names}


def _flat(result: dict[str, Any]) -> dict[str, float]:
    stages = {f"stage.{stage}": float(cost["mean"]) for stage, cost in result["stages"].items()}
    return {name: float(result[name]) for name in _FIGURES} | stages


def _figure(pairs: Sequence[tuple[float, float]]) -> Figure:
    ratios = [after / before for before, after in pairs if before > 0]
    return Figure(
        before=round(statistics.median(before for before, _ in pairs), 3),
        after=round(statistics.median(after for _, after in pairs), 3),
        change=round(statistics.median(ratios), 4) if ratios else 1.0,
    )
