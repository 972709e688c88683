"""Nonsense in values is refused, and the message names the value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emostream.wire.http_models import StreamRequest
from tests.helm.chart import CHART, Helm, RenderError
from tests.helm.test_rendering import HASH, MATRIX

pytestmark = pytest.mark.integration

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown name": ({"streamWorker": {"min": 2}}, "additional properties 'streamWorker' not allowed"),
    "unknown name below": ({"gpu": {"enable": True}}, "at '/gpu': additional properties 'enable' not allowed"),
    "text for a number": ({"streamWorkers": {"min": "two"}}, "at '/streamWorkers/min': got string, want integer"),
    "no workers": ({"streamWorkers": {"min": 0}}, "at '/streamWorkers/min': minimum: got 0, want 1"),
    "no replicas of the interface": ({"api": {"replicas": 0}}, "at '/api/replicas'"),
    "too many streams each": ({"streamWorkers": {"maxStreams": 5000}}, "at '/streamWorkers/maxStreams': maximum"),
    "address instead of network": ({"sources": {"networks": ["10.0.0.1"]}}, "at '/sources/networks/0'"),
    "port": ({"sources": {"ports": [70000]}}, "at '/sources/ports/0': maximum: got 70,000, want 65,535"),
    "digest": ({"image": {"cpuDigest": "latest"}}, "at '/image/cpuDigest'"),
    "pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy': value must be one of"),
    "ray version": ({"rayVersion": "2.x"}, "at '/rayVersion'"),
    "token instead of its hash": (
        {"auth": {"tokens": [{"name": "a", "sha256": "secret"}]}},
        "at '/auth/tokens/0/sha256'",
    ),
    "token in clear": ({"auth": {"tokens": [{"name": "a", "token": "x"}]}}, "at '/auth/tokens/0'"),
    "scope": (
        {"auth": {"tokens": [{"name": "a", "sha256": HASH, "scopes": ["admin"]}]}},
        "/scopes/0': value must be one of",
    ),
    "stream id": ({"streams": [{"id": "a b", "url": "rtsp://x"}]}, "at '/streams/0/id'"),
    "stream without id": ({"streams": [{"url": "rtsp://x"}]}, "at '/streams/0': missing property 'id'"),
    "scheme": ({"streams": [{"id": "a", "url": "ftp://x/y"}]}, "at '/streams/0/url'"),
    "misspelt option of a stream": (
        {"streams": [{"id": "a", "url": "rtsp://x", "fps": 3}]},
        "additional properties 'fps'",
    ),
    "zone of two corners": (
        {"streams": [{"id": "a", "url": "rtsp://x", "zones": [{"name": "z", "polygon": [[0, 0], [1, 1]]}]}]},
        "at '/streams/0/zones/0/polygon': minItems",
    ),
    "cpu": ({"workers": {"resources": {"limits": {"cpu": "lots"}}}}, "at '/workers/resources/limits/cpu'"),
    "memory": ({"head": {"resources": {"limits": {"memory": "4 GB"}}}}, "at '/head/resources/limits/memory'"),
    "ingress without host": ({"ingress": {"enabled": True}}, "at '/ingress/host': minLength"),
    "route without gateway": ({"httpRoute": {"enabled": True}}, "at '/httpRoute/parentRefs': minItems"),
    "password in a url": (
        {"redis": {"external": {"enabled": True, "url": "redis://:secret@redis:6379"}}},
        "at '/redis/external/url'",
    ),
    "max memory": ({"redis": {"maxMemory": "70%"}}, "at '/redis/maxMemory'"),
    "upgrade": ({"upgrade": {"strategy": "Rolling"}}, "at '/upgrade/strategy': value must be one of"),
    "interval": ({"monitoring": {"podMonitor": {"interval": "often"}}}, "at '/monitoring/podMonitor/interval'"),
    "traces to nowhere": ({"tracing": {"ratio": 0.1}}, "at '/tracing/endpoint': minLength"),
    "more traces than frames": ({"tracing": {"ratio": 2}}, "at '/tracing/ratio': maximum: got 2, want 1"),
    "receiver that is no URL": ({"tracing": {"endpoint": "otel:4318"}}, "at '/tracing/endpoint'"),
    "host path": ({"gpu": {"engineCacheHostPath": "var/lib"}}, "at '/gpu/engineCacheHostPath'"),
    "environment": ({"extraEnv": [{"name": "A-B", "value": "1"}]}, "at '/extraEnv/0/name'"),
    "root": ({"podSecurityContext": {"runAsUser": 0}}, "at '/podSecurityContext/runAsUser': minimum: got 0, want 1"),
    "may be root": ({"podSecurityContext": {"runAsNonRoot": False}}, "at '/podSecurityContext/runAsNonRoot'"),
    "rights of a pod": ({"podSecurityContext": {"sysctls": []}}, "additional properties 'sysctls' not allowed"),
    "volume of the chart": ({"extraVolumes": [{"name": "tmp"}]}, "at '/extraVolumes/0/name'"),
    "mount without path": ({"extraVolumeMounts": [{"name": "a"}]}, "at '/extraVolumeMounts/0': missing property"),
    "container of the chart": ({"initContainers": [{"name": "models", "image": "a"}]}, "at '/initContainers/0/name'"),
    "sidecar without image": ({"sidecars": [{"name": "a"}]}, "at '/sidecars/0': missing property 'image'"),
    "environment from nothing": ({"extraEnvFrom": [{}]}, "at '/extraEnvFrom/0': minProperties"),
    "alias without names": ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": []}]}, "at '/hostAliases/0/hostnames'"),
    "more than a GPU": ({"streamWorkers": {"gpus": 2}}, "at '/streamWorkers/gpus': maximum: got 2, want 1"),
    "no share of a GPU": ({"gpu": {"share": 0}}, "at '/gpu/share': exclusiveMinimum"),
    "type of service": ({"service": {"type": "ExternalName"}}, "at '/service/type': value must be one of"),
    "networks of no load balancer": (
        {"service": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}},
        "at '/service/loadBalancerSourceRanges': maxItems",
    ),
    "upgrade in steps without a gateway": (
        {"upgrade": {"strategy": "NewClusterWithIncrementalUpgrade"}},
        "at '/upgrade/incremental/gatewayClassName': minLength",
    ),
    "schedule": ({"redis": {"backup": {"schedule": "daily"}}}, "at '/redis/backup/schedule'"),
    "no copies": ({"redis": {"backup": {"keep": 0}}}, "at '/redis/backup/keep': minimum"),
    "alert's time": ({"monitoring": {"rules": {"alerts": {"A": {"for": "soon"}}}}}, "/alerts/A/for"),
    "no name server of any kind": ({"dnsPolicy": "None"}, "at '/dnsConfig': missing property 'nameservers'"),
    "no name server": ({"networkPolicy": {"dnsTo": []}}, "at '/networkPolicy/dnsTo': minItems"),
    "long name": ({"fullnameOverride": "a" * 41}, "at '/fullnameOverride': maxLength"),
}

CONTRADICTING: dict[str, tuple[dict[str, Any], str]] = {
    "workers do not fit into pods": (
        {"streamWorkers": {"max": 9}},
        "streamWorkers.max is 9, but 4 pods of 4 CPUs hold only 8 stream workers of 2 CPUs",
    ),
    "half a worker does not fit": (
        {
            "workers": {"resources": {"limits": {"cpu": "3500m"}, "requests": {"cpu": "3"}}},
            "streamWorkers": {"cpus": 3},
        },
        "hold only 4 stream workers",
    ),
    "min above max": ({"streamWorkers": {"min": 4, "max": 3}}, "streamWorkers.min is above streamWorkers.max"),
    "pods' min above max": (
        {"workers": {"minReplicas": 9, "maxReplicas": 8}},
        "workers.minReplicas is above workers.maxReplicas",
    ),
    "nobody has a token": ({"auth": {"generate": False}}, "nobody has a token: set auth.generate, or give auth.tokens"),
    "streams without token": (
        MATRIX["tokens by hash"] | {"streamsJob": {"tokenSecret": ""}},
        "streams need a token that may write: set streamsJob.tokenSecret",
    ),
    "external redis without url": (
        {"redis": {"external": {"enabled": True}}, "gcsFaultTolerance": {"enabled": False}},
        "give redis.external.url",
    ),
    "ray's state without server": (
        {"redis": {"external": {"enabled": True, "url": "redis+cluster://a:6379"}}},
        "set gcsFaultTolerance.redisAddress (a single server",
    ),
    "setting that the chart decides": (
        {"settings": {"service": {"max_streams_per_worker": 3}}},
        "set streamWorkers.maxStreams instead",
    ),
    "sinks in the settings": (
        {"settings": {"publish": {"sinks": ["kafka://user:secret@host/x"]}}},
        "set sinks.existingSecret, or sinks.urls",
    ),
    "sinks in two places": ({"sinks": {"urls": ["mqtt://host/x"], "existingSecret": "s"}}, "not both"),
    "password of a sink": ({"sinks": {"urls": ["mqtt://user:secret@host/x"]}}, "at '/sinks/urls/0'"),
    "secret of a webhook": (
        {"sinks": {"urls": ["webhook+https://host/x?emostream_secret=secret"]}},
        "at '/sinks/urls/0'",
    ),
    "redis in the settings": (
        {"settings": {"publish": {"redis_url": "redis://:secret@redis"}}},
        "would put a password into the RayService",
    ),
    "tracing in the settings": (
        {"settings": {"tracing": {"ratio": 0.1}}},
        "set tracing.ratio and tracing.endpoint instead",
    ),
    "redis larger than its container": (
        {"redis": {"maxMemory": "1700mb"}},
        "redis.maxMemory is 1700mb, but the container may use 2Gi",
    ),
    "redis larger than its volume": (
        {"redis": {"persistence": {"size": "2Gi"}}},
        "redis.persistence.size is 2Gi, less than twice redis.maxMemory (1500mb)",
    ),
    "redis too small for the streams": (
        {"redis": {"maxMemory": "100mb"}},
        "keeps the events of 112 streams (streamWorkers.max × streamWorkers.maxStreams) for 19 s only",
    ),
    "detector without GPU": (
        {"sharedDetector": {"enabled": True}},
        "sharedDetector.enabled is set, but there is no classifier to share a GPU with",
    ),
    "detector beside a classifier with the whole GPU": (
        {"gpu": {"enabled": True, "use": "classifier"}, "sharedDetector": {"enabled": True}},
        "gpu.share (1) and sharedDetector.share (0.3) are more than one GPU",
    ),
    "detector that cannot be shared": (
        MATRIX["shared detector"] | {"settings": {"detect": {"kind": "mine"}}},
        "settings.detect.kind is mine: only centerface can be shared",
    ),
    "GPUs without GPU": (
        {"gpu": {"enabled": True, "resources": {kind: {"nvidia.com/gpu": None} for kind in ("requests", "limits")}}},
        "gpu.resources.limits names no GPU",
    ),
    "workers with a GPU that is not there": (
        {"streamWorkers": {"gpus": 0.5}},
        "streamWorkers.gpus is 0.5, but workers have no GPU: set gpu.enabled",
    ),
    "workers that leave their GPU alone": (
        {"workers": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        "workers.resources names GPUs: set gpu.enabled, and name them in gpu.resources",
    ),
    "workers with GPUs beside shared ones": (
        {"streamWorkers": {"gpus": 0.5}, "gpu": {"enabled": True, "use": "classifier"}},
        "streamWorkers.gpus is 0.5, but workers have no GPU",
    ),
    "more workers than fit on the GPUs": (
        MATRIX["workers on slices of GPUs"] | {"streamWorkers": {"gpus": 0.7, "max": 9}},
        "streamWorkers.max is 9, but 4 pods of 2 GPUs hold only 8 stream workers of 0.7 GPUs",
    ),
    "two caches of engines": (
        {"gpu": {"engineCacheHostPath": "/a", "engineCacheClaim": "b"}},
        "give gpu.engineCacheHostPath or gpu.engineCacheClaim, not both",
    ),
    "upgrade in steps without autoscaler": (
        MATRIX["load balancer"] | MATRIX["no autoscaling"],
        "set autoscaler.enabled",
    ),
    "killed before streams are handed over": (
        {"terminationGracePeriodSeconds": 60, "settings": {"service": {"drain_seconds": 55}}},
        "terminationGracePeriodSeconds is 60, too short",
    ),
    "unknown alert": (
        {"monitoring": {"rules": {"enabled": True, "alerts": {"EmostreamTired": {"enabled": False}}}}},
        "there is no alert EmostreamTired; these are there: EmostreamAbsent",
    ),
    "threshold of an alert that has none": (
        {"monitoring": {"rules": {"enabled": True, "alerts": {"EmostreamEventsLost": {"threshold": 3}}}}},
        "monitoring.rules.alerts.EmostreamEventsLost.threshold: this alert fires at any occurrence",
    ),
    "backup of another server": (
        MATRIX["external redis"] | {"redis": MATRIX["external redis"]["redis"] | {"backup": {"enabled": True}}},
        "only the chart's own server can be backed up",
    ),
    "two servers for ray's state": (
        {"gcsFaultTolerance": {"ownServer": {"enabled": True}, "redisAddress": "a:6379"}},
        "give gcsFaultTolerance.redisAddress or gcsFaultTolerance.ownServer.enabled, not both",
    ),
    "two files of tokens": (
        {"auth": {"tokensSecret": "a"}, "settings": {"service": {"tokens_file": "/b"}}},
        "settings.service.tokens_file is decided by the chart",
    ),
    "GPU required of pods without": ({"gpu": {"required": True}}, "gpu.required is set, but no pod has a GPU"),
    "GPU required of an engine on CPUs": (
        {"gpu": {"required": True, "enabled": True}, "settings": {"classify": {"engine": "onnxruntime"}}},
        "settings.classify.engine is onnxruntime, which runs on the CPU",
    ),
    "engine for GPUs on the CPU image": (
        {"settings": {"classify": {"engine": "tensorrt"}}},
        "settings.classify.engine is tensorrt, but no pod has a GPU",
    ),
    "detector for GPUs on the CPU image": (
        {"gpu": {"enabled": True, "use": "classifier"}, "settings": {"detect": {"engine": "tensorrt_rtx"}}},
        "settings.detect.engine is tensorrt_rtx, but the detector runs on pods without a GPU",
    ),
    "workers that a fixed number of pods does not hold": (
        {"autoscaler": {"enabled": False}},
        "but 2 pods of 4 CPUs hold only 4 stream workers of 2 CPUs: raise workers.minReplicas (autoscaler.enabled",
    ),
    "request above its limit": (
        {"head": {"resources": {"requests": {"memory": "5Gi"}}}},
        "head.resources: the request of 5Gi memory is above its limit of 4Gi",
    ),
    "request of CPUs above its limit": (
        {"autoscaler": {"resources": {"requests": {"cpu": 0.6}}}},
        "autoscaler.resources: the request of 0.6 cpu is above its limit of 500m",
    ),
    "two numbers of GPUs": (
        {"gpu": {"enabled": True, "resources": {"limits": {"nvidia.com/gpu": 2}}}},
        "requests 1 and limits 2 of nvidia.com/gpu differ",
    ),
    "GPU without limit": (
        {"workers": {"resources": {"requests": {"nvidia.com/gpu": 1}}}},
        "workers.resources: nvidia.com/gpu is requested without a limit",
    ),
    "environment of the chart": (
        {"extraEnv": [{"name": "EMOSTREAM_PUBLISH__SINKS", "value": "[]"}]},
        "extraEnv sets EMOSTREAM_PUBLISH__SINKS, which the chart sets",
    ),
    "one stream twice": (
        {"streams": [{"id": "door", "url": "rtsp://a"}, {"id": "door", "url": "rtsp://b"}]},
        "streams: the id door is given twice",
    ),
    "two folders of spools": (
        {"spool": {"enabled": True}, "settings": {"publish": {"spool_dir": "/a"}}},
        "settings.publish.spool_dir is decided by the chart",
    ),
    "budget that lets no node be drained": (
        {"podDisruptionBudget": {"minAvailable": 2}},
        "podDisruptionBudget.minAvailable must be below workers.minReplicas",
    ),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_the_schema_refuses_nonsense(helm: Helm, values: dict[str, Any], message: str) -> None:
    with pytest.raises(RenderError) as caught:
        helm.render(values)
    assert message in str(caught.value)
    assert "values don't meet the specifications of the schema" in str(caught.value)


@pytest.mark.parametrize(("values", "message"), CONTRADICTING.values(), ids=CONTRADICTING.keys())
def test_values_that_contradict_each_other_are_refused_with_what_to_do(
    helm: Helm, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(RenderError) as caught:
        helm.render(values)
    assert message in str(caught.value)


@pytest.mark.parametrize("memory", [2147483648, "2147483648", "2048Mi", "2Gi", "2.0Gi", "2150M", "2.2G", "2200000k"])
def test_quantities_of_all_kinds_are_compared(helm: Helm, memory: float | str) -> None:
    def resources(request: float | str, limit: float | str) -> dict[str, Any]:
        return {"redis": {"resources": {"requests": {"memory": request}, "limits": {"memory": limit}}}}

    helm.render(resources("1.5Gi", memory))
    for request, limit in ((memory, "1.9Gi"), ("2.5Gi", memory)):
        with pytest.raises(RenderError):
            helm.render(resources(request, limit))


def test_a_stream_of_the_values_may_say_all_that_the_interface_takes() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert set(schema["$defs"]["stream"]["properties"]) == set(StreamRequest.model_fields)


def test_a_password_never_shows_in_a_refusal_of_settings(helm: Helm) -> None:
    with pytest.raises(RenderError) as caught:
        helm.render({"settings": {"publish": {"redis_url": "redis://:hunter2@redis"}}})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"streams": [{"id": "a", "url": "ftp://admin:hunter2@camera/1"}]},
        {"redis": {"external": {"enabled": True, "url": "redis://:hunter2@redis:6379"}}},
        *(
            {"streams": [{"id": "a", "url": url}]}
            for url in (
                "rtsp://a%22%0d%0aSET x hunter2%0d%0aPLAY%20b:c@camera/1",
                "rtsp://a:hunter2%250A@camera/1",
                "http://a:hunter2%25251f@camera/1",
                "srt://a:hunter2\n@camera/1",
                "rtmp://camera/1\r\nSET hunter2",
                "https://a:hunter2%C2%85@camera/1",
            )
        ),
    ],
)
def test_a_url_is_refused_without_its_password(helm: Helm, values: dict[str, Any]) -> None:
    with pytest.raises(RenderError) as caught:
        helm.render(values)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("password", ["pa/ss", "1234#5x", "p@ss?", "ze bra", "50%", "%2525", "a%40b"])
def test_passwords_of_all_kinds_reach_the_secret(helm: Helm, password: str) -> None:
    url = f"rtsp://admin:{password}@camera/1%0a"
    secret = next(
        each
        for each in helm.render({"streams": [{"id": "a", "url": url}]})
        if each["kind"] == "Secret" and "streams.json" in each.get("stringData", {})
    )
    assert json.loads(secret["stringData"]["streams.json"])[0]["url"] == url
