"""Whether another worker would find CPU time, as Ray tells it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("ray")
pytestmark = [pytest.mark.integration, pytest.mark.slow]

# A process of its own: Ray would stay in this one.
_PROGRAM = """
import json, time
import ray
from emostream.deployments.autoscaling import has_room_for_worker
from tests.media import wait_until

for attempts_left in (3, 2, 1, 0):
    try:
        ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level="error")
        break
    except Exception:  # Ray gives a busy machine 30 seconds to start
        ray.shutdown()
        if not attempts_left:
            raise

@ray.remote
class Worker:
    def says(self, busy_share):
        return has_room_for_worker(busy_share)

def says(worker, busy_share):
    return ray.get(worker.says.remote(busy_share))

reserving, not_reserving = Worker.options(num_cpus=1).remote(), Worker.options(num_cpus=0).remote()
found = [says(worker, share) for worker in (reserving, not_reserving) for share in (0.5, 1.0)]
second = Worker.options(num_cpus=1).remote()
ray.get(second.says.remote(0.0))
wait_until(lambda: not ray.available_resources().get("CPU"), timeout_seconds=30)
found += [says(reserving, 1.0), says(not_reserving, 1.0)]
print(json.dumps(found))
"""


def test_a_machine_that_is_full_has_no_room() -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", _PROGRAM], check=False, cwd=REPOSITORY, capture_output=True, timeout=300
    )
    assert outcome.returncode == 0, outcome.stderr.decode()
    reserving, not_reserving, with_all_reserved = [True, False], [True, False], [True, False]
    # With all CPUs reserved, a worker that reserves one waits for another machine; one that reserves none does not.
    assert json.loads(outcome.stdout.splitlines()[-1]) == [*reserving, *not_reserving, *with_all_reserved]
