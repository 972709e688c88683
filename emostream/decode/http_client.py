"""HTTP requests to sources beside FFmpeg's own, through the same proxy and with the same limits."""

from __future__ import annotations

import logging

import httpx

from emostream.config import DecodeSettings
from emostream.domain.address import parse_address
from emostream.domain.redact import redact

_MAX_REDIRECTS = 5


def http_client(settings: DecodeSettings, *, auth: httpx.Auth | None, timeout_seconds: float) -> httpx.Client:
    """A client that leads where FFmpeg may go, and nowhere else; to be used in a `with` statement.

    Args:
        settings: proxy, certificates, redirects.
        auth: the login; None without one.
        timeout_seconds: for connecting, and for each read.
    """
    proxy = settings.http_proxy
    return httpx.Client(
        auth=auth,
        # With a proxy of its own httpx looks at no variable of the environment, so nothing leads around it.
        proxy=None if proxy is None else httpx.Proxy(parse_address(proxy.get_secret_value()).url),
        verify=settings.verify_tls,
        timeout=timeout_seconds,
        follow_redirects=settings.references != "none",
        max_redirects=_MAX_REDIRECTS,
        # The proxy of the service lets one request through per connection.
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"User-Agent": "emostream"},
    )


def _mask(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True


# It names the URL of each request, with what may be a secret in it.
logging.getLogger("httpx").addFilter(_mask)
