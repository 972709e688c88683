"""The report of an analysis: an HTML page, with the events as tables beside it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from emostream.analysis.run import Tell
from emostream.analysis.tables import EventTables
from emostream.config import Settings
from emostream.decode.source import FrameSource, SourceInfo
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.domain.frame import Frame
from emostream.domain.model_manifest import ModelManifest, load_manifest, sha256_of
from emostream.domain.redact import redact, shown_address
from emostream.domain.stream import StreamSpec
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, EmostreamError
from emostream.files import write_whole
from emostream.pipeline.pipeline import EventObserver
from emostream.render.report.report import Facts, Recording, RunRecord, report_page
from emostream.render.thumbnail import face_jpeg
from emostream.vision.classify.engines import model_path
from emostream.vision.models.store import ModelStore


class ReportPictures(StrEnum):
    """How the report shows faces."""

    SHOWN = "shown"
    BLURRED = "blurred"
    NONE = "none"


class AnalysisReport:
    """Writes `NAME.html`, `NAME.csv` and, where pyarrow is installed, `NAME.parquet`; with voice, `NAME-voice.csv`.

    The files get their names only when they are complete.

    Args:
        path: path of the page; ends with .html.
        pictures: how the page shows faces.
        tell: called with a message about what was written.

    Raises:
        ConfigError: the file name has another ending, or a file cannot be written.
    """

    def __init__(
        self, path: Path, *, pictures: ReportPictures = ReportPictures.SHOWN, tell: Tell | None = None
    ) -> None:
        if path.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"cannot write report {path}: expected a name ending in .html")
        self.path = path
        self._pictures = pictures
        self._tell = tell

    @contextlib.contextmanager
    def observing(self, spec: StreamSpec, source: FrameSource, *, settings: Settings) -> Iterator[EventObserver]:
        """Observe frames and events; the report is written when the run ends, also when it fails."""
        picture_of = partial(_picture_of, is_blurred=self._pictures is ReportPictures.BLURRED)
        recording = Recording(None if self._pictures is ReportPictures.NONE else picture_of)
        labels = load_manifest(model_path(settings.classify)).labels
        tables = EventTables(table_paths(self.path, tell=self._tell), labels=labels)
        problem = ""
        try:
            yield _Recorder(recording, tables)
        except EmostreamError as exc:
            problem = str(exc)
            raise
        except asyncio.CancelledError:
            problem = "interrupted"
            raise
        finally:
            files, voice_files = tables.close(is_kept=recording.summary.num_events > 0)
            if files:
                self._write(recording, files, voice_files, spec, source, settings=settings, problem=problem)

    def _write(
        self,
        recording: Recording,
        files: Sequence[Path],
        voice_files: Sequence[Path],
        spec: StreamSpec,
        source: FrameSource,
        *,
        settings: Settings,
        problem: str,
    ) -> None:
        manifest = load_manifest(model_path(settings.classify))
        record = RunRecord(
            source_name=_given_name(spec.url),
            created_at=datetime.now(UTC),
            labels=manifest.labels,
            recording=recording,
            num_corrupt=source.stats.num_corrupt,
            problem=_without_folder(redact(problem), spec.url),
            source_facts=_source_facts(spec, source),
            model_facts=_model_facts(manifest, settings),
            settings_facts=_settings_facts(spec, settings),
            files=[path.name for path in files],
            voice_files=[path.name for path in voice_files],
        )
        write_page(report_page(record), self.path)
        if self._tell is not None:
            self._tell(f"report: {', '.join(str(path) for path in (self.path, *files, *voice_files))}")


class _Recorder:
    """Takes the events of a run."""

    def __init__(self, recording: Recording, tables: EventTables) -> None:
        self._recording = recording
        self._tables = tables

    def __call__(self, frame: Frame, event: EmotionEvent) -> None:
        self._recording.add(frame, event)
        self._tables.add(event)

    def heard(self, event: VoiceEvent) -> None:
        self._recording.heard(event)
        self._tables.hear(event)


def _picture_of(frame: Frame, event: EmotionEvent, face: FaceEmotion, *, is_blurred: bool) -> bytes:
    x, y = frame.width / event.frame_width, frame.height / event.frame_height
    return face_jpeg(frame.rgb(), replace(face, face=face.face.scaled(x, y)), is_blurred=is_blurred)


def table_paths(page: Path, *, tell: Tell | None = None) -> list[Path]:
    """Paths of the tables beside a report."""
    suffixes = [".csv"]
    if importlib.util.find_spec("pyarrow") is not None:
        suffixes.append(".parquet")
    elif tell is not None:
        tell("no Parquet file is written; install it with: pip install 'emostream[export]'")
    return [page.with_suffix(suffix) for suffix in suffixes]


def write_page(content: str, path: Path) -> None:
    """Write the page atomically. Raises `ConfigError` when it cannot be written."""
    try:
        write_whole(path, content.encode("utf-8", "replace"))
    except OSError as exc:
        raise ConfigError(f"cannot write report {path}: {exc.strerror}; choose a file in a writable folder") from exc


def _source_facts(spec: StreamSpec, source: FrameSource) -> Facts:
    info = source.info
    facts = [("name", _given_name(spec.url))]
    path = _local_path(spec.url)
    with contextlib.suppress(OSError, ValueError):  # the file was removed meanwhile
        if path is not None:
            facts += [("size", f"{path.stat().st_size:,} bytes"), ("SHA-256", sha256_of(path))]
    facts += [
        ("pictures", f"{info.width}×{info.height} pixels{_shape_of_pixels(info)}, {info.codec}"),
        ("declared rate", "unknown" if info.declared_fps is None else f"{info.declared_fps:.2f} frames per second"),
        ("sound", "yes" if info.has_audio else "no"),
        ("decoded", f"{source.stats.num_decoded:,} frames with {info.decoder}"),
    ]
    return facts


def _shape_of_pixels(info: SourceInfo) -> str:
    return "" if info.pixel_aspect == 1 else f", {info.pixel_aspect:.3g} times as wide as high"


def _model_facts(manifest: ModelManifest, settings: Settings) -> Facts:
    facts = [
        ("classifier", f"{manifest.name} {manifest.version} ({manifest.architecture}, {manifest.precision})"),
        ("classifier SHA-256", manifest.sha256),
        ("trained on", manifest.training_data),
        ("detector", settings.detect.kind),
    ]
    if settings.detect.path is None:
        with contextlib.suppress(EmostreamError):  # a plugin's detector is not in the lock file
            facts.append(("detector SHA-256", ModelStore(settings.models).entry(settings.detect.kind).sha256))
    return [*facts, ("emostream", version("emostream"))]


def _settings_facts(spec: StreamSpec, settings: Settings) -> Facts:
    """The sampling, and all settings that affect the results."""
    sampling = [("every", str(spec.every))]
    if spec.target_fps is not None:
        sampling.append(("fps", f"{spec.target_fps:g}"))
    if spec.keyframes:
        sampling.append(("keyframes", "true"))
    if spec.pixel_aspect is not None:
        sampling.append(("pixel_aspect", f"{spec.pixel_aspect:g}"))
    if spec.max_frames is not None:
        sampling.append(("max_frames", str(spec.max_frames)))
    sections: dict[str, Any] = {"detect": settings.detect, "track": settings.track, "classify": settings.classify}
    return [
        *sampling,
        *(
            (f"{name}.{field}", value.name if isinstance(value, Path) else str(value))
            for name, section in sections.items()
            for field, value in section
        ),
    ]


def _local_path(url: str) -> Path | None:
    """The local file of a source; None when it is not a file."""
    if url.lower().startswith("file://"):
        return Path(url[len("file://") :])
    return None if "://" in url else Path(url)


def _given_name(url: str) -> str:
    """The source's name in a report, which may be passed on: without its folder on this machine."""
    path = _local_path(url)
    return shown_address(url) if path is None else path.name


def _without_folder(text: str, url: str) -> str:
    """Remove the source's folder from a text."""
    path = _local_path(url)
    if path is not None:
        for folder in (path.parent, path.absolute().parent, path.resolve().parent):
            text = text.replace(f"{folder}{os.sep}", "") if folder.name else text
    return text
