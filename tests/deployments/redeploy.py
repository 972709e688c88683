"""Deploys the application anew on the Ray that runs here: `-m tests.deployments.redeploy REDIS_URL MAX_STREAMS`."""

from __future__ import annotations

import logging
import sys

import ray
from ray import serve

from emostream.config import load_settings
from emostream.deployments.app import bind_app
from emostream.deployments.local import APP_NAME


def main(redis_url: str, max_streams: str) -> None:
    """Return when all replicas are of the new version."""
    settings = load_settings(
        publish={"redis_url": redis_url},
        service={"allowed_networks": ["127.0.0.0/8"], "max_streams_per_worker": int(max_streams)},
    )
    ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
    serve.run(bind_app(settings, num_workers=2), name=APP_NAME, route_prefix="/")
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
