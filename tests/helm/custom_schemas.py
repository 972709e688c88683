"""Schemas of the fields that the chart uses of other people's resource kinds; anything else in them is a mistake.

Written from KubeRay's API reference (ray.io/v1: RayServiceSpec, RayClusterSpec, HeadGroupSpec, WorkerGroupSpec,
AuthOptions, AutoscalerOptions, GcsFaultToleranceOptions, ClusterUpgradeOptions), the Prometheus operator's (PodMonitor,
PrometheusRule) and the Gateway API's (HTTPRoute v1). Pod templates and services inside a RayService are checked by the
Kubernetes schemas instead (`validation.py`).
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_ANYTHING: Schema = {"type": "object"}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": required | (optional or {}),
    }


def _list_of(item: Schema, *, least: int = 1) -> Schema:
    return {"type": "array", "items": item, "minItems": least}


def _resource(api_version: str, kind: str, spec: Schema) -> Schema:
    metadata = _object({"name": _TEXT, "labels": _TEXTS}, {"annotations": _TEXTS})
    return _object({"apiVersion": {"const": api_version}, "kind": {"const": kind}, "metadata": metadata, "spec": spec})


_SECRET_KEY = _object({"secretKeyRef": _object({"name": _TEXT, "key": _TEXT})})
_WORKER_GROUP = _object(
    {
        "groupName": {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
        "minReplicas": _COUNT,
        "maxReplicas": _COUNT,
        "rayStartParams": _TEXTS,
        "template": _ANYTHING,
    },
    {"replicas": _COUNT},
)
_UPGRADE = _object(
    {"type": {"enum": ["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]}},
    {
        "clusterUpgradeOptions": _object(
            {"gatewayClassName": _TEXT},
            {"maxSurgePercent": _COUNT, "stepSizePercent": _COUNT, "intervalSeconds": _COUNT},
        )
    },
)
_SERVE_SERVICE = _object({"metadata": _object({"name": _TEXT}, {"annotations": _TEXTS}), "spec": _ANYTHING})
_RAY_CLUSTER = _object(
    {
        "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "enableInTreeAutoscaling": _FLAG,
        "headGroupSpec": _object({"rayStartParams": _TEXTS, "template": _ANYTHING}),
        "workerGroupSpecs": _list_of(_WORKER_GROUP),
    },
    {
        "authOptions": _object({"mode": {"enum": ["token", "disabled"]}}),
        "autoscalerOptions": _object(
            {},
            {
                "version": {"enum": ["v1", "v2"]},
                "idleTimeoutSeconds": _COUNT,
                "upscalingMode": {"enum": ["Default", "Aggressive", "Conservative"]},
                "resources": _ANYTHING,
                "securityContext": _ANYTHING,
                "env": _list_of(_ANYTHING),
                "volumeMounts": _list_of(_ANYTHING),
            },
        ),
        "gcsFaultToleranceOptions": _object(
            {"redisAddress": _TEXT}, {"redisPassword": _object({"valueFrom": _SECRET_KEY})}
        ),
    },
)
_RELABELING = _object(
    {"sourceLabels": _list_of(_TEXT), "regex": _TEXT, "action": {"enum": ["keep", "drop", "replace"]}},
    {"targetLabel": _TEXT, "replacement": _TEXT},
)
_SELECTOR = _object({"matchLabels": _TEXTS}, {"matchExpressions": _list_of(_ANYTHING)})
_RULE = _object(
    {"expr": _TEXT}, {"alert": _TEXT, "record": _TEXT, "for": _TEXT, "labels": _TEXTS, "annotations": _TEXTS}
)

CUSTOM_SCHEMAS: dict[str, Schema] = {
    "RayService": _resource(
        "ray.io/v1",
        "RayService",
        _object(
            {"serveConfigV2": _TEXT, "rayClusterConfig": _RAY_CLUSTER},
            {
                "upgradeStrategy": _UPGRADE,
                "serveService": _SERVE_SERVICE,
                "rayClusterDeletionDelaySeconds": _COUNT,
                "excludeHeadPodFromServeSvc": _FLAG,
            },
        ),
    ),
    "PodMonitor": _resource(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        _object(
            {
                "selector": _SELECTOR,
                "podMetricsEndpoints": _list_of(
                    _object({"port": _TEXT, "interval": _TEXT}, {"metricRelabelings": _list_of(_RELABELING)})
                ),
            },
            {"podTargetLabels": _list_of(_TEXT)},
        ),
    ),
    "PrometheusRule": _resource(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        _object({"groups": _list_of(_object({"name": _TEXT, "rules": _list_of(_RULE)}, {"interval": _TEXT}))}),
    ),
    "HTTPRoute": _resource(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        _object(
            {
                "parentRefs": _list_of(
                    _object({"name": _TEXT}, {"namespace": _TEXT, "sectionName": _TEXT, "port": _COUNT})
                ),
                "rules": _list_of(
                    _object(
                        {"backendRefs": _list_of(_object({"name": _TEXT, "port": _COUNT}))},
                        {
                            "matches": _list_of(
                                _object({"path": _object({"type": {"enum": ["PathPrefix", "Exact"]}, "value": _TEXT})})
                            ),
                            "timeouts": _object({}, {"request": _TEXT, "backendRequest": _TEXT}),
                        },
                    )
                ),
            },
            {"hostnames": _list_of(_TEXT)},
        ),
    ),
}
