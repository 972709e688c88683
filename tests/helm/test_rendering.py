"""The chart with many values: Helm's lint is content, and Kubernetes and the operators would take every document."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.helm.chart import CHART, EXAMPLES, NAMESPACE, Helm, RenderError, named, only, ray_pods
from tests.helm.validation import problems_of

pytestmark = pytest.mark.integration

HASH = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
SCHEDULING: dict[str, Any] = {
    "nodeSelector": {"pool": "video"},
    "tolerations": [{"key": "video", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "important",
}
ANY_USER: dict[str, Any] = {"runAsUser": None, "runAsGroup": None, "fsGroup": None, "fsGroupChangePolicy": None}
MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "gpu workers": {"gpu": {"enabled": True, "runtimeClassName": "nvidia", "nodeSelector": {"gpu": "yes"}}},
    "gpu": {
        "gpu": {
            "enabled": True,
            "use": "classifier",
            "runtimeClassName": "nvidia",
            "engineCacheHostPath": "/var/lib/emostream",
        }
    },
    "gpu without warm-up": {"gpu": {"enabled": True, "use": "classifier", "warmUp": False}},
    "no autoscaling": {"autoscaler": {"enabled": False}, "streamWorkers": {"min": 2, "max": 2}},
    "external redis": {
        "redis": {
            "external": {
                "enabled": True,
                "url": "rediss://redis.example:6379/0?ssl_ca_certs=/etc/emostream/redis-ca/ca.crt",
                "caSecret": "redis-ca",
                "networks": ["10.9.0.0/16"],
            }
        },
        "gcsFaultTolerance": {"redisAddress": "rediss://redis.example:6379", "passwordSecret": "redis-auth"},
    },
    "external redis in a secret": {
        "redis": {"external": {"enabled": True, "existingSecret": "redis-url"}},
        "gcsFaultTolerance": {"enabled": False},
    },
    "sentinel": {
        "redis": {
            "external": {"enabled": True, "url": "redis+sentinel://a:26379,b:26379/main/0", "ports": [6379, 26379]}
        },
        "gcsFaultTolerance": {"enabled": False},
    },
    "own redis, own secret, no volume": {
        "redis": {"existingSecret": "mine", "persistence": {"enabled": False}, "nodeSelector": {"disk": "ssd"}}
    },
    "ingress": {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "host": "emostream.example",
            "tlsSecret": "emostream-tls",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-buffering": "off"},
        }
    },
    "gateway": {
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
            "hostnames": ["emostream.example"],
        }
    },
    "monitoring": {
        "monitoring": {
            "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True},
            "dashboards": {"enabled": True},
        }
    },
    "tracing": {
        "tracing": {
            "ratio": 0.001,
            "endpoint": "http://otel-collector.observability:4318",
            "headersSecret": "otel",
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}],
        }
    },
    "streams": {
        "streams": [
            {"id": "door", "url": "rtsp://user:p%40ss@10.1.2.3/stream1", "target_fps": 10, "smoothing_seconds": 1.5},
            {"id": "yard", "url": "rtsp://10.1.2.3/stream2", "pixel_aspect": "64:45"},
            {"id": "gate", "url": "rtsp://10.1.2.3/stream3", "pixel_aspect": 2},
            {
                "id": "clip",
                "url": "file:///media/clip.mp4",
                "zones": [{"name": "in", "polygon": [[0, 0], [1, 0], [1, 1]]}],
            },
        ],
        "sources": {"networks": ["10.1.0.0/16", "fd00::/8"], "mediaClaim": "clips", "ports": []},
    },
    "tokens by hash": {
        "auth": {"generate": False, "tokens": [{"name": "ops", "sha256": HASH, "scopes": ["write"]}]},
        "streams": [{"id": "door", "url": "rtsp://10.1.2.3/stream1"}],
        "streamsJob": {"tokenSecret": "ops-token"},
    },
    "open, public sources, no policy": {
        "auth": {"enabled": False},
        "sources": {"allowPublic": True},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "serviceAccount": {"create": False},
    },
    "policies": {
        "sources": {"allowPublic": True, "networks": ["192.168.0.0/16"]},
        "networkPolicy": {
            "apiFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
            "redisFrom": [{"podSelector": {"matchLabels": {"reads": "events"}}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "operatorNamespaceLabels": {"kubernetes.io/metadata.name": "kuberay"},
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.7.0.1/32"}}]}],
        },
    },
    "placed": {
        "head": SCHEDULING,
        "workers": SCHEDULING,
        "gpu": SCHEDULING | {"enabled": True, "use": "classifier"},
        "podLabels": {"team": "video"},
        "podAnnotations": {"note": "x"},
        "extraEnv": [{"name": "EMOSTREAM_LOG_LEVEL", "value": "info"}],
        "image": {"repository": "registry.example:5000/team/emostream", "tag": "1.2.3", "pullSecrets": ["login"]},
        "upgrade": {"deletionDelaySeconds": 300},
        "rollout": "2",
    },
    "shared detector": {
        "gpu": {"enabled": True, "use": "classifier", "replicas": 3, "share": 0.35, "engineCacheClaim": "engines"},
        "sharedDetector": {"enabled": True},
    },
    "workers on slices of GPUs": {
        "streamWorkers": {"gpus": 0.25, "max": 16},
        "workers": {"resources": {"requests": {"cpu": "16"}, "limits": {"cpu": "16"}}},
        "gpu": {
            "enabled": True,
            "runtimeClassName": "nvidia",
            "resources": {
                "requests": {"nvidia.com/gpu": None, "nvidia.com/mig-1g.10gb": 2},
                "limits": {"nvidia.com/gpu": None, "nvidia.com/mig-1g.10gb": 2},
            },
        },
    },
    "extra parts of pods": {
        "extraEnvFrom": [{"secretRef": {"name": "proxies"}}],
        "extraVolumes": [{"name": "certificates", "configMap": {"name": "own-ca"}}],
        "extraVolumeMounts": [{"name": "certificates", "mountPath": "/etc/ssl/own", "readOnly": True}],
        "initContainers": [{"name": "wait", "image": "busybox:1", "command": ["true"]}],
        "sidecars": [{"name": "forwarder", "image": "fluent-bit:4"}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.53"], "options": [{"name": "ndots", "value": "2"}]},
        "hostAliases": [{"ip": "10.1.2.3", "hostnames": ["door.cameras"]}],
        "terminationGracePeriodSeconds": 120,
        "spool": {"enabled": True},
        "tmp": {"sizeLimit": "20Gi"},
        "redis": {"topologySpreadConstraints": SCHEDULING["topologySpreadConstraints"]},
        "streams": [{"id": "door", "url": "rtsp://10.1.2.3/stream1"}],
    },
    "openshift": {
        "podSecurityContext": ANY_USER,
        "redis": {"podSecurityContext": ANY_USER},
        "spool": {"enabled": True, "existingClaim": "spool"},
        "streams": [{"id": "door", "url": "rtsp://10.1.2.3/stream1"}],
    },
    "servers of all kinds": {
        "gcsFaultTolerance": {"ownServer": {"enabled": True}},
        "redis": {"exporter": {"enabled": True}, "backup": {"enabled": True}},
        "monitoring": {"podMonitor": {"enabled": True}},
    },
    "external redis, state of ray here": {
        "redis": {"external": {"enabled": True, "existingSecret": "redis-url"}, "exporter": {"enabled": True}},
        "gcsFaultTolerance": {"ownServer": {"enabled": True, "storageClass": "fast"}, "passwordSecret": "gcs"},
    },
    "tokens in a secret": {
        "auth": {"generate": False, "tokensSecret": "tokens"},
        "redis": {"existingSecret": "mine", "backup": {"enabled": True, "existingClaim": "copies"}},
        "streams": [{"id": "door", "url": "rtsp://10.1.2.3/stream1"}],
        "streamsJob": {"tokenSecret": "ops-token"},
    },
    "load balancer": {
        "service": {
            "type": "LoadBalancer",
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"},
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "externalTrafficPolicy": "Local",
        },
        "upgrade": {"strategy": "NewClusterWithIncrementalUpgrade", "incremental": {"gatewayClassName": "istio"}},
    },
}


def _problems(documents: list[dict[str, Any]]) -> list[str]:
    return [problem for document in documents for problem in problems_of(document)]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_every_document_is_valid(helm: Helm, values: dict[str, Any]) -> None:
    documents = helm.render(values)
    assert not _problems(documents)
    identities = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(identities) == len(set(identities))
    assert all(len(name) <= 63 for _, name in identities)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(helm: Helm, path: Path) -> None:
    helm.run("lint", "--strict", str(CHART), "--values", str(path))
    assert not _problems(helm.render(files=[path]))


def test_lint_is_content_with_the_defaults(helm: Helm) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm.run("lint", "--strict", str(CHART))


def test_the_packaged_chart_renders_the_same(helm: Helm, tmp_path: Path) -> None:
    helm.run("package", str(CHART), "--destination", str(tmp_path))
    (packaged,) = tmp_path.glob("emostream-*.tgz")
    values = {"auth": {"enabled": False}, "redis": {"existingSecret": "mine"}}  # nothing random in it
    assert helm.render(values, chart=packaged) == helm.render(values)


def test_the_validators_do_find_mistakes(helm: Helm) -> None:
    service = only(helm.render(), "RayService")

    def spoilt(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        copy = deepcopy(service)
        change(copy["spec"])
        return copy

    assert not problems_of(service)
    assert problems_of(spoilt(lambda spec: spec.update(upgradeStrategy={"type": "Sometimes"})))
    assert problems_of(spoilt(lambda spec: spec.update(replicas=3)))
    assert problems_of(spoilt(lambda spec: _streams(spec).update(groupName="Streams")))
    assert problems_of(spoilt(lambda spec: _streams(spec)["template"]["spec"].update(container=[])))
    assert problems_of(spoilt(lambda spec: _streams(spec)["template"]["spec"]["volumes"][0].pop("name")))


def _streams(spec: dict[str, Any]) -> dict[str, Any]:
    group: dict[str, Any] = spec["rayClusterConfig"]["workerGroupSpecs"][0]
    return group


@pytest.mark.parametrize("release", ["1st", "a" * 53])
def test_names_that_kuberay_refuses_are_avoided_or_refused(helm: Helm, release: str) -> None:
    if release[0].isdigit():
        with pytest.raises(RenderError):
            helm.run("template", release, str(CHART))
    else:
        text = helm.run("template", release, str(CHART), "--namespace", NAMESPACE)
        assert f"name: {'a' * 40}\n" in text
        assert "a" * 41 not in text.replace("app.kubernetes.io/instance: " + release, "")


OPTIONAL: dict[str, tuple[dict[str, Any], dict[str, Any], str, int]] = {
    "api secret": ({"auth": {"enabled": False}}, {}, "Secret demo-emostream-api", 1),
    "service account": ({"serviceAccount": {"create": False}}, {}, "ServiceAccount", 1),
    "redis secret": ({"redis": {"existingSecret": "mine"}}, {}, "Secret demo-emostream-redis", 1),
    "redis configuration": (MATRIX["external redis"], {}, "ConfigMap", 1),
    "redis service": (MATRIX["external redis"], {}, "Service", 1),
    "redis": (MATRIX["external redis"], {}, "StatefulSet", 1),
    "disruption budget of GPUs": (
        MATRIX["gpu"],
        MATRIX["shared detector"],
        "PodDisruptionBudget demo-emostream-gpu",
        1,
    ),
    "disruption budget": ({"podDisruptionBudget": {"enabled": False}}, {}, "PodDisruptionBudget", 1),
    "ingress": ({}, MATRIX["ingress"], "Ingress", 1),
    "route": ({}, MATRIX["gateway"], "HTTPRoute", 1),
    "pod monitor": ({}, MATRIX["monitoring"], "PodMonitor", 1),
    "streams": ({}, MATRIX["streams"], "Job", 1),
    "streams secret": ({}, MATRIX["streams"], "Secret demo-emostream-streams", 1),
    "network policies": ({"networkPolicy": {"enabled": False}}, {}, "NetworkPolicy", 4),
    "policy of cameras": ({}, MATRIX["policies"], "NetworkPolicy demo-emostream-cameras", 1),
    "policy of redis": (MATRIX["external redis"], {}, "NetworkPolicy demo-emostream-redis", 1),
    "policy of traces": ({}, MATRIX["tracing"], "NetworkPolicy demo-emostream-traces", 1),
    "server of ray's state": ({}, MATRIX["servers of all kinds"], "StatefulSet demo-emostream-gcs", 1),
    "policy of ray's state": ({}, MATRIX["servers of all kinds"], "NetworkPolicy demo-emostream-gcs", 1),
    "backup": ({}, MATRIX["servers of all kinds"], "CronJob", 1),
    "volume of backups": (MATRIX["tokens in a secret"], MATRIX["servers of all kinds"], "PersistentVolumeClaim", 1),
    "policy of the autoscaler": (MATRIX["no autoscaling"], {}, "NetworkPolicy demo-emostream-autoscaler", 1),
}


@pytest.mark.parametrize(("off", "on", "what", "number"), OPTIONAL.values(), ids=OPTIONAL.keys())
def test_switched_off_means_no_document(
    helm: Helm, off: dict[str, Any], on: dict[str, Any], what: str, number: int
) -> None:
    kind, _, name = what.partition(" ")

    def found(values: dict[str, Any]) -> int:
        return sum(not name or name == each for each in named(helm.render(values), kind))

    assert found(off) == 0
    assert found(on) == number


def test_every_template_is_covered_by_a_switch() -> None:
    always = {"rayservice.yaml", "dashboards.yaml", "prometheusrule.yaml"}  # the last two: test_files.py
    templates = {path.name for path in (CHART / "templates").glob("*.yaml")} - always
    switched = {
        "api-secret.yaml",
        "serviceaccount.yaml",
        "redis-secret.yaml",
        "redis-backup.yaml",
        "gcs.yaml",
        "redis-configmap.yaml",
        "redis-service.yaml",
        "redis-statefulset.yaml",
        "poddisruptionbudget.yaml",
        "ingress.yaml",
        "httproute.yaml",
        "podmonitor.yaml",
        "streams.yaml",
        "networkpolicy.yaml",
    }
    assert templates == switched


def test_the_gpu_group_is_there_only_when_enabled(helm: Helm) -> None:
    assert set(ray_pods(helm.render())) == {"head", "streams"}
    assert set(ray_pods(helm.render(MATRIX["gpu"]))) == {"head", "streams", "gpu"}
