"""`emostream demo`: runs a video through the pipeline and reads its events back from Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.progress import Progress

from emostream.analysis.annotated_video import AnnotatedVideo
from emostream.analysis.run import run_analysis
from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.cli.options import ConfigOption, OldOutputOption, RedisOption, screen, settings_for_command, tell
from emostream.cli.tables import as_markup, event_line, summary_table
from emostream.config import Settings
from emostream.domain.event import StatusEvent
from emostream.domain.redact import shown_address
from emostream.domain.stream import StreamSpec, stream_id_from_url, stream_kind_of
from emostream.domain.summary import StreamSummary
from emostream.pipeline.build import loaded_models, new_epoch
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import events_key

_DEMO_FRAMES = 200
_PRINT_EVERY_EVENTS = 25  # without a terminal, a line per event would be too much


def demo(
    *,
    source: Annotated[
        str | None,
        typer.Option(help="Video to analyse; by default a clip of real faces is generated.", metavar="SOURCE"),
    ] = None,
    redis: RedisOption = None,
    folder: Annotated[
        Path, typer.Option(help="Folder for the clip, the annotated video and the server's data.", metavar="FOLDER")
    ] = Path("demo-output"),
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.", metavar="N")] = None,
    config: ConfigOption = None,
    output: OldOutputOption = None,
) -> None:
    """Analyse a demo clip, show its events as they arrive, and write an annotated video.

    Events go through a Redis server that is started for the demo, unless --redis names one.
    """
    settings = settings_for_command(config, redis=redis)
    folder = output or folder
    with contextlib.suppress(FileExistsError):  # if it is a file, writing into it reports the error
        folder.mkdir(parents=True, exist_ok=True)
    if source is None:
        source = str(_make_clip(folder / "clip.mp4"))
    spec = StreamSpec(stream_id_from_url(source), source, kind=stream_kind_of(source), max_frames=max_frames)
    annotated = folder / f"{spec.stream_id}-annotated.mp4"
    with _redis_url(settings, data_dir=folder / "redis") as redis_url:
        summary = asyncio.run(_analyse_and_read_back(spec, settings=settings, redis_url=redis_url, annotated=annotated))
    _print_closing(
        summary, spec=spec, annotated=annotated, folder=folder, is_embedded=settings.publish.redis_url is None
    )


def _make_clip(path: Path) -> Path:
    with Progress(console=screen, transient=True) as progress:
        bar = progress.add_task("generating a clip of two public-domain portraits", total=_DEMO_FRAMES)
        make_demo_clip(path, num_frames=_DEMO_FRAMES, on_frame=lambda: progress.advance(bar))
    _tell(f"clip of moving real faces: {path}")
    return path


@contextlib.contextmanager
def _redis_url(settings: Settings, *, data_dir: Path) -> Iterator[str]:
    """URL of the configured server, or of an embedded one that runs as long as the demo."""
    if settings.publish.redis_url is not None:
        yield settings.publish.redis_url.get_secret_value()
        return
    with EmbeddedRedis(data_dir=data_dir, max_memory_bytes=settings.publish.embedded_max_memory_bytes) as server:
        _tell(f"embedded Redis-compatible server: {shown_address(server.url)}, data in {data_dir}")
        yield server.url


async def _analyse_and_read_back(
    spec: StreamSpec, *, settings: Settings, redis_url: str, annotated: Path
) -> StreamSummary:
    """Publish to Redis while a reader follows the event stream. Returns a summary of what was read."""
    epoch = new_epoch()
    sink = RedisSink(settings.publish, redis_url=redis_url)
    await sink.check()
    reading = asyncio.create_task(_read_back(spec, settings=settings, redis_url=redis_url, epoch=epoch))
    try:
        with loaded_models(settings) as models:
            await run_analysis(
                spec,
                settings=settings,
                models=models,
                sink=sink,
                epoch=epoch,
                observers=[AnnotatedVideo(annotated)],
                tell=tell,
            )
        return await reading
    finally:
        reading.cancel()
        await sink.close()


async def _read_back(spec: StreamSpec, *, settings: Settings, redis_url: str, epoch: int) -> StreamSummary:
    """Read this run's events from Redis to the last one, and show them."""
    summary = StreamSummary()
    num_expected: int | None = None
    reader = RedisReader(
        settings.publish, redis_url=redis_url, stream_ids=[spec.stream_id], start="start", with_status=True
    )
    async with reader:
        with _showing() as show:
            async for entry in reader:
                event = entry.event
                if event.epoch != epoch or event.stream_id != spec.stream_id:
                    continue  # of an earlier demo in the same folder
                if isinstance(event, StatusEvent):
                    num_expected = event.num_events if event.state.is_final else None
                else:
                    summary.add(event)
                    show(summary)
                if summary.num_events == num_expected:
                    break
    return summary


@contextlib.contextmanager
def _showing() -> Iterator[Callable[[StreamSummary], None]]:
    """A live table on a terminal; otherwise an occasional line."""
    if not screen.is_terminal:

        def print_line(summary: StreamSummary) -> None:
            if summary.last_event is not None and summary.num_events % _PRINT_EVERY_EVENTS == 1:
                screen.print(event_line(summary.last_event))

        yield print_line
        return
    with Live(console=screen, transient=True, refresh_per_second=8) as live:
        yield lambda summary: live.update(summary_table(summary, title=f"{summary.num_events} events from Redis"))


def _print_closing(
    summary: StreamSummary, *, spec: StreamSpec, annotated: Path, folder: Path, is_embedded: bool
) -> None:
    screen.print(summary_table(summary, title=f"read back from Redis: {summary.num_events} events of {spec.stream_id}"))
    _tell(f"{summary.num_events} events with {summary.num_faces} faces at {events_key(spec.stream_id)}")
    _tell(f"annotated video: {annotated}")
    if is_embedded:
        screen.print(f"The server was stopped; its data is kept in {folder / 'redis'} for the next demo.", markup=False)
    screen.print("To use your own video: [bold]emostream demo --source my-video.mp4[/]")


def _tell(done: str) -> None:
    screen.print(f"[green]✓[/] {as_markup(done)}")
