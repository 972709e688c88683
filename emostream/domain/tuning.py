"""What a stream does otherwise than the settings say: the one list of per-stream settings.

HTTP requests and answers (`wire/http_models.py`) and records of the registry (`service/registry/records.py`) hold these
fields; `service/worker/tuning.py` applies them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Tuning(BaseModel):
    """Per-stream settings; null takes the value of the service's settings. They can be changed while a stream runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    smoothing_seconds: float | None = Field(None, ge=0, le=60)
    """Time constant of the smoothed probabilities in seconds; 0 turns smoothing off."""
    hold_seconds: float | None = Field(None, ge=0, le=60)
    """Seconds for which a dominant emotion is kept at least."""
    switch_margin: float | None = Field(None, ge=0, le=1)
    """Lead in probability with which another emotion becomes dominant at once."""
    min_score: float | None = Field(None, ge=0, le=1)
    """Discard faces detected with less confidence. Below `detect.min_score` it has no effect."""
    min_face_pixels: float | None = Field(None, ge=0, le=10_000)
    """Discard faces lower than this, in pixels of the frame. Below `detect.min_face_pixels` it has no effect."""
