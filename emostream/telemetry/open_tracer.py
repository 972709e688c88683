"""Opens the tracer of a process from the settings. Imports OpenTelemetry only when frames are traced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from emostream.config import TracingSettings
from emostream.errors import ConfigError
from emostream.telemetry.tracing import FrameTracer


def check_tracing(settings: TracingSettings) -> None:
    """Check that frames can be traced as configured.

    Raises:
        ConfigError: the packages for tracing are not installed.
    """
    if settings.ratio == 0:
        return
    try:
        import emostream.telemetry.otlp  # noqa: F401
    except ImportError as exc:
        raise ConfigError(
            f"tracing.ratio is {settings.ratio:g}, but traces need a package that is not installed ({exc.name}): "
            "pip install 'emostream[tracing]', or set tracing.ratio to 0"
        ) from exc


@contextlib.contextmanager
def open_tracer(settings: TracingSettings, *, instance_id: str) -> Iterator[FrameTracer | None]:
    """Open the tracer; None when `tracing.ratio` is 0. Remaining traces are sent on exit.

    Args:
        settings: sampling ratio and endpoint.
        instance_id: identifies this process among those of the service.

    Raises:
        ConfigError: the packages for tracing are not installed.
    """
    check_tracing(settings)
    if settings.ratio == 0:
        yield None
        return
    from emostream.telemetry.otlp import OtlpExporter

    exporter = OtlpExporter(endpoint=settings.endpoint, instance_id=instance_id)
    try:
        yield FrameTracer(exporter, settings.ratio)
    finally:
        exporter.close()
