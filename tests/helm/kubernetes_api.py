"""As much of a Kubernetes API as Helm asks when it looks up secrets: a small server that holds some."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_KINDS = {
    "v1": {"secrets": "Secret", "configmaps": "ConfigMap", "services": "Service", "serviceaccounts": "ServiceAccount"}
    | {"pods": "Pod"},
    "apps/v1": {"statefulsets": "StatefulSet"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "ray.io/v1": {"rayservices": "RayService"},
}
"""Group and version → resources of the chart's default documents."""


def _discovery() -> dict[str, Any]:
    """Path → what the API says there about itself."""
    groups = []
    found: dict[str, Any] = {"/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}}
    for group_version, resources in _KINDS.items():
        listed = [
            {"name": name, "kind": kind, "namespaced": True, "singularName": kind.lower(), "verbs": ["get"]}
            for name, kind in resources.items()
        ]
        group, slash, version = group_version.rpartition("/")
        path = f"/apis/{group_version}" if slash else f"/api/{group_version}"
        found[path] = {"kind": "APIResourceList", "groupVersion": group_version, "resources": listed}
        if slash:
            entry = {"groupVersion": group_version, "version": version}
            groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
    found["/api"] = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    found["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return found


@contextmanager
def kubernetes_api(secrets: Mapping[str, Mapping[str, Any]], *, namespace: str) -> Iterator[str]:
    """The URL of a server that knows these secrets (name → object) and nothing else."""
    known = _discovery()
    for name, secret in secrets.items():
        known[f"/api/v1/namespaces/{namespace}/secrets/{name}"] = secret

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = known.get(self.path.partition("?")[0])
            status = 200 if found is not None else 404
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(found if found is not None else missing).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
