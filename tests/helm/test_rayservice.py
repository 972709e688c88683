"""What the RayService asks for: Ray Serve and emostream take the configuration, and work goes where it should."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from emostream import TELEMETRY_SWITCHES
from emostream.config import load_settings
from emostream.deployments.app import AppArgs
from emostream.deployments.http_proxy import ENVIRONMENT
from emostream.service.api.tokens import Tokens
from tests.conftest import REPOSITORY
from tests.helm.chart import (
    EXAMPLES,
    Helm,
    containers,
    environment_of,
    named,
    only,
    pods,
    ray_pods,
    serve_config,
)
from tests.helm.test_rendering import MATRIX

pytestmark = pytest.mark.integration


def _args(documents: list[dict[str, Any]]) -> AppArgs:
    return AppArgs.model_validate(serve_config(documents)["applications"][0]["args"])


def _deployments(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in serve_config(documents)["applications"][0]["deployments"]}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_serve_and_emostream_take_the_configuration(helm: Helm, values: dict[str, Any]) -> None:
    documents = helm.render(values)
    ServeDeploySchema.model_validate(serve_config(documents))
    load_settings(**_args(documents).settings)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_those_of_the_examples_too(helm: Helm, path: Path) -> None:
    documents = helm.render(files=[path])
    ServeDeploySchema.model_validate(serve_config(documents))
    load_settings(**_args(documents).settings)


def test_settings_are_carried_over_what_the_chart_decides(helm: Helm) -> None:
    values = {
        "settings": {"log_level": "info", "service": {"max_streams": 5000}, "detect": {"min_face_pixels": 24}},
        "sources": {"networks": ["10.1.0.0/16"], "allowPlaylists": True, "mediaClaim": "clips"},
        "streamWorkers": {"maxStreams": 7},
    }
    settings = load_settings(**_args(helm.render(values)).settings)
    assert (settings.log_level, settings.detect.min_face_pixels, settings.service.max_streams) == ("info", 24, 5000)
    assert settings.service.allowed_networks == ("10.1.0.0/16",)
    assert settings.service.allow_playlists
    assert settings.service.media_root == Path("/media")
    assert settings.service.max_streams_per_worker == 7


def test_lines_of_the_log_reach_the_output_of_the_pod(helm: Helm) -> None:
    settings = load_settings(**_args(helm.render()).settings)
    assert (settings.log_copy_to, settings.log_format) == (Path("/proc/1/fd/2"), "json")
    other = load_settings(
        **_args(helm.render({"settings": {"log_copy_to": "/tmp/log", "log_format": "text"}})).settings
    )
    assert (other.log_copy_to, other.log_format) == (Path("/tmp/log"), "text")


def test_the_number_of_streams_per_worker_is_the_same_for_workers_and_autoscaling(helm: Helm) -> None:
    documents = helm.render({"streamWorkers": {"maxStreams": 7}})
    policy = _deployments(documents)["StreamWorkers"]["autoscaling_config"]["policy"]
    assert policy["policy_kwargs"]["max_streams_per_worker"] == 7
    assert _args(documents).settings["service"]["max_streams_per_worker"] == 7


def test_a_fixed_number_of_workers_is_not_autoscaled(helm: Helm) -> None:
    workers = _deployments(helm.render({"streamWorkers": {"min": 3, "max": 3}}))["StreamWorkers"]
    assert workers["num_replicas"] == 3
    assert "autoscaling_config" not in workers


def test_the_configuration_of_a_cluster_is_that_of_deploy(helm: Helm) -> None:
    """`deploy/serve/cluster.yaml` and the chart describe the same application."""
    shipped = yaml.safe_load((REPOSITORY / "deploy" / "serve" / "cluster.yaml").read_text(encoding="utf-8"))
    rendered = serve_config(helm.render(MATRIX["gpu"]))
    for config in (shipped, rendered):
        assert [each["name"] for each in config["applications"]] == ["emostream"]
        names = [each["name"] for each in config["applications"][0]["deployments"]]
        assert names == ["Ingress", "StreamWorkers", "EmotionClassification"]
    assert rendered["proxy_location"] == shipped["proxy_location"]
    assert rendered["applications"][0]["import_path"] == shipped["applications"][0]["import_path"]
    autoscaling = [
        config["applications"][0]["deployments"][1]["autoscaling_config"]["policy"]["policy_function"]
        for config in (shipped, rendered)
    ]
    assert autoscaling[0] == autoscaling[1]


def test_the_head_does_no_work_and_each_group_only_its_own(helm: Helm) -> None:
    documents = helm.render(MATRIX["gpu"])
    cluster = only(documents, "RayService")["spec"]["rayClusterConfig"]
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    offered = json.loads(groups["streams"]["rayStartParams"]["resources"].strip('"').replace('\\"', '"'))
    assert offered == {"cpu_node": 1}
    assert groups["streams"]["rayStartParams"]["num-gpus"] == "0"
    assert groups["gpu"]["rayStartParams"] == {"num-cpus": "1", "num-gpus": "1"}
    deployments = _deployments(documents)
    for name in ("Ingress", "StreamWorkers"):  # what the head and GPU nodes do not offer
        assert deployments[name]["ray_actor_options"]["resources"] == {"cpu_node": 0.001}
    assert deployments["EmotionClassification"]["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 1}
    assert _args(documents).shared_classifier


def test_without_gpu_workers_classify_by_themselves(helm: Helm) -> None:
    documents = helm.render()
    assert not _args(documents).shared_classifier
    assert "EmotionClassification" not in _deployments(documents)


def test_classifiers_and_detectors_share_the_gpus(helm: Helm) -> None:
    documents = helm.render(MATRIX["shared detector"])
    assert _args(documents).shared_detector
    deployments = _deployments(documents)
    # 3 pods with a GPU: 0.3 of each for a detector, and two classifiers of 0.35 in the rest.
    assert deployments["FaceDetection"]["num_replicas"] == 3
    assert deployments["EmotionClassification"]["num_replicas"] == 6
    assert deployments["FaceDetection"]["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 0.3}
    assert deployments["EmotionClassification"]["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 0.35}
    groups = only(documents, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert groups[1]["rayStartParams"] == {"num-cpus": "3", "num-gpus": "1"}
    assert load_settings(**_args(documents).settings).detect.engine == "tensorrt"
    (models,) = [volume for volume in groups[1]["template"]["spec"]["volumes"] if volume["name"] == "models"]
    assert models["persistentVolumeClaim"] == {"claimName": "engines"}


def test_a_gpu_is_required_where_the_values_say_so(helm: Helm) -> None:
    for values in ({"gpu": {"enabled": True, "use": use, "required": True}} for use in ("workers", "classifier")):
        assert load_settings(**_args(helm.render(values)).settings).classify.gpu_required
    assert not load_settings(**_args(helm.render(MATRIX["gpu"])).settings).classify.gpu_required


@pytest.mark.parametrize(("share", "number"), [(1, 1), (0.5, 2), (0.34, 2), (0.2, 5), (0.1, 10), (0.6, 1)])
def test_as_many_classifiers_as_fit(helm: Helm, share: float, number: int) -> None:
    documents = helm.render({"gpu": {"enabled": True, "use": "classifier", "share": share}})
    assert _deployments(documents)["EmotionClassification"]["num_replicas"] == number


@pytest.mark.parametrize("name", ["nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb", "nvidia.com/mig-2g.20gb.shared"])
def test_ray_knows_gpus_of_any_resource_name(helm: Helm, name: str) -> None:
    kinds = {"nvidia.com/gpu": None, name: "2"}
    gpu = {"enabled": True, "use": "classifier", "resources": {"requests": kinds, "limits": kinds}}
    documents = helm.render({"gpu": gpu})
    group = only(documents, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]
    assert group["rayStartParams"] == {"num-cpus": "2", "num-gpus": "2"}
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert {key: value for key, value in limits.items() if key.startswith("nvidia.com/")} == {name: "2"}


def test_workers_get_the_gpus_by_default(helm: Helm) -> None:
    documents = helm.render(MATRIX["gpu workers"])
    cluster = only(documents, "RayService")["spec"]["rayClusterConfig"]
    (group,) = cluster["workerGroupSpecs"]
    assert [each["name"] for each in serve_config(documents)["applications"][0]["deployments"]] == [
        "Ingress",
        "StreamWorkers",
    ]
    # Two workers of 2 CPUs in a pod of 4 CPUs, and one GPU for both.
    assert _deployments(documents)["StreamWorkers"]["ray_actor_options"] == {
        "num_cpus": 2,
        "num_gpus": 0.5,
        "resources": {"cpu_node": 0.001},
    }
    assert group["rayStartParams"]["num-gpus"] == "1"
    pod = group["template"]["spec"]
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["nodeSelector"] == {"gpu": "yes"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    limits = pod["containers"][0]["resources"]["limits"]
    assert (limits["cpu"], limits["memory"], limits["nvidia.com/gpu"]) == ("4", "6Gi", "1")
    assert "emostream models compile emotions centerface" in pod["initContainers"][0]["command"][2]
    settings = load_settings(**_args(documents).settings)
    assert (settings.decode.hwaccel, settings.detect.engine, settings.classify.engine) == ("auto", "auto", "auto")


@pytest.mark.parametrize(
    ("cpu", "gpus", "share"),
    [("2", 1, 1), ("4", 1, 0.5), ("6", 1, 0.3333), ("8", 4, 1), ("10", 2, 0.3333), ("2", 3, 1)],
)
def test_the_workers_of_a_pod_divide_its_gpus(helm: Helm, cpu: str, gpus: int, share: float) -> None:
    values = {
        "workers": {"resources": {kind: {"cpu": cpu} for kind in ("requests", "limits")}},
        "streamWorkers": {"min": 1, "max": 4},
        "gpu": {"enabled": True, "resources": {kind: {"nvidia.com/gpu": gpus} for kind in ("requests", "limits")}},
    }
    assert _deployments(helm.render(values))["StreamWorkers"]["ray_actor_options"]["num_gpus"] == share


def test_workers_with_a_share_of_a_gpu_classify_by_themselves_with_the_gpu_image(helm: Helm) -> None:
    documents = helm.render(MATRIX["workers on slices of GPUs"])
    assert not _args(documents).shared_classifier
    assert _deployments(documents)["StreamWorkers"]["ray_actor_options"]["num_gpus"] == 0.25
    (group,) = only(documents, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert group["rayStartParams"]["num-gpus"] == "2"
    pod = group["template"]
    assert pod["spec"]["containers"][0]["image"].endswith("-gpu")
    assert "emostream models compile emotions" in pod["spec"]["initContainers"][0]["command"][2]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"  # reaches cameras


@pytest.mark.parametrize("drain_seconds", [None, 5, 30.5])
def test_workers_have_time_to_hand_over_their_streams(helm: Helm, drain_seconds: float | None) -> None:
    service = {} if drain_seconds is None else {"drain_seconds": drain_seconds}
    documents = helm.render({"settings": {"service": service}})
    pod = ray_pods(documents)["streams"]["spec"]["terminationGracePeriodSeconds"]
    serve = _deployments(documents)["StreamWorkers"]["graceful_shutdown_timeout_s"]
    assert load_settings(**_args(documents).settings).service.drain_seconds + 10 < serve <= pod


def test_replicas_are_left_to_the_autoscaler(helm: Helm) -> None:
    def replicas(values: dict[str, Any]) -> list[int | None]:
        cluster = only(helm.render(values | MATRIX["gpu"]), "RayService")["spec"]["rayClusterConfig"]
        return [group.get("replicas") for group in cluster["workerGroupSpecs"]]

    assert replicas({}) == [None, None]
    assert replicas(MATRIX["no autoscaling"]) == [2, 1]


def test_upgrades_move_in_steps_when_configured(helm: Helm) -> None:
    assert only(helm.render(), "RayService")["spec"]["upgradeStrategy"] == {"type": "NewCluster"}
    assert only(helm.render(MATRIX["load balancer"]), "RayService")["spec"]["upgradeStrategy"] == {
        "type": "NewClusterWithIncrementalUpgrade",
        "clusterUpgradeOptions": {
            "gatewayClassName": "istio",
            "maxSurgePercent": 50,
            "stepSizePercent": 10,
            "intervalSeconds": 30,
        },
    }


def test_the_service_is_what_the_values_say(helm: Helm) -> None:
    assert "serveService" not in only(helm.render(), "RayService")["spec"]
    service = only(helm.render(MATRIX["load balancer"]), "RayService")["spec"]["serveService"]
    assert service["metadata"]["name"] == "demo-emostream-serve-svc"  # what ingress, route and job call
    assert service["metadata"]["annotations"] == MATRIX["load balancer"]["service"]["annotations"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]


def test_an_ingress_may_leave_the_certificate_to_its_controller(helm: Helm) -> None:
    ingress = only(helm.render({"ingress": {"enabled": True, "host": "a.example"}}), "Ingress")
    assert ingress["spec"]["tls"] == [{"hosts": ["a.example"]}]


def test_extra_parts_reach_every_ray_pod(helm: Helm) -> None:
    values = MATRIX["extra parts of pods"] | {"gpu": {"enabled": True, "use": "classifier"}}
    for name, template in ray_pods(helm.render(values)).items():
        pod = template["spec"]
        main = pod["containers"][0]
        assert main["envFrom"] == values["extraEnvFrom"], name
        assert values["extraVolumes"][0] in pod["volumes"], name
        assert pod["initContainers"][0] == values["initContainers"][0], name
        assert pod["containers"][1] == values["sidecars"][0], name
        assert (pod["dnsPolicy"], pod["dnsConfig"]) == ("None", values["dnsConfig"]), name
        assert pod["hostAliases"] == values["hostAliases"], name
        assert pod["terminationGracePeriodSeconds"] == 120, name
        (tmp,) = [volume for volume in pod["volumes"] if volume["name"] == "tmp"]
        assert tmp["emptyDir"] == {"sizeLimit": "20Gi"}, name
        for container in (main, *(each for each in pod["initContainers"] if each["name"] == "models")):
            assert values["extraVolumeMounts"][0] in container["volumeMounts"], name


def test_events_wait_on_the_volume_of_the_values(helm: Helm) -> None:
    for values, volume in (
        ({"spool": {"enabled": True}}, {"emptyDir": {"sizeLimit": "4Gi"}}),
        (MATRIX["openshift"], {"persistentVolumeClaim": {"claimName": "spool"}}),
    ):
        documents = helm.render(values)
        pod = ray_pods(documents)["streams"]["spec"]
        assert {"name": "spool", **volume} in pod["volumes"]
        spool = load_settings(**_args(documents).settings).publish.spool_dir
        assert {"name": "spool", "mountPath": str(spool)} in pod["containers"][0]["volumeMounts"]


def test_pods_spread_over_nodes_by_default(helm: Helm) -> None:
    templates = ray_pods(helm.render(MATRIX["gpu"]))
    for group in ("streams", "gpu"):
        (constraint,) = templates[group]["spec"]["topologySpreadConstraints"]
        assert constraint["topologyKey"] == "kubernetes.io/hostname"
        assert constraint["labelSelector"]["matchLabels"].items() <= templates[group]["metadata"]["labels"].items()
    told = ray_pods(helm.render(MATRIX["placed"]))["streams"]["spec"]["topologySpreadConstraints"]
    assert told == MATRIX["placed"]["workers"]["topologySpreadConstraints"]


def test_the_version_of_ray_is_the_pinned_one(helm: Helm) -> None:
    pins = (REPOSITORY / "deploy" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    version = only(helm.render(), "RayService")["spec"]["rayClusterConfig"]["rayVersion"]
    assert f"ray=={version}" in pins


def test_ray_asks_for_tokens(helm: Helm) -> None:
    cluster = only(helm.render(), "RayService")["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert "authOptions" not in only(helm.render({"rayTokens": False}), "RayService")["spec"]["rayClusterConfig"]


def test_the_hash_of_the_generated_token_and_only_the_hash_is_in_the_settings(helm: Helm) -> None:
    documents = helm.render()
    token = base64.b64decode(named(documents, "Secret")["demo-emostream-api"]["data"]["token"]).decode()
    settings = load_settings(**_args(documents).settings)
    entry = Tokens(settings.service.tokens).find(token)
    assert entry is not None
    assert entry.scopes == ("write",)
    assert len(token) == 40
    assert token not in json.dumps(only(documents, "RayService"))


def test_a_change_of_settings_leaves_the_pods_alone(helm: Helm) -> None:
    """Such a change is applied in place; a change of pods would start a second cluster."""
    fixed: dict[str, Any] = {"auth": {"enabled": False}}
    before = only(helm.render(fixed), "RayService")["spec"]
    for change in (
        {"settings": {"detect": {"min_face_pixels": 24}}},
        {"streamWorkers": {"maxStreams": 6}},
        {"streamWorkers": {"min": 1, "max": 3}},
        {"sources": {"networks": ["10.0.0.0/8"]}},
        {"rollout": "again"},
        {"api": {"replicas": 3}},
    ):
        after = only(helm.render(fixed | change), "RayService")["spec"]
        assert after["rayClusterConfig"] == before["rayClusterConfig"], change
        assert after["serveConfigV2"] != before["serveConfigV2"], change


def test_redis_password_comes_from_the_secret(helm: Helm) -> None:
    documents = helm.render()
    for template in ray_pods(documents).values():
        environment = environment_of(template["spec"]["containers"][0])
        assert (
            environment["EMOSTREAM_PUBLISH__REDIS_URL"]
            == "redis://:$(EVENTS_REDIS_PASSWORD)@demo-emostream-redis:6379/0"
        )
        assert environment["EVENTS_REDIS_PASSWORD"] == {
            "secretKeyRef": {"name": "demo-emostream-redis", "key": "password"}
        }
        # KubeRay refuses these names beside gcsFaultToleranceOptions.
        assert not {"REDIS_PASSWORD", "REDIS_USERNAME", "RAY_REDIS_ADDRESS"} & environment.keys()


def test_what_the_pods_set_in_the_environment_are_settings(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    for template in ray_pods(helm.render(MATRIX["placed"])).values():
        for container in containers(template):
            for name, value in environment_of(container).items():
                if name.startswith("EMOSTREAM_"):
                    monkeypatch.setenv(name, str(value))
    settings = load_settings()
    assert settings.models.cache_dir == Path("/var/cache/emostream")
    assert settings.models.offline
    assert settings.log_level == "info"


def test_nothing_reports_home(helm: Helm) -> None:
    everything = MATRIX["gpu"] | {"streams": [{"url": "rtsp://10.1.2.3/one", "id": "one"}]}
    programs = {name: pod for name, pod in pods(helm.render(everything)).items() if "StatefulSet" not in name}
    assert {"head", "streams", "gpu"} < programs.keys()
    for template in programs.values():
        for container in containers(template):
            assert environment_of(container).items() >= TELEMETRY_SWITCHES.items(), container["name"]


def test_the_proxy_is_hardened_where_ray_starts(helm: Helm) -> None:
    name, value = ENVIRONMENT
    for template in ray_pods(helm.render(MATRIX["placed"])).values():
        assert environment_of(template["spec"]["containers"][0])[name] == value


def test_ray_state_goes_to_redis(helm: Helm) -> None:
    own = only(helm.render(), "RayService")["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert own["redisAddress"] == "demo-emostream-redis:6379"
    other = only(helm.render(MATRIX["external redis"]), "RayService")["spec"]["rayClusterConfig"]
    assert other["gcsFaultToleranceOptions"] == {
        "redisAddress": "rediss://redis.example:6379",
        "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "redis-auth", "key": "password"}}},
    }


def test_ray_state_goes_to_a_server_of_its_own(helm: Helm) -> None:
    for name, secret in (("servers of all kinds", "demo-emostream-gcs"), ("external redis, state of ray here", "gcs")):
        documents = helm.render(MATRIX[name])
        options = only(documents, "RayService")["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
        reference = {"secretKeyRef": {"name": secret, "key": "password"}}
        assert options == {"redisAddress": "demo-emostream-gcs:6379", "redisPassword": {"valueFrom": reference}}
        server = pods(documents)["StatefulSet demo-emostream-gcs"]["spec"]["containers"][0]
        assert environment_of(server)["REDISCLI_AUTH"] == reference
        assert ("demo-emostream-gcs" in named(documents, "Secret")) == (secret == "demo-emostream-gcs")


def test_tokens_of_a_secret_are_read_from_its_file(helm: Helm) -> None:
    documents = helm.render(MATRIX["tokens in a secret"])
    file = load_settings(**_args(documents).settings).service.tokens_file
    assert file is not None
    for template in ray_pods(documents).values():
        (volume,) = [each for each in template["spec"]["volumes"] if each["name"] == "tokens"]
        assert volume["secret"]["secretName"] == "tokens"
        (path,) = [item["path"] for item in volume["secret"]["items"]]
        mounts = template["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "tokens", "mountPath": str(file.parent), "readOnly": True} in mounts
        assert file.name == path


def test_two_renders_are_the_same_where_secrets_are_given(helm: Helm) -> None:
    """What GitOps tools compare: nothing random, nothing that a hook or a time limit removes."""
    for name in ("tokens in a secret", "external redis, state of ray here"):
        values = {"auth": MATRIX["tokens in a secret"]["auth"]} | MATRIX[name]
        assert helm.render(values) == helm.render(values), name


def test_images_have_a_flavour_and_may_be_pinned_by_digest(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    values = MATRIX["gpu"] | {"image": {"repository": "r.example/emostream", "tag": "7", "gpuDigest": digest}}
    images = {
        group: template["spec"]["containers"][0]["image"] for group, template in ray_pods(helm.render(values)).items()
    }
    assert images["head"] == images["streams"] == "r.example/emostream:7-cpu"
    assert images["gpu"] == f"r.example/emostream@{digest}"


def test_sinks_beside_redis_are_in_the_environment_of_every_node(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = ["kafka://broker:9092/events", "webhook+https://host/a?x=1&y=2"]
    for pod in ray_pods(helm.render({"sinks": {"urls": urls}})).values():
        (main,) = [c for c in pod["spec"]["containers"] if "EMOSTREAM_PUBLISH__REDIS_URL" in environment_of(c)]
        text = environment_of(main)["EMOSTREAM_PUBLISH__SINKS"]
    monkeypatch.setenv("EMOSTREAM_PUBLISH__SINKS", text)
    assert [url.get_secret_value() for url in load_settings().publish.sinks] == urls
    for pod in ray_pods(helm.render({"sinks": {"existingSecret": "sinks"}})).values():
        (main,) = [c for c in pod["spec"]["containers"] if "EMOSTREAM_PUBLISH__REDIS_URL" in environment_of(c)]
        source = environment_of(main)["EMOSTREAM_PUBLISH__SINKS"]
        assert source["secretKeyRef"] == {"name": "sinks", "key": "urls"}


def test_without_sinks_nothing_is_set(helm: Helm) -> None:
    assert not any(
        "EMOSTREAM_PUBLISH__SINKS" in environment_of(container)
        for pod in ray_pods(helm.render()).values()
        for container in pod["spec"]["containers"]
    )
