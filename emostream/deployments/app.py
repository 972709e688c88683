"""The Ray Serve application with all bindings. Replicas, resources and autoscaling are in `deploy/serve/*.yaml`."""
# Without `from __future__ import annotations`: Serve inspects the type of `build_app`'s argument, which would be a
# string then, and would pass a dictionary.

from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application

from emostream.config import Settings, load_settings
from emostream.deployments.emotion_classification import EmotionClassification
from emostream.deployments.face_detection import FaceDetection
from emostream.deployments.ingress import Ingress
from emostream.deployments.stream_worker import StreamWorkers
from emostream.errors import ConfigError
from emostream.service.worker.sink import check_worker_sinks
from emostream.telemetry.open_tracer import check_tracing


class AppArgs(BaseModel):
    """The `args` of the application in a Serve configuration file."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    config_file: Path | None = None
    """Settings file (YAML) on the machine that builds the application; environment variables apply as well."""
    settings: dict[str, Any] = {}
    """Settings that override file and environment, nested as in the file."""
    shared_classifier: bool = False
    """Classify in a separate deployment that batches over all workers (for GPUs); otherwise each worker classifies."""
    shared_detector: bool = False
    """Detect faces in a separate deployment, where GPUs have spare capacity and the workers' CPUs do not."""


def build_app(args: AppArgs) -> Application:
    """Build the application; used by `serve run` and `serve deploy`.

    Raises:
        ConfigError: the settings are invalid, or name no Redis server.
    """
    return bind_app(
        load_settings(config_file=args.config_file, **args.settings),
        shared_classifier=args.shared_classifier,
        shared_detector=args.shared_detector,
    )


def bind_app(
    settings: Settings,
    *,
    shared_classifier: bool = False,
    shared_detector: bool = False,
    num_workers: int | None = None,
) -> Application:
    """Build the application from loaded settings.

    Args:
        settings: all settings.
        shared_classifier: see `AppArgs`.
        shared_detector: see `AppArgs`.
        num_workers: fixed number of worker replicas; None leaves it to the configuration.

    Raises:
        ConfigError: the settings name no Redis server, a detector that cannot be shared, or a sink that cannot be used.
    """
    if settings.publish.redis_url is None:
        raise ConfigError("the service needs a Redis server: set publish.redis_url or EMOSTREAM_PUBLISH__REDIS_URL")
    if shared_detector and settings.detect.kind != "centerface":
        raise ConfigError(f"a shared detector must be centerface, got detect.kind {settings.detect.kind}")
    check_tracing(settings.tracing)
    check_worker_sinks(settings.publish)
    # Serve's decorator turns the classes into deployments, which its type hints do not express.
    ingress, workers, classification, detection = (
        cast(serve.Deployment, kind) for kind in (Ingress, StreamWorkers, EmotionClassification, FaceDetection)
    )
    if num_workers is not None:
        workers = workers.options(num_replicas=num_workers)
    classifying = classification.bind(settings) if shared_classifier else None
    detecting = detection.bind(settings) if shared_detector else None
    return ingress.bind(settings, workers.bind(settings, classifying, detecting))
