"""A program: the whole application on a Ray of its own, and what it shows to Prometheus and to a receiver of traces.

    python -m tests.deployments.monitored_service FOLDER

One stream fails, one clip of a face is classified by a shared classifier. Prints JSON once all of it is to be seen:
the samples of Ray's exporter that are ours (name and labels), and the names of the spans of one trace.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import ray
from prometheus_client.parser import text_string_to_metric_families
from ray import serve

from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.config import Settings, load_settings
from emostream.deployments.app import bind_app
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.records import StreamRecord
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.otlp_receiver import OtlpReceiver, otlp_receiver
from tests.ports import unused_port

_TIMEOUT_SECONDS = 240.0
_LABELS = ("state", "deployment", "model")
Sample = tuple[str, dict[str, str], float]


def start_ray(metrics_port: int) -> None:
    """Ray gives a busy machine half a minute to start; that is tried again."""
    for attempts_left in (3, 2, 1, 0):
        try:
            ray.init(
                include_dashboard=False,
                num_cpus=4,
                _metrics_export_port=metrics_port,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            return
        except Exception:
            ray.shutdown()
            if not attempts_left:
                raise


async def ask_for_streams(settings: Settings, *, redis_url: str, clip: Path) -> None:
    """One that can never work, and one that ends."""
    async with RegistryStore(settings.publish, redis_url=redis_url) as store:
        for stream_id, path in (("nowhere", str(clip.with_name("nowhere.mp4"))), ("clip", str(clip))):
            record = StreamRecord(StreamSpec(stream_id, f"file://{path}", StreamKind.FILE))
            await StreamRegistry(store).create(record)


def scraped(port: int) -> list[Sample]:
    """Our samples that are not 0."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            text = response.read().decode()
    except OSError:
        return []
    return [
        (sample.name, {name: sample.labels[name] for name in _LABELS if name in sample.labels}, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("ray_emostream_") and sample.value
    ]


def is_complete(samples: list[Sample], receiver: OtlpReceiver) -> bool:
    """Whether there is nothing more to wait for."""
    states = {labels.get("state") for name, labels, _ in samples if name == "ray_emostream_streams"}
    names = {name for name, _, _ in samples}
    return {"failed", "ended"} <= states and "ray_emostream_classify_batch_size_count" in names and bool(receiver.spans)


def main() -> None:
    """Run, wait, print."""
    folder, port = Path(sys.argv[1]), unused_port()
    clip = folder / "clip.mp4"
    make_demo_clip(clip, num_frames=25, num_faces=1)
    found: dict[str, Any] = {}
    samples: list[Sample] = []
    with EmbeddedRedis() as redis, otlp_receiver() as receiver:
        settings = load_settings(
            publish={"redis_url": redis.url},
            service={"media_root": str(folder)},
            metrics={"interval_seconds": 0.5},
            tracing={"ratio": 1, "endpoint": receiver.url},
        )
        start_ray(port)
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": unused_port()})
            serve.run(bind_app(settings, shared_classifier=True, num_workers=1), name="emostream", route_prefix="/")
            asyncio.run(ask_for_streams(settings, redis_url=redis.url, clip=clip))
            deadline = time.monotonic() + _TIMEOUT_SECONDS
            while not is_complete(samples, receiver) and time.monotonic() < deadline:
                samples = scraped(port) or samples
                time.sleep(0.5)
            found = {"samples": samples, "spans": sorted({span.name for span in receiver.spans})}
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
