"""`python -m tests.stages`: the whole suite in three runs of pytest, and one closing line for all.

The unit layer runs on several processes. The other layers start clusters, stop clocks and load all cores: one process,
one test at a time. Those of training only compute, for minutes: they run beside the others, with low priority, and what
they print comes after. All run to their end, whatever another finds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

UNIT = "not integration and not slow"
OTHERS = "integration or slow"
BESIDE = "tests/training"
_NOTHING_COLLECTED = 5  # exit status of pytest
_ORDER = ("failed", "passed", "skipped", "xfailed", "errors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all; the exit status is that of the first run that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.stages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="processes for the unit layer (default: 2)")
    ours, given = parser.parse_known_args(arguments)
    has_paths = any(Path(argument.partition("::")[0]).exists() for argument in given)
    beside = [] if has_paths or not Path(BESIDE).is_dir() else [BESIDE]
    stages = [
        ["--numprocesses", str(ours.workers), "--dist", "loadgroup", "-m", UNIT],
        ["-m", OTHERS, *(f"--ignore={folder}" for folder in beside)],
    ]
    started, codes, total = time.monotonic(), [], Counter[str]()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "beside.txt").open("w+b") as printed:
        reports = [Path(folder) / f"{number}.xml" for number in (1, 2, 3)]
        running = None
        for stage, report in zip(stages, reports, strict=False):
            print(f"==> {' '.join(stage[-2:])}", flush=True)
            if beside and stage is stages[-1]:
                running = _begin(["-m", OTHERS, *beside, *given], report=reports[-1], output=printed)
            codes.append(_begin([*stage, *given], report=report).wait())
        if running is not None:
            print(f"==> -m {OTHERS} {BESIDE}, beside the last", flush=True)
            codes.append(running.wait())
            printed.seek(0)
            print(printed.read().decode("utf-8", "replace"), flush=True)
        for report in reports:
            if report.is_file():  # a run that was interrupted or could not begin writes none
                total += counts_of(report.read_text(encoding="utf-8"))
    print(closing_line(total, time.monotonic() - started))
    return status_of(codes)


def _begin(arguments: Sequence[str], *, report: Path, output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """A run of pytest; one whose output goes to a file has low priority."""
    priority = [] if output is None else ["nice", "-n", "10"]
    command = [*priority, sys.executable, "-m", "pytest", *arguments, f"--junit-xml={report}"]
    return subprocess.Popen(command, stdout=output, stderr=None if output is None else subprocess.STDOUT)


def status_of(codes: Sequence[int]) -> int:
    """One exit status for all runs: the first failure; a run that found nothing is none, unless no run found any."""
    failed = [code for code in codes if code not in (0, _NOTHING_COLLECTED)]
    return failed[0] if failed else 0 if 0 in codes else _NOTHING_COLLECTED


def counts_of(report: str) -> Counter[str]:
    """Tests by outcome, in pytest's words, of a report in JUnit's XML; one that fails and errs counts as both."""
    found: Counter[str] = Counter()
    for case in ElementTree.fromstring(report).iter("testcase"):
        outcomes = [child for child in case if child.tag in ("failure", "error", "skipped")]
        for child in outcomes:
            is_expected = child.tag == "skipped" and child.get("type") == "pytest.xfail"
            word = {"failure": "failed", "error": "errors", "skipped": "skipped"}[child.tag]
            found["xfailed" if is_expected else word] += 1
        if not outcomes:
            found["passed"] += 1
    return found


def closing_line(counts: Counter[str], seconds: float) -> str:
    """As pytest ends: what came out, and how long it took."""
    words = ", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word]) or "no tests ran"
    words = words.replace(" 1 errors", " 1 error")
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f" {words} in {seconds:.2f}s ({hours}:{minutes:02}:{rest:02}) "
    return text.center(80, "=")


if __name__ == "__main__":
    raise SystemExit(main())
