"""On a Ray cluster that runs already: `emostream serve --address`, `serve deploy`, and nodes that come and go."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from emostream.client.http.client import ServiceClient
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamState
from emostream.errors import EmostreamError
from emostream.publish.redis.embedded import EmbeddedRedis
from tests.conftest import REPOSITORY
from tests.deployments.ray_cluster import TOKEN, RayCluster, end_node, ray_cluster, ray_node
from tests.deployments.service_process import running_service, wait_for
from tests.deployments.test_faults import assert_in_order, events_of
from tests.deployments.test_serve import published
from tests.helm.chart import Helm, only, serve_config
from tests.integration.command_line import run_emostream
from tests.ports import unused_port
from tests.service.mjpeg_server import mjpeg_server

pytest.importorskip("ray")
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

Answer = TypeVar("Answer")

START_SECONDS = 180

API_TOKEN = "t" * 40
API_TOKEN_SHA256 = hashlib.sha256(API_TOKEN.encode()).hexdigest()

# KubeRay's own arguments are `--dashboard-host=0.0.0.0` and fixed ports, which nodes of one machine cannot share.
OF_ONE_MACHINE = {"min-worker-port": 0, "max-worker-port": 0}


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


def test_the_service_on_an_existing_cluster(tmp_path: Path) -> None:
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


def chart_values(folder: Path) -> dict[str, Any]:
    """Two nodes of one CPU with one worker each, which can take over all four streams of both."""
    return {
        "streamWorkers": {"min": 2, "max": 2, "cpus": 1, "maxStreams": 4},
        "workers": {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}},
        "auth": {"generate": False, "tokens": [{"name": "test", "sha256": API_TOKEN_SHA256, "scopes": ["write"]}]},
        "sources": {"networks": ["127.0.0.0/8"]},
        "settings": {"log_copy_to": str(folder / "pod.log")},
    }


def test_nodes_as_kuberay_starts_them_over_the_loss_of_one(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the chart renders, on a head and two more nodes; one is lost and replaced, its streams go on."""
    documents = helm.render(chart_values(tmp_path))
    groups = only(documents, "RayService")["spec"]["rayClusterConfig"]
    (group,) = groups["workerGroupSpecs"]
    head_params = groups["headGroupSpec"]["rayStartParams"] | OF_ONE_MACHINE
    # KubeRay takes the number of CPUs from the limits of the pod, and quotes as a shell does.
    node_params = dict(group["rayStartParams"]) | {
        "num-cpus": 1,
        "resources": json.loads(group["rayStartParams"]["resources"]),
    }
    config = serve_config(documents)
    port = unused_port()
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(config))
    client = ServiceClient(f"http://127.0.0.1:{port}", token=API_TOKEN)
    names = ("a", "b", "c", "d")

    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis())
        url = stack.enter_context(mjpeg_server())
        cluster = stack.enter_context(
            ray_cluster(redis_url=redis.url, log=tmp_path / "head.log", start_params=head_params)
        )

        def add_node(name: str) -> subprocess.Popen[bytes]:
            log = tmp_path / f"{name}.log"
            return stack.enter_context(ray_node(cluster, redis_url=redis.url, log=log, start_params=node_params))

        nodes = [add_node("one"), add_node("two")]
        refuses_strangers(cluster, redis_url=redis.url, monkeypatch=monkeypatch)
        cluster.deploy(tmp_path / "serve.yaml")
        wait_for(lambda: num_workers(client) == 2, timeout_seconds=START_SECONDS)
        for name in names:
            add(client, url, stream_id=name)
        wait_for(lambda: all(len(published(redis.url, name)) > 20 for name in names), timeout_seconds=60)
        owners = {name: client.show(name).worker_id for name in names}
        assert len(set(owners.values())) == 2

        end_node(nodes[1])
        time.sleep(0.5)  # what was on its way to Redis arrives
        num_before = {name: len(published(redis.url, name)) for name in names}
        wait_for(
            lambda: all(len(published(redis.url, name)) > num_before[name] + 50 for name in names), timeout_seconds=60
        )
        events = events_of(redis.url)
        assert_in_order(events)
        gaps = {name: longest_gap_seconds(events[name]) for name in names}
        print(f"longest gap of each stream over the loss of a node: {gaps} s")
        assert max(gaps.values()) <= 10

        survivors = {worker_of(client, name) for name in names}
        assert len(survivors) == 1
        add_node("three")
        wait_for(lambda: num_workers(client) == 2, timeout_seconds=START_SECONDS)
        add(client, url, stream_id="e")
        wait_for(lambda: len(published(redis.url, "e")) > 20, timeout_seconds=60)
        # The one that is new, or one that the survivor gave away to make room for it.
        wait_for(
            lambda: any(worker_of(client, name) not in owners.values() for name in (*names, "e")), timeout_seconds=60
        )
        assert_in_order(events_of(redis.url))


def refuses_strangers(cluster: RayCluster, *, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its token neither a program joins the cluster nor does its dashboard answer."""
    with monkeypatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        refused = run_emostream(
            "serve", "--address", cluster.address, "--redis", redis_url, "--port", str(unused_port())
        )
    assert refused.code == 2
    assert cluster.address in refused.err
    assert "RAY_AUTH_TOKEN" in refused.err
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{cluster.dashboard_url}/api/serve/applications/", timeout=30)
    assert caught.value.code == 401
    caught.value.close()


def longest_gap_seconds(events: list[EmotionEvent]) -> float:
    """Between the capture of two events that follow each other."""
    return max((other.captured_at - one.captured_at).total_seconds() for one, other in pairwise(events))


def add(client: ServiceClient, url: str, *, stream_id: str) -> None:
    """Add a stream; a call may meet the interface of a node that is no more."""
    answered(lambda: client.add(url, stream_id=stream_id, kind="live"))


def worker_of(client: ServiceClient, stream_id: str) -> str | None:
    """The worker that runs a stream."""
    return answered(lambda: client.show(stream_id)).worker_id


def answered(call: Callable[[], Answer]) -> Answer:
    """The answer of a call that may be repeated, within half a minute."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return call()
        except EmostreamError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


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
