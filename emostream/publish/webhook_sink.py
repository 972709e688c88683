"""Posts events to an HTTP address: signed, in order, tried again while the receiver is away."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import parse_qsl

from emostream.config import PublishSettings
from emostream.domain.address import AddressError, parse_address
from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.redact import redact, shown_sink
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.publish.retry import with_retries
from emostream.wire.events import json_from_event, json_from_status, json_from_summary, json_from_voice

SIGNATURE_HEADER = "X-Emostream-Signature"
_KIND_HEADER = "X-Emostream-Kind"
_ID_HEADER = "X-Emostream-Delivery"
_MAX_EVENTS_PER_POST = 256
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408
_MAX_POSTS_AT_ONCE = 16
_IN_PATH = re.compile(r"[!-~]*")  # what a request line holds; the rest must be percent-encoded


def open_webhook_sink(url: str, settings: PublishSettings) -> WebhookSink:
    """The sink of `webhook+https://…?emostream_secret=…`; the secret is not sent.

    Raises:
        ConfigError: nothing can be posted there, or the secret is empty.
    """
    try:
        address = parse_address(url.removeprefix("webhook+"))
    except AddressError as exc:
        raise ConfigError(f"webhook {shown_sink(url)} is not usable: {exc}") from exc
    path, _, query = address.rest.partition("?")
    secret = dict(parse_qsl(query, keep_blank_values=True)).get("emostream_secret")
    if secret == "":
        raise ConfigError(
            f"webhook {shown_sink(url)}: emostream_secret is empty; give one, or leave it out to sign nothing"
        )
    rest = "&".join(pair for pair in query.split("&") if not pair.startswith("emostream_secret="))
    target = replace(address, rest=f"{path}?{rest}" if rest else path)
    return WebhookSink(target.url, secret=secret, max_retry_seconds=settings.max_retry_seconds)


class WebhookSink:
    """One POST per call of the pipeline: JSON lines, `application/x-ndjson`.

    Headers: `X-Emostream-Kind` is emotion, status, summary or voice; `X-Emostream-Delivery` is the same when a post is
    repeated, so that the receiver can tell; `X-Emostream-Signature` is `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256
    of `SECONDS.body` with the secret (`verify_signature` checks it). An answer of 2xx is delivery; 5xx, 408, 429, no
    answer and a broken connection are tried again for `max_retry_seconds`; any other answer refuses the events for
    ever. Redirects are not followed.

    Args:
        url: `https://` or `http://`; user and password in it are sent as basic authentication.
        secret: signs each post; None sends none.
        timeout_seconds: bound on one post.
        max_retry_seconds: keep trying for this long before `SinkUnavailableError`.
    """

    def __init__(
        self, url: str, *, secret: str | None = None, timeout_seconds: float = 10.0, max_retry_seconds: float = 30.0
    ) -> None:
        self._url, self._login = _without_login(url)
        self._secret = secret
        self._timeout_seconds = timeout_seconds
        self._max_retry_seconds = max_retry_seconds
        self._opener = urllib.request.build_opener(_NoRedirect())
        # Threads of its own: a receiver that does not answer must not use up those that all others share.
        self._executor = ThreadPoolExecutor(_MAX_POSTS_AT_ONCE, "emostream-webhook")

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver emotion events, in order, at most 256 per post."""
        for start in range(0, len(events), _MAX_EVENTS_PER_POST):
            part = events[start : start + _MAX_EVENTS_PER_POST]
            first, last = part[0], part[-1]
            delivery = f"{first.stream_id}:{first.epoch}:{first.frame_index}-{last.frame_index}"
            await self._post([json_from_event(event) for event in part], kind="emotion", delivery=delivery)

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver a status event."""
        delivery = f"{event.stream_id}:{event.epoch}:{event.state.value}:{event.at.timestamp()}"
        await self._post([json_from_status(event)], kind="status", delivery=delivery)

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver a summary event."""
        delivery = f"{event.stream_id}:{event.epoch}:summary:{event.summary_index}"
        await self._post([json_from_summary(event)], kind="summary", delivery=delivery)

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver a voice event."""
        delivery = f"{event.stream_id}:{event.epoch}:voice:{event.window.window_index}"
        await self._post([json_from_voice(event)], kind="voice", delivery=delivery)

    async def close(self) -> None:
        """End its threads; a post that is not answered yet is not waited for."""
        self._executor.shutdown(wait=False)

    async def _post(self, lines: Sequence[str], *, kind: str, delivery: str) -> None:
        body = "".join(f"{line}\n" for line in lines).encode()
        loop = asyncio.get_running_loop()
        await with_retries(
            lambda: loop.run_in_executor(self._executor, self._send, body, kind, delivery),
            max_retry_seconds=self._max_retry_seconds,
        )

    def _send(self, body: bytes, kind: str, delivery: str) -> None:
        """Runs in a worker thread."""
        headers = {"Content-Type": "application/x-ndjson", _KIND_HEADER: kind, _ID_HEADER: delivery}
        if self._login is not None:
            headers["Authorization"] = self._login
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = sign(body, secret=self._secret, at_seconds=int(time.time()))
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310  # checked above
        where = shown_sink(self._url)
        try:
            with self._opener.open(request, timeout=self._timeout_seconds):
                return
        except urllib.error.HTTPError as exc:
            with exc:
                code = exc.code
            if code >= 500 or code in (_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT):
                raise SinkUnavailableError(f"webhook {where} answered {code}") from exc
            raise EventRejectedError(f"webhook {where} answered {code}; check the address and the receiver") from exc
        except OSError as exc:  # includes URLError and time-outs
            raise SinkUnavailableError(f"webhook {where} cannot be reached: {redact(str(exc))}") from exc
        except http.client.HTTPException as exc:
            raise SinkUnavailableError(f"webhook {where} gave no HTTP answer: {redact(str(exc))}") from exc


def _without_login(url: str) -> tuple[str, str | None]:
    """The URL without user and password, and the header that carries them, if it has some.

    Raises:
        ConfigError: nothing can be posted there.
    """
    problem = ""
    try:
        address = parse_address(url)
        is_usable = address.scheme in ("http", "https") and address.host and address.port != 0
        address.host.encode("idna")  # as the client will
    except AddressError as exc:
        is_usable, problem = False, f": {exc}"
    except ValueError:  # a host that is no name
        is_usable = False
    if not is_usable or not _IN_PATH.fullmatch(address.rest):
        raise ConfigError(
            f"webhook {shown_sink(url)} is not usable{problem}; expected for example https://example.org/events"
        )
    if address.login is None:
        return address.url, None
    return address.without_login().url, f"Basic {base64.b64encode(address.login_bytes).decode()}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A redirect is an answer like any other: the signature is for this receiver only."""


def sign(body: bytes, *, secret: str, at_seconds: int) -> str:
    """The value of the signature header.

    >>> sign(b"{}", secret="s", at_seconds=1)[:8]
    't=1,v1=b'
    """
    digest = hmac.new(secret.encode(), f"{at_seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_seconds},v1={digest}"


def verify_signature(
    header: str, body: bytes, *, secret: str, now_seconds: float, tolerance_seconds: float = 300
) -> bool:
    """Whether a post came from a holder of the secret, and lately; for receivers.

    Args:
        header: the value of `X-Emostream-Signature`.
        body: as received, every byte.
        secret: as given to the sink.
        now_seconds: seconds since 1970.
        tolerance_seconds: how old a post may be; bounds replays.
    """
    at, _, _ = header.removeprefix("t=").partition(",")
    if not at.isascii() or not at.isdigit() or len(at) > 12 or abs(now_seconds - int(at)) > tolerance_seconds:
        return False
    return hmac.compare_digest(header.encode(), sign(body, secret=secret, at_seconds=int(at)).encode())
