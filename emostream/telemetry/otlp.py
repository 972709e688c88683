"""Exports traces by OTLP over HTTP. The only user of the OpenTelemetry packages (extra `tracing`)."""

from __future__ import annotations

import logging
import threading
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from emostream.telemetry.tracing import Span

logger = logging.getLogger(__name__)

_TRACES_PATH = "/v1/traces"


class _GivenTraceIds(IdGenerator):
    """Uses the trace id that was set last; span ids are random."""

    def __init__(self) -> None:
        self.next_trace_id = 0
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return self.next_trace_id


class OtlpExporter:
    """A `SpanExporter`: spans are queued (bounded) and sent in batches by a thread.

    OpenTelemetry's environment variables apply: `OTEL_EXPORTER_OTLP_*` to the receiver, `OTEL_SERVICE_NAME` and
    `OTEL_RESOURCE_ATTRIBUTES` to the resource, `OTEL_BSP_*` to the queue, and `OTEL_SDK_DISABLED`. Sampling is done by
    `FrameTracer`.

    Args:
        endpoint: base URL of the receiver; None uses the environment, else `http://localhost:4318`.
        instance_id: identifies this process among those of the service.
        close_seconds: an unavailable receiver delays the end of a worker for at most about this time.
    """

    def __init__(self, *, endpoint: str | None, instance_id: str, close_seconds: float = 5.0) -> None:
        self._close_seconds = close_seconds
        own = {SERVICE_NAME: "emostream", SERVICE_VERSION: version("emostream"), SERVICE_INSTANCE_ID: instance_id}
        # The environment takes precedence.
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        self._ids = _GivenTraceIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        url = None if endpoint is None else endpoint.rstrip("/") + _TRACES_PATH
        self._sender = OTLPSpanExporter(endpoint=url)
        self._provider.add_span_processor(BatchSpanProcessor(self._sender))
        self._tracer = self._provider.get_tracer("emostream", version("emostream"))
        self._lock = threading.Lock()

    def export(self, trace_id: int, root: Span) -> None:
        """See `SpanExporter.export`."""
        with self._lock:
            self._ids.next_trace_id = trace_id
            self._write(root, Context())

    def _write(self, span: Span, context: Context) -> None:
        made = self._tracer.start_span(span.name, context, start_time=span.started_ns, attributes=span.attributes)
        within = set_span_in_context(made, context)
        for child in span.children:
            self._write(child, within)
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(span.ended_ns)

    def close(self) -> None:
        """See `SpanExporter.close`."""
        closing = threading.Thread(target=self._provider.shutdown, name="emostream-traces", daemon=True)
        closing.start()
        closing.join(self._close_seconds)
        if closing.is_alive():
            logger.warning("the remaining traces could not be sent within %g s", self._close_seconds)
            self._sender.shutdown()  # type: ignore[no-untyped-call]  # stops retrying
            closing.join(1.0)
