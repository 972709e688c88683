"""What a tuned process does otherwise; each in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Pictures come and go, and small things that stay are made between them: the heap cannot shrink over those.
_CATCH_UP = """
import sys
import numpy as np
from emostream.telemetry.process import resident_memory_bytes
from emostream.pipeline.process_tuning import tune_process

if sys.argv[1] == "tuned":
    tune_process()
first = [np.ones(300_000, np.uint8) for _ in range(50)]
del first  # glibc moves its threshold here
before = resident_memory_bytes()
pictures, small = [], []
for _ in range(300):
    pictures.append(np.ones(300_000, np.uint8))
    small.append(np.ones(20_000, np.uint8))
pictures.clear()
print((resident_memory_bytes() - before) / 1e6 - 6)  # without the small ones
"""


@pytest.mark.heavy
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries need no tuning")
def test_pictures_of_a_catch_up_go_back_to_the_system() -> None:
    held_mb = {
        name: float(subprocess.run([sys.executable, "-c", _CATCH_UP, name], capture_output=True, check=True).stdout)
        for name in ("plain", "tuned")
    }
    assert held_mb["plain"] > 60  # otherwise tuning could go
    assert held_mb["tuned"] < 10


@pytest.mark.heavy
def test_streams_share_the_cores() -> None:
    script = (
        "import sys, cv2; from emostream.pipeline.process_tuning import tune_process; tune_process(); tune_process();"
        "print(cv2.getNumThreads(), sys.getswitchinterval())"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert output.split() == ["1", "0.001"]
