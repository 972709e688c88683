"""On a Ray cluster that runs already: `emostream serve --address`, and `serve deploy`, whose workers follow streams."""

from __future__ import annotations

import urllib.error
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from emostream.client.http.client import ServiceClient
from emostream.domain.stream import StreamState
from emostream.errors import EmostreamError
from emostream.publish.redis.embedded import EmbeddedRedis
from tests.conftest import REPOSITORY
from tests.deployments.ray_cluster import TOKEN, RayCluster, ray_cluster
from tests.deployments.service_process import running_service, wait_for
from tests.deployments.test_serve import published
from tests.integration.command_line import run_emostream
from tests.ports import unused_port
from tests.service.mjpeg_server import mjpeg_server

pytest.importorskip("ray")
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

START_SECONDS = 180


def scaled_config(*, port: int) -> dict[str, Any]:
    """`deploy/serve/cluster.yaml`, small and quick: no GPU, two streams a worker, decisions within seconds."""
    config: dict[str, Any] = yaml.safe_load((REPOSITORY / "deploy" / "serve" / "cluster.yaml").read_text("utf-8"))
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    (app,) = config["applications"]
    app["args"] = {
        "settings": {"service": {"max_streams_per_worker": 2, "allowed_networks": ["127.0.0.0/8"]}},
    }
    app["deployments"] = [each for each in app["deployments"] if each["name"] != "EmotionClassification"]
    for deployment in app["deployments"]:
        deployment["ray_actor_options"] = {"num_cpus": 0}
    workers = app["deployments"][1]
    workers["autoscaling_config"] |= {
        "min_replicas": 1,
        "max_replicas": 2,
        "upscale_delay_s": 1,
        "downscale_delay_s": 1,
        "metrics_interval_s": 1,
        "look_back_period_s": 2,
    }
    workers["autoscaling_config"]["policy"]["policy_kwargs"]["max_streams_per_worker"] = 2
    return config


@pytest.fixture(autouse=True)
def _with_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOKEN.items():
        monkeypatch.setenv(name, value)


def test_the_service_on_a_cluster_of_somebody_else(tmp_path: Path) -> None:
    with (
        EmbeddedRedis() as redis,
        mjpeg_server() as url,
        ray_cluster(redis_url=redis.url, log=tmp_path / "ray.log") as cluster,
    ):
        options = ("--address", cluster.address, "--redis", redis.url, "--allow-network", "127.0.0.0/8")
        with running_service(*options, log=tmp_path / "serve.log") as service:
            service.client.add({"id": "door", "url": url, "kind": "live"})
            wait_for(lambda: len(published(redis.url, "door")) > 20, timeout_seconds=60)
            port = int(service.url.rpartition(":")[2])
            service.client.remove("door")
            service.stop()
        # The cluster goes on, and takes what an operator deploys: its interface stays where the first one was.
        workers_follow_streams(cluster, url, port=port, redis_url=redis.url, folder=tmp_path)


def test_a_cluster_takes_nobody_without_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedRedis() as redis, ray_cluster(redis_url=redis.url, log=tmp_path / "ray.log") as cluster:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        refused = run_emostream(
            "serve", "--address", cluster.address, "--redis", redis.url, "--port", str(unused_port())
        )
        assert refused.code == 2
        assert cluster.address in refused.err
        assert "RAY_AUTH_TOKEN" in refused.err
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{cluster.dashboard_url}/api/serve/applications/", timeout=30)
        assert caught.value.code == 401
        caught.value.close()


def workers_follow_streams(cluster: RayCluster, url: str, *, port: int, redis_url: str, folder: Path) -> None:
    """One worker for no stream, two for three, one again; the stream that stays goes on."""
    config = folder / "cluster.yaml"
    config.write_text(yaml.safe_dump(scaled_config(port=port)))
    cluster.deploy(config)
    client = ServiceClient(f"http://127.0.0.1:{port}")

    def runs(*stream_ids: str) -> bool:
        try:
            return all(client.show(stream_id).state is StreamState.RUNNING for stream_id in stream_ids)
        except EmostreamError:
            return False

    wait_for(lambda: num_workers(client) == 1, timeout_seconds=START_SECONDS)
    for name in ("a", "b", "c"):
        client.add(url, stream_id=name, kind="live")
    wait_for(lambda: num_workers(client) == 2 and runs("a", "b", "c"), timeout_seconds=START_SECONDS)
    owners = {name: client.show(name).worker_id for name in ("a", "b", "c")}
    assert len(set(owners.values())) == 2
    for name in ("b", "c"):
        client.remove(name)
    wait_for(lambda: num_workers(client) == 1 and runs("a"), timeout_seconds=START_SECONDS)
    num_before = len(published(redis_url, "a"))
    wait_for(lambda: len(published(redis_url, "a")) > num_before + 20, timeout_seconds=60)
    entries = published(redis_url, "a")
    assert all(one < other for one, other in pairwise(entries)), "an event twice, or out of order"
    print(f"the stream that stayed had {len({epoch for epoch, _ in entries})} runs")


def num_workers(client: ServiceClient) -> int:
    """Workers that take streams; 0 when there is no answer."""
    try:
        return client.readiness().num_workers
    except EmostreamError:
        return 0
