"""The main job for Python programs: `emostream.analyze` and `emostream.classify`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, TypeVar, overload

from emostream.analysis.events import Analysis, Delivery, deliver_all
from emostream.analysis.faces import Picture, PictureFaces, faces_of, opened_picture
from emostream.analysis.run import RunObserver
from emostream.analysis.sources import Source, list_sources, specs_of
from emostream.config import Settings, load_settings
from emostream.decode.array_source import ColourOrder
from emostream.domain.event import EmotionEvent
from emostream.domain.model_manifest import load_manifest
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import ConfigError
from emostream.pipeline.build import Models, load_models
from emostream.publish.loop_thread import LoopThread, call_before_exit
from emostream.vision.classify.engines import model_path

T = TypeVar("T")

Config: TypeAlias = Settings | Mapping[str, Any] | str | os.PathLike[str] | None
"""Settings, a mapping of some (`{"detect": {"min_face_pixels": 40}}`), or a YAML file. None: the environment's."""


class Analyzer:
    """Models and settings, kept for several analyses. Thread-safe; a context manager that frees the models.

        with emostream.Analyzer({"detect": {"min_face_pixels": 24}}) as analyzer:
            for event in analyzer.analyze("clip.mp4"):
                ...

    The models are loaded when they are first used. All work runs in threads of the analyzer, so calls without `await`
    work in a notebook, whose own event loop is running.

    Args:
        config: settings, a mapping of some, or a YAML file; None takes those of the environment and the defaults.

    Raises:
        ConfigError: a setting is unknown or does not fit.
    """

    def __init__(self, config: Config = None) -> None:
        self.settings = settings_of(config)
        self._loop = LoopThread("emostream-analyzer")
        self._lock = threading.Lock()
        self._models: Models | None = None
        self._is_closed = False

    def analyze(
        self,
        source: Source | Iterable[Source],
        *,
        every: int = 1,
        fps: float | None = None,
        keyframes: bool = False,
        max_frames: int | None = None,
        stream_id: str | None = None,
        kind: Literal["live", "file"] | None = None,
        track: int | None = None,
        pixel_aspect: float | str | None = None,
    ) -> Analysis:
        """The events of a video, several, or cameras, one for each frame; nothing runs before it is asked for.

        Args:
            source: path, folder, pattern (`"clips/*.mp4"`), URL (`rtsp://…`, `https://…`), number of a camera, or
                several of them. Files are read one after another, live sources at the same time.
            every: process every Nth frame.
            fps: process at most this many frames per second.
            keyframes: process the key frames of files only, for a quick preview; not together with `every`.
            max_frames: stop each source after this many processed frames.
            stream_id: what events call the source; by default made of its name.
            kind: "live" keeps up with time and reconnects, "file" reads to the end; by default by the address.
            track: which of several videos in the source, by its number; by default the one that players show.
            pixel_aspect: width of a pixel over its height (2, "64:45"); by default what the source says.

        Returns:
            An iterable of events, which can also be written or summed up at once.

        Raises:
            ConfigError: it is no source, or a number is out of range.
            SourceRejectedError: there is no video in the folder, or of that pattern.
        """
        if kind not in (None, *StreamKind):
            raise ConfigError(f"expected the kind 'live' or 'file', got {kind!r}")
        specs = specs_of(
            list_sources(source),
            stream_id=stream_id,
            kind=None if kind is None else StreamKind(kind),
            every=every,
            target_fps=fps,
            keyframes=keyframes,
            max_frames=max_frames,
            track=track,
            pixel_aspect=pixel_aspect,
        )
        return Analysis(specs, start=self._start, labels_of_model=lambda: self.labels, has_voice=self.settings.voice)

    def analyze_async(self, source: Source | Iterable[Source], **options: Any) -> AsyncIterator[EmotionEvent]:
        """The same for `async for`, in any event loop of asyncio; arguments and errors as for `analyze`."""
        return aiter(self.analyze(source, **options))

    @overload
    def classify(self, picture: Picture, *, whole: bool = False, order: ColourOrder = "rgb") -> PictureFaces: ...

    @overload
    def classify(
        self, picture: list[Picture], *, whole: bool = False, order: ColourOrder = "rgb"
    ) -> list[PictureFaces]: ...

    def classify(
        self, picture: Picture | list[Picture], *, whole: bool = False, order: ColourOrder = "rgb"
    ) -> PictureFaces | list[PictureFaces]:
        """The faces of a picture, from left to right; of several pictures, a list of such faces.

        Args:
            picture: path, URL, content of a file (bytes), Pillow image, or NumPy array (uint8; gray H×W, or H×W×3).
            whole: the picture is one cropped face, framed as in training data: none is searched for.
            order: of the colours of arrays: "rgb", or "bgr" as OpenCV has them.

        Raises:
            SourceError: a picture cannot be read.
            ConfigError: the list is empty, or it is no picture.
        """
        if not isinstance(picture, list):
            return self._classify_one(picture, whole=whole, order=order)
        if not picture:
            raise ConfigError("there is no picture: expected at least one, got an empty list")
        return [self._classify_one(each, whole=whole, order=order) for each in picture]

    def close(self) -> None:
        """End what runs and free the models. May be called again."""
        self._is_closed = True
        self._loop.close()
        with self._lock:
            models, self._models = self._models, None
        if models is not None:
            models.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "models loaded" if self._models is not None else "no model loaded yet"
        return f"Analyzer({state})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions of the model, in its order; raises `ModelError`."""
        return load_manifest(model_path(self.settings.classify)).labels

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine in the loop of the analyzer; the future is cancelled once the analyzer is closed."""
        return self._loop.submit(coroutine)

    def loaded(self) -> Models:
        """The models, which the first call loads. Raises `ModelError`."""
        with self._lock:
            if self._models is None:
                self._models = load_models(self.settings)
            return self._models

    def _start(self, specs: list[StreamSpec], observers: list[RunObserver]) -> Delivery:
        self._check_open()
        delivery = Delivery(self._loop)
        delivery.begin(deliver_all(specs, delivery, load=self.loaded, settings=self.settings, observers=observers))
        return delivery

    def _classify_one(self, picture: Picture, *, whole: bool, order: ColourOrder) -> PictureFaces:
        self._check_open()
        opening = opened_picture(picture, settings=self.settings.decode, order=order)

        async def run() -> PictureFaces:
            models = await asyncio.to_thread(self.loaded)
            return await faces_of(opening, settings=self.settings, models=models, is_whole_face=whole)

        return self._loop.submit(run()).result()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConfigError("this Analyzer is closed: make a new one")


def settings_of(config: Config) -> Settings:
    """The effective settings.

    Raises:
        ConfigError: as `load_settings`.
    """
    if isinstance(config, Settings):
        return config
    if config is None or isinstance(config, str | os.PathLike):
        return load_settings(config_file=None if config is None else Path(config))
    if isinstance(config, Mapping):
        return load_settings(**{str(name): value for name, value in config.items()})
    raise ConfigError(f"expected settings, a mapping or the path of a YAML file, got {type(config).__name__}")


# --- one analyzer per settings, for the functions of the package -----------------------------------------------------

_LOCK = threading.Lock()
_ANALYZERS: list[Analyzer] = []


def _close_all() -> None:
    with _LOCK:
        analyzers = _ANALYZERS[:]
        _ANALYZERS.clear()
    for analyzer in analyzers:
        analyzer.close()


def analyzer_for(config: Config) -> Analyzer:
    """The analyzer of these settings in this process, made when it is first asked for."""
    settings = settings_of(config)
    with _LOCK:
        for analyzer in _ANALYZERS:
            if analyzer.settings == settings:
                return analyzer
        if not _ANALYZERS:
            call_before_exit(_close_all)
        _ANALYZERS.append(Analyzer(settings))
        return _ANALYZERS[-1]


def analyze(
    source: Source | Iterable[Source],
    *,
    every: int = 1,
    fps: float | None = None,
    keyframes: bool = False,
    max_frames: int | None = None,
    stream_id: str | None = None,
    kind: Literal["live", "file"] | None = None,
    track: int | None = None,
    pixel_aspect: float | str | None = None,
    config: Config = None,
) -> Analysis:
    """`Analyzer.analyze` with the models of these settings, which this process loads once.

        for event in emostream.analyze("clip.mp4"):
            for face in event.faces:
                print(event.pts_seconds, face.track_id, face.dominant, face.confidence)

    Arguments and errors are those of `Analyzer.analyze`; `config` is that of `Analyzer`.
    """
    return analyzer_for(config).analyze(
        source,
        every=every,
        fps=fps,
        keyframes=keyframes,
        max_frames=max_frames,
        stream_id=stream_id,
        kind=kind,
        track=track,
        pixel_aspect=pixel_aspect,
    )


def analyze_async(
    source: Source | Iterable[Source],
    *,
    every: int = 1,
    fps: float | None = None,
    keyframes: bool = False,
    max_frames: int | None = None,
    stream_id: str | None = None,
    kind: Literal["live", "file"] | None = None,
    track: int | None = None,
    pixel_aspect: float | str | None = None,
    config: Config = None,
) -> AsyncIterator[EmotionEvent]:
    """`analyze` for `async for`, with the same arguments and errors."""
    return aiter(
        analyze(
            source,
            every=every,
            fps=fps,
            keyframes=keyframes,
            max_frames=max_frames,
            stream_id=stream_id,
            kind=kind,
            track=track,
            pixel_aspect=pixel_aspect,
            config=config,
        )
    )


@overload
def classify(
    picture: Picture, *, whole: bool = False, order: ColourOrder = "rgb", config: Config = None
) -> PictureFaces: ...


@overload
def classify(
    picture: list[Picture], *, whole: bool = False, order: ColourOrder = "rgb", config: Config = None
) -> list[PictureFaces]: ...


def classify(
    picture: Picture | list[Picture], *, whole: bool = False, order: ColourOrder = "rgb", config: Config = None
) -> PictureFaces | list[PictureFaces]:
    """`Analyzer.classify` with the models of these settings, which this process loads once.

        for face in emostream.classify("photo.jpg"):
            print(face.dominant, face.probabilities["happy"])

    Arguments and errors are those of `Analyzer.classify`; `config` is that of `Analyzer`.
    """
    return analyzer_for(config).classify(picture, whole=whole, order=order)
