"""The flow from a source to events; `pipeline.py` describes it."""

from emostream.pipeline.pipeline import MAX_CHUNK_FRAMES, EventObserver, Pipeline, PipelineStats

__all__ = ["MAX_CHUNK_FRAMES", "EventObserver", "Pipeline", "PipelineStats"]
