"""`python -m tests.stages`: the whole suite in two runs of pytest, and one closing line for both.

The unit layer runs on several processes. The other layers start clusters, stop clocks and load all cores: one process,
one test at a time, when nothing else runs. Both run to their end, whatever the first finds.
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
from xml.etree import ElementTree

UNIT = "not integration and not slow"
OTHERS = "integration or slow"
_NOTHING_COLLECTED = 5  # exit status of pytest
_ORDER = ("failed", "passed", "skipped", "xfailed", "errors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both; the exit status is that of the first run that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.stages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="processes for the unit layer (default: 2)")
    ours, given = parser.parse_known_args(arguments)
    stages = [["--numprocesses", str(ours.workers), "--dist", "loadgroup", "-m", UNIT], ["-m", OTHERS]]
    started, codes, total = time.monotonic(), [], Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for number, stage in enumerate(stages, start=1):
            report = Path(folder) / f"{number}.xml"
            print(f"==> {number} of {len(stages)}: {stage[-1]}", flush=True)
            command = [sys.executable, "-m", "pytest", *stage, f"--junit-xml={report}", *given]
            codes.append(subprocess.run(command, check=False).returncode)
            if report.is_file():  # a run that was interrupted or could not begin writes none
                total += counts_of(report.read_text(encoding="utf-8"))
    print(closing_line(total, time.monotonic() - started))
    return status_of(codes)


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
