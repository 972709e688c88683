"""What the network policies let through."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tests.helm.chart import Helm, named, pods
from tests.helm.test_rendering import MATRIX

pytestmark = pytest.mark.integration


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(item["key"]) in item["values"]
        for item in selector.get("matchExpressions", [])
        if item["operator"] == "In"
    )


def _policies_of(documents: list[dict[str, Any]], pod: str) -> list[dict[str, Any]]:
    labels = pods(documents)[pod]["metadata"]["labels"]
    return [
        policy["spec"]
        for policy in named(documents, "NetworkPolicy").values()
        if _selects(policy["spec"]["podSelector"], labels)
    ]


def _may_reach(documents: list[dict[str, Any]], pod: str, address: str, *, port: int) -> bool:
    """Whether a pod may open a TCP connection to an address outside the cluster."""
    target = ipaddress.ip_address(address)

    def covers(block: dict[str, Any]) -> bool:
        inside = [ipaddress.ip_network(each) for each in block.get("except", [])]
        return target in ipaddress.ip_network(block["cidr"]) and not any(target in each for each in inside)

    for policy in _policies_of(documents, pod):
        for rule in policy.get("egress", []):
            ports = [each["port"] for each in rule.get("ports", []) if each["protocol"] == "TCP"]
            blocks = [peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer]
            if (not rule.get("ports") or port in ports) and ("to" not in rule or any(map(covers, blocks))):
                return True
    return False


def test_every_pod_is_under_a_policy_of_both_directions(helm: Helm) -> None:
    documents = helm.render(MATRIX["streams"] | MATRIX["gpu"])
    for pod in pods(documents):
        directions = {each for policy in _policies_of(documents, pod) for each in policy["policyTypes"]}
        assert directions == {"Ingress", "Egress"}, pod


def test_only_workers_reach_cameras_and_only_their_networks(helm: Helm) -> None:
    documents = helm.render({"sources": {"networks": ["10.1.0.0/16"]}, "gpu": {"enabled": True, "use": "classifier"}})
    assert _may_reach(documents, "streams", "10.1.2.3", port=554)
    assert not _may_reach(documents, "streams", "10.1.2.3", port=22)
    assert not _may_reach(documents, "streams", "10.2.2.3", port=554)
    assert not _may_reach(documents, "streams", "93.184.216.34", port=443)
    for pod in ("head", "gpu", "StatefulSet demo-emostream-redis"):
        assert not _may_reach(documents, pod, "10.1.2.3", port=554), pod


def test_nothing_is_reached_by_default(helm: Helm) -> None:
    documents = helm.render()
    for address in ("10.1.2.3", "93.184.216.34", "169.254.169.254"):
        assert not _may_reach(documents, "streams", address, port=80)


def test_public_sources_leave_the_inside_alone(helm: Helm) -> None:
    documents = helm.render({"sources": {"allowPublic": True}})
    assert _may_reach(documents, "streams", "93.184.216.34", port=443)
    assert _may_reach(documents, "streams", "2606:2800:220:1::1", port=443)
    for inside in ("10.0.0.1", "172.20.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1", "100.64.1.1", "fd00::1"):
        assert not _may_reach(documents, "streams", inside, port=443), inside


def test_name_servers_of_all_kinds_are_reached_and_nothing_else_of_theirs(helm: Helm) -> None:
    documents = helm.render(MATRIX["streams"])
    for pod in ("streams", "head", next(name for name in pods(documents) if name.startswith("Job"))):
        assert _may_reach(documents, pod, "169.254.20.10", port=53), pod
        assert not _may_reach(documents, pod, "169.254.20.10", port=80), pod
        peers = [
            peer
            for policy in _policies_of(documents, pod)
            for rule in policy.get("egress", [])
            if {"protocol": "UDP", "port": 5353} in rule.get("ports", [])
            for peer in rule["to"]
        ]
        assert {"k8s-app": "kube-dns"} in [peer.get("podSelector", {}).get("matchLabels") for peer in peers], pod
        assert any("openshift-dns" in str(peer) for peer in peers), pod


def test_what_calls_the_service_reaches_every_pod_behind_it(helm: Helm) -> None:
    documents = helm.render(MATRIX["streams"] | MATRIX["gpu"])
    templates = pods(documents)
    for caller in (name for name in templates if name.startswith(("Job", "Pod"))):
        selectors = [
            peer["podSelector"]
            for policy in _policies_of(documents, caller)
            for rule in policy["egress"]
            if {"protocol": "TCP", "port": 8000} in rule["ports"]
            for peer in rule["to"]
        ]
        for group in ("streams", "gpu"):  # Ray has a proxy where a replica is
            labels = templates[group]["metadata"]["labels"]
            assert any(_selects(selector, labels) for selector in selectors), (caller, group)


def test_a_load_balancer_lets_in_its_networks(helm: Helm) -> None:
    def callers(values: dict[str, Any]) -> list[str]:
        policy = named(helm.render(values), "NetworkPolicy")["demo-emostream-ray"]["spec"]
        (rule,) = (rule for rule in policy["ingress"] if rule.get("ports") == [{"protocol": "TCP", "port": 8000}])
        return [peer["ipBlock"]["cidr"] for peer in rule["from"] if "ipBlock" in peer]

    assert callers({}) == []
    assert callers(MATRIX["load balancer"]) == ["10.0.0.0/8"]
    assert callers({"service": {"type": "NodePort"}}) == ["0.0.0.0/0", "::/0"]
    only = {"service": {"type": "LoadBalancer"}, "networkPolicy": {"apiFrom": [{"ipBlock": {"cidr": "10.3.0.0/16"}}]}}
    assert callers(only) == ["10.3.0.0/16"]


def test_no_ports_means_all_of_them(helm: Helm) -> None:
    documents = helm.render({"sources": {"networks": ["10.1.0.0/16"], "ports": []}})
    assert _may_reach(documents, "streams", "10.1.2.3", port=1935)


def test_redis_is_read_by_ray_and_those_who_are_named(helm: Helm) -> None:
    for values, readers in (({}, 1), (MATRIX["policies"], 2)):
        policy = named(helm.render(values), "NetworkPolicy")["demo-emostream-redis"]["spec"]
        assert "egress" not in policy
        (rule,) = policy["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": 6379}]
        assert len(rule["from"]) == readers


def test_backups_and_scrapes_reach_redis_and_nothing_else_its_neighbours(helm: Helm) -> None:
    documents = helm.render(MATRIX["servers of all kinds"])
    policies = named(documents, "NetworkPolicy")
    ports = [rule["ports"][0]["port"] for rule in policies["demo-emostream-redis"]["spec"]["ingress"]]
    assert ports == [6379, 9121]
    (callers,) = policies["demo-emostream-gcs"]["spec"]["ingress"][0]["from"]
    assert callers["podSelector"]["matchExpressions"][0]["values"] == ["head", "worker", "gpu"]
    backup = next(name for name in pods(documents) if name.startswith("CronJob"))
    assert not _may_reach(documents, backup, "10.1.2.3", port=6379)


def test_an_external_redis_is_reached_in_its_network_only(helm: Helm) -> None:
    documents = helm.render(MATRIX["external redis"])
    assert _may_reach(documents, "streams", "10.9.1.1", port=6379)
    assert not _may_reach(documents, "streams", "10.9.1.1", port=554)
    assert not _may_reach(documents, "streams", "10.8.1.1", port=6379)


def test_only_the_head_reaches_kubernetes(helm: Helm) -> None:
    documents = helm.render({"gpu": {"enabled": True, "use": "classifier"}})
    assert _may_reach(documents, "head", "10.96.0.1", port=443)
    assert not _may_reach(documents, "streams", "10.96.0.1", port=443)
    assert not _may_reach(documents, "gpu", "10.96.0.1", port=443)


@pytest.mark.parametrize(
    ("webrtc", "ports"),
    [
        (None, []),
        ({"enabled": False, "min_port": 40_000}, []),
        ({"enabled": True}, []),
        ({"enabled": True, "min_port": 40_000, "max_port": 40_099}, [(40_000, 40_099)]),
        ({"enabled": True, "min_port": 40_000}, [(40_000, 65_535)]),
    ],
)
def test_senders_are_let_in_where_they_are_enabled(
    helm: Helm, webrtc: dict[str, Any] | None, ports: list[tuple[int, int]]
) -> None:
    documents = helm.render({"settings": {} if webrtc is None else {"webrtc": webrtc}})
    rules = [rule for policy in _policies_of(documents, "streams") for rule in policy.get("ingress", [])]
    udp = [port for rule in rules for port in rule.get("ports", []) if port["protocol"] == "UDP"]
    assert [(port["port"], port["endPort"]) for port in udp] == ports
