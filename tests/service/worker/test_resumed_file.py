"""A file that goes on after an interruption publishes what the run without one publishes: frames, faces, emotions.

With the real detector and emotion model on a clip of real people.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from emostream.config import load_settings
from emostream.decode.resuming import ResumePoint
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.pipeline.build import Models, load_models
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress
from emostream.service.registry.records import StreamRecord
from emostream.service.worker.host import Ended, Outcome, StreamHost
from emostream.service.worker.stream_factory import WorkerStreamFactory
from emostream.testing.fakes import CollectingSink
from emostream.vision.geometry.boxes import iou_matrix
from tests.service.worker.test_host import until
from tests.vision.detect.real_model import centerface_path

# 8 s of real models on two cores.
pytestmark = [pytest.mark.integration, pytest.mark.slow]

NUM_FRAMES, FPS = 340, 25


@pytest.fixture
def clip(shared_videos: Path, tmp_path: Path) -> Path:
    """Two scenes with a key frame every two seconds; at the cut, one keeps faces that the other ends."""
    path, number = tmp_path / "people.mp4", 0
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 480, 270, "yuv420p"
        stream.codec_context.gop_size = 2 * FPS
        for name in ("three-people-480x270.mp4", "two-people-head-pose-480x270.mp4"):
            with av.open(str(shared_videos / name)) as source:
                for frame in source.decode(video=0):
                    if number < NUM_FRAMES:
                        shown = frame.reformat(480, 270, "yuv420p")
                        shown.pts, shown.time_base, number = number, Fraction(1, FPS), number + 1
                        target.mux(stream.encode(shown))
        target.mux(stream.encode())
    return path


async def published(
    clip: Path, models: Models, *, after: ResumePoint | None = None, every: int = 1
) -> tuple[list[EmotionEvent], Ended]:
    settings = load_settings(service={"media_root": clip.parent})
    policy, sink = SourcePolicy(settings.service), CollectingSink()
    with Egress(policy) as egress:
        parts = WorkerStreamFactory(settings, models=models, policy=policy, egress=egress)
        host = StreamHost(parts, sink=sink, worker_id="w1")
        host.start(
            StreamRecord(StreamSpec("clip", f"file://{clip}", StreamKind.FILE, every=every)), epoch=1, after=after
        )
        ended: dict[str, Ended] = {}
        await until(lambda: bool(ended.update(host.take_ended()) or ended), timeout_seconds=300)
    return sink.events, ended["clip"]


def shown(events: Sequence[EmotionEvent]) -> list[tuple[int, float, int]]:
    return [(event.frame_index, event.pts_seconds, len(event.faces)) for event in events]


@pytest.mark.parametrize("every", [1, 3])
async def test_nothing_differs_after_an_interruption(clip: Path, every: int) -> None:
    centerface_path()
    models = load_models(load_settings())
    try:
        whole, _ = await published(clip, models, every=every)
        assert sum(len(event.faces) for event in whole) > 600 / every
        for at in (150, 240):
            known = next(event for event in whole if event.frame_index >= at)
            after = ResumePoint(known.frame_index, round(known.pts_seconds, 6))
            rest, ended = await published(clip, models, after=after, every=every)
            expected = [event for event in whole if event.frame_index > known.frame_index]
            assert ended.outcome is Outcome.ENDED
            assert ended.report.num_frames == len(expected)
            assert shown(rest) == shown(expected)
            num_different = 0
            for event, same in zip(rest, expected, strict=True):
                if same.faces:
                    overlap = iou_matrix(
                        np.array([face.face.box_xyxy for face in event.faces]),
                        np.array([face.face.box_xyxy for face in same.faces]),
                    )
                    assert (overlap.max(axis=0) > 0.6).all()  # searched a frame earlier or later
                    matched = [event.faces[index].dominant for index in overlap.argmax(axis=0)]
                    pairs = zip(matched, same.faces, strict=True)
                    num_different += sum(dominant != face.dominant for dominant, face in pairs)
            assert num_different <= 0.01 * sum(len(event.faces) for event in expected)
    finally:
        models.close()
