"""The annotated video of an analysis: its frames with the events drawn on them."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from emostream.analysis.run import Tell
from emostream.config import DecodeSettings, Settings
from emostream.decode.sound import SoundReader
from emostream.decode.source import FrameSource, SourceInfo
from emostream.domain.address import file_path
from emostream.domain.event import EmotionEvent
from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Frame, Luma
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import ConfigError, SourceError
from emostream.files import check_is_not_source
from emostream.pipeline.build import load_keen_detector
from emostream.pipeline.pipeline import EventObserver
from emostream.render.overlay import Overlay
from emostream.render.overlay_style import OverlayStyle
from emostream.render.preview import blur_boxes
from emostream.render.video_writer import VideoWriter
from emostream.vision.track.covers import CoveredFrame, FaceCovers


class AnnotatedVideo:
    """Writes the frames of a run as a video with the events drawn on them.

    Args:
        path: output file.
        style: what is drawn.
        is_blurred: blur faces. A more sensitive detector than the pipeline's searches every frame, and frames are
            delayed by half a second, so that a face found late is covered from its first frame on.
        encoder: see `VideoWriter`.
        tell: called with a message about what was written, with which encoder, and whether it has sound.

    Raises:
        ConfigError: the file cannot be written, or is the source.
    """

    def __init__(
        self,
        path: Path,
        *,
        style: OverlayStyle = OverlayStyle.BARS,
        is_blurred: bool = False,
        encoder: str = "auto",
        tell: Tell | None = None,
    ) -> None:
        self.path = path
        self._style = style
        self._is_blurred = is_blurred
        self._encoder = encoder
        self._tell = tell or _ignore

    @contextlib.contextmanager
    def observing(self, spec: StreamSpec, source: FrameSource, *, settings: Settings) -> Iterator[EventObserver]:
        """Observe frames and events; the file is complete on exit."""
        check_is_not_source(self.path, file_path(spec.url) or spec.url, what="the annotated video")
        writer = VideoWriter(self.path, encoder=self._encoder)
        overlay = Overlay(self._style)
        with contextlib.ExitStack() as stack:
            # Closed in reverse order: the writer reads the sound to its end, and an early end is reported as well.
            stack.callback(self._tell_what_was_written, writer, source)
            sounds = stack.enter_context(contextlib.ExitStack())
            stack.enter_context(writer)

            def write(frame: Frame, event: EmotionEvent, covered: Sequence[BoxXyxy] = ()) -> None:
                if writer.encoder is None:
                    info = source.info
                    sound = _open_sound(spec, info, settings=settings.decode, tell=self._tell)
                    writer.follow_source(
                        declared_fps=info.declared_fps,
                        sound=None if sound is None else sounds.enter_context(sound),
                    )
                picture = frame.rgb()
                if covered:
                    picture = blur_boxes(picture, covered)
                shown = event.scaled_to(width=frame.width, height=frame.height)
                writer.write(overlay.draw(picture, shown), pts_seconds=frame.pts_seconds)

            if self._is_blurred:
                yield stack.enter_context(_covering(write, detect=load_keen_detector(settings).detect))
            else:
                yield write

    def _tell_what_was_written(self, writer: VideoWriter, source: FrameSource) -> None:
        encoder = writer.encoder
        if encoder is None or not self.path.exists():
            return
        if encoder.is_fallback:
            self._tell(f"encoder {self._encoder} does not work on this machine; used {encoder.name} instead")
        sound = f"; sound {writer.sound_description or 'left out'}" if source.info.has_audio else ""
        self._tell(f"annotated video: {self.path} ({encoder.name}{sound})")


@contextlib.contextmanager
def _covering(
    write: Callable[[Frame, EmotionEvent, Sequence[BoxXyxy]], None], *, detect: Callable[[Luma], list[Face]]
) -> Iterator[EventObserver]:
    """Write each frame half a second later, with its covers; the remaining ones at the end."""
    covers = FaceCovers()
    events: deque[EmotionEvent] = deque()

    def write_ready(ready: Sequence[CoveredFrame]) -> None:
        for covered in ready:
            event = events.popleft()
            # The event's faces as well: optical flow may have kept one that the search missed.
            shown = event.scaled_to(width=covered.frame.width, height=covered.frame.height)
            followed = (item.face.box_xyxy for item in shown.faces)
            write(covered.frame, event, (*covered.boxes, *followed))

    def observe(frame: Frame, event: EmotionEvent) -> None:
        events.append(event)
        write_ready(covers.add(frame, detect(frame.luma)))

    try:
        yield observe
    except ConfigError:
        raise  # the video cannot be written any more
    except BaseException:
        write_ready(covers.finish())  # keep the frames before an error of the source
        raise
    else:
        write_ready(covers.finish())


def _open_sound(spec: StreamSpec, info: SourceInfo, *, settings: DecodeSettings, tell: Tell) -> SoundReader | None:
    """The sound of a file; None for live sources, which cannot be read a second time."""
    if not info.has_audio:
        return None
    if spec.kind is StreamKind.LIVE:
        tell("the annotated video has no sound: sound of live sources is not recorded")
        return None
    try:
        return SoundReader(spec.url, settings=settings, zero_seconds=info.zero_seconds or 0.0)
    except SourceError as exc:
        tell(f"the annotated video has no sound: {exc}")
        return None


def _ignore(line: str) -> None:
    """Nothing is shown."""
