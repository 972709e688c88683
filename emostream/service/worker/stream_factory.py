"""Creates the sources and pipelines of a worker's streams."""

from __future__ import annotations

import itertools
import random
from functools import partial

from emostream.config import Settings
from emostream.decode.backoff import Backoff
from emostream.decode.handed_pictures import HandedPictureSource
from emostream.decode.live_source import LiveSource, StateObserver
from emostream.decode.open_source import open_source
from emostream.decode.source import FrameSource
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.stream import PUSHED, StreamSpec
from emostream.errors import SourceNotHereError
from emostream.pipeline.build import Models, build_pipeline
from emostream.publish.sink import EventSink
from emostream.service.egress.checked_source import CheckedSource, SourceRules
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress
from emostream.service.registry.records import StreamRecord
from emostream.service.senders.waiting import WaitingSenders
from emostream.service.worker.controllable_source import without_sampling
from emostream.service.worker.host import TunablePipeline
from emostream.service.worker.tuning import TunedStages
from emostream.telemetry.tracing import FrameTracer

_RETRY_SECONDS = 0.1  # a sender that was lost may come again at once
_GRACE_SECONDS = 5.0  # the source's own time-outs come first


class WorkerStreamFactory:
    """A `StreamFactory` with sources that the policy allows and the models of this process.

    Args:
        settings: all settings.
        models: detector and classifier; not closed.
        policy: the allowed addresses; checked at each opening, because names may resolve differently by then.
        egress: makes the connections to sources; not closed.
        senders: who sends to streams whose video is not fetched; None lets none in. Not closed.
        tracer: traces some frames; not closed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        models: Models,
        policy: SourcePolicy,
        egress: Egress,
        senders: WaitingSenders | None = None,
        tracer: FrameTracer | None = None,
    ) -> None:
        self._settings = settings
        self._tracer = tracer
        self._senders = senders
        self._models = models
        references = "hls" if settings.service.allow_playlists else "none"
        decode = settings.decode.model_copy(update={"references": references})
        self._rules = SourceRules(decode, policy, egress)

    def source(self, spec: StreamSpec, *, on_state: StateObserver, has_worked: bool) -> FrameSource:
        """See `StreamFactory.source`."""
        if spec.url == PUSHED:
            return self._pushed(spec, on_state=on_state)
        attempts = itertools.count()
        return open_source(
            spec,
            settings=self._rules.settings,
            on_state=on_state,
            is_known_good=has_worked,
            connect=lambda: CheckedSource(
                without_sampling(spec), rules=self._rules, poll_fps=spec.target_fps, attempt=next(attempts)
            ),
        )

    def _pushed(self, spec: StreamSpec, *, on_state: StateObserver) -> FrameSource:
        """A source that waits for senders, one after the other, for ever."""
        decode, senders = self._settings.decode, self._senders

        def connect() -> FrameSource:
            if senders is None:
                raise SourceNotHereError("this worker lets no senders in", is_forbidden=True)
            return HandedPictureSource(
                partial(senders.take, spec.stream_id),
                stream_id=spec.stream_id,
                open_timeout_seconds=decode.open_timeout_seconds,
            )

        return LiveSource(
            connect,
            backoff=Backoff(random.Random(), base_seconds=_RETRY_SECONDS, cap_seconds=_RETRY_SECONDS),  # noqa: S311
            open_stall_seconds=2 * decode.open_timeout_seconds + _GRACE_SECONDS,  # for a sender, and for its picture
            read_stall_seconds=decode.read_timeout_seconds + _GRACE_SECONDS,
            on_state=on_state,
            is_known_good=True,
        )

    def pipeline(self, record: StreamRecord, *, epoch: int, source: FrameSource, sink: EventSink) -> TunablePipeline:
        """See `StreamFactory.pipeline`."""
        tuned = TunedStages(self._settings, detector=self._models.detector, tuning=record.tuning)
        pipeline = build_pipeline(
            record.spec,
            settings=self._settings,
            models=self._models,
            sink=sink,
            epoch=epoch,
            source=source,
            stages=tuned.stages,
            tracer=self._tracer,
        )
        return TunablePipeline(pipeline, tuned.tune)

    def detect(self, luma: Luma) -> list[Face]:
        """See `StreamFactory.detect`."""
        return self._models.detector.detect(luma)
