"""Whether Kubernetes, and the operators whose kinds the chart uses, would take a document."""

from __future__ import annotations

import jsonschema_rs
import kubernetes_validate

from tests.helm.chart import Document, ray_pods
from tests.helm.custom_schemas import CUSTOM_SCHEMAS

KUBERNETES_VERSIONS = ("1.28", "1.37")
"""The oldest that the chart accepts, and the newest that the schemas know."""

_VALIDATORS = {kind: jsonschema_rs.validator_for(schema) for kind, schema in CUSTOM_SCHEMAS.items()}


def problems_of(document: Document) -> list[str]:
    """What is wrong with it; nothing when it is valid."""
    validator = _VALIDATORS.get(document["kind"])
    if validator is None:
        return _problems_of_standard(document)
    found = [f"{document['kind']}: {error.instance_path}: {error.message}" for error in validator.iter_errors(document)]
    if document["kind"] == "RayService":
        for group, template in ray_pods([document]).items():
            found += _problems_of_standard(_pod_from_template(group, template))
        if service := document["spec"].get("serveService"):
            found += _problems_of_standard({"apiVersion": "v1", "kind": "Service", **service})
    return found


def _problems_of_standard(document: Document) -> list[str]:
    found = []
    for version in KUBERNETES_VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as exc:
            place = "/".join(str(part) for part in exc.absolute_path)
            found.append(f"{document['kind']} (Kubernetes {version}): {place}: {exc.message}")
    return found


def _pod_from_template(name: str, template: Document) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **template["metadata"]},
        "spec": template["spec"],
    }
