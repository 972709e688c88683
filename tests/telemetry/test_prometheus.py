"""What Prometheus reads."""

from __future__ import annotations

import urllib.request
from itertools import chain

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emostream.errors import ConfigError
from emostream.telemetry.metrics import BATCH_SIZE, DECODED_FRAMES, VISIBLE_FACES
from emostream.telemetry.prometheus import exposition, serving_metrics
from emostream.telemetry.values import MetricValues


def filled(*, num_frames: int) -> MetricValues:
    metric_values = MetricValues()
    metric_values.add(DECODED_FRAMES, num_frames, stream_id='a"b')
    metric_values.replace(VISIBLE_FACES, [({"stream_id": "a"}, 2)])
    for size in (1, 2, 200):
        metric_values.observe(BATCH_SIZE, size)
    return metric_values


def samples_of(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for sample in chain.from_iterable(family.samples for family in families)
    }


def test_processes_share_one_text() -> None:
    processes = [({"worker_id": str(n)}, filled(num_frames=n).families()) for n in (1, 2)]
    text = exposition(processes).decode()
    assert text.count("# TYPE emostream_decode_frames_total counter") == 1
    samples = samples_of(text)
    assert samples["emostream_decode_frames_total", (("stream_id", 'a"b'), ("worker_id", "2"))] == 2
    assert samples["emostream_classify_batch_size_bucket", (("le", "2.0"), ("worker_id", "1"))] == 2
    assert samples["emostream_classify_batch_size_bucket", (("le", "+Inf"), ("worker_id", "1"))] == 3
    assert samples["emostream_classify_batch_size_sum", (("worker_id", "1"),)] == 203


def test_serves_what_is_true_at_the_scrape() -> None:
    metric_values = filled(num_frames=1)
    with serving_metrics(metric_values.families, host="127.0.0.1", port=0) as port:
        metric_values.add(DECODED_FRAMES, 4, stream_id="a")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            text = response.read().decode()
        with (
            pytest.raises(ConfigError),
            serving_metrics(metric_values.families, host="127.0.0.1", port=port),
        ):
            pass
    assert samples_of(text)["emostream_decode_frames_total", (("stream_id", "a"),)] == 4
