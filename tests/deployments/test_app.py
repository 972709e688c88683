"""The application and its configurations, without starting Ray."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from emostream.errors import Cause, ClassifierUnavailableError, ConfigError, InferenceError
from emostream.testing.fakes import ConstantClassifier
from emostream.vision.classify.classifier import Classified

pytest.importorskip("ray")

from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import ReplicaUnavailableError
from ray.serve.schema import ServeDeploySchema

from emostream.deployments.app import AppArgs, build_app
from emostream.deployments.autoscaling import StreamWorkerPolicy
from emostream.deployments.call_by_call import answer_or_raise, answers_of
from emostream.deployments.emotion_classification import EmotionClassification, RemoteClassifier
from emostream.deployments.face_detection import FaceDetection
from emostream.deployments.ingress import Ingress
from emostream.deployments.stream_worker import StreamWorkers

DEPLOYMENTS = (Ingress, StreamWorkers, EmotionClassification, FaceDetection)
CONFIGS = sorted((Path(__file__).parents[2] / "deploy" / "serve").glob("*.yaml"))
REDIS = {"publish": {"redis_url": "redis://localhost:6379/0"}}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_fit_serve_and_the_application(path: Path) -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    (application,) = config.applications
    args = AppArgs.model_validate(application.args)
    named = {deployment.name for deployment in application.deployments}
    shared = {"EmotionClassification": args.shared_classifier, "FaceDetection": args.shared_detector}
    assert named == {"Ingress", "StreamWorkers"} | {name for name, is_bound in shared.items() if is_bound}
    build_app(args.model_copy(update={"settings": {**args.settings, **REDIS}}))


def test_serve_makes_the_arguments_of_a_configuration_what_the_application_takes() -> None:
    (parameter,) = inspect.signature(build_app).parameters.values()
    assert parameter.annotation is AppArgs, "Serve would pass a dictionary"


def test_the_cap_of_the_policy_is_that_of_the_settings() -> None:
    config = yaml.safe_load((CONFIGS[0].parent / "cluster.yaml").read_text(encoding="utf-8"))
    (application,) = config["applications"]
    workers = next(item for item in application["deployments"] if item["name"] == "StreamWorkers")
    in_policy = workers["autoscaling_config"]["policy"]["policy_kwargs"]["max_streams_per_worker"]
    assert in_policy == application["args"]["settings"]["service"]["max_streams_per_worker"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment.name)
def test_each_deployment_checks_its_own_progress(deployment: Any) -> None:
    """Without a check of its own, Serve asks only whether the process lives."""
    assert inspect.iscoroutinefunction(deployment.func_or_class.check_health)


def test_a_service_needs_redis() -> None:
    with pytest.raises(ConfigError):
        build_app(AppArgs())


@pytest.mark.parametrize(
    ("wanted", "overloaded", "expected"),
    [({}, {}, 3), ({"a": 5.0}, {}, 2), ({"a": 60.0, "b": 55.0}, {}, 5), ({"a": 5.0}, {"a": 1.0, "b": 0.0}, 4)],
    ids=["nothing reported", "few streams", "many streams", "overloaded"],
)
def test_workers_follow_streams_and_load(wanted: dict[str, float], overloaded: dict[str, float], expected: int) -> None:
    context: Any = SimpleNamespace(
        aggregated_metrics={"num_wanted": wanted, "is_overloaded": overloaded} if wanted else {},
        target_num_replicas=3,
        current_num_replicas=3,
        capacity_adjusted_min_replicas=2,
        capacity_adjusted_max_replicas=20,
    )
    assert StreamWorkerPolicy(max_streams_per_worker=12)(context)[0] == expected


class _Handle:
    """Answers as the deployment does, after some failures."""

    def __init__(self, *failures: Exception, is_gone: bool = False) -> None:
        self.classify = self
        self.batch_sizes: list[int] = []
        self._failures = list(failures)
        self._is_gone = is_gone

    async def remote(self, crops: Any) -> Any:
        self.batch_sizes.append(len(crops))
        if self._is_gone:
            raise ActorDiedError
        if self._failures:
            raise self._failures.pop(0)
        return Classified(ConstantClassifier().classify(crops), 0.0, 0.0)


def remote_classifier(handle: Any, *, max_retry_seconds: float = 5.0) -> RemoteClassifier:
    return RemoteClassifier(handle, manifest=ConstantClassifier().manifest, max_retry_seconds=max_retry_seconds)


@pytest.mark.parametrize("num_crops", [0, 1, 64, 150])
async def test_the_remote_classifier_cuts_and_joins(num_crops: int) -> None:
    handle = _Handle()
    crops = np.zeros((num_crops, 64, 64), np.uint8)
    classified = await remote_classifier(handle).classify(crops, allow_batching_delay=True)
    assert classified.probabilities.shape == (num_crops, 7)
    assert sum(handle.batch_sizes) == num_crops
    assert all(size <= 64 for size in handle.batch_sizes)


async def test_calls_of_a_replica_that_dies_go_to_another() -> None:
    handle = _Handle(ActorDiedError(), ReplicaUnavailableError("no replica"))
    classified = await remote_classifier(handle).classify(np.zeros((3, 64, 64), np.uint8), allow_batching_delay=True)
    assert len(classified.probabilities) == 3
    assert handle.batch_sizes == [3, 3, 3]


async def test_a_classifier_that_stays_away_lets_its_streams_start_again() -> None:
    remote = remote_classifier(_Handle(is_gone=True), max_retry_seconds=0.3)
    with pytest.raises(ClassifierUnavailableError) as caught:
        await remote.classify(np.zeros((1, 64, 64), np.uint8), allow_batching_delay=True)
    assert caught.value.retryable


async def test_a_call_is_repeated_when_the_model_fails_for_a_moment() -> None:
    failed = RayTaskError("classify", "traceback", InferenceError("too hot"))  # type: ignore[no-untyped-call]
    handle = _Handle(failed, failed)
    classified = await remote_classifier(handle).classify(np.zeros((1, 64, 64), np.uint8), allow_batching_delay=True)
    assert len(classified.probabilities) == 1
    assert handle.batch_sizes == [1, 1, 1]


async def test_a_model_that_goes_on_failing_is_no_fault_of_the_worker_that_asks() -> None:
    failed = RayTaskError("classify", "traceback", InferenceError("too hot"))  # type: ignore[no-untyped-call]
    handle = _Handle(*3 * [failed])
    with pytest.raises(ClassifierUnavailableError, match="too hot") as caught:
        await remote_classifier(handle).classify(np.zeros((1, 64, 64), np.uint8), allow_batching_delay=True)
    assert caught.value.cause is Cause.PASSING
    assert handle.batch_sizes == [1, 1, 1]


async def test_a_batch_that_fails_is_computed_call_by_call() -> None:
    batches: list[int] = []

    def halve(items: Sequence[int]) -> list[int]:
        batches.append(len(items))
        if any(item % 2 for item in items):
            raise InferenceError(f"odd in {items}")
        return [item // 2 for item in items]

    assert await answers_of(halve, [2, 4]) == [1, 2]
    mixed = await answers_of(halve, [2, 3, 4])
    assert batches == [2, 3, 1, 1, 1]
    assert (mixed[0], mixed[2]) == (1, 2)
    assert isinstance(mixed[1], InferenceError)
    assert answer_or_raise(mixed[0]) == 1
    with pytest.raises(InferenceError, match=r"odd in \[3\]"):
        answer_or_raise(mixed[1])


async def test_a_batch_with_too_few_results_is_computed_call_by_call() -> None:
    assert await answers_of(lambda items: list(items)[:1], [1, 2, 3]) == [1, 2, 3]
