"""The HTTP interface as a deployment."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from emostream.config import Settings
from emostream.deployments.ray_metrics import RayRecorder
from emostream.logs import configure_logging
from emostream.service.api import build_api


@serve.deployment(
    name="Ingress",
    ray_actor_options={"num_cpus": 0},
    max_ongoing_requests=500,  # each reader of events is one for as long as it reads
    health_check_period_s=2,  # a killed replica is noticed by it
    health_check_timeout_s=10,
    graceful_shutdown_wait_loop_s=0.2,
    graceful_shutdown_timeout_s=3,  # readers of events would stay for ever
)
@serve.ingress()
class Ingress:
    """Serves `service/api.py`. It speaks to the workers through Redis only, so it needs none of them to be there."""

    def __init__(self, settings: Settings, workers: DeploymentHandle[Any]) -> None:
        configure_logging(settings.log_level, log_format=settings.log_format)
        self._settings = settings
        self._workers = workers  # bound so that Serve starts them with this application

    def __serve_build_asgi_app__(self) -> FastAPI:  # Serve's name for it
        """Called by Serve once, after the constructor."""
        redis_url = self._settings.publish.redis_url
        if redis_url is None:
            raise RuntimeError("expected a Redis URL, which `bind_app` checked")
        return build_api(self._settings, redis_url=redis_url.get_secret_value(), record=RayRecorder())
