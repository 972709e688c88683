"""The HTTP API as a deployment."""

from __future__ import annotations

import logging
import os
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from emostream.config import Settings
from emostream.deployments.http_proxy import ENVIRONMENT
from emostream.deployments.ray_metrics import RayRecorder
from emostream.service.api.app import build_api
from emostream.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)

_MAX_UNTOLD_BYTES = 8 << 20


@serve.deployment(
    name="Ingress",
    ray_actor_options={"num_cpus": 0},
    # More than `service.max_requests` allows: the API rejects excess requests itself, and health checks never queue.
    max_ongoing_requests=2000,
    health_check_period_s=2,  # this is how a killed replica is noticed
    health_check_timeout_s=10,
    graceful_shutdown_wait_loop_s=0.2,
    graceful_shutdown_timeout_s=3,  # event readers would keep their connections open indefinitely
)
@serve.ingress()
class Ingress:
    """Serves `service/api/app.py`. It talks to workers only through Redis, so it works without any of them."""

    def __init__(self, settings: Settings, workers: DeploymentHandle[Any]) -> None:
        configure_logging(settings.log_level, log_format=settings.log_format, copy_to=settings.log_copy_to)
        self._settings = settings
        self._workers = workers  # bound so that Serve starts them with this application

    async def check_health(self) -> None:
        """Called by Serve on the event loop that answers requests. Without it, a blocked one would stay for minutes."""

    def __serve_build_asgi_app__(self) -> FastAPI:  # the name that Serve expects
        """Called by Serve once, after the constructor."""
        redis_url = self._settings.publish.redis_url
        if redis_url is None:
            raise RuntimeError("expected a Redis URL, which `bind_app` checked")
        name, value = ENVIRONMENT
        if os.environ.get(name) != value:
            logger.warning("set %s=%s where Ray starts; without it, streaming responses end after 8 MB", name, value)
        return build_api(
            self._settings,
            redis_url=redis_url.get_secret_value(),
            record=RayRecorder(),
            max_untold_bytes=_MAX_UNTOLD_BYTES,
        )
