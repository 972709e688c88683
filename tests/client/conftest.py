"""A real server for this folder."""

from tests.publish.conftest import publish_settings, redis_server, stream_id

__all__ = ["publish_settings", "redis_server", "stream_id"]
