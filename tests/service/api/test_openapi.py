"""The description of the interface, tried out by a program that reads it: whatever it sends, nothing breaks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from emostream.config import load_settings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.app import build_api
from emostream.service.registry.store import RegistryStore
from emostream.testing.fakes import CollectingSink
from tests.service.http_service import served_api
from tests.service.streams import live_record
from tests.service.worker_bench import Bench

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
# The first three answer for as long as one listens; of session descriptions (SDP) Schemathesis makes no examples.
NOT_TRIED = "/(events|preview.mjpeg|previews)$|^/v1/whip/"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def test_nothing_breaks_and_answers_are_as_described(
    store: RegistryStore, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    if not SCHEMATHESIS.exists():
        pytest.skip("needs schemathesis")
    bench = Bench(store)
    bench.start_worker("w1", sink=CollectingSink(), max_streams=1000)
    await bench.registry.create(live_record("door"))  # the description's example
    settings = load_settings(
        service={"allowed_networks": ["127.0.0.0/8"], "media_root": tmp_path, "max_requests_per_second": 0}
    )
    async with served_api(settings, redis_url=redis_server.url) as base:
        process = await asyncio.create_subprocess_exec(
            SCHEMATHESIS,
            "run",
            f"{base}/openapi.json",
            *("--checks", CHECKS, "--exclude-path-regex", NOT_TRIED),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1"),
            *("--request-timeout", "20", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    await bench.close()
    assert process.returncode == 0, output.decode()


def test_every_path_and_answer_is_described() -> None:
    document = build_api(load_settings(), redis_url="redis://127.0.0.1:9/0").openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            assert all(response["description"] for response in operation["responses"].values()), (method, path)
            for parameter in operation.get("parameters", []):
                is_plain = parameter["in"] == "header" or parameter["name"] == "limit"
                assert is_plain or parameter.get("description"), (method, path, parameter["name"])
    json.dumps(document)
