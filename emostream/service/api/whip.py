"""Video that is sent to the service: WHIP (RFC 9725). Media go to the worker that owns the stream, not through here."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Request, Response

from emostream.domain.stream import PUSHED, StreamKind, StreamSpec, StreamState
from emostream.service.api.context import ApiContext, Context, StreamId
from emostream.service.api.tokens import Tokens
from emostream.service.registry.records import StreamRecord
from emostream.service.registry.streams import StreamExistsError
from emostream.service.senders.offer import Offer
from emostream.service.senders.offers import ask_for_answer, ask_to_end
from emostream.service.senders.refusal import RefusedError
from emostream.service.senders.sdp import MAX_OFFER_BYTES, cleaned_offer
from emostream.wire.http_models import problem_responses

MEDIA_TYPE = "application/sdp"
_OWNER_SECONDS = 8.0  # until a worker has claimed a new stream
_LOOK_SECONDS = 0.1
_SDP = {MEDIA_TYPE: {"schema": {"type": "string"}}}


def add_whip(app: FastAPI, *, writing: list[Any], tokens: Tokens) -> None:
    """The paths of `/v1/whip`."""

    @app.post(
        "/v1/whip/{stream_id}",
        status_code=201,
        dependencies=writing,
        tags=["senders"],
        response_class=Response,
        openapi_extra={"requestBody": {"required": True, "content": _SDP}},
        responses={
            201: {
                "content": _SDP,
                "description": "The SDP answer; `Location` is the session, which `DELETE` ends.",
            },
            **problem_responses(400, 403, 409, 413, 415),
        },
    )
    async def start_session(stream_id: StreamId, request: Request, context: Context) -> Response:
        """Send video to a stream by WHIP (RFC 9725): an SDP offer in, an answer out.

        The stream is created where there is none. A new sender takes over from an earlier one. Media
        go to the worker that owns the stream, by UDP. Offers hold all candidates: trickle ICE and restarts are not
        supported (405).
        """
        _check_enabled(context)
        sdp = await _offer_of(request)
        entry = tokens.of(request.scope)
        owner = "" if entry is None else entry.name
        is_new = await have_pushed_stream(context, stream_id, owner=owner)
        offer = Offer(stream_id, secrets.token_urlsafe(24), owner, sdp)
        try:
            answer = await ask_for_answer(context.store, offer, worker_id=await owner_of(context, stream_id))
        except RefusedError as exc:
            if is_new and not exc.is_shared:
                await context.registry.remove(stream_id)
            raise _refused(exc) from exc
        headers = {"Location": f"/v1/whip/{stream_id}/{offer.session_id}"}
        if stun_url := context.settings.webrtc.stun_url:
            headers["Link"] = f'<{stun_url}>; rel="ice-server"'
        return Response(answer, status_code=201, media_type=MEDIA_TYPE, headers=headers)

    @app.delete(
        "/v1/whip/{stream_id}/{session_id}",
        dependencies=writing,
        tags=["senders"],
        responses=problem_responses(403, 404),
    )
    async def end_session(
        stream_id: StreamId,
        session_id: Annotated[str, Path(max_length=64, description="The end of the session's `Location`.")],
        context: Context,
    ) -> None:
        """End a session. Its stream waits for another sender; `DELETE /v1/streams/{id}` ends it."""
        _check_enabled(context)
        lease = (await context.status(stream_id)).lease
        try:
            has_ended = lease is not None and await ask_to_end(
                context.store, stream_id=stream_id, session_id=session_id, worker_id=lease.worker_id
            )
        except RefusedError as exc:
            raise _refused(exc) from exc
        if not has_ended:
            raise HTTPException(404, f"stream {stream_id} has no such session; it may have ended")


def _check_enabled(context: ApiContext) -> None:
    if not context.settings.webrtc.enabled:
        raise HTTPException(403, "senders are not let in; the operator can enable them with webrtc.enabled")


async def _offer_of(request: Request) -> str:
    """The offer, checked as far as can be done here."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise HTTPException(415, f"expected an SDP offer ({MEDIA_TYPE}), got {media_type[:80] or 'no content type'}")
    body = await request.body()
    if len(body) > MAX_OFFER_BYTES:
        raise HTTPException(413, f"expected an SDP offer of at most {MAX_OFFER_BYTES} bytes, got {len(body)}")
    try:
        return cleaned_offer(body.decode())
    except UnicodeDecodeError:
        raise HTTPException(400, "expected an SDP offer as UTF-8 text") from None
    except RefusedError as exc:
        raise _refused(exc) from exc


async def have_pushed_stream(context: ApiContext, stream_id: str, *, owner: str) -> bool:
    """Create the stream unless there is one, and let a failed one run again; whether it is new."""
    record = StreamRecord(StreamSpec(stream_id, PUSHED, StreamKind.LIVE))
    try:
        record, is_new = await context.registry.create(record, owner=owner)
    except StreamExistsError:
        status = await context.status(stream_id)
        if status.record.spec.url != PUSHED:
            raise
        if status.state is StreamState.FAILED:
            await context.registry.retry(stream_id)
        return False
    return is_new


async def owner_of(context: ApiContext, stream_id: str) -> str:
    """The worker that has the stream, as soon as one has."""
    try:
        async with asyncio.timeout(_OWNER_SECONDS):
            while True:
                view = await context.look()
                lease = view.owner_of(stream_id)
                if lease is not None:
                    return lease.worker_id
                if all(worker.is_draining for worker in view.workers.values()):
                    raise RefusedError("no stream worker is running; try again later", status=503)
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise RefusedError(f"no worker has taken stream {stream_id} yet; try again", status=503) from None


def _refused(exc: RefusedError) -> HTTPException:
    return HTTPException(exc.status, str(exc), headers={"Retry-After": "2"} if exc.status == 503 else None)
