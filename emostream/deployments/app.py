"""The Ray Serve application; every `bind` is here. Replicas, resources and autoscaling are in `deploy/serve/*.yaml`."""

# Without the usual import from `__future__`: Serve looks at the type of `build_app`'s argument, which that would turn
# into a text, and would then pass a dictionary.

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
from emostream.publish.registry import check_detached_sinks
from emostream.telemetry.open_tracer import check_tracing


class AppArgs(BaseModel):
    """The `args` of the application in a Serve configuration."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    config_file: Path | None = None
    """Settings file (YAML) on the machine that builds the application; environment variables count there as well."""
    settings: dict[str, Any] = {}
    """Settings that come before file and environment, nested as in the file."""
    shared_classifier: bool = False
    """Classify in a deployment of its own, in batches over all workers: for GPUs. Otherwise each worker classifies."""
    shared_detector: bool = False
    """Search for faces in a deployment of its own: where GPUs have time left and the workers' processors have not."""


def build_app(args: AppArgs) -> Application:
    """The application, for `serve run` and `serve deploy`.

    Raises:
        ConfigError: the settings are not valid, or name no Redis.
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
    """The application for settings that are loaded already; `num_workers` fixes the number of worker replicas.

    Raises:
        ConfigError: the settings name no Redis, a detector that cannot be shared, or a sink that cannot be used.
    """
    if settings.publish.redis_url is None:
        raise ConfigError("the service needs a Redis server: set publish.redis_url or EMOSTREAM_PUBLISH__REDIS_URL")
    if shared_detector and settings.detect.kind != "centerface":
        raise ConfigError(f"a shared detector must be centerface, got detect.kind {settings.detect.kind}")
    check_tracing(settings.tracing)
    check_detached_sinks(settings.publish)
    # Serve's decorator makes deployments of the classes, which its types do not tell.
    ingress, workers, classification, detection = (
        cast(serve.Deployment, kind) for kind in (Ingress, StreamWorkers, EmotionClassification, FaceDetection)
    )
    if num_workers is not None:
        workers = workers.options(num_replicas=num_workers)
    classifying = classification.bind(settings) if shared_classifier else None
    detecting = detection.bind(settings) if shared_detector else None
    return ingress.bind(settings, workers.bind(settings, classifying, detecting))
