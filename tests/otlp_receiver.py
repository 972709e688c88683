"""A receiver of OpenTelemetry's traces over HTTP: a real server that decodes the real messages."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class OtlpReceiver:
    """What arrived.

    Attributes:
        url: for the exporter.
        spans: in the order of their arrival.
        resources: attributes of the processes that sent them.
    """

    url: str
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    def roots(self) -> list[Span]:
        """The spans that are a frame's whole way."""
        return [span for span in self.spans if not span.parent_span_id]

    def children_of(self, parent: Span) -> dict[str, Span]:
        """Name → span, of those below it."""
        return {span.name: span for span in self.spans if span.parent_span_id == parent.span_id}


def attributes_of(carrier: Any) -> dict[str, Any]:
    """Name → value, of a span or a resource."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in carrier.attributes}


@contextlib.contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """A receiver on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
                receiver.resources.append(attributes_of(sent.resource))
                for scope in sent.scope_spans:
                    receiver.spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
